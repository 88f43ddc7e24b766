import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.neurons.double_threshold import Augmented, PathIndependent
from separator.snn.stack.stack import Stack
from separator.snn.thresholds import bounds as bounds_module
from separator.snn.thresholds.bounds import CANDIDATES, activation_bound, least_squares_bound, rate_bound
from separator.snn.thresholds.rules import THRESHOLDS, Observed, ThresholdOptions


@pytest.mark.parametrize("percentile", [75.0, 99.0, 99.9, 100.0])
def test_percentile_over_all_batches(percentile):
    batches = [torch.randn(4, 3, 51).relu() for _ in range(5)]
    values = torch.cat([b.flatten() for b in batches]).numpy()
    expected = np.percentile(values, percentile, method="inverted_cdf")
    assert activation_bound(batches, percentile, False).item() == pytest.approx(expected)


def test_channelwise_bounds_and_silent_channels():
    batch = torch.rand(8, 3, 100) * torch.tensor([1.0, 5.0, 0.0])[:, None]
    bounds = activation_bound([batch], 99.0, True)
    for channel in (0, 1):
        assert bounds[channel].item() == pytest.approx(
            np.percentile(batch[:, channel].numpy(), 99, method="inverted_cdf"), rel=1e-6
        )
    assert bounds[2] == activation_bound([batch], 99.0, False)


def test_very_sparse_layer_is_bounded_by_its_maximum():
    batch = torch.zeros(1, 1, 1000)
    batch[0, 0, 3] = 2.0
    assert activation_bound([batch], 99.0, False).item() == 2.0


def test_dead_layer_is_refused():
    with pytest.raises(ValueError, match="ever active"):
        activation_bound([torch.zeros(2, 2)], 99.0, False)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.floats(0.001, 0.999))
def test_bound_of_a_rate_makes_clipped_activations_that_mean(values, rate):
    activation = torch.tensor(values, dtype=torch.float64).view(1, 1, -1)
    share = float((activation > 0).double().mean())
    if rate >= share:
        with pytest.raises(ValueError, match="out of reach"):
            rate_bound(activation, rate)
    else:
        assert float((activation / rate_bound(activation, rate)).clamp(max=1).mean()) == pytest.approx(rate, rel=1e-9)


def test_rates_are_those_of_all_batches_and_layers():
    activations = [torch.rand(5, 3, 4), 5 * torch.rand(5, 3, 4), 3 * torch.rand(2, 7)]
    seen = Observed(lambda: activations, list, lambda: torch.ones(1))
    found = THRESHOLDS.pick("rate").bound(seen, ThresholdOptions(8, rate=0.2))
    together = torch.cat([a.flatten() for a in activations])
    assert float((together / found).clamp(max=1).mean()) == pytest.approx(0.2, rel=1e-5)


def test_the_order_of_batches_makes_no_rate_another():
    """Nor is it one how they are cut: all of them are clipped where layers behind see them."""
    x, scales = torch.rand(16, 6), []
    for batches in ([x, 5 * x], [5 * x, x], [torch.cat([x, 5 * x])]):
        torch.manual_seed(1)
        stack = Stack([AnalogLayer(nn.Linear(a, b)) for a, b in pairwise((6, 32, 32, 3))])
        stack.convert(batches, Dynamics(8), rate=0.3)
        scales.append(torch.stack([layer.scale[0] for layer in stack.spiking_layers()[:-1]]))
    torch.testing.assert_close(scales[0], scales[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(scales[0], scales[2], rtol=1e-4, atol=0)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=30), st.integers(1, 8), st.sampled_from([0.0, 0.5]))
def test_least_squares_are_the_least_of_the_candidates(values, window, start):
    """Candidate by candidate in plain Python."""
    if not any(values):
        return
    activation = torch.tensor(values, dtype=torch.float64)

    def error(bound):
        threshold = bound / window
        return sum((a - threshold * min(max(math.floor(a / threshold + start), 0), window)) ** 2 for a in values)

    found = float(least_squares_bound([activation.view(1, 1, -1)], (0, window), start, False))
    least = min(error(max(values) * share / CANDIDATES) for share in range(1, CANDIDATES + 1))
    # A candidate at which an activation is a whole number of thresholds may be floored either way.
    assert min(error(found * (1 + tilt)) for tilt in (-1e-12, 0, 1e-12)) <= least * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize(("neuron", "rounds"), [(Augmented(3), False), (PathIndependent(3), True)])
def test_least_squares_below_zero_are_those_of_what_neurons_fire(neuron, rounds):
    """Candidate by candidate, spikes of the neurons themselves; a negative threshold, the higher one, may not round."""
    slope, window, generator = nn.LeakyReLU(0.25), 2, torch.Generator().manual_seed(0)
    sums = torch.randn(4, 1, 500, generator=generator, dtype=torch.float64)
    below = neuron.initial_below(0.5, slope)
    assert below == (0.5 if rounds else 0.125)

    def error(threshold):
        numbers = neuron.in_units(threshold.view(1, 1, 1), 0.5, slope)
        return float((slope(sums) - neuron.settle(sums, numbers, window) * threshold).square().sum())

    found = least_squares_bound([slope(sums)], neuron.limits(window), 0.5, False, below)
    candidates = [slope(sums).max() * share / CANDIDATES / 6 for share in range(1, CANDIDATES + 1)]
    assert error(found / 6) == pytest.approx(min(map(error, candidates)), rel=1e-9)
    unlike = least_squares_bound([slope(sums)], neuron.limits(window), 0.5, False, 0.5)
    assert (unlike == found).item() == rounds


def test_least_squares_by_channel():
    batch = torch.rand(8, 3, 100) * torch.tensor([1.0, 5.0, 0.0])[:, None]
    bounds = least_squares_bound([batch], (0, 8), 0.5, True)
    alone = [least_squares_bound([batch[:, [channel]]], (0, 8), 0.5, False) for channel in (0, 1)]
    assert bounds[:2].tolist() == [float(bound) for bound in alone]
    assert bounds[2] == least_squares_bound([batch], (0, 8), 0.5, False)
    with pytest.raises(ValueError, match="ever active"):
        least_squares_bound([torch.zeros(2, 2)], (0, 8), 0.5, True)


def test_least_squares_see_what_lies_between_samples(monkeypatch):
    monkeypatch.setattr(bounds_module, "SAMPLES", 100)
    batch = torch.zeros(1, 2, 200)
    batch[0, 0, 1], batch[0, 1, ::4] = 5.0, 0.5  # every fourth place is looked at
    one, other = least_squares_bound([batch], (0, 8), 0.5, True).tolist()
    assert 4 < one <= 5 and other == pytest.approx(0.5)
    assert 4 < float(least_squares_bound([batch[:, :1]], (0, 8), 0.5, False)) <= 5
