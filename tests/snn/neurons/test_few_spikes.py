"""Few-spikes neurons: binary digits by hand, and integrate-and-fire neurons of as many levels beside them."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.signal import Signal
from separator.snn.learning.rules import LearningOptions
from separator.snn.neurons.few_spikes import FewSpikes
from separator.snn.observe.activity import record_activity
from separator.snn.observe.report import agreement
from separator.snn.spikes.trains import joined
from separator.snn.spikes.weighted import WeightedSpikes
from separator.snn.stack.stack import Stack
from separator.snn.stack.streaming import StackStream
from tests.snn.nets import STACKS, check_fires_as_defined

charges = st.lists(st.integers(-3000, 3000), min_size=1, max_size=20)


def dynamics(window, initial_potential=0.5, weight_bits=None):
    return Dynamics(window, initial_potential, "layer-by-layer", weight_bits, neuron="few-spikes")


@given(charges, st.integers(1, 7), st.integers(1, 200), st.integers(0, 200))
def test_fires_the_binary_digits_of_whole_thresholds(charge, window, threshold, initial):
    """Step by step and at once, against Python's own digits."""
    initial = min(initial, threshold)
    neuron = FewSpikes().of_window(window)
    numbers = {"threshold": torch.tensor([threshold]), "initial_potential": torch.tensor([initial])}
    first = torch.tensor(charge)
    spikes, state = neuron.run([first, *[torch.zeros_like(first)] * (window - 1)], numbers)
    wanted = [min(max((one + initial) // threshold, 0), 2**window - 1) for one in charge]
    digits = [[int(digit) << (window - 1 - t) for t, digit in enumerate(f"{one:0{window}b}")] for one in wanted]
    assert spikes.trains().T.tolist() == digits
    assert spikes.values.tolist() == neuron.settle(first.float(), numbers, window).tolist() == wanted
    assert spikes.events.tolist() == [one.bit_count() for one in wanted]
    assert spikes.events_by_step().tolist() == np.count_nonzero(digits, 0).tolist()
    assert state.v.tolist() == [c + initial - n * threshold for c, n in zip(charge, wanted, strict=True)]
    assert neuron.bits == 1 and neuron.limits(window) == (0, 2**window - 1)


@given(st.lists(st.integers(0, 127), min_size=2, max_size=12))
def test_trains_are_joined_cut_and_packed(sums):
    spikes = WeightedSpikes.in_front(torch.tensor(sums)[None], 7)
    assert torch.equal(WeightedSpikes.pack(spikes.trains()).values, spikes.values)
    cut = [spikes.each(lambda part: part[:, :1]), spikes.each(lambda part: part[:, 1:])]
    assert torch.equal(joined(cut, 1).trains(), spikes.trains())


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("window", [1, 3, 7])
@pytest.mark.parametrize("kind", STACKS)
def test_every_execution_fires_what_the_definition_says(kind, window, bits):
    build, shape = STACKS[kind]
    stack, x = build(), torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    stack.convert(x, dynamics(window, weight_bits=bits), 99.0, channelwise=True)
    trains = check_fires_as_defined(stack, x, ("fastest", "dense", "event-driven", "row-adding"))
    for t in range(window):
        assert all(set(np.unique(train[t])) <= {0, 2 ** (window - 1 - t)} for train in trains[:-1])
    assert stack.latency == window * (len(stack.layers) - 1)


@pytest.mark.parametrize("window", [1, 2, 4])
def test_its_steps_say_what_integrate_and_fire_neurons_say_in_two_to_their_number(window):
    """Networks without constant currents, which are rounded to a share for each step: the same sums, with fewer spikes."""
    torch.manual_seed(0)
    x, outputs, activities = torch.randn(20, 6), [], []
    for options in (Dynamics(2**window - 1, 0.5, "layer-by-layer"), dynamics(window)):
        torch.manual_seed(3)
        stack = Stack([AnalogLayer(nn.Linear(a, b, bias=False)) for a, b in pairwise((6, 30, 30, 4))]).eval()
        stack.convert(x, options, 99.0, channelwise=True)
        with record_activity(stack) as activity:
            outputs.append(stack(x))
        activities.append(activity)
    assert torch.equal(*outputs) and outputs[0].any()
    rate, few = activities
    assert few.spikes == rate.spikes if window == 1 else few.spikes < rate.spikes
    assert few.synaptic_operations == sum(layer.spikes * fan for layer, fan in zip(few.layers, (30, 4), strict=False))


def test_a_stream_gives_what_the_whole_gives():
    torch.manual_seed(0)
    layers = [AnalogLayer(nn.Conv2d(3 if i == 0 else 5, 5, (1, 3), padding=(0, 1), bias=False)) for i in range(3)]
    stack = Stack(layers).eval()
    x = torch.randn(2, 3, 1, 40)
    stack.convert(x, dynamics(4), 99.0, channelwise=True)
    whole = stack(x)
    for live in (False, True):
        stream = StackStream(stack, live)
        pieces = [stream.push(piece, last=i == 7) for i, piece in enumerate(x.split(5, -1))]
        assert torch.equal(torch.cat([piece for piece in pieces if piece is not None], -1), whole)


def test_another_window_keeps_the_upper_bounds():
    stack, x = STACKS["conv1d"][0](), torch.randn(3, 3, 11, generator=torch.Generator().manual_seed(1))
    analog = stack(x).detach()
    stack.convert(x, dynamics(7), 100.0)
    errors = []
    for window in (7, 4, 2):
        stack.set_window(window)
        assert stack.layers[1].window == window
        errors.append(float((stack(x) - analog).norm() / analog.norm()))
        check_fires_as_defined(stack, x, ("fastest",))
    assert errors[0] < errors[1] / 4 < errors[2] / 8
    with pytest.raises(UserError, match="1 to 7 steps, not 8"):
        stack.set_window(8)


def test_the_largest_train_of_a_report_is_one_of_spikes_at_every_step():
    stack, x = STACKS["conv1d"][0](), torch.randn(3, 3, 11, generator=torch.Generator().manual_seed(1))
    twin = deepcopy(stack.layers[0])
    stack.convert(x, dynamics(4), 90.0)
    found = agreement(twin, stack.layers[0], [(Signal(x), None)])
    assert found["largest"] == 1 and found["saturated"] > 0
    assert found["highest"] == 1


def test_learns_in_tandem_and_is_frozen_as_it_was():
    torch.manual_seed(0)
    config = TasNetConfig(filters=16, filter_length=8, channels=8, dilations=(1, 2), look_back=(4,), skips=True)
    network, wave = TasNet(config), torch.randn(2, 800)
    network.eval()(wave)
    seen = []
    handle = network.stack.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(wave)
    handle.remove()
    network.stack.couple(seen[0], dynamics(3), "tandem", LearningOptions(True, batch_statistics=True), 99.0, True)
    network.train()(wave).square().mean().backward()
    gains = [layer.gain.grad for layer in network.stack.layers[:-1]]
    assert all(gain is not None and gain.abs().sum() > 0 for gain in gains)
    learned = network.eval()(wave)
    network.stack.freeze()
    assert torch.equal(network(wave), learned)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 8, "schedule": "layer-by-layer"}, "1 to 7 steps, not 8"),
        ({"window": 4}, "give the schedule layer-by-layer$"),
        ({"window": 4, "schedule": "layer-by-layer", "coding": "constant"}, "and the coding charge$"),
        ({"window": 4, "schedule": "layer-by-layer", "neuron_options": {"window": 4}}, "window"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        Dynamics(neuron="few-spikes", **options)
