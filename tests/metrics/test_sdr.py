import numpy as np
import pytest
from mir_eval.separation import bss_eval_sources

from separator.metrics.sdr import sdr
from tests.metrics.signals import speechlike


@pytest.fixture
def sources():
    return np.stack([speechlike(1), speechlike(2)])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_equals_mir_eval(sources):
    mixing = np.array([[1, 0.4], [0.2, 1]])
    estimates = mixing @ sources + 0.01 * np.random.default_rng(0).standard_normal(sources.shape)
    expected, *_ = bss_eval_sources(sources, estimates, compute_permutation=False)
    np.testing.assert_allclose(sdr(estimates, sources), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_keeps_the_order_it_is_given(sources):
    swapped = sources[::-1] + 0.3 * sources
    expected, *_ = bss_eval_sources(sources, swapped, compute_permutation=False)
    np.testing.assert_allclose(sdr(swapped, sources), expected, atol=1e-4)
    assert (expected < 0).all()


def test_a_filtered_source_is_not_distorted(sources):
    filtered = np.stack([np.convolve(source, [0, 0, 0.7, -0.2], "full")[: source.size] for source in sources])
    assert (sdr(filtered, sources) > 40).all()


def test_level_does_not_matter(sources):
    estimates = sources + 0.2 * sources[::-1]
    np.testing.assert_allclose(sdr(1e-12 * estimates, sources), sdr(estimates, sources), atol=1e-6)


def test_undefined_values_are_nan(sources):
    silent = np.stack([np.zeros(sources.shape[1]), sources[1]])
    assert np.isnan(sdr(sources, silent)).tolist() == [True, False]
    assert np.isnan(sdr(silent, sources)).tolist() == [True, False]
    broken = sources.copy()
    broken[1, 5] = np.nan
    assert np.isnan(sdr(broken, sources)).tolist() == [False, True]
    assert np.isnan(sdr(sources[:, :300], sources[:, :300])).all()


def test_unequal_lengths_are_refused(sources):
    with pytest.raises(ValueError, match="must both be"):
        sdr(sources[:, :-1], sources)
