"""Time and memory of separating noise, in this process."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from separator.tasks.benchmark.measurement import BenchmarkCase, fastest, timed
from separator.tasks.benchmark.memory import working_memory
from separator.tasks.benchmark.networks import find_model
from separator.tasks.benchmark.separation.backends import run_by, run_in_segments
from separator.tasks.benchmark.separation.spikes import SpikeCheck, check_spikes
from separator.tasks.benchmark.systems import ASTEROID, parse_system

CHECKED = 1.0  # s of sound on which spikes are compared; it warms up what it runs, too


def measure_separation(case: BenchmarkCase) -> dict[str, Any]:
    """Separate noise; the fields of `Measurement` that there are."""
    separate, rate, spikes = _separator(case)
    mixture = _noise(case.seconds, rate)
    separate(mixture[: round(CHECKED * rate)])  # so that no round pays for what is done but once
    rounds: list[float] = []
    working = working_memory(lambda: rounds.append(timed(lambda: separate(mixture))))
    values: dict[str, Any] = {"elapsed": fastest(lambda: separate(mixture), rounds), "working": working}
    return values if spikes is None else values | {"firing_rate": spikes.firing_rate, "same_spikes": spikes.same}


def _noise(seconds: float, rate: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def _separator(case: BenchmarkCase) -> tuple[Callable[[NDArray[np.float32]], object], int, SpikeCheck | None]:
    """A function that separates a mixture (T,), its sample rate, and the check of its spikes."""
    from separator.tasks.separation.files import Separator

    if case.system == ASTEROID:
        return *_asteroid(), None
    backend, name, steps = parse_system(case.system)
    separator = Separator(find_model(name, steps, case.width, case.rate))
    rate = separator.sample_rate
    spikes = check_spikes(backend, separator.model.network, _noise(min(case.seconds, CHECKED), rate))
    return run_by(backend, separator), rate, spikes


def _asteroid() -> tuple[Callable[[NDArray[np.float32]], object], int]:
    """A function that separates a mixture (T,), and its sample rate."""
    from asteroid.models import ConvTasNet

    rate = 8000
    return run_in_segments(ConvTasNet(n_src=2, sample_rate=rate).eval(), rate), rate
