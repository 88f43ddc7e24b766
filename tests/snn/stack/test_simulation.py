import copy

import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.snn.stack.stack import Stack
from tests.snn.nets import STACKS

RUNS = {
    "pipelined": {},
    "layer-by-layer": {"schedule": "layer-by-layer"},
    "weights of 8 bits": {"weight_bits": 8},
    "weights of 8 bits, layer-by-layer": {"weight_bits": 8, "schedule": "layer-by-layer"},
    "two thresholds": {"neuron": "double-threshold"},
    "coefficients": {"neuron": "augmented"},
    "coefficients, layer-by-layer": {"neuron": "augmented", "schedule": "layer-by-layer"},
    "spikes as input": {"neuron": "leaky", "coding": "poisson"},
    "many steps": {"window": 40, "coding": "constant"},
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("kind", ["linear", "skipping-conv2d"])
def test_no_items_have_outputs_of_the_same_shape(kind, options, threads):
    build, shape = STACKS[kind]
    stack, half = build(), build()
    x, none = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)), torch.empty(0, *shape)
    outputs = stack(x).shape[1:]
    stack.convert(x, Dynamics(**{"window": 8} | options))
    half.layers[0] = stack.layers[0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name in ("fastest", "dense", "event-driven", "row-adding"):
            with execution(name), record_activity(stack) as activity:
                assert stack(none).shape == (0, *outputs)
            assert activity.layers[1].window == stack.dynamics.window
            assert activity.spikes == activity.synaptic_operations == activity.macs == activity.layers[0].neurons == 0
        if stack.dynamics.window <= 32:
            assert half(none).shape == (0, *outputs)
    finally:
        torch.set_num_threads(before)


FLAT = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
AVERAGED = (*FLAT[:2], nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
POOLED = (*FLAT[:2], nn.AvgPool2d((2, 1)), nn.AvgPool2d((1, 2)), nn.Conv2d(4, 2, 3, padding=1))
ROW = (nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Conv1d(4, 2, 5))
DENSE = (nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
# Layers, a shape that they are converted on, another one, and what is said of that.
OTHER_SIZES = [
    (FLAT, (3, 4, 4), (1, 3, 5, 5), "layer 1: Linear sees input of 1x4x5x5, and takes 64 features, not 100"),
    (FLAT, (3, 4, 4), (1, 3, 60, 60), "layer 1: Linear sees input of 1x4x60x60, and takes 64 features, not 14400"),
    (FLAT, (3, 4, 4), (2, 4, 4, 4), "layer 0: Conv2d sees input of 2x4x4x4, and takes 3 channels, not 4"),
    (FLAT, (3, 4, 4), (3, 4, 4), "layer 0: Conv2d sees input of 3x4x4, and is converted on 4 dimensions, batch first"),
    (AVERAGED, (3, 4, 4), (1, 3, 8, 8), "layer 1: Linear sees input of 1x4x8x8, and takes 64 features, not 256"),
    (POOLED, (3, 8, 8), (1, 3, 9, 9), "layer 1: Conv2d sees input of 1x4x9x9, .* without a rest, not 9x9 by 2x2"),
    (AVERAGED, (3, 4, 4), (4, 3, 1, 16), "layer 1: Linear sees input of 4x4x1x16, .* without a rest, not 1x16 by 2x2"),
    (ROW, (3, 9), (1, 3, 6), "layer 1: Conv1d sees input of 1x4x4, and its kernel of 5 does not fit into that"),
    (DENSE, (6,), (4, 7), "layer 0: Linear sees input of 4x7, and takes 6 features, not 7"),
    (DENSE, (6,), (4, 1, 6), "layer 0: Linear sees input of 4x1x6, and is converted on 2 dimensions, batch first"),
    (DENSE, (6,), (4, 6, 1), "layer 0: Linear sees input of 4x6x1, and is converted on 2 dimensions, batch first"),
    (DENSE, (6,), (6,), "layer 0: Linear sees input of 6, and is converted on 2 dimensions, batch first"),
]


@pytest.mark.parametrize(("modules", "shape", "other", "reason"), OTHER_SIZES)
def test_input_of_sizes_that_a_layer_does_not_take_is_refused_in_every_execution(modules, shape, other, reason):
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    for options in ({}, {"neuron": "leaky"}, {"schedule": "layer-by-layer"}, {"window": 40, "coding": "constant"}):
        stack = Stack(layers_of(copy.deepcopy(modules))).eval()
        stack.convert(x, Dynamics(**{"window": 8} | options), rule="percentile")
        for name in ("fastest", "dense", "event-driven", "row-adding"):
            with execution(name), pytest.raises(UserError, match=reason):
                stack(torch.ones(other))
        assert stack(x).shape == (8, *nn.Sequential(*modules)(x).shape[1:])
        if options.get("window", 8) == 8 and "neuron" not in options:
            stack.unfreeze()
            with pytest.raises(UserError, match=reason):
                stack(torch.ones(other))


def test_dropout_before_a_linear_layer_lets_no_more_dimensions_through():
    modules = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(), nn.Linear(6, 2)]
    with pytest.raises(UserError, match="layer 1: Linear sees input of 5x4x6x6, and is converted on 2 dimensions"):
        Stack(layers_of(modules)).convert(torch.randn(5, 3, 6, 6), Dynamics(8))


def test_pictures_of_another_form_with_as_many_positions_are_taken_as_the_analog_network_takes_them():
    stack, x = Stack(layers_of(copy.deepcopy(FLAT))).eval(), torch.rand(8, 3, 4, 4)
    expected = stack(x.view(8, 3, 2, 8)).detach()
    stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), percentile=100.0)
    assert (stack(x.view(8, 3, 2, 8)) - expected).norm() < 0.1 * expected.norm()
