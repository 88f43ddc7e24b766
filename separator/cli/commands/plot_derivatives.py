r"""Draw what stands for the derivative of a spike in spike-timing-dependent backpropagation, from what learning takes.

  separator plot-derivatives --out derivatives.png
  separator plot-derivatives --beta 0.5 --steps 25 --out steep.png

On the left that by the time since the neuron's last spike (Rathi et al. 2020, Eq. 11 and Fig. 1), on the right those by its
potential, linear and exponential (Eq. 13, 14 and Fig. 4): `--learning.stdb.derivative` of `separator train`.
"""

import argparse
from pathlib import Path

from separator.cli.options.arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator plot-derivatives`."""
    parser.add_argument("--alpha", type=float, default=0.3, metavar="X", help="height of all three (%(default)s)")
    parser.add_argument("--beta", type=float, default=0.01, metavar="X", help="decay of those that have one (%(default)s)")
    parser.add_argument("--steps", type=positive, default=100, metavar="N", help="time steps of a run (%(default)s)")
    parser.add_argument(
        "--reach", type=float, default=2.0, metavar="X", help="distance from the threshold that is drawn (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="picture to write, such as derivatives.png")


def run(arguments: argparse.Namespace) -> int:
    """Draw, and print where."""
    from separator.tasks.presentation.derivatives import Drawn, plot_derivatives

    plot_derivatives(Drawn(arguments.alpha, arguments.beta, arguments.steps, arguments.reach), arguments.out)
    print(arguments.out)
    return 0
