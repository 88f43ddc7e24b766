import numpy as np
import pytest
import torch
from torch import nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.thresholds import thresholds_in_spikes
from separator.snn.stack.graph import INPUT
from separator.snn.stack.stack import Stack
from tests.snn.stack.test_balanced import STEPS, algorithm_1, convolutions, pictures, residual, residual_algorithm


def poisson(window=STEPS):
    return Dynamics(window, neuron="leaky", coding="poisson", coding_options={"seed": 3})


@pytest.mark.parametrize("window", [STEPS, 16])
def test_they_are_those_of_the_papers_algorithm_at_any_number_of_steps(window):
    x, stack = pictures(), convolutions()
    stack.convert(x, poisson(), 100.0, rule="balanced")
    stack.set_window(window)
    *found, last = thresholds_in_spikes(stack)
    assert found == pytest.approx(algorithm_1(convolutions(), x, STEPS, 3), rel=1e-5)
    assert last is None  # it is read out


def test_those_of_blocks_are_in_the_unit_of_the_map_beside_the_shortcut():
    x, stack = pictures(), residual()
    stack.convert(x, poisson(), 100.0, rule="balanced")
    found, _ = residual_algorithm(residual(), x, STEPS, 3)
    assert found[2:] == [1.0] * 4
    assert thresholds_in_spikes(stack)[:-1] == pytest.approx(found, rel=1e-5)


def test_channels_count_alike_whatever_layer_they_are_of():
    """Seen channel behind channel, as the mean of what is seen; thresholds of channels, as theirs."""
    torch.manual_seed(0)
    sizes = [(5, 4), (4, 2), (6, 3)]
    layers = [AnalogLayer(nn.Linear(*size)) for size in [*sizes, (3, 2)]]
    for layer in layers:
        nn.init.ones_(layer.affine.bias)  # so that they are active
    stack = Stack(layers, sources=[((INPUT,),), ((0,),), ((0, 1),), ((2,),)])
    stack.convert(torch.rand(50, 5), Dynamics(8), channelwise=True)
    scales = [layer.scale.numpy() for layer in stack.spiking_layers()[:-1]]
    seen = [1 / 8, scales[0], np.concatenate(scales[:2])]
    expected = [scale.mean() / np.mean(unit) for scale, unit in zip(scales, seen, strict=True)]
    assert len(set(scales[0])) > 1 and thresholds_in_spikes(stack)[:-1] == pytest.approx(expected, rel=1e-5)


def test_networks_with_analog_layers_have_none():
    with pytest.raises(ValueError, match="wholly spiking"):
        thresholds_in_spikes(convolutions())
