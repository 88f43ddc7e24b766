import numpy as np
import pytest
import torch

from separator.snn.observe.distribution import BINS, distributions
from tests.snn.nets import conv1d_stack


@pytest.fixture(scope="module")
def seen():
    """Activations of each layer but the last on three batches, and their distributions."""
    stack = conv1d_stack(0)
    inputs = [torch.randn(5, 3, 40, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    layers = list(stack.layers)[:-1]
    with torch.no_grad():
        found = distributions(layers, lambda: [stack(x) for x in inputs])
        counts = [f.counts.clone() for f in found]
        activations, signals = [], inputs
        for layer in layers:
            signals = [layer(x) for x in signals]
            activations.append(torch.cat(signals).flatten().numpy())
    assert all(f.counts.equal(count) for f, count in zip(found, counts, strict=True))  # nothing is counted afterwards
    return activations, found


def test_neurons_are_counted_as_numpy_does(seen):
    for values, found in zip(*seen, strict=True):
        assert found.largest == values.max()
        assert found.silent == (values == 0).mean()
        expected, _ = np.histogram(values.astype(np.float64), BINS, (0, values.max()))
        assert found.counts.sum() == len(values)
        assert np.abs(np.cumsum(expected) - found.counts.cumsum(0).numpy()).max() <= 2  # rounding at the edges of bins


@pytest.mark.parametrize("percentile", [50, 90, 99, 99.9, 100])
def test_percentiles_are_those_of_the_activations(seen, percentile):
    for values, found in zip(*seen, strict=True):
        expected = np.percentile(values, percentile, method="inverted_cdf")
        assert expected - 1e-6 <= found.percentile(percentile) <= expected + 1.01 * found.largest / BINS


def test_a_layer_that_never_is_active():
    stack = conv1d_stack(0)
    with torch.no_grad():
        stack.layers[0].norm.bias.fill_(-100)
        found = distributions([stack.layers[0]], lambda: stack(torch.randn(2, 3, 9)))
    assert (found[0].largest, found[0].silent, found[0].counts[0]) == (0, 1, 2 * 5 * 9)
    assert found[0].percentile(99) == 0
