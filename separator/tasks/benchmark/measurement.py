"""Cases of a benchmark, and what each of them took."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

# The fastest round counts, since another process can only slow one down, and the first ones find no memory at hand.
ROUNDS = 20
LONG = 30.0  # s of rounds after which none is begun


@dataclass(frozen=True)
class BenchmarkCase:
    """One thing to measure: separating, a step of conversion, a step of training, or inference of a batch."""

    system: str  # see `benchmark`
    seconds: float  # of sound
    threads: int  # of the CPU
    width: int | None = None  # of a network with random weights; see `random_model`
    rate: float | None = None  # likewise
    layer: int | None = None  # under conversion, of an analog network; None where nothing is converted
    batch: int | None = None  # items of a step of training, or of inference; None where neither is measured
    device: str | None = None  # a GPU's; None for the CPU


@dataclass(frozen=True)
class Measurement:
    """Time and memory that a case took."""

    case: BenchmarkCase
    elapsed: float  # s, to separate the sound, to train on one batch or to infer it; loading the model not counted
    # MB, the most that the process held, torch and the model included; on a GPU what tensors took there, the model's included.
    memory: float
    firing_rate: float | None = None  # of a spiking network: mean spikes per neuron and time step
    # Whether its spikes were found to be those of our fastest execution; None where there is nothing to compare.
    same_spikes: bool | None = None
    kept: float | None = None  # s, of a step of conversion whose frozen layers need not be simulated again
    working: float | None = None  # MB beyond what was held before the work; None where the system does not tell
    # s, of a step of training: its parts, and making its mixtures, plainly and with all augmentations, which is beside it.
    forward: float | None = None
    backward: float | None = None
    optimiser: float | None = None
    mixing: float | None = None
    varied: float | None = None
    turns: int = 1  # processes that measured it, one after the other; see `merge_turns`

    @property
    def real_time_factor(self) -> float:
        """Time taken over the length of the sound."""
        return self.elapsed / self.case.seconds


def merge_turns(before: Measurement | None, now: Measurement) -> Measurement:
    """Join the measurements of all turns of a case with a new one: the fastest round counts, and the most memory."""
    if before is None:
        return now
    best = min(before, now, key=lambda result: result.elapsed)
    return replace(
        best,
        memory=max(before.memory, now.memory),
        mixing=_least(before.mixing, now.mixing),
        varied=_least(before.varied, now.varied),
        turns=before.turns + now.turns,
    )


def _least(*numbers: float | None) -> float | None:
    return min((number for number in numbers if number is not None), default=None)


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
