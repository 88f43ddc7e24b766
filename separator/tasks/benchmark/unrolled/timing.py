"""Memory and time of one step of learning, or of inferring one batch, of a network with random weights."""

import time
from collections.abc import Callable
from typing import Any

import torch

from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.stdb.options import StdbOptions
from separator.tasks.benchmark.measurement import LONG, BenchmarkCase
from separator.tasks.benchmark.memory import most_of_tensors, working_memory
from separator.tasks.benchmark.unrolled.lessons import Lesson, make_lesson
from separator.tasks.benchmark.unrolled.ways import WAYS, parse_way

MOST_ROUNDS = 5
PERCENTILE = 100.0  # of activations, which thresholds are taken from

Round = Callable[[], dict[str, float]]  # does it all once, and gives back the seconds of its parts


def measure_unrolled(case: BenchmarkCase) -> dict[str, Any]:
    """Measure one step of learning, or one forward pass, of `WAY:NETWORK@STEPS`, on the device of the case, in this process.

    A step is the way forward with the loss, the way back and Adam's; inference is the way forward alone, in evaluation mode and
    without gradients. The same batch is taken again and again: the first time for all that is allocated or compiled once, the
    second for the memory beyond that, and then for the time. A GPU is waited for before each look at the clock.

    Returns:
        Fields of a `Measurement`: `elapsed` and its parts `forward`, `backward` and `optimiser`, of inference `forward` only;
        `working`; on a GPU `memory`, the most that tensors took there since the second round.

    Raises:
        UserError: there is no such network.
    """
    device = case.device or "cpu"
    work = _round(case, device)
    work()
    working = working_memory(work, device)
    rounds = [work()]
    while len(rounds) < MOST_ROUNDS and sum(map(_total, rounds)) < LONG:
        rounds.append(work())
    best = min(rounds, key=_total)
    memory = {} if case.device is None else {"memory": most_of_tensors(device)}
    return {"elapsed": _total(best), "working": working} | best | memory


def _total(parts: dict[str, float]) -> float:
    return sum(parts.values())


def _round(case: BenchmarkCase, device: str) -> Round:
    name, network, steps = parse_way(case.system)
    way = WAYS[name]
    torch.manual_seed(0)
    lesson = make_lesson(network, case.batch or 1, case.seconds, device)
    stack, dynamics = lesson.network.eval().stack, Dynamics(steps or 1, coding="constant")
    if way.rule is not None:
        options = LearningOptions(stdb=StdbOptions(way.derivative))
        stack.couple(lesson.seen, dynamics, way.rule, options, PERCENTILE)
    elif way.spikes:
        stack.convert(lesson.seen, dynamics, PERCENTILE)
    return _inference(lesson, device) if way.infers else _learning(lesson, device)


def _learning(lesson: Lesson, device: str) -> Round:
    lesson.network.train()
    optimiser = torch.optim.Adam(lesson.network.parameters(), 1e-6)

    def learn() -> dict[str, float]:
        marks = [now(device)]
        optimiser.zero_grad()
        loss = lesson.loss(lesson.network(lesson.items))
        marks.append(now(device))
        loss.backward()  # type: ignore[no-untyped-call]
        marks.append(now(device))
        optimiser.step()
        marks.append(now(device))
        parts = zip(("forward", "backward", "optimiser"), marks[:-1], marks[1:], strict=True)
        return {part: after - before for part, before, after in parts}

    return learn


def _inference(lesson: Lesson, device: str) -> Round:
    def infer() -> dict[str, float]:
        started = now(device)
        with torch.no_grad():
            lesson.network(lesson.items)
        return {"forward": now(device) - started}

    return infer


def now(device: str) -> float:
    """Seconds of the clock, once a GPU has done all that it was asked for."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
