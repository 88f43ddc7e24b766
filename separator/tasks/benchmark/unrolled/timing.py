"""Memory and time of one step of learning, of a network with random weights."""

import time
from collections.abc import Callable
from typing import Any

import torch

from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.stdb.options import StdbOptions
from separator.tasks.benchmark.measurement import LONG, BenchmarkCase
from separator.tasks.benchmark.memory import working_memory
from separator.tasks.benchmark.unrolled.lessons import make_lesson
from separator.tasks.benchmark.unrolled.ways import parse_trained

MOST_ROUNDS = 5
RULES = {"unrolled": "surrogate", "bits": "stdb", "blocks": "stdb", "tandem": "tandem"}


def measure_unrolled(case: BenchmarkCase) -> dict[str, Any]:
    """Measure one step of learning of `WAY:NETWORK@STEPS`, on the CPU, in this process.

    A step is the way forward with the loss, the way back and Adam's. The same batch is learned from again and again: the first
    time for all that is allocated once, the second for the memory beyond that, and then for the time.

    Returns:
        Fields of a `Measurement`: `elapsed` and its parts `forward`, `backward` and `optimiser`; `working`.

    Raises:
        UserError: there is no such network.
    """
    step = _step(case)
    step()
    working = working_memory(step)
    times = [step()]
    while len(times) < MOST_ROUNDS and sum(map(sum, times)) < LONG:
        times.append(step())
    forward, backward, optimiser = min(times, key=sum)
    parts = {"forward": forward, "backward": backward, "optimiser": optimiser}
    return {"elapsed": forward + backward + optimiser, "working": working} | parts


def _step(case: BenchmarkCase) -> Callable[[], tuple[float, float, float]]:
    """One step of learning, which gives back the seconds of its parts."""
    way, name, steps = parse_trained(case.system)
    torch.manual_seed(0)
    network, seen, loss_of_batch = make_lesson(name, case.batch or 1, case.seconds)
    if way in RULES:
        options = LearningOptions(stdb=StdbOptions("linear" if way == "blocks" else "stdb"))
        dynamics = Dynamics(steps or 1, coding="constant")
        network.eval().stack.couple(seen, dynamics, RULES[way], options, 100.0)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-6)

    def step() -> tuple[float, float, float]:
        marks = [time.perf_counter()]
        optimiser.zero_grad()
        loss = loss_of_batch()
        marks.append(time.perf_counter())
        loss.backward()  # type: ignore[no-untyped-call]
        marks.append(time.perf_counter())
        optimiser.step()
        marks.append(time.perf_counter())
        return marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]

    return step
