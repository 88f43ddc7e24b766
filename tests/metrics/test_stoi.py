from itertools import pairwise

import numpy as np
import pytest
import torch
from torch_stoi import NegSTOILoss

from separator.metrics.stoi import stoi
from tests.metrics.signals import speechlike


@pytest.fixture
def sources():
    return np.stack([speechlike(1), speechlike(2)])


def noisy(sources, level):
    return sources + level * np.random.default_rng(0).standard_normal(sources.shape)


def test_is_near_another_implementation(sources):
    estimates = noisy(sources, 0.03)
    theirs = -NegSTOILoss(8000)(torch.from_numpy(estimates).float(), torch.from_numpy(sources).float()).numpy()
    np.testing.assert_allclose(stoi(estimates, sources, 8000), theirs, atol=0.02)


def test_falls_with_noise_from_one(sources):
    values = [stoi(noisy(sources, level), sources, 8000) for level in (0, 0.01, 0.1, 1)]
    np.testing.assert_allclose(values[0], 1, atol=1e-6)
    assert all((louder < softer).all() for softer, louder in pairwise(values))


def test_level_does_not_matter(sources):
    estimates = noisy(sources, 0.05)
    np.testing.assert_allclose(stoi(100 * estimates, sources, 8000), stoi(estimates, sources, 8000), atol=1e-6)


def test_undefined_values_are_nan(sources):
    silent = np.stack([np.zeros(sources.shape[1]), sources[1]])
    assert np.isnan(stoi(sources, silent, 8000)).tolist() == [True, False]
    assert stoi(silent, sources, 8000)[0] == pytest.approx(0, abs=0.01)
    assert np.isnan(stoi(sources[:, :3000], sources[:, :3000], 8000)).all()
    assert np.isnan(stoi(np.full_like(sources, np.nan), sources, 8000)).all()
    short_speech = np.zeros_like(sources)  # long enough, but for its pauses
    short_speech[:, :1000] = 1 - 2 * np.random.default_rng(1).random((2, 1000))
    assert np.isnan(stoi(short_speech, short_speech, 8000)).all()


def test_unequal_lengths_are_refused(sources):
    with pytest.raises(ValueError, match="must both be"):
        stoi(sources[:, :-1], sources, 8000)
