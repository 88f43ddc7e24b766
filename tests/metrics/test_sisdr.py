import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from asteroid.losses import singlesrc_neg_sisdr
from hypothesis import given
from hypothesis import strategies as st

from separator.metrics.sisdr import best_permutation, permutation_invariant_si_sdr, si_sdr

SEEDS = st.integers(0, 2**32 - 1)
GAINS = st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3)


def exact_si_sdr(estimate, source):
    """Eq. 14 in rational arithmetic; only the logarithm is rounded."""
    x, s = ([Fraction(float(v)) for v in signal] for signal in (estimate, source))
    x, s = ([v - sum(signal) / len(signal) for v in signal] for signal in (x, s))
    scale = sum(a * b for a, b in zip(x, s, strict=True)) / sum(b * b for b in s)
    target = sum((scale * b) ** 2 for b in s)
    error = sum((scale * b - a) ** 2 for a, b in zip(x, s, strict=True))
    return 10 * math.log10(target / error)


@pytest.mark.parametrize("noise", [1e-4, 0.1, 1.0, 30.0])
def test_equals_equation_14_in_exact_arithmetic(noise):
    rng = np.random.default_rng(3)
    source = rng.standard_normal(60) + 2.0
    estimate = 0.3 * source + noise * rng.standard_normal(60) - 5.0
    assert si_sdr(estimate, source) == pytest.approx(exact_si_sdr(estimate, source), abs=1e-8)


def test_equals_asteroid():
    rng = np.random.default_rng(4)
    sources = rng.standard_normal((5, 4000))
    estimates = sources + rng.uniform(0.1, 3, (5, 1)) * rng.standard_normal((5, 4000)) + 0.4
    theirs = -singlesrc_neg_sisdr(torch.from_numpy(estimates), torch.from_numpy(sources)).numpy()
    np.testing.assert_allclose(si_sdr(estimates, sources), theirs, atol=1e-6)


@given(SEEDS, GAINS, GAINS, st.floats(-10, 10))
def test_scale_and_offset_do_not_matter(seed, estimate_gain, source_gain, offset):
    estimate, source = np.random.default_rng(seed).standard_normal((2, 200))
    expected = si_sdr(estimate, source)
    assert si_sdr(estimate_gain * estimate + offset, source_gain * source - offset) == pytest.approx(expected, abs=1e-5)


@given(SEEDS, st.permutations(range(3)))
def test_order_of_estimates_does_not_matter(seed, order):
    estimates, sources = np.random.default_rng(seed).standard_normal((2, 1, 3, 100))
    values, permutation = permutation_invariant_si_sdr(estimates, sources)
    shuffled, other = permutation_invariant_si_sdr(estimates[:, order], sources)
    np.testing.assert_array_equal(values, shuffled)
    np.testing.assert_array_equal(np.array(order)[other], permutation)


@given(SEEDS)
def test_assignment_is_the_best_of_all(seed):
    estimates, sources = np.random.default_rng(seed).standard_normal((2, 2, 4, 50))
    values, _ = permutation_invariant_si_sdr(estimates, sources)
    for estimate, source, value in zip(estimates, sources, values, strict=True):
        sums = [sum(si_sdr(estimate[list(order)], source)) for order in permutations(range(4))]
        assert value.sum() == pytest.approx(max(sums))


def test_more_estimates_than_sources():
    sources = np.random.default_rng(5).standard_normal((1, 2, 100))
    estimates = np.concatenate([np.random.default_rng(6).standard_normal((1, 1, 100)), sources[:, ::-1]], 1)
    np.testing.assert_array_equal(best_permutation(estimates, sources), [[2, 1]])


def test_limits():
    source = np.random.default_rng(7).standard_normal(100)
    silence = np.full(100, 0.3)
    broken = source.copy()
    broken[3] = np.inf
    assert si_sdr(2 * source, source) > 250  # infinite but for rounding
    assert si_sdr(np.array([1.0, -1.0, 0.0]), np.array([2.0, -2.0, 0.0])) == np.inf
    assert si_sdr(silence, source) == -np.inf
    assert np.isnan(si_sdr(source, silence))
    assert np.isnan(si_sdr(silence, silence))
    assert np.isnan(si_sdr(broken, source))
    assert np.isnan(si_sdr(source, broken))


def test_a_silent_estimate_is_assigned_to_the_source_that_loses_least():
    sources = np.random.default_rng(8).standard_normal((1, 2, 100))
    estimates = np.stack([np.zeros(100), sources[0, 0]])[None]
    values, permutation = permutation_invariant_si_sdr(estimates, sources)
    np.testing.assert_array_equal(permutation, [[1, 0]])
    assert values[0, 0] > 100
    assert values[0, 1] == -np.inf


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="100 samples, sources 99"):
        si_sdr(np.zeros(100), np.zeros(99))
