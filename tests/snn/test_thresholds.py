import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.thresholds import activation_bound, rate_bound


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
