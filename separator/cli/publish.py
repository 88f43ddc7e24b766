"""Put a trained model where it is shipped from, with its measured scores in its card.

separator publish exp/small/ann/ann.safetensors --results exp/small/results --system ann
separator publish exp/small/ptl-4/snn.safetensors --results exp/small/results --system ptl-4at8 --time-steps 8
"""

import argparse
from pathlib import Path

from separator.cli.arguments import positive
from separator.models.card import SHIPPED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator publish`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model file; its card says what it will be called")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="folder of `separator evaluate`")
    parser.add_argument("--system", required=True, metavar="NAME", help="what the model was called there")
    parser.add_argument("--time-steps", type=positive, metavar="N", help="of a spiking model, if others than its own")
    parser.add_argument("--description", metavar="TEXT", help="one line, if another than its own")
    parser.add_argument("--out", type=Path, default=SHIPPED, metavar="DIR", help="folder for the file (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Copy the model with its scores."""
    from separator.tasks.publishing import publish

    options = arguments.time_steps, arguments.description
    print(publish(arguments.model, arguments.results, arguments.system, arguments.out, *options))
    return 0
