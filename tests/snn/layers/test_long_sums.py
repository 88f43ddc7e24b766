"""Neurons with so many inputs that 24 bits do not hold their sums: they count in 64, and equal the reference all the same."""

import copy

import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.execution.chosen import execution
from separator.snn.export.spikingjelly import SpikingJellyStack
from separator.snn.integers.quanta import EXACT
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.ranges import check_layer
from separator.snn.layers.shapes import per_channel
from separator.snn.stack import reference
from separator.snn.stack.stack import Stack
from separator.snn.stack.streaming import StackStream

WIDE = 9000  # inputs; with weights that are alike, 24 bits hold the sums of 8 bits each over 32 steps of half as many


def alike(layer):
    """Weights of either sign, of about the same magnitude."""
    with torch.no_grad():
        layer.weight.copy_(layer.weight.sign() * torch.empty_like(layer.weight).uniform_(0.96, 0.98) / layer.weight[0].numel())
    return layer


def row(bits=None, schedule="pipelined", window=32, wide=WIDE):
    """Narrow, wide, wide beside a shortcut, and a wide readout."""
    torch.manual_seed(0)
    shortcut = AnalogLayer(alike(nn.Linear(wide, 9, bias=False)), None, activation=None)
    layers = [
        AnalogLayer(nn.Linear(4, wide)),
        AnalogLayer(alike(nn.Linear(wide, 7))),
        AnalogLayer(nn.Linear(7, wide)),
        AnalogLayer(alike(nn.Linear(wide, 9)), shortcut=shortcut),
        AnalogLayer(nn.Linear(9, wide)),
        AnalogLayer(alike(nn.Linear(wide, 3)), activation=None),
    ]
    stack, x = Stack(layers).eval(), torch.rand(2, 4)
    stack.convert(x, Dynamics(window, 0.5, schedule, bits), 100.0)
    return stack, x


def convolutions(groups=1):
    torch.manual_seed(0)
    taps = 71 * groups + groups - 1
    wide = alike(nn.Conv1d(60, 8, taps, padding=taps // 2, groups=groups))
    modules = [nn.Conv1d(2, 60, 1), nn.ReLU(), wide, nn.ReLU(), nn.Conv1d(8, 2, 1)]
    stack, x = Stack(layers_of(modules)).eval(), torch.rand(1, 2, 60)
    stack.convert(x, Dynamics(32), 100.0)
    return stack, x


def expected(stack, x):
    whole = torch.from_numpy(reference.simulate(stack.spiking_layers(), x)).double()
    return stack.read((whole * per_channel(stack.layers[-1].quantum, whole)).float())


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
@pytest.mark.parametrize("bits", [None, 8])
def test_every_execution_equals_the_reference(schedule, bits):
    stack, x = row(bits, schedule)
    assert [layer.has_long_sums for layer in stack.layers] == [False, True, False, True, False, True]
    found = stack(x)
    assert torch.equal(found, expected(stack, x)) and found.dtype == torch.float32
    for name in ("dense", "event-driven"):
        with execution(name):
            assert torch.equal(stack(x), found)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_equal_the_reference(groups):
    stack, x = convolutions(groups)
    assert stack.layers[1].has_long_sums and torch.equal(stack(x), expected(stack, x))


def test_chains_of_windows_equal_the_reference():
    stack, x = row(window=70)
    assert stack.layers[1].has_long_sums and torch.equal(stack(x), expected(stack, x))


def test_streams_are_the_whole():
    stack, x = convolutions()
    stream, pieces = StackStream(stack), []
    for at in range(0, 60, 12):
        pieces.append(stream.push(x[..., at : at + 12], at == 48))
    assert torch.equal(torch.cat([piece for piece in pieces if piece is not None], -1), stack(x))


def test_spikingjelly_fires_the_same():
    torch.manual_seed(0)
    stack = Stack(layers_of([nn.Linear(4, WIDE), nn.ReLU(), alike(nn.Linear(WIDE, 7)), nn.ReLU(), nn.Linear(7, 3)])).eval()
    x = torch.rand(2, 4)
    stack.convert(x, Dynamics(32), 100.0)
    assert stack.layers[1].has_long_sums and torch.equal(SpikingJellyStack(stack)(x), stack(x))


@pytest.mark.parametrize("bits", [None, 8])
def test_weights_have_the_bits_that_they_are_to_have(bits):
    for layer in list(row(bits)[0].layers)[1:]:
        largest = layer.weight.flatten(1).abs().amax(1)
        if layer.has_long_sums:
            assert (largest >= 64).all() and (bits is None or ((largest <= 127).all() and layer.weight.dtype == torch.int8))
        assert max(int(value.abs().max()) for value in (layer.weight, layer.bias, layer.threshold)) <= EXACT


def test_layers_thaw_and_freeze_to_the_same_numbers():
    stack, x = row(8)
    before, found = [copy.deepcopy(layer.state_dict()) for layer in stack.layers], stack(x)
    stack.unfreeze()
    stack.freeze()
    for layer, numbers in zip(stack.layers, before, strict=True):
        assert not layer.has_long_sums or all(torch.equal(value, numbers[name]) for name, value in layer.state_dict().items())
    assert torch.equal(stack.eval()(x), found)


def test_few_steps_or_inputs_need_no_long_sums():
    assert not any(layer.has_long_sums for layer in row(window=4)[0].layers)
    assert not any(layer.has_long_sums for layer in row(wide=1000)[0].layers)


def set_to(name, value):
    def change(layer):
        getattr(layer, name).view(-1)[0] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to("weight", 2**24 + 1), "a number 2\\^24"),
        (set_to("bias", -(2**30)), "a number 2\\^24"),
        (set_to("threshold", 2**25), "a number 2\\^24"),
        (lambda layer: layer.weight.fill_(2**24), "can exceed 2\\^40"),
    ],
)
def test_numbers_that_no_conversion_makes_are_refused(change, message):
    layer = copy.deepcopy(row()[0].layers[1])
    check_layer(layer)
    change(layer)
    with pytest.raises(UserError, match=message):
        check_layer(layer)


def test_long_sums_of_few_inputs_are_refused():
    layer = copy.deepcopy(row(wide=1000)[0].layers[1])
    check_layer(layer)
    layer.weight.mul_(8)
    with pytest.raises(UserError, match="potentials can exceed 2\\^24"):
        check_layer(layer)
