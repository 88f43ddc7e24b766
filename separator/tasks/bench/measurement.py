"""What is measured in a benchmark, and what it took."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# The fastest round counts, since another process can only slow one down, and the first ones find no memory at hand.
ROUNDS = 20
LONG = 30.0  # s of rounds after which none is begun


@dataclass(frozen=True)
class Case:
    """What is measured: separating, or a step of conversion."""

    system: str  # see `benchmark`
    seconds: float  # of sound
    threads: int  # of the CPU
    width: int | None = None  # of a network with random weights; see `random_model`
    rate: float | None = None  # likewise
    stage: int | None = None  # under conversion, of an analog network; None for separating


@dataclass(frozen=True)
class Measurement:
    """What a case took."""

    case: Case
    elapsed: float  # s, to separate the sound or to train on one batch; loading the model not counted
    memory: float  # MB, the most that the process held, torch and the model included
    firing_rate: float | None = None  # of a spiking network: mean spikes per neuron and time step
    # Whether its spikes were found to be those of our fastest execution; None where there is nothing to compare.
    same_spikes: bool | None = None
    kept: float | None = None  # s, of a step of conversion whose frozen stages need not be simulated again
    working: float | None = None  # MB beyond what the process held before it separated; None where the system does not tell

    @property
    def real_time_factor(self) -> float:
        """Time taken over the length of the sound."""
        return self.elapsed / self.case.seconds


def timed(run: Callable[[], object]) -> float:
    """Seconds of one round."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def fastest(run: Callable[[], object], before: Sequence[float] = ()) -> float:
    """Seconds of the fastest of up to `ROUNDS` rounds, those that were timed before included."""
    times = list(before)
    while len(times) < ROUNDS and sum(times) < LONG:
        times.append(timed(run))
    return min(times)
