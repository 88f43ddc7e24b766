r"""Score models side by side; what is scored depends on the problem.

  separator evaluate --mixtures open=data/test closed=data/dev --model ann=small-ann snn=small-snn --out results
  separator evaluate --mixtures open=data/test --estimates mine=DIR --metrics si-sdr --limit 100 --out quick
  separator evaluate --mixtures open=data/test --model small-ann small-snn medium-ann medium-snn --speed 2 --out compared
  separator evaluate --model ann=exp/ann/ann.safetensors snn=exp/ptl-16/snn.safetensors snn8=exp/ptl-16/snn.safetensors@8 \
      --data.folder CIFAR --data.kind cifar10 --out results

--model takes shipped models or model files; NAME=MODEL@WINDOW simulates a spiking model for another number of time steps than
its own.

Speech: models, estimate files and the unprocessed mixture over sets of mixtures. --estimates takes a folder with ID_s1.wav,
ID_s2.wav, ... or s1/ID.wav, s2/ID.wav, ... (below a folder named as the condition, if there is one). The folder of --out gets
scores.csv (every source), operations.csv, pitch.csv (of every reference source), summary.json, RESULTS.md and its picture
pitch.png; of spiking models spikes.csv and spikes.png as well: what each separates, its difference from the analog model listed
before it, and what its spikes cost; with --speed, speed.csv. RESULTS.md begins with all systems at a glance: SI-SDRi, PESQ,
STOI, real-time factors and operations. It tells where separation fails, too: by genders of the talkers, by the difference of
their mean pitches, and how much better SI-SDRi were if an oracle chose every 125 ms who is who (what swaps cost). The same
command goes on where it was stopped, and scores again what has changed since.

Images: networks on the test images. The folder gets RESULTS.md, results.csv (a row for each model) and results.json (its layers
as well): accuracies, or mean square errors, with their 95 % intervals; differences from the first model on the same images; and
of spiking networks spikes, synaptic operations and energy beside those of the analog network, with spikes.png: what a neuron of
each layer fires, and how many times fewer it is than in the first spiking network. Networks that reconstruct get a picture
each, NAME.png: images and their reconstructions. The same command scores all of it anew.
"""

from pathlib import Path
from typing import Any

import jsonargparse

from separator.cli.options.arguments import apart, named, positive
from separator.cli.options.configured import add_config_and_out, add_device_and_threads, to_stderr
from separator.cli.options.problems import ProblemParser, add_problem
from separator.errors import UserError
from separator.metrics.energy import MAC_COST
from separator.metrics.table import METRICS
from separator.parallel import cores
from separator.tasks.problems.registry import Entry

PARSER = ProblemParser


def add_arguments(parser: ProblemParser) -> None:
    """Options of `separator evaluate`, once the problem is known."""
    parser.add_options = add_options


def add_options(parser: ProblemParser, entry: Entry) -> None:
    """Options for a problem, which is scored on mixtures or item by item."""
    add_config_and_out(parser, "folder for the results")
    parser.add_argument("--model", nargs="+", action="extend", default=[], metavar="NAME=MODEL", help="networks to score")
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of tables")
    add_device_and_threads(parser)
    if entry.scored_on == "mixtures":
        _add_mixtures(parser)
    else:
        parser.add_argument("--mac_cost", type=float, default=MAC_COST, help="additions that a multiply-accumulate costs")
        parser.add_argument("--pictures", type=int, default=24, help="items shown with what networks make of them")
        problem = entry.load()
        add_problem(parser, problem, skip=problem.for_training)


def run(arguments: jsonargparse.Namespace) -> int:
    """Score, and print the report."""
    report = (_on_mixtures if "mixtures" in arguments else _on_items)(arguments)
    print(report.to_json() if arguments.json else report.to_markdown(), end="")
    to_stderr(f"results are in {arguments.out}")
    return 0


def _add_mixtures(parser: jsonargparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mixtures", nargs="+", required=True, metavar="NAME=DIR", help="sets of mixtures with their condition"
    )
    parser.add_argument("--estimates", nargs="+", action="extend", default=[], metavar="NAME=DIR", help="sound files to score")
    parser.add_argument(
        "--metrics",
        nargs="+",
        choices=list(METRICS),
        default=list(METRICS),
        help="leave out what takes long (all; SI-SDR and the oracle are always in)",
    )
    parser.add_argument(
        "--shifts",
        nargs="+",
        type=positive,
        default=[1],
        metavar="N",
        help="average what models make of N slightly delayed copies of a mixture, as `separate --shifts`; each model with each",
    )
    parser.add_argument(
        "--speed",
        type=positive,
        metavar="N",
        help="measure real-time factors of the models as well, on N threads of the CPU, which should be idle",
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only N mixtures of each set, evenly spread over it")
    parser.add_argument("--jobs", type=positive, default=cores(), metavar="N", help="processes")


def _on_mixtures(arguments: jsonargparse.Namespace) -> Any:
    import torch

    from separator.corpora.mixtures import read_mixtures
    from separator.models import load_model
    from separator.tasks.devices import resolve_device
    from separator.tasks.evaluation.mixtures.evaluation import Evaluation, evaluate
    from separator.tasks.evaluation.mixtures.systems import EstimateFiles, ModelSystem

    timed = dict(map(named, arguments.model)) if arguments.speed and 1 in arguments.shifts else {}
    if arguments.speed and not timed:
        raise UserError("--speed measures models without shifts; give --model, and 1 among --shifts, or leave out --speed")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = resolve_device(arguments.device)
    conditions = {name: read_mixtures(folder) for name, folder in apart(arguments.mixtures).items()}
    loaded = [(name, load_model(model, device=device)) for name, model in map(named, arguments.model)]
    models = [
        ModelSystem(name if shifts == 1 else f"{name}, {shifts} shifts", model, device, shifts)
        for shifts in arguments.shifts
        for name, model in loaded
    ]
    files = [EstimateFiles(name, Path(folder)) for name, folder in map(named, arguments.estimates)]
    evaluation = Evaluation(
        conditions, [*models, *files], arguments.metrics, arguments.limit, arguments.jobs, timed, arguments.speed or 1
    )
    return evaluate(evaluation, arguments.out, progress=True)


def _on_items(arguments: jsonargparse.Namespace) -> Any:
    from separator.tasks.evaluation.items.evaluation import ItemEvaluation, evaluate_items

    models = [named(text) for text in arguments.model]
    options = (arguments[name] for name in ("mac_cost", "pictures", "device", "threads"))
    return evaluate_items(ItemEvaluation(arguments.problem, models, *options), arguments.out, log=to_stderr)
