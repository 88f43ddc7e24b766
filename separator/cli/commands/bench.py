r"""Measure speed and memory of models, side by side.

  separator bench
  separator bench --systems small-ann small-snn small-snn@32 asteroid-convtasnet --seconds 10 600 --threads 2
  separator bench --systems paper-ann bf16:paper-ann paper-snn@4 paper-snn-pipelined@4 dense:paper-snn-pipelined@4 \
      spikingjelly:paper-snn-pipelined@4
  separator bench --sweep published shipped --out DIR
  separator bench --sweep window rate width seconds layer --out DIR
  separator bench --sweep train --out DIR

Each case runs in a process of its own; times are of separating, without loading, and the fastest of up to 20 rounds. The spikes
of `dense:NAME` (without event-driven kernel and 8-bit products) and `spikingjelly:NAME` are compared with ours beforehand.

--sweep published and shipped compare networks of the published size and the shipped ones with 4, 8 and 32 steps, run by all
backends, on 4 and 60 s of noise. The others vary one thing on networks with random weights: the time window, the firing
rate that thresholds are chosen for, the width, the seconds of sound. `layer` times a training step of conversion, of each layer
of analog networks, by the fastest and by the dense execution. NAME=VALUE,VALUE,... takes other values (of comparisons seconds),
--at another place for what stands still. DIR gets bench.csv, BENCH.md and a picture for each sweep; the same command goes on
where it was stopped.

  separator bench --sweep window=2,8 width=64,128 layer=small-ann --at width=128 seconds=1 --out DIR

`train` times training steps of the networks small, medium and paper, on as many mixtures of such length as their recipes take:
seconds of mixtures learned from per second, shares of the way forward, the way back and the optimiser, and beside it how fast
one data worker makes the mixtures; on 1 and on all --threads, in 32 bits and in bfloat16 where the processor multiplies that.
bf16:NAME is measured in bfloat16 in any case.

  separator bench --sweep train=small,medium,bf16:medium --out DIR

`steps` measures memory and time of one step of learning against the number of time steps: analog, through time by automatic
differentiation, from spike bits alone, with potentials computed anew in blocks, and in tandem; and of a forward pass without
gradients, analog and spiking. It is of a network for pictures, or of small, medium or paper on mixtures, on the CPU or, with
--at device=cuda, on a GPU. Of pictures tables also say what whole trainings come to, as many epochs as in Rathi et al. 2020.

  separator bench --sweep steps=10,25,50,100 --at network=hybrid-vgg5-w16 batch=16 --threads 1 --out DIR
  separator bench --sweep steps=10,25,50,100 --at network=hybrid-vgg16 batch=32 device=cuda --out DIR
  separator bench --sweep steps=8,32 --at network=small batch=8 seconds=2 --threads 1 --out DIR
"""

import argparse
import math
import shlex
import sys
from pathlib import Path

from separator.cli.options.arguments import positive
from separator.parallel import cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `separator bench`."""
    parser.add_argument(
        "--systems",
        nargs="+",
        metavar="MODEL",
        help="shipped models, model files, NAME@WINDOW, paper-ann, paper-snn, paper-snn-pipelined (random weights), bf16:NAME, "
        "dense:NAME, spikingjelly:NAME, or asteroid-convtasnet (medium-ann medium-snn; of sweeps all with random weights); "
        "times are multiples of the first one's",
    )
    parser.add_argument("--seconds", nargs="+", type=_seconds, metavar="S", help="lengths of sound (10); of sweeps see --at")
    parser.add_argument("--threads", type=positive, default=cores(), metavar="N", help="CPU threads (%(default)s)")
    parser.add_argument(
        "--sweep",
        nargs="+",
        metavar="NAME",
        help="published, shipped, window, rate, width, seconds, layer, train, steps, each also NAME=VALUES",
    )
    parser.add_argument(
        "--at",
        nargs="+",
        metavar="NAME=VALUE",
        help="where sweeps stand still (window=8 width=512 seconds=4; rate: window=32; layer: window=32 seconds=2; "
        "train: seconds and width of the recipes; steps: network=hybrid-vgg5-w16 batch=16 device=cpu)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for tables and pictures of sweeps")


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print a table."""
    if arguments.sweep:
        return _sweep(arguments)
    from separator.errors import UserError
    from separator.tasks.benchmark.processes import benchmark
    from separator.tasks.benchmark.table import systems_table

    if arguments.out or arguments.at:
        raise UserError("--out and --at go with --sweep")
    systems = arguments.systems or ["medium-ann", "medium-snn"]
    print(systems_table(benchmark(systems, arguments.seconds or [10.0], arguments.threads)), end="")
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    from separator.errors import UserError
    from separator.tasks.benchmark.sweeps.plan import SWEPT_SYSTEMS, Sweep, SweepPlan
    from separator.tasks.benchmark.sweeps.run import run_sweeps
    from separator.tasks.benchmark.sweeps.settings import parse_settings

    if not arguments.out:
        raise UserError("a sweep needs --out DIR, the folder for its tables and pictures")
    if arguments.seconds:
        raise UserError("give sweeps their lengths of sound as --sweep seconds=S,S or --at seconds=S")
    sweeps = tuple(map(Sweep.parse, arguments.sweep))
    plan = SweepPlan(sweeps, parse_settings(arguments.at or []), arguments.threads, tuple(arguments.systems or SWEPT_SYSTEMS))
    options = {"--sweep": arguments.sweep, "--at": arguments.at, "--systems": arguments.systems}
    words = [word for option, values in options.items() if values for word in (option, *values)]
    command = shlex.join(["separator", "bench", *words, "--threads", str(arguments.threads), "--out", str(arguments.out)])
    print(run_sweeps(plan, arguments.out, command), end="")
    print(f"tables and pictures are in {arguments.out}", file=sys.stderr)
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (seconds > 0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError("must be above 0")
    return seconds
