import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.audio.level import LOUDEST, fit_peak, mixture_gains, normal_equations

seeds = st.integers(0, 10_000)
scales = st.floats(1e-4, 1e4)


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@given(seeds, st.integers(1, 3), st.lists(scales, min_size=3, max_size=3))
def test_exact_parts_of_a_mixture_get_their_levels_back(seed, n_src, levels):
    sources = noise(seed, n_src, 400)
    factors = np.array(levels[:n_src])
    gains = mixture_gains(normal_equations(sources.sum(0), sources * factors[:, None]))
    np.testing.assert_allclose(gains * factors, 1, rtol=1e-6)


@given(seeds)
def test_gains_are_the_least_squares_solution(seed):
    sources = noise(seed, 2, 400)
    mixture, estimates = sources.sum(0) + 0.1 * noise(seed + 1, 400), sources + 0.2 * sources[::-1]
    expected = np.linalg.lstsq(estimates.T, mixture, rcond=None)[0]
    np.testing.assert_allclose(mixture_gains(normal_equations(mixture, estimates)), expected, rtol=1e-6)


@given(seeds, scales)
def test_gains_undo_any_common_factor(seed, factor):
    mixture, estimates = noise(seed, 300), noise(seed + 1, 2, 300)
    gains = mixture_gains(normal_equations(mixture, estimates))
    np.testing.assert_allclose(mixture_gains(normal_equations(mixture, factor * estimates)) * factor, gains, rtol=1e-5)


@given(seeds, st.integers(1, 299))
def test_pieces_add_up(seed, cut):
    mixture, estimates = noise(seed, 300), noise(seed + 1, 2, 300)
    whole = normal_equations(mixture, estimates)
    parts = normal_equations(mixture[:cut], estimates[:, :cut]) + normal_equations(mixture[cut:], estimates[:, cut:])
    np.testing.assert_allclose(parts.gram, whole.gram, atol=1e-9)
    np.testing.assert_allclose(parts.cross, whole.cross, atol=1e-9)
    assert parts.energy == pytest.approx(whole.energy)


@given(seeds, st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_no_source_is_ever_turned_over_or_far_too_loud(seed, first, second):
    mixture, other = noise(seed, 2, 50)
    estimates = np.stack([mixture + first * other, mixture * second - other])
    scaled = estimates * mixture_gains(normal_equations(mixture, estimates))[:, None]
    assert (mixture_gains(normal_equations(mixture, estimates)) >= 0).all()
    assert ((scaled**2).sum(1) <= 4.001 * (mixture**2).sum()).all()


def test_copies_share_the_mixture_equally():
    mixture = noise(0, 100)
    np.testing.assert_allclose(mixture_gains(normal_equations(mixture, np.stack([mixture, mixture]))), 0.5)


def test_near_copies_do_not_become_large_terms_that_cancel():
    mixture, difference = noise(0, 2, 1000)
    estimates = np.stack([mixture, mixture + 2e-3 * difference]) + 0.3 * noise(2, 1000)
    levels = np.sqrt((estimates**2).sum(1)) * mixture_gains(normal_equations(mixture, estimates))
    assert (levels <= 2 * np.linalg.norm(mixture)).all()


def test_turned_over_sources_get_one_gain_that_gives_their_sum_the_mixtures_energy():
    first, second = noise(0, 2, 100)
    estimates = np.stack([-3 * first, -2 * second])
    gains = mixture_gains(normal_equations(first + second, estimates))
    assert gains[0] == gains[1] > 0
    assert np.linalg.norm(gains @ estimates) == pytest.approx(np.linalg.norm(first + second))


def test_sources_that_cancel_share_the_mixtures_energy():
    wave = noise(0, 100)
    gains = mixture_gains(normal_equations(wave, np.stack([5 * wave, -5 * wave])))
    np.testing.assert_allclose(gains, np.sqrt(0.5) / 5)


def test_silence():
    silence, wave = np.zeros(100), noise(0, 2, 100)
    assert mixture_gains(normal_equations(silence, np.zeros((2, 100)))).tolist() == [1, 1]
    assert mixture_gains(normal_equations(wave[0], np.zeros((2, 100)))).tolist() == [1, 1]
    assert mixture_gains(normal_equations(silence, wave)).tolist() == [0, 0]
    one_silent = mixture_gains(normal_equations(wave[0], np.stack([2 * wave[0], silence])))
    np.testing.assert_allclose(one_silent, [0.5, 1])


@pytest.mark.parametrize(("peak", "gain"), [(0, 1), (0.5, 1), (LOUDEST, 1), (2, LOUDEST / 2)])
def test_peaks_over_full_scale_are_lowered_to_it(peak, gain):
    assert fit_peak(peak) == gain
