from fractions import Fraction
from math import floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.quantised import BOUND, QuantisedReLU, straight_through
from separator.snn.layers.spiking import SpikingLayer


@given(st.integers(1, 32), st.lists(st.integers(-900, 2000), min_size=1, max_size=30))
def test_activation_is_the_published_one(levels, numbers):
    """Eq. 11 of Bu et al. 2022 in exact arithmetic, in quarters of a step so that float32 rounds nothing."""
    step = Fraction(BOUND) / levels
    quantised = QuantisedReLU(levels).double()
    z = torch.tensor([float(step * n / 4) for n in numbers], dtype=torch.float64)
    near = 1e-9 * torch.sign(z)  # off the ties
    for n, value in zip(numbers, quantised(z + near).tolist(), strict=True):
        if n % 4 == 2:  # a tie, told apart by rounding of the division
            continue
        expected = BOUND / levels * min(max(floor(Fraction(n, 4) + Fraction(1, 2)), 0), levels)
        assert value == pytest.approx(expected, rel=1e-6)


def test_gradient_passes_within_the_bound_and_moves_it():
    quantised = QuantisedReLU(4)
    z = torch.tensor([-1.0, 0.2, 1.0, 2.9, 3.5], requires_grad=True)
    quantised(z).sum().backward()
    assert z.grad.tolist() == [0, 1, 1, 1, 0]
    # Beyond the bound an activation is the bound; below, what rounding adds grows with the step.
    rounded = torch.tensor([0.0, 0.0, 0.75, 3.0, 3.0])
    added = rounded - z.detach().clamp(0, 3)
    assert quantised.gain.grad.item() == pytest.approx(float(added[1:4].sum()) + 3, rel=1e-5)


@pytest.mark.parametrize("shape", [((3, 4, 1, 50), (1, 4, 1, 1)), ((3, 4, 50), (1,)), ((7, 5), (1, 5))], ids=str)
@pytest.mark.parametrize("limits", [(0, 4), (-3, 4)])
@pytest.mark.parametrize("given", [True, False])
def test_its_gradient_is_what_torchs_operations_make_of_it(shape, limits, given):
    torch.manual_seed(0)
    a, threshold = 3 * torch.randn(shape[0], dtype=torch.float64), torch.rand(shape[1], dtype=torch.float64) + 0.2
    counts, gradient = torch.randint(-3, 5, shape[0], dtype=torch.int8), torch.randn(shape[0], dtype=torch.float64)
    leaves = [[x.clone().requires_grad_() for x in (a, threshold)] for _ in range(2)]
    clipped = (leaves[0][0] / leaves[0][1]).clamp(*limits)
    fired = counts if given else (clipped.detach() + 0.5).floor()
    composed = leaves[0][1] * (clipped + (fired - clipped).detach())
    passed = straight_through(*leaves[1], counts if given else None, limits)
    assert torch.allclose(passed, composed, rtol=1e-12, atol=1e-12)
    for value in (composed, passed):
        value.backward(gradient)
    for expected, found in zip(*leaves, strict=True):
        assert torch.allclose(found.grad, expected.grad, rtol=1e-12, atol=1e-12)


def test_what_counts_stand_for_may_be_given():
    a = torch.tensor([0.4, 2.2], requires_grad=True)
    given = torch.tensor([7.0, 8.0])
    passed = straight_through(a, torch.ones(1), None, (0, 2), given)
    passed.backward(torch.ones(2))
    assert torch.equal(passed, given) and a.grad.tolist() == [1, 0] and not given.requires_grad


def test_a_spiking_layer_of_as_many_steps_fires_the_very_counts():
    torch.manual_seed(0)
    levels = 8
    affine = nn.Linear(6, 5)
    with torch.no_grad():
        affine.weight.copy_(torch.randint(-8, 9, affine.weight.shape) / 8)
        affine.bias.copy_(torch.randint(-8, 9, affine.bias.shape) / 8)
    layer = AnalogLayer(affine, activation=QuantisedReLU(levels))
    threshold = (layer.activation.bound / levels).detach()
    x = torch.randint(-32, 33, (500, 6)) / 16
    spiking = SpikingLayer.convert(layer, "encode", torch.ones(1), threshold, Dynamics(levels, 0.5, "layer-by-layer"))
    counts = spiking.encode(x).counts
    assert torch.equal(counts.float() * threshold, layer(x).detach())
    assert len(counts.unique()) == levels + 1


def test_layers_take_it_in_place_of_a_relu():
    layers = layers_of([nn.Linear(4, 3), nn.BatchNorm1d(3), QuantisedReLU(2), nn.Linear(3, 2)])
    assert (
        layers[0].activation.levels == 2 and layers[0].norm is not None and not isinstance(layers[1].activation, QuantisedReLU)
    )
    assert set((layers[0].eval()(torch.randn(50, 4)) / (BOUND / 2)).detach().unique().tolist()) <= {0.0, 1.0, 2.0}


def test_there_is_a_level():
    with pytest.raises(ValueError, match="at least 1 level"):
        QuantisedReLU(0)
