from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.export.spikingjelly import SpikingJellyStack
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.fold import folded
from separator.snn.layers.signal import Signal
from separator.snn.learning.tandem import TandemLayer
from separator.snn.observe.activity import record_activity
from separator.snn.stack import reference
from separator.snn.stack.stack import Stack, outcomes
from separator.snn.synapses.absorb import register_absorbed
from tests.snn.nets import randomised

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

# What stands before a layer of an image of 3 channels, 12 x 8 positions.
FRONTS = {
    "average": lambda: ([nn.AvgPool2d(2)], nn.Conv2d(3, 4, 3, padding=1)),
    "average in strips": lambda: (
        [nn.AvgPool2d((3, 1))],
        nn.Conv2d(3, 4, (2, 3), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    ),
    "averages of averages": lambda: ([nn.AvgPool2d(2), nn.Identity(), nn.AvgPool2d((1, 4))], nn.Conv2d(3, 4, 1)),
    "average padded more behind": lambda: ([nn.AvgPool2d(2)], nn.Conv2d(3, 4, 2, padding="same")),
    "flat": lambda: ([nn.Flatten()], nn.Linear(3 * 12 * 8, 4)),
    "flat average": lambda: ([nn.AvgPool2d((4, 2)), nn.Dropout(), nn.Flatten()], nn.Linear(3 * 3 * 4, 4)),
    "dropout": lambda: ([nn.Dropout(0.5)], nn.Conv2d(3, 4, 3, stride=2, padding=1)),
}


def front_layer(name, **options):
    torch.manual_seed(0)
    before, affine = FRONTS[name]()
    return AnalogLayer(affine, before=before, **options).eval()


@pytest.mark.parametrize("name", sorted(FRONTS))
def test_absorbed_layers_and_affine_one_are_one_map(name):
    layer = front_layer(name).double()
    x = torch.randn(2, 3, 12, 8, dtype=torch.float64)
    expected = layer.preactivation(x)
    weight, bias = folded(layer)
    torch.testing.assert_close(layer.synapses(x, weight, bias), expected)
    if layer.synapses.kind is nn.Conv2d:
        assert layer.synapses.outputs(x.shape[2:], weight.shape[2:]) == list(expected.shape[2:])


def test_averages_in_one_dimension():
    layer = AnalogLayer(nn.Conv1d(3, 4, 3, padding=2, dilation=2), before=[nn.AvgPool1d(3)])
    x = torch.randn(2, 3, 12)
    expected = layer.preactivation(x)
    torch.testing.assert_close(layer.synapses(x, *folded(layer)), expected)
    flat = AnalogLayer(nn.Linear(3 * 4, 4), before=[nn.AvgPool1d(3), nn.Flatten()])
    expected = flat.preactivation(x)
    torch.testing.assert_close(flat.synapses(x, *folded(flat)), expected)


def test_sizes_of_averages_may_be_lists():
    lists, tuples = (AnalogLayer(nn.Conv2d(3, 4, 1), before=[nn.AvgPool2d(kind((3, 2)))]) for kind in (list, tuple))
    assert lists.synapses == tuples.synapses
    x = torch.randn(2, 3, 12, 8)
    expected = lists.preactivation(x)
    torch.testing.assert_close(lists.synapses(x, *folded(lists)), expected)


def test_gradients_reach_the_weights_of_averages():
    layer = front_layer("flat average")
    layer.preactivation(torch.randn(1, 3, 12, 8))
    folded(layer)[0].sum().backward()
    torch.testing.assert_close(layer.affine.weight.grad, torch.ones_like(layer.affine.weight))


def image_stack(front, window, schedule="pipelined", channelwise=False, bits=None):
    torch.manual_seed(0)
    before, affine = FRONTS[front]()
    modules = [nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), *before, affine, nn.ReLU()]
    position = 4 if isinstance(affine, nn.Linear) else affine(nn.Sequential(*before).eval()(torch.zeros(1, 3, 12, 8))).numel()
    modules += [nn.Linear(4, 5)] if isinstance(affine, nn.Linear) else [nn.Dropout(), nn.Flatten(), nn.Linear(position, 5)]
    stack = Stack([randomised(layer) for layer in layers_of(modules)]).eval()
    x = torch.randn(3, 2, 12, 8)
    analog = stack(x)
    stack.convert(x, Dynamics(window, 0.5, schedule, bits), 99.0, channelwise)
    return stack, x, analog


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
@pytest.mark.parametrize("front", sorted(FRONTS))
def test_spikes_through_absorbed_layers_equal_the_reference(front, schedule):
    stack, x, _ = image_stack(front, 5, schedule, channelwise=True, bits=8)
    expected = reference.simulate(stack.spiking_layers(), x)
    step = stack.spiking_layers()[-1].quantum.double().numpy()
    assert (stack(x).double().numpy() == expected * step).all()


@pytest.mark.parametrize("front", sorted(FRONTS))
def test_absorbed_layers_are_exported_and_tuned(front):
    stack, x, _ = image_stack(front, 5)
    expected = stack(x)
    assert torch.equal(SpikingJellyStack(stack)(x), expected)
    stack.unfreeze()
    assert torch.equal(stack(x), expected)


@pytest.mark.parametrize("front", sorted(FRONTS))
def test_many_steps_come_near_the_analog_network(front):
    stack, x, analog = image_stack(front, 32, "layer-by-layer")
    assert analog.min() < 0  # the last layer has no ReLU
    assert (stack(x) - analog).norm() < 0.2 * analog.norm()


def test_multiply_accumulates_are_those_of_the_averaged_input():
    stack, x, _ = image_stack("average", 4)
    with record_activity(stack) as activity:
        stack(x)
    spiking = activity.layers[1]
    rows, columns = 3 * 6 - 2, 3 * 4 - 2  # taps within 6 rows and 4 columns of averages, one more on either side being zero
    assert spiking.macs == len(x) * 3 * 4 * rows * columns
    inputs = outcomes(stack, x)[0]
    counts = sum((inputs >> t & 1) for t in range(4)).sum((0, 1))
    taps = torch.tensor([2, 2, *[3] * 8, 2, 2])[:, None] * torch.tensor([2, 2, *[3] * 4, 2, 2])
    assert spiking.synaptic_operations == int((counts * taps).sum()) * 4


def test_dropout_is_gone_once_a_layer_is_in_tandem():
    layer = TandemLayer(front_layer("dropout"), "encode", torch.ones(1), Dynamics(4)).train()
    x = torch.randn(2, 3, 12, 8)
    assert torch.equal(layer(Signal(x)).activation, layer(Signal(x)).activation)
    assert front_layer("dropout").train().before.training


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(1, 3))
def test_averages_before_any_convolution(pool, kernel, padding, stride, dilation):
    layer = AnalogLayer(nn.Conv2d(1, 2, kernel, stride, padding, dilation), before=[nn.AvgPool2d(pool)])
    x = torch.randn(1, 1, 12, 24)
    expected = AnalogLayer.preactivation(layer, x) if (kernel - 1) * dilation < 12 // pool + 2 * padding else None
    if expected is not None:
        torch.testing.assert_close(layer.synapses(x, *folded(layer)), expected)


@pytest.mark.parametrize(
    ("before", "affine", "reason"),
    [
        ([nn.AvgPool2d(3, stride=2)], nn.Conv2d(3, 4, 3), "without overlap"),
        ([nn.AvgPool2d(2, padding=1)], nn.Conv2d(3, 4, 3), "without overlap, padding"),
        ([nn.AvgPool2d(2, ceil_mode=True)], nn.Conv2d(3, 4, 3), "ceil_mode"),
        ([nn.AvgPool1d(2)], nn.Conv2d(3, 4, 3), "1 dimensions of 2"),
        ([nn.Flatten()], nn.Conv2d(3, 4, 3), "for a Linear layer"),
        ([nn.Flatten(2)], nn.Linear(3, 4), "all but the batch"),
        ([nn.AvgPool2d(2)], nn.Linear(3, 4), "if Flatten stands between"),
        ([nn.MaxPool2d(2)], nn.Linear(3, 4), "MaxPool2d.* cannot stand before Linear.*: pool averages"),
        ([nn.Softmax(1)], nn.Linear(3, 4), "Softmax.* cannot stand before Linear.*: .*register_absorbed"),
    ],
)
def test_what_cannot_be_absorbed_is_refused_beforehand(before, affine, reason):
    with pytest.raises(ValueError, match=reason):
        AnalogLayer(affine, before=before)


def test_a_rest_of_averages_is_refused():
    layer = front_layer("average")
    with pytest.raises(ValueError, match="seen no input yet"):
        folded(layer)
    layer.preactivation(torch.randn(1, 3, 12, 9))
    with pytest.raises(UserError, match=r"AvgPool2d.* without a rest, not 12x9 by 2x2"):
        folded(layer)
    stack = Stack(layers_of([nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(3, 4, 1)]))
    with pytest.raises(UserError, match=r"layer 1: Conv2d sees input of 1x3x6x5, .* without a rest, not 6x5 by 2x2"):
        stack.convert(torch.rand(1, 2, 6, 5), Dynamics(4))


def test_positions_behind_layers_of_ones_own_are_not_those_of_the_input():
    """An input of 7x7, which a pool of 2 does not divide, once its layer before has put a row and a column of zeros there."""

    class Framed(nn.ZeroPad2d):
        pass

    def map_of(layer, apply):
        return replace(apply, padding=tuple((before + 1, after) for before, after in apply.padding))

    register_absorbed(Framed, map_of, lambda layer, apply, weight, shape: weight)
    modules = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), Framed((1, 0, 1, 0)), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3)]
    stack, x = Stack(layers_of(modules)).eval(), torch.rand(3, 2, 7, 7)
    expected = stack(x).detach()
    stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), percentile=100.0)
    assert (stack(x) - expected).norm() < 0.1 * expected.norm()


class Negated(nn.Module):
    def forward(self, x):
        return -x


def test_users_register_layers_of_their_own():
    with pytest.raises(ValueError, match="register_absorbed"):
        layers_of([Negated(), nn.Linear(2, 2)])
    register_absorbed(Negated, lambda module, apply: apply, lambda module, apply, weight, shape: -weight)
    (layer,) = layers_of([Negated(), nn.Linear(2, 3)])
    x = torch.randn(4, 2)
    expected = layer.preactivation(x)
    torch.testing.assert_close(layer.synapses(x, *folded(layer)), expected)
