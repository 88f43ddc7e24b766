"""What is timed is what is claimed."""

import time

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

from separator.models.feedforward import FeedForward
from separator.tasks.benchmark import memory
from separator.tasks.benchmark.measurement import BenchmarkCase
from separator.tasks.benchmark.processes import measure
from separator.tasks.benchmark.unrolled import timing
from separator.tasks.benchmark.unrolled.lessons import make_lesson
from separator.tasks.benchmark.unrolled.timing import measure_unrolled
from separator.tasks.benchmark.unrolled.ways import WAYS

NETWORK = "c4-d20-a4-12-10"
NAP = 0.2  # s, much longer than anything else here takes
only_with_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def case(way, steps=4, **fields):
    return BenchmarkCase(f"{way}:{NETWORK}@{steps}" if WAYS[way].spikes else f"{way}:{NETWORK}", 0.0, 1, batch=3, **fields)


class Seen:
    """Passes of networks: their mode, what they gave back, the gradients of their weights, and the spiking layers they had."""

    def __init__(self, monkeypatch):
        self.training, self.outputs, self.spiking, self.network = [], [], [], None
        forward = FeedForward.forward

        def watched(network, x):
            output = forward(network, x)
            self.network = network
            self.training.append(network.training)
            self.outputs.append(output)
            self.spiking.append(len(network.stack.spiking_layers()))
            return output

        monkeypatch.setattr(FeedForward, "forward", watched)


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(timing, "MOST_ROUNDS", 2)
    return Seen(monkeypatch)


@pytest.mark.parametrize("way", WAYS)
def test_inference_keeps_no_graph_and_learning_does(way, seen):
    kept = []
    with saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        taken = measure_unrolled(case(way))
    infers = WAYS[way].infers
    assert len(seen.outputs) == 4  # one for what is allocated once, one for memory, two for time
    assert all(output.requires_grad is not infers for output in seen.outputs)
    assert seen.training == [not infers] * 4
    assert bool(kept) is not infers
    grown = [p for p in seen.network.parameters() if p.grad is not None]
    assert bool(grown) is not infers
    assert set(taken) == {"elapsed", "working", "forward", *(() if infers else ("backward", "optimiser"))}


@pytest.mark.parametrize(("way", "layers"), [("analog-inference", 0), ("spiking-inference", 3)])
def test_each_kind_of_network_infers_as_itself(way, layers, seen):
    measure_unrolled(case(way, steps=40))
    assert seen.spiking == [layers] * 4
    found, network = seen.outputs[0], seen.network
    torch.manual_seed(0)
    lesson = make_lesson(NETWORK, 3, 0.0)
    expected = lesson.network.eval()(lesson.items)
    likeness = F.cosine_similarity(found.flatten(), expected.flatten(), 0)
    if layers:
        assert network.stack.spiking_layers()[0].dynamics.window == 40
        assert 0.8 < likeness < 1 - 1e-6
    else:
        assert torch.equal(found, expected)


@pytest.mark.parametrize("way", ["analog", "bits", "spiking-inference"])
def test_parts_are_timed_apart(way, monkeypatch):
    """Each is made slow in turn, and it alone has become so."""
    monkeypatch.setattr(timing, "MOST_ROUNDS", 1)
    parts = {
        "forward": (FeedForward, "forward"),
        "backward": (torch.Tensor, "backward"),
        "optimiser": (torch.optim.Adam, "step"),
    }
    for slow, (owner, name) in parts.items():
        original = getattr(owner, name)

        def napping(*arguments, original=original, **options):
            time.sleep(NAP)
            return original(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, napping)
            taken = measure_unrolled(case(way))
        found = [part for part in parts if taken.get(part, 0.0) >= NAP]
        assert found == ([slow] if slow in taken else [])
        assert taken["elapsed"] == pytest.approx(sum(taken.get(part, 0.0) for part in parts))


def test_the_fastest_round_counts(monkeypatch):
    lengths = iter((1.0, 1.0, 3.0, 2.0, 4.0, 5.0, 6.0, 0.5))
    monkeypatch.setattr(timing, "_round", lambda case, device: lambda: {"forward": next(lengths)})
    assert measure_unrolled(case("analog-inference"))["elapsed"] == 2.0  # not of those before memory is known
    assert next(lengths) == 0.5  # nor of a sixth one


class Told:
    """A GPU in name only: what it is asked for, in order."""

    def __init__(self, monkeypatch):
        self.done, self.held, self.most = [], 40_000_000, 0
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: self.done.append("wait"))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: self.held)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: setattr(self, "most", self.held))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.most)


def test_a_gpu_is_waited_for_before_the_clock_is_read(monkeypatch):
    told = Told(monkeypatch)
    monkeypatch.setattr(time, "perf_counter", lambda: told.done.append("look") or 0.0)
    timing.now("cuda:0")
    assert told.done == ["wait", "look"]
    timing.now("cpu")
    assert told.done == ["wait", "look", "look"]


def test_memory_of_a_gpu_is_that_of_its_tensors(monkeypatch):
    told = Told(monkeypatch)
    told.most = 999_000_000  # of what went before
    assert memory.working_memory(lambda: setattr(told, "most", 70_000_000), "cuda") == 30
    monkeypatch.setattr(timing, "_round", lambda case, device: lambda: setattr(told, "most", 90_000_000) or {"forward": 1.0})
    taken = measure(case("analog-inference", device="cuda"))
    assert (taken["working"], taken["memory"]) == (50, 90)  # not the process's
    assert measure(case("analog-inference"))["memory"] > 90


@only_with_a_gpu
@pytest.mark.parametrize("way", WAYS)
def test_on_a_gpu(way, seen):
    taken = measure_unrolled(case(way, device="cuda"))
    assert {output.device.type for output in seen.outputs} == {"cuda"}
    assert taken["memory"] >= taken["working"] > 0 and taken["elapsed"] > 0
