from itertools import pairwise

import pytest
import torch
from torch import nn

from separator.snn.integers.quanta import EXACT
from separator.snn.layers import rounding
from separator.snn.layers.analog import layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.ranges import check_layer
from separator.snn.layers.rounding import FEW, charge_ceiling
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.neurons.neuron import Neuron
from separator.snn.stack.stack import Stack
from tests.snn.nets import check_fires_as_defined


def network(widths, activation=nn.ReLU):
    """Linear layers whose weights are positive, so that charges are as large as they can be."""
    modules = []
    for inputs, outputs in pairwise(widths):
        modules += [nn.Linear(inputs, outputs, bias=False), activation()]
        nn.init.uniform_(modules[-2].weight, 0.5, 1.5)
    return Stack(layers_of(modules[:-1]), "potential").eval()


@pytest.mark.parametrize("coding", ["charge", "poisson"])
@pytest.mark.parametrize("neuron", ["augmented", "path-independent"])
@pytest.mark.parametrize("activation", [nn.ReLU, lambda: nn.LeakyReLU(2.0**-7)])
@pytest.mark.parametrize("inputs", [1, 8, 64])
def test_registers_hold_all_that_layers_wait_for(coding, neuron, activation, inputs):
    torch.manual_seed(0)
    stack, x = network((inputs, inputs, inputs, 2), activation), torch.rand(4, inputs) + 0.5
    stack.convert(x, Dynamics(32, neuron=neuron, schedule="layer-by-layer", coding=coding), 100.0)
    check_fires_as_defined(stack, x, ("fastest", "dense"))
    check_fires_as_defined(stack, 4 * x, ("fastest", "dense"))


@pytest.mark.parametrize("schedule", ["layer-by-layer", "pipelined"])
@pytest.mark.parametrize("neuron", ["augmented", "path-independent"])
def test_few_neurons_have_finer_weights(schedule, neuron, monkeypatch):
    """Charges of all coefficients, the largest included, still add up exactly."""
    quanta, x = [], torch.rand(4, 40) + 0.5
    for few in (FEW, 0):
        monkeypatch.setattr(rounding, "FEW", few)
        torch.manual_seed(0)
        stack = network((40, FEW + 1, FEW, 2))
        stack.convert(x, Dynamics(8, neuron=neuron, schedule=schedule, coding="constant"), 100.0)
        check_fires_as_defined(stack, x, ("fastest", "dense"))
        check_fires_as_defined(stack, 16 * x, ("fastest", "dense"))
        quanta.append([layer.quantum for layer in stack.spiking_layers()])
    narrow, usual = quanta
    assert torch.equal(narrow[0], usual[0])
    assert all(bool((fine <= coarse).all()) for fine, coarse in zip(narrow, usual, strict=True))
    if schedule == "pipelined":  # registers of layers that wait are as full as can be
        assert bool((narrow[1] < usual[1]).all())


@pytest.mark.parametrize("neuron", ["augmented", "path-independent"])
def test_weights_of_spikes_of_any_size_have_the_bits_asked_for(neuron):
    """Sums that 24 bits do not hold add up exactly all the same."""
    x = torch.rand(4, 40) + 0.5
    for bits in (4, 8, 12, 16):
        torch.manual_seed(0)
        stack = network((40, 100, 80, 2))
        stack.convert(x, Dynamics(8, neuron=neuron, coding="constant", weight_bits=bits), 100.0)
        for layer in stack.spiking_layers()[1:]:
            assert 2 ** (bits - 2) <= int(layer.weight.abs().amax(1).min())
            assert int(layer.weight.abs().max()) < 2 ** (bits - 1)
        check_fires_as_defined(stack, x, ("fastest", "dense"))
        check_fires_as_defined(stack, 64 * x, ("fastest", "dense"))


@pytest.mark.parametrize("schedule", ["layer-by-layer", "pipelined"])
@pytest.mark.parametrize("neuron", ["augmented", "path-independent"])
def test_weights_of_a_layer_that_is_read_do_not_depend_on_the_unit_of_its_outputs(schedule, neuron):
    weights, x = [], torch.rand(4, 40) + 0.5
    for scale in (1.0, 2.0**-10):
        torch.manual_seed(0)
        stack = network((40, 60, 50))
        with torch.no_grad():
            stack.layers[-1].affine.weight *= scale
        stack.convert(x, Dynamics(32, neuron=neuron, schedule=schedule, weight_bits=12), 100.0)
        check_fires_as_defined(stack, 4 * x, ("fastest", "dense"))
        weights.append(stack.spiking_layers()[-1].weight)
    assert torch.equal(*weights) and int(weights[0].abs().amax(1).min()) >= 2**10


def test_quanta_that_were_chosen_as_if_nothing_leaked_are_taken():
    """Charges of such layers go as far as 24 bits do; new ones have quanta for all that is told apart."""
    dynamics = Dynamics(32, neuron="leaky", neuron_options={"leak": 0.9})
    stack = network((3, 3, 2))
    stack.convert(torch.rand(4, 3), dynamics, 100.0)
    layer, neuron = stack.layers[0], dynamics.model
    assert torch.equal(charge_ceiling(neuron, layer.numbers, dynamics), neuron.reach(layer.numbers, 32))
    check_layer(layer)
    finer = {name: x * (2**22 // (33 * int(layer.threshold[0]))) for name, x in layer.numbers.items()}
    old = SpikingLayer(layer.apply_affine, "encode", layer.weight, layer.bias, finer, layer.quantum, dynamics)
    assert bool((neuron.reach(finer, 32) + finer["threshold"] > EXACT).all())
    assert bool((charge_ceiling(neuron, finer, dynamics) > Neuron.reach(neuron, finer, 32)).all())
    assert bool((charge_ceiling(neuron, finer, dynamics) + finer["threshold"] <= EXACT / 2).all())
    check_layer(old)
