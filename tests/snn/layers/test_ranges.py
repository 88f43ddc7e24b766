from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.errors import UserError
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.ranges import check_layer
from tests.snn.nets import STACKS, converted


@given(
    name=st.sampled_from(sorted(STACKS)),
    window=st.integers(1, 32),
    start=st.sampled_from([0.0, 0.5, 0.9]),
    channelwise=st.booleans(),
    schedule=st.sampled_from(["pipelined", "layer-by-layer"]),
    bits=st.sampled_from([None, 2, 4, 8, 16]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    later=st.sampled_from([1, 7, 32]),
)
def test_whatever_conversion_makes_is_taken(name, window, start, channelwise, schedule, bits, scale, later):
    build, shape = STACKS[name]
    analog, stack = build(), build()
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    for own in (analog, stack):
        own.layers[0].affine.weight.data *= scale
    converted(stack, x, window, start, channelwise, schedule, bits)
    for layer, before in zip(stack.layers, analog.layers, strict=True):
        check_layer(layer, before)
    stack.set_window(later)
    for layer, before in zip(stack.layers, analog.layers, strict=True):
        check_layer(layer, before)


def spiking(bits=None):
    build, shape = STACKS["skipping-conv1d"]
    analog, stack = build(), build()
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    return analog, converted(stack, x, 8, 0.5, weight_bits=bits)


def set_to(value, at=(0,)):
    def change(tensor):
        tensor.view(-1)[list(at)] = value
        return tensor

    return change


DAMAGE = {
    "threshold of none": (1, "threshold", lambda x: x[:0], "shape"),
    "one threshold for all": (1, "threshold", lambda x: x[:1], "shape"),
    "threshold of zero": (1, "threshold", set_to(0), "at least 1 quantum, not 0"),
    "threshold below zero": (0, "threshold", set_to(-5), "at least 1 quantum, not -5"),
    "threshold of the readout": (3, "threshold", set_to(0), "at least 1 quantum"),
    "threshold too large": (1, "threshold", set_to(2**23), "2\\^24"),
    "threshold too large to be charged": (0, "threshold", set_to(2**22), "2\\^24"),
    "start below zero": (1, "initial_potential", set_to(-1), "initial potential"),
    "start above the threshold": (2, "initial_potential", lambda x: x + 2**23, "initial potential"),
    "another start": (1, "initial_potential", lambda x: x // 2, "not 0.5 thresholds"),
    "step of three": (1, "quantum", set_to(3.0), "power of two"),
    "step of zero": (1, "quantum", set_to(0.0), "power of two"),
    "step below zero": (1, "quantum", set_to(-0.5), "power of two"),
    "step that is no number": (1, "quantum", set_to(float("nan")), "power of two"),
    "step without end": (3, "quantum", set_to(float("inf")), "power of two"),
    "step too small": (0, "quantum", set_to(2.0**-140), "power of two"),
    "step too large": (0, "quantum", set_to(2.0**70), "power of two"),
    "weights of few rows": (1, "weight", lambda x: x[:, :1], "weight has the shape"),
    "weights of many rows": (0, "weight", lambda x: x.repeat(2, 1, 1), "shape"),
    "weight of another type": (1, "weight", lambda x: x.float(), "float32"),
    "weight too large": (1, "weight", set_to(2**22), "2\\^24"),
    "weight that has no magnitude": (1, "weight", set_to(-(2**31)), "2\\^24"),
    "bias too large": (1, "bias", set_to(-(2**22)), "2\\^24"),
    "bias of the readout too large": (3, "bias", set_to(2**22), "2\\^24"),
    "shortcut too large": (1, "shortcut", set_to(2**22), "2\\^24"),
    "shortcut of another shape": (1, "shortcut", lambda x: x.repeat(1, 2), "shortcut has the shape"),
    "weight that is no number": (0, "weight", set_to(float("nan")), "not below"),
    "weight without end": (0, "weight", set_to(float("inf")), "not below"),
    "weight beside its steps": (0, "weight", set_to(1e-7), "whole number of steps"),
    "bias without end": (0, "bias", set_to(float("-inf")), "not below"),
    "bias beside its steps": (0, "bias", set_to(1e-12), "whole number"),
}


@pytest.mark.parametrize("position, name, change, message", DAMAGE.values(), ids=DAMAGE)
def test_whatever_conversion_does_not_make_is_refused(position, name, change, message):
    analog, stack = spiking()
    layer = deepcopy(stack.layers[position])
    check_layer(layer, analog.layers[position])
    setattr(layer, name, change(getattr(layer, name).clone()))
    with pytest.raises(UserError, match=message):
        check_layer(layer, analog.layers[position])


def test_weights_have_so_many_bits():
    _, stack = spiking(bits=4)
    layer = stack.layers[1]
    assert layer.weight.abs().max() <= 7
    layer.weight.view(-1)[0] = 8
    with pytest.raises(UserError, match="does not fit in 4 bits"):
        check_layer(layer)


def test_a_damaged_layer_is_named_when_a_stack_is_restored():
    analog, stack = spiking()
    tensors = stack.state_dict()
    tensors["layers.2.threshold"] = tensors["layers.2.threshold"] * 0
    with pytest.raises(UserError, match="layer 2: a threshold is at least 1 quantum"):
        analog.restore(4, Dynamics(8, 0.5), tensors)


def test_a_first_neuron_without_synapses_keeps_its_bias():
    build, shape = STACKS["conv1d"]
    stack = build()
    with torch.no_grad():
        stack.layers[0].affine.weight[0], stack.layers[0].norm.running_mean[0], stack.layers[0].norm.bias[0] = 0, 0, 0.25
    converted(stack, torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)), 8, 0.5)
    assert stack.layers[0].bias[0] == 0.25
    check_layer(stack.layers[0])
