from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from separator.errors import UserError
from separator.models import shifted
from separator.models.shifted import ShiftedStream
from tests.models.pieces import streamed
from tests.models.tiny import network

HOP = 40


@pytest.fixture(autouse=True)
def short_windows(monkeypatch):
    monkeypatch.setattr(shifted, "HOP", HOP)


def by_definition(net, mixture, delays):
    """Delayed, separated, moved back, put in order window by window, weighted, and averaged; in float64."""
    samples, longest = mixture.shape[-1], max(delays)
    copies = [net(F.pad(mixture, (d, longest - d)))[..., d : d + samples].double().numpy() for d in delays]
    average = np.zeros_like(copies[0])
    weights = np.sin(np.pi * np.arange(2 * HOP) / (2 * HOP)) ** 2
    for one in range(len(mixture)):
        for start in range(-HOP, samples, HOP):
            here = slice(max(0, start), min(samples, start + 2 * HOP))
            first, share = copies[0][one][:, here], weights[here.start - start : here.stop - start]
            for copy in copies:
                orders = permutations(copy[one][:, here])
                average[one][:, here] += share * max(orders, key=lambda order: np.vdot(first, np.stack(order))) / len(copies)
    return average


@pytest.mark.parametrize("samples", [1, 39, 40, 41, 400])
@pytest.mark.parametrize(("shifts", "delays"), [(1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (4, [0, 1, 2, 3])])
def test_estimates_are_the_mean_of_those_of_delayed_mixtures(shifts, delays, samples):
    net = network()
    mixture = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    found = ShiftedStream(net, shifts).push(mixture, last=True)
    assert found.shape == (2, 2, samples)
    assert np.allclose(found, by_definition(net, mixture, delays), atol=1e-6)


@given(st.integers(1, 300), st.integers(2, 4), st.lists(st.integers(1, 60), max_size=8), st.booleans())
def test_blocks_of_any_size_give_the_same_bits(samples, shifts, sizes, known_end):
    net = network(spiking=True)
    mixture = torch.randn(1, samples, generator=torch.Generator().manual_seed(samples))
    whole = ShiftedStream(net, shifts).push(mixture, last=True)
    joined, late, promised = streamed(ShiftedStream(net, shifts), mixture, sizes, known_end)
    assert torch.equal(joined, whole)
    assert late <= promised


def test_talkers_in_another_order_are_put_in_order():
    """Of a network that gives the delayed copy's talkers in the other order from the middle on."""

    def swapping(copies, last):
        estimates = torch.stack([copies, 0.5 * copies.flip(-1)], 1)
        estimates[1, :, 200:] = estimates[1, :, 200:].flip(0)
        return estimates

    mixture = torch.randn(1, 400, generator=torch.Generator().manual_seed(1))
    first, _ = ShiftedStream(network(), 2, swapping).push(mixture, last=True)[0]
    for there in (slice(200 - HOP), slice(200 + HOP, 400)):  # in between, windows see both orders
        assert torch.allclose(first[there], mixture[0, there], atol=1e-6)


@pytest.mark.parametrize("shifts", [0, 5])
def test_a_stride_is_not_parted_finer_than_its_samples(shifts):
    with pytest.raises(UserError, match=f"takes 1 to 4 shifts, the samples between its frames, not {shifts}"):
        ShiftedStream(network(), shifts)
