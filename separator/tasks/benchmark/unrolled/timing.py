"""Memory and time of one step of learning, of a network for pictures of 32 x 32 with random weights."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from separator.errors import UserError
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.stdb.options import StdbOptions
from separator.tasks.benchmark.measurement import LONG, BenchmarkCase
from separator.tasks.benchmark.memory import working_memory
from separator.tasks.benchmark.unrolled.ways import parse_trained

SHAPE = (3, 32, 32)
MOST_ROUNDS = 5
CALIBRATION = 2  # pictures that thresholds are taken from
RULES = {"unrolled": "surrogate", "bits": "stdb", "blocks": "stdb"}


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
    network, batch = make_network(name), case.batch or 1
    pictures, labels = torch.rand(batch, *SHAPE), torch.arange(batch) % 10
    if way in RULES:
        options = LearningOptions(stdb=StdbOptions("linear" if way == "blocks" else "stdb"))
        dynamics = Dynamics(steps or 1, coding="constant")
        network.stack.couple(pictures[:CALIBRATION], dynamics, RULES[way], options, 100.0)
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-6)

    def step() -> tuple[float, float, float]:
        marks = [time.perf_counter()]
        optimiser.zero_grad()
        loss: Tensor = torch.nn.functional.cross_entropy(network(pictures), labels)
        marks.append(time.perf_counter())
        loss.backward()  # type: ignore[no-untyped-call]
        marks.append(time.perf_counter())
        optimiser.step()
        marks.append(time.perf_counter())
        return marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]

    return step


def make_network(name: str) -> FeedForward:
    """A network for ten classes of pictures of 32 x 32, without biases and batch norm, by name or layers.

    Raises:
        UserError: there is none.
    """
    try:
        return FeedForward(FeedForwardConfig(name, *SHAPE, norm=False, bias=False))
    except ValueError as error:
        raise UserError(f"no network {name} can be made: {error}") from error


def count_neurons(name: str) -> int:
    """Neurons of a network that fire, of one picture.

    Raises:
        UserError: there is no such network.
    """
    with torch.device("meta"):
        network, seen = make_network(name).eval(), []
        for layer in list(network.stack.layers)[:-1]:
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output[0].numel()))
        network(torch.empty(1, *SHAPE))
    return sum(seen)
