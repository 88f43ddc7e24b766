from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.metrics.oracle import oracle_estimates, oracle_si_sdr
from separator.metrics.sisdr import si_sdr

SEEDS = st.integers(0, 2**32 - 1)


def by_hand(estimates, sources, mixture, block):
    """Every permutation of every block tried; blocks, energies and ratios written out."""
    estimates = [e * (sum(e * mixture) / sum(e * e)) for e in estimates]
    chosen = [[] for _ in sources]
    for start in range(0, len(mixture), block):
        pieces = [e[start : start + block] for e in estimates]
        targets = [s[start : start + block] for s in sources]

        def error(order, pieces=pieces, targets=targets):
            return sum(sum((pieces[k] - target) ** 2) for k, target in zip(order, targets, strict=True))

        order = min(permutations(range(len(estimates)), len(sources)), key=error)
        for signal, k in zip(chosen, order, strict=True):
            signal.extend(pieces[k])
    values = []
    for signal, source in zip(np.array(chosen), sources, strict=True):
        signal, source = signal - signal.mean(), source - source.mean()
        target = signal @ source / (source @ source) * source
        values.append(10 * np.log10(target @ target / ((signal - target) @ (signal - target))))
    return values


@given(SEEDS, st.integers(2, 3), st.integers(0, 1), st.integers(1, 40))
def test_equals_trying_every_order_of_every_block(seed, n_src, more, block):
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((n_src, 90))
    mixing = rng.uniform(0, 1, (n_src + more, n_src)) + 0.2
    estimates = mixing @ sources + 0.3 * rng.standard_normal((n_src + more, 90))
    mixture = sources.sum(0)
    np.testing.assert_allclose(
        oracle_si_sdr(estimates, sources, mixture, block), by_hand(estimates, sources, mixture, block), atol=1e-9
    )


@given(SEEDS, st.integers(2, 3), st.integers(1, 50))
def test_no_single_order_has_less_squared_error(seed, n_src, block):
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((n_src, 100))
    estimates = sources + rng.standard_normal((n_src, 100))
    mixture = sources.sum(0)
    scaled = np.stack([e * (e @ mixture) / (e @ e) for e in estimates])
    errors = {order: np.square(scaled[list(order)] - sources).sum() for order in permutations(range(n_src))}
    free = np.square(oracle_estimates(estimates, sources, mixture, block) - sources).sum()
    assert free <= min(errors.values()) + 1e-9
    whole = oracle_estimates(estimates, sources, mixture, 100)
    np.testing.assert_allclose(whole, scaled[list(min(errors, key=errors.get))], atol=1e-12)


@pytest.mark.parametrize("n_src", [2, 3])
def test_talkers_that_change_places_are_put_back(n_src):
    rng = np.random.default_rng(1)
    sources = rng.standard_normal((n_src, 4000))
    swapped = sources.copy()
    swapped[:, 2000:] = np.roll(swapped[:, 2000:], 1, axis=0)
    mixture = sources.sum(0)
    assert max(si_sdr(swapped, sources)) < 5
    noisy = swapped + 0.01 * rng.standard_normal(swapped.shape)
    assert min(oracle_si_sdr(noisy, sources, mixture, 1000)) > 30  # the noise alone would leave 40 dB
    assert max(oracle_si_sdr(noisy, sources, mixture, 4000)) < 5  # but not where nobody may change places
    assert max(oracle_si_sdr(noisy, sources, mixture, 1700)) < 20  # nor within a block


@given(SEEDS, st.floats(1e-6, 1e6), st.permutations(range(3)))
def test_levels_and_order_of_estimates_do_not_matter(seed, gain, order):
    rng = np.random.default_rng(seed)
    sources = rng.standard_normal((3, 200))
    estimates = sources + 0.5 * rng.standard_normal((3, 200))
    mixture = sources.sum(0)
    expected = oracle_si_sdr(estimates, sources, mixture, 30)
    changed = estimates[order] * np.array([[gain], [1.0], [0.1]])
    np.testing.assert_allclose(oracle_si_sdr(changed, sources, mixture, 30), expected, atol=1e-6)


def test_the_mixture_itself_improves_nothing():
    sources = np.random.default_rng(2).standard_normal((2, 300))
    mixture = sources.sum(0)
    np.testing.assert_allclose(oracle_si_sdr(np.stack([mixture] * 2), sources, mixture, 100), si_sdr(mixture, sources))


def test_limits():
    sources = np.random.default_rng(3).standard_normal((2, 300))
    mixture = sources.sum(0)
    silent = np.zeros((2, 300))
    np.testing.assert_array_equal(oracle_si_sdr(silent, sources, mixture, 100), [-np.inf, -np.inf])
    assert np.isnan(oracle_si_sdr(sources, [sources[0], silent[1]], sources[0], 100)[1])
    broken = sources.copy()
    broken[0, 5] = np.nan
    assert np.isnan(oracle_si_sdr(broken, sources, mixture, 100)).all()
    for wrong in ((sources[:1], sources, mixture), (sources[:, :9], sources, mixture), (sources, sources, mixture[:9])):
        with pytest.raises(ValueError, match="do not fit"):
            oracle_si_sdr(*wrong, 100)
