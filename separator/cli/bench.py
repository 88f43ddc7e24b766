"""Measure speed and memory of models, side by side.

  separator bench
  separator bench --systems small-ann small-snn small-snn@32 asteroid-convtasnet --seconds 10 600 --threads 2

  separator bench --systems paper-ann bf16:paper-ann paper-snn@4 paper-snn-pipelined@4 spikingjelly:paper-snn-pipelined@4

Each case runs in a process of its own; times are of separating, without loading, and the fastest of three up to a minute.
"""

import argparse

from separator.cli.arguments import positive
from separator.parallel import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator bench`."""
    parser.add_argument(
        "--systems",
        nargs="+",
        default=["small-ann", "small-snn"],
        metavar="MODEL",
        help="shipped models, model files, NAME@STEPS, paper-ann, paper-snn, paper-snn-pipelined (random weights), bf16:NAME, "
        "spikingjelly:NAME, or asteroid-convtasnet (%(default)s)",
    )
    parser.add_argument("--seconds", nargs="+", type=float, default=[10.0], metavar="S", help="lengths of sound (%(default)s)")
    parser.add_argument("--threads", type=positive, default=cores(), metavar="N", help="CPU threads (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print a table."""
    from separator.tasks.benchmark import benchmark, to_markdown

    print(to_markdown(benchmark(arguments.systems, arguments.seconds, arguments.threads)), end="")
    return 0
