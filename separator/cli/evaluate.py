"""Score models, estimate files and the unprocessed mixture over sets of mixtures.

  separator evaluate --mixtures open=data/test closed=data/dev --model ann=small-ann snn=small-snn --out results
  separator evaluate --mixtures open=data/test --estimates mine=DIR --metrics si-sdr --limit 100 --out quick

--model takes a shipped model or a model file; `snn4=small-snn@4` simulates a spiking model for 4 time steps.
--estimates takes a folder with ID_s1.wav, ID_s2.wav, ... or s1/ID.wav, s2/ID.wav, ... (below a folder named as the
condition, if there is one). The folder of --out gets scores.csv (every source), operations.csv, pitch.csv (of every reference
source), summary.json, RESULTS.md and its picture pitch.png; the same command goes on where it was stopped, and scores again
what has changed since.

Beside the means, RESULTS.md tells where separation fails: by genders of the talkers, by the difference of their mean pitches,
and how much better SI-SDRi were if an oracle chose every 125 ms who is who (what swaps of the talkers cost).
"""

import argparse
import sys
from pathlib import Path

from separator.cli.arguments import load_named_model, named, positive
from separator.metrics.table import METRICS
from separator.parallel import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator evaluate`."""
    parser.add_argument(
        "--mixtures", nargs="+", required=True, metavar="NAME=DIR", help="sets of mixtures with their condition"
    )
    parser.add_argument("--model", nargs="+", action="extend", default=[], metavar="NAME=MODEL", help="networks to score")
    parser.add_argument("--estimates", nargs="+", action="extend", default=[], metavar="NAME=DIR", help="sound files to score")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=METRICS,
        default=list(METRICS),
        help="leave out what takes long (all; SI-SDR and the oracle are always in)",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only N mixtures of each set, evenly spread over it")
    parser.add_argument("--jobs", type=positive, default=cores(), metavar="N", help="processes (%(default)s)")
    parser.add_argument("--device", default="cpu", help="of the networks: cpu, cuda, or auto for a GPU if there is one")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Score, and print the report."""
    from separator.corpora.mixtures import read_mixtures
    from separator.tasks.devices import resolve_device
    from separator.tasks.evaluation.mixtures.evaluation import Evaluation, evaluate
    from separator.tasks.evaluation.mixtures.systems import EstimateFiles, ModelSystem

    device = resolve_device(arguments.device)
    conditions = {name: read_mixtures(folder) for name, folder in map(named, arguments.mixtures)}
    models = [ModelSystem(*load_named_model(text, device), device) for text in arguments.model]
    files = [EstimateFiles(name, Path(folder)) for name, folder in map(named, arguments.estimates)]
    evaluation = Evaluation(conditions, [*models, *files], arguments.metrics, arguments.limit, arguments.jobs)
    report = evaluate(evaluation, arguments.out, progress=True)
    print(report.to_json() if arguments.json else report.to_markdown(), end="")
    print(f"results are in {arguments.out}", file=sys.stderr)
    return 0
