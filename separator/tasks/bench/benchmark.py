"""Speed and memory of separating, each case in a process of its own, side by side in one run."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError
from separator.tasks.bench.measurement import Case, Measurement, fastest, timed
from separator.tasks.bench.memory import working_memory
from separator.tasks.bench.systems import (
    ASTEROID,
    SpikeCheck,
    check_spikes,
    in_hands,
    in_segments,
    model_named,
    parse_system,
)

CHECKED = 1.0  # s of sound on which spikes are compared; it warms up what it runs, too


def benchmark(systems: Sequence[str], lengths: Sequence[float], threads: int) -> list[Measurement]:
    """Measure every system on every length, one after another.

    Args:
        systems: shipped models, model files (`NAME@4` for 4 time steps), networks of the published size with random weights
            (`paper-ann`, `paper-snn` and `paper-snn-pipelined`, of 8-bit weights), each also in other hands (`bf16:NAME`;
            `dense:NAME`, without event-driven kernel and 8-bit products; `spikingjelly:NAME`), or `ASTEROID`.
        lengths: seconds of sound.
        threads: CPU threads.

    Raises:
        UserError: a system cannot be loaded, or fires other spikes than it should.
    """
    return [measured_apart(Case(system, seconds, threads)) for seconds in lengths for system in systems]


def measured_apart(case: Case) -> Measurement:
    """Measure a case in a process of its own.

    Raises:
        UserError: it cannot be measured.
    """
    command = [sys.executable, "-m", "separator.tasks.bench.benchmark", json.dumps(asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode} (out of memory?)"]
        raise UserError(f"{case.system} cannot be measured: {lines[-1]}")
    return Measurement(case, **json.loads(done.stdout))


def to_markdown(results: Sequence[Measurement]) -> str:
    """A table, times also as ratios to the first system on the same length."""
    columns = ["sound (s)", "time (s)", "real-time factor", "times the first", "memory (MB)", "for the work", "firing rate"]
    lines = [f"| system | {' | '.join(columns)} | same spikes |", f"|---|{'---:|' * len(columns)}---|"]
    first: dict[float, float] = {}
    for result in results:
        case = result.case
        ratio = result.elapsed / first.setdefault(case.seconds, result.elapsed)
        rate = "" if result.firing_rate is None else f"{result.firing_rate:.3f}"
        working = "" if result.working is None else f"{result.working:.0f}"
        lines.append(
            f"| {case.system} | {case.seconds:g} | {result.elapsed:.3g} | {result.real_time_factor:.4f} | "
            f"{ratio:.2f} | {result.memory:.0f} | {working} | {rate} | {'yes' if result.same_spikes else ''} |"
        )
    return "\n".join(lines) + "\n"


def measure(case: Case) -> dict[str, Any]:
    """Measure a case in this process; the fields of `Measurement` other than the case."""
    import torch

    torch.set_num_threads(case.threads)
    if case.batch is not None:
        from separator.tasks.bench.training_step import measure_training

        values = measure_training(case)
    elif case.layer is None:
        values = measure_separation(case)
    else:
        from separator.tasks.bench.tandem_step import measure_step

        values = measure_step(case)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in KiB elsewhere
    return values | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def measure_separation(case: Case) -> dict[str, Any]:
    """Separate noise."""
    separate, rate, spikes = _separator(case)
    mixture = _noise(case.seconds, rate)
    separate(mixture[: round(CHECKED * rate)])  # so that no round pays for what is done but once
    rounds: list[float] = []
    working = working_memory(lambda: rounds.append(timed(lambda: separate(mixture))))
    values: dict[str, Any] = {"elapsed": fastest(lambda: separate(mixture), rounds), "working": working}
    return values if spikes is None else values | {"firing_rate": spikes.firing_rate, "same_spikes": spikes.same}


def _noise(seconds: float, rate: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def _separator(case: Case) -> tuple[Callable[[NDArray[np.float32]], object], int, SpikeCheck | None]:
    """What separates a mixture (T,), its sample rate, and what was found of its spikes."""
    from separator.tasks.separation import Separator

    if case.system == ASTEROID:
        return *_asteroid(), None
    hands, name, steps = parse_system(case.system)
    separator = Separator(model_named(name, steps, case.width, case.rate))
    rate = separator.sample_rate
    spikes = check_spikes(hands, separator.model.network, _noise(min(case.seconds, CHECKED), rate))
    return in_hands(hands, separator), rate, spikes


def _asteroid() -> tuple[Callable[[NDArray[np.float32]], object], int]:
    """What separates a mixture (T,), and its sample rate."""
    from asteroid.models import ConvTasNet

    rate = 8000
    return in_segments(ConvTasNet(n_src=2, sample_rate=rate).eval(), rate), rate


if __name__ == "__main__":
    try:
        print(json.dumps(measure(Case(**json.loads(sys.argv[1])))))
    except UserError as error:
        sys.exit(str(error))
