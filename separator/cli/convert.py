r"""Convert a trained network to spikes by progressive tandem learning.

  separator convert --config recipes/open-2mix/conf/ptl.yaml --model exp/small/ann.safetensors --data.train DIR \
      --data.dev DIR --out exp/small/ptl
  separator convert --model small-ann --conversion.window 4 --conversion.initial_potential 0.5 \
      --data.train DIR --data.dev DIR --out exp/ns4

Every value of the configuration can be given on the command line. A folder that already holds a conversion is gone on with.
"""

import jsonargparse

from separator.cli.configured import (
    ConfiguredParser,
    add_config_and_out,
    add_conversion,
    add_device_and_threads,
    settings_from,
    to_stderr,
)

PARSER = ConfiguredParser


def add_arguments(parser: jsonargparse.ArgumentParser) -> None:
    """Options of `separator convert`."""
    from separator.tasks.problems.mixture_data import DataSettings
    from separator.tasks.learning.optimisers import OptimiserName
    from separator.tasks.learning.settings import CardSettings

    add_config_and_out(parser, "folder for the model, its report and the state to resume from")
    parser.add_argument("--model", required=True, help="analog model to convert: a shipped name or a file")
    parser.add_argument("--optimiser", type=OptimiserName, default="adam", help="adam as published, or muon")
    parser.add_argument("--seed", type=int, default=1, help="of the mixtures, other ones than in training")
    add_device_and_threads(parser, "cpu")
    parser.add_class_arguments(DataSettings, "data")
    add_conversion(parser)
    parser.add_class_arguments(CardSettings, "card")


def run(arguments: jsonargparse.Namespace) -> int:
    """Convert, resuming where the folder holds a conversion."""
    from separator.tasks.learning.conversion import ConversionRun, convert

    settings = settings_from(arguments, ConversionRun)
    print(convert(settings, arguments.out, log=to_stderr))
    return 0
