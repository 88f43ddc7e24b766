r"""Convert a trained network to spikes by progressive tandem learning.

  separator convert --config recipes/open-2mix/conf/ptl.yaml --init exp/small/ann.safetensors --data.train DIR \
      --data.dev DIR --out exp/small/ptl
  separator convert --init small-ann --conversion.window 4 --conversion.initial_potential 0.5 \
      --data.train DIR --data.dev DIR --out exp/ns4
  separator convert --init exp/mnist/ann.safetensors --data.folder MNIST --conversion.window 16 --out exp/mnist/ptl-16
  separator convert ... --conversion.window 4 --preset few-steps    # all that helps at few time steps
  separator convert ... --conversion.window 3 --preset few-spikes   # without tuning, at once
  separator convert ... --hardware.weight_bits 4 --hardware.fan_in 256 --hardware.neurons 16384    # to fit a chip

Every value of the configuration can be given on the command line. A folder that already holds a conversion is gone on with.
"""

import jsonargparse

from separator.allocation import keep_freed_memory
from separator.cli.options.configured import (
    add_config_and_out,
    add_conversion,
    add_device_and_threads,
    settings_from,
    to_stderr,
)
from separator.cli.options.problems import ProblemParser, add_problem
from separator.tasks.problems.registry import Entry

PARSER = ProblemParser


def add_arguments(parser: ProblemParser) -> None:
    """Options of `separator convert`, once the problem is known."""
    parser.add_options = add_options


def add_options(parser: ProblemParser, entry: Entry) -> None:
    """Options for a problem; networks are those of the model."""
    from separator.snn.conversion.hardware import HardwareProfile
    from separator.tasks.learning.settings import CardSettings

    problem = entry.load()
    add_config_and_out(parser, "folder for the model, its report and the state to resume from")
    parser.add_argument("--init", required=True, help="analog model to start from: a shipped name or a file")
    parser.add_argument("--seed", type=int, default=1, help="of the batches, other ones than in training")
    add_device_and_threads(parser)
    add_problem(parser, problem, skip={"network", "goal"})
    add_conversion(parser)
    parser.add_class_arguments(HardwareProfile, "hardware")
    parser.add_class_arguments(CardSettings, "card")


def run(arguments: jsonargparse.Namespace) -> int:
    """Convert, resuming where the folder holds a conversion."""
    from separator.tasks.learning.conversion import ConversionRun, convert

    keep_freed_memory()
    settings = settings_from(arguments, ConversionRun)
    print(convert(settings, arguments.out, log=to_stderr))
    return 0
