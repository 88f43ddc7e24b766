"""Put a trained model where it is shipped from or kept, with its measured scores in its card.

separator publish exp/small/ann/ann.safetensors --results exp/small/results --system ann
separator publish exp/small/ptl-4/snn.safetensors --results exp/small/results --system ptl-4at8 --window 8
separator publish exp/medium/ann/ann.safetensors --bf16 --out DIR    # half the size, to go on from with --init
"""

import argparse
from pathlib import Path

from separator.cli.options.arguments import positive
from separator.models.card import SHIPPED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator publish`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file; its card says what it will be called")
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder of `separator evaluate` with new scores")
    parser.add_argument("--system", metavar="NAME", help="what the model was called there")
    parser.add_argument("--window", type=positive, metavar="N", help="of a spiking model, if others than its own")
    parser.add_argument("--description", metavar="TEXT", help="one line, if another than its own")
    parser.add_argument("--bf16", action="store_true", help="round the weights of an analog model to bfloat16")
    parser.add_argument("--overwrite", action="store_true", help="replace another network of the same name")
    parser.add_argument("--out", type=Path, default=SHIPPED, metavar="DIR", help="folder for the file (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Copy the model with its scores."""
    from separator.errors import UserError
    from separator.tasks.publishing import publish

    if (arguments.results is None) != (arguments.system is None):
        raise UserError("--results and --system go together: the folder of an evaluation, and the model's name there")
    scored = None if arguments.results is None else (arguments.results, arguments.system)
    options = (arguments.window, arguments.description, arguments.bf16, arguments.overwrite)
    print(publish(arguments.model, arguments.out, scored, *options))
    return 0
