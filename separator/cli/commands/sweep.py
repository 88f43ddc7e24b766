r"""Train and convert networks over several seeds, one setting of the conversion varied: a table and a picture.

  separator sweep --config recipes/mnist/conf/ann.yaml --config recipes/mnist/conf/ptl.yaml --data.folder MNIST \
      --values '[16, 8, 4]' --out exp/mnist
  separator sweep --config recipes/mnist/conf/ann.yaml --config recipes/mnist/conf/ptl.yaml --data.folder MNIST \
      --vary patience --values '[1, 2, 4, 8]' --out exp/mnist
  separator sweep --config recipes/open-2mix/conf/small.yaml --config recipes/open-2mix/conf/ptl.yaml --data.train DIR \
      --data.dev DIR --seeds 2 --values '[32, 8, 4]' --out exp/windows

Variants in the configuration are converted each with each value, such as

  variants:
    published: {}
    exact: {initial_potential: 0.5, schedule: layer-by-layer}

Results are scores on the test set, or for speech on the dev mixtures. The same command goes on where it was stopped.
"""

from typing import Any

import jsonargparse

from separator.allocation import keep_freed_memory
from separator.cli.options.configured import (
    add_config_and_out,
    add_conversion,
    add_device_and_threads,
    quieten_lightning,
    settings_from,
    to_stderr,
)
from separator.cli.options.problems import ProblemParser, add_problem, add_usual
from separator.tasks.problems.registry import Entry

PARSER = ProblemParser


def add_arguments(parser: ProblemParser) -> None:
    """Options of `separator sweep`, once the problem is known."""
    parser.add_options = add_options


def add_options(parser: ProblemParser, entry: Entry) -> None:
    """Options for a problem."""
    from separator.tasks.learning.settings import CardSettings, MachineSettings, OptimiserSettings

    problem = entry.load()
    add_config_and_out(parser, "folder for models, table and picture")
    parser.add_argument(
        "--vary", default="window", help="setting of the conversion: window, patience, weight_bits or initial_potential"
    )
    parser.add_argument("--values", type=list[float], default=[32, 16, 8, 4, 2, 1], help="that it takes")
    parser.add_argument(
        "--variants", type=dict[str, dict[str, Any]], default={"snn": {}}, help="settings of conversion by name"
    )
    parser.add_argument("--seeds", type=int, default=5, help="networks trained, each converted with each value")
    parser.add_argument("--jobs", type=int, default=1, help="trainings and conversions at a time")
    add_device_and_threads(parser)
    add_problem(parser, problem)
    add_usual(parser, problem, "optimiser", OptimiserSettings)
    add_usual(parser, problem, "machine", MachineSettings)
    add_conversion(parser)
    parser.add_class_arguments(CardSettings, "card")


def run(arguments: jsonargparse.Namespace) -> int:
    """Sweep, resuming where the folder holds results."""
    from separator.tasks.learning.sweeps.settings import SweepSettings
    from separator.tasks.learning.sweeps.sweep import sweep

    quieten_lightning()
    keep_freed_memory()
    settings = settings_from(arguments, SweepSettings)
    table = sweep(settings, arguments.out, log=to_stderr)
    print(table.read_text(encoding="utf-8"), end="")
    return 0
