import math
from itertools import pairwise

import numpy as np
import pytest

from separator.metrics.pesq import LONGEST, pesq
from tests.metrics.signals import speechlike

# P.862.1: the mapping of raw PESQ's highest value, 4.5, to MOS-LQO.
HIGHEST = 0.999 + 4 / (1 + math.exp(-1.4945 * 4.5 + 4.6607))


@pytest.fixture
def sources():
    return np.stack([speechlike(1), speechlike(2)])


def noisy(sources, level):
    return sources + level * np.random.default_rng(0).standard_normal(sources.shape)


def test_falls_with_noise_from_the_highest_value_of_the_standard(sources):
    values = [pesq(noisy(sources, level), sources, 8000) for level in (0, 0.003, 0.1)]
    np.testing.assert_allclose(values[0], HIGHEST, atol=1e-3)
    assert all((louder < softer).all() for softer, louder in pairwise(values))


def test_level_does_not_matter(sources):
    estimates = noisy(sources, 0.01)
    np.testing.assert_allclose(pesq(1e4 * estimates, sources, 8000), pesq(estimates, sources, 8000), atol=1e-4)


def test_16_khz_is_measured_narrow_band():
    source = speechlike(3, sample_rate=16000)[None]
    np.testing.assert_allclose(pesq(source, source, 16000), HIGHEST, atol=1e-3)


def test_failures_are_nan(sources):
    silent = np.stack([np.zeros(sources.shape[1]), sources[1]])
    broken = np.stack([sources[0], np.full(sources.shape[1], np.nan)])
    assert np.isnan(pesq(sources, silent, 8000)).tolist() == [True, False]
    assert np.isnan(pesq(silent, sources, 8000)).tolist() == [True, False]
    assert np.isnan(pesq(broken, sources, 8000)).tolist() == [False, True]
    assert np.isnan(pesq(sources[:, :1500], sources[:, :1500], 8000)).all()


def test_what_the_reference_implementation_has_no_room_for_is_nan():
    signal = speechlike(4, seconds=LONGEST + 0.1)[None]
    assert np.isnan(pesq(signal, signal, 8000)).all()


def test_other_rates_and_unequal_lengths_are_refused(sources):
    with pytest.raises(ValueError, match="8000 and 16000"):
        pesq(sources, sources, 44100)
    with pytest.raises(ValueError, match="must both be"):
        pesq(sources[:, :-1], sources, 8000)
