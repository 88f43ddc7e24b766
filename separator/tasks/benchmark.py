"""Speed and memory of separating, each case in a process of its own, side by side in one run."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

if TYPE_CHECKING:
    from separator.models import SeparationModel
    from separator.snn.spiking import Schedule
    from separator.tasks.separation import Separator

ASTEROID = "asteroid-convtasnet"  # not a model of ours: Asteroid's Conv-TasNet with random weights, for comparison
# Networks of the published size, and the schedule of their spikes; None for an analog one.
PAPER_SIZED: "dict[str, Schedule | None]" = {
    "paper-ann": None,
    "paper-snn": "layer-by-layer",
    "paper-snn-pipelined": "pipelined",
}
ROUNDS = 3  # the fastest counts, since another process can only slow one down


@dataclass(frozen=True)
class Measurement:
    """One system on one length of sound."""

    system: str
    seconds: float  # of sound
    elapsed: float  # s, to separate it; loading the model not counted
    memory: float  # MB, the most that the process held, torch and the model included

    @property
    def real_time_factor(self) -> float:
        """Time taken over the length of the sound."""
        return self.elapsed / self.seconds


def benchmark(systems: Sequence[str], lengths: Sequence[float], threads: int) -> list[Measurement]:
    """Measure every system on every length, one after another.

    Args:
        systems: shipped models, model files (`NAME@4` for 4 time steps), networks of the published size with random weights
            (`paper-ann`, `paper-snn` and `paper-snn-pipelined`, of 8-bit weights), each also in other hands (`bf16:NAME`,
            `spikingjelly:NAME`), or `ASTEROID`.
        lengths: seconds of sound.
        threads: CPU threads.

    Raises:
        UserError: a system cannot be loaded.
    """
    results = []
    for seconds in lengths:
        for system in systems:
            command = [sys.executable, "-m", "separator.tasks.benchmark", system, str(seconds), str(threads)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
                raise UserError(f"{system} cannot be measured: {lines[-1]}")
            results.append(Measurement(**json.loads(done.stdout)))
    return results


def to_markdown(results: Sequence[Measurement]) -> str:
    """A table, times also as ratios to the first system on the same length."""
    lines = [
        "| system | sound (s) | time (s) | real-time factor | times the first | memory (MB) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    first: dict[float, float] = {}
    for result in results:
        ratio = result.elapsed / first.setdefault(result.seconds, result.elapsed)
        lines.append(
            f"| {result.system} | {result.seconds:g} | {result.elapsed:.2f} | {result.real_time_factor:.4f} | "
            f"{ratio:.2f} | {result.memory:.0f} |"
        )
    return "\n".join(lines) + "\n"


def measure(system: str, seconds: float, threads: int) -> Measurement:
    """Separate `seconds` seconds of noise in this process."""
    import torch

    torch.set_num_threads(threads)
    separate, rate = _separator(system)
    mixture = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
    rounds = ROUNDS if seconds <= 60 else 1
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        separate(mixture)
        times.append(time.perf_counter() - started)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in KiB elsewhere
    return Measurement(system, seconds, min(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def _separator(system: str) -> tuple[Callable[[NDArray[np.float32]], object], int]:
    """What separates a mixture (T,), and its sample rate; all of them so many seconds at a time."""
    from separator.audio.blocks import in_blocks_of
    from separator.models import load_model
    from separator.tasks.separation import SEGMENT, Separator

    if system != ASTEROID:
        *hands, named = system.split(":", 1)
        name, _, steps = named.partition("@")
        make = random_model if name in PAPER_SIZED else load_model
        separator = Separator(make(name, time_steps=int(steps) if steps else None))
        return in_hands(hands[0] if hands else "", separator), separator.sample_rate
    import torch
    from asteroid.models import ConvTasNet

    rate = 8000
    network = ConvTasNet(n_src=2, sample_rate=rate).eval()

    def estimate(chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            estimates: NDArray[np.float32] = network(torch.from_numpy(np.array(chunk))).numpy()
        return estimates

    return lambda mixture: [estimate(block) for block in in_blocks_of(round(SEGMENT * rate), [mixture[None]])], rate


def random_model(name: str, time_steps: int | None = None) -> "SeparationModel":
    """A network of the published size by its name in `PAPER_SIZED`, of random weights; its thresholds are from noise."""
    import torch

    from separator.models import ModelCard, SeparationModel
    from separator.models.tasnet import TasNet, paper
    from separator.snn.spiking import Dynamics

    torch.manual_seed(0)
    network = TasNet(paper()).eval().requires_grad_(False)
    schedule = PAPER_SIZED[name]
    if schedule is not None:
        seen = network.stack_input(network.encode(0.1 * torch.randn(1, 16_000)))
        network.stack.convert(seen, Dynamics(time_steps or 32, 0.5, schedule, weight_bits=8))
    return SeparationModel(network, ModelCard(name, network.config.to_dict()))


def in_hands(hands: str, separator: "Separator") -> Callable[[NDArray[np.float32]], object]:
    """How a separator is run: as it is, in bfloat16, or its stack by SpikingJelly."""
    import torch

    network = separator.model.network
    if hands == "spikingjelly":
        from separator.snn.spikingjelly import SpikingJellyStack

        network.stack = SpikingJellyStack(network.stack)  # type: ignore[assignment]
        return lambda mixture: network(torch.from_numpy(mixture)[None])
    if hands not in ("", "bf16"):
        raise UserError(f"nothing runs a network as '{hands}'; take bf16 or spikingjelly")

    def separate(mixture: NDArray[np.float32]) -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=hands == "bf16"):
            return separator.separate(mixture, separator.sample_rate)

    return separate


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(measure(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))))
    except UserError as error:
        sys.exit(str(error))
