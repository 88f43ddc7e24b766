import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.signal import bilinear_zpk, cheb2ap, freqs_zpk, lp2hp_zpk, lp2lp_zpk, zpk2tf

from separator.audio.active_level import active_speech_level
from separator.errors import UserError


def bursts(seconds, rate, seed=0):
    """Noise that comes and goes, with pauses longer and shorter than the hangover."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    return rng.standard_normal(len(time)) * (0.1 * (np.sin(2 * np.pi * 1.3 * time) > 0.2) + 0.001)


def designed_filter(edge, rate, transform):
    """Chebyshev type 2 of order 5, 50 dB down in the stop band and 0.25 dB at `edge`, designed step by step."""
    zeros, poles, gain = cheb2ap(5, 50)
    loss = brentq(lambda w: 20 * math.log10(abs(freqs_zpk(zeros, poles, gain, [w])[1][0])) + 0.25, 0.1, 0.9)
    warped = 2 * rate * math.tan(math.pi * edge / rate)
    stop = warped * loss if transform is lp2hp_zpk else warped / loss
    return zpk2tf(*bilinear_zpk(*transform(zeros, poles, gain, stop), rate))


def filter_by_loop(b, a, wave):
    out = []
    for n in range(len(wave)):
        feed = sum(b[k] * wave[n - k] for k in range(len(b)) if n >= k)
        out.append((feed - sum(a[k] * out[n - k] for k in range(1, len(a)) if n >= k)) / a[0])
    return out


def level_by_loop(wave, rate):
    """P.56 method B sample by sample, with a counter and a hangover timer for each threshold (section 7.3)."""
    wave = filter_by_loop(*designed_filter(200, rate, lp2hp_zpk), wave)
    if rate > 14000:
        wave = filter_by_loop(*designed_filter(5500, rate, lp2lp_zpk), wave)
    pole = math.exp(-1 / (rate * 0.03))
    hangover = math.ceil(0.2 * rate)
    exponents = range(-60, 10)
    counts, timers = dict.fromkeys(exponents, 0), dict.fromkeys(exponents, hangover)
    first = second = energy = 0.0
    for sample in wave:
        energy += sample**2
        first = pole * first + (1 - pole) * abs(sample)
        second = pole * second + (1 - pole) * first
        for exponent in exponents:
            if second**2 >= 2.0**exponent:
                counts[exponent], timers[exponent] = counts[exponent] + 1, 0
            elif timers[exponent] < hangover:
                counts[exponent], timers[exponent] = counts[exponent] + 1, timers[exponent] + 1
    active = [exponent for exponent in reversed(exponents) if counts[exponent]]
    levels = [10 * math.log10(energy / counts[exponent]) for exponent in active]
    excess = [level - 10 * math.log10(2) * exponent - 15.9 for level, exponent in zip(levels, active, strict=True)]
    j = next(j for j in range(len(excess)) if excess[j] < 0 <= excess[j + 1])
    part = -excess[j] / (excess[j + 1] - excess[j])
    return 10 ** ((levels[j] + part * (levels[j + 1] - levels[j])) / 10)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_equals_the_standard_computed_sample_by_sample(rate):
    wave = bursts(1.0, rate)
    assert active_speech_level(wave, rate) == pytest.approx(level_by_loop(wave, rate), rel=1e-6)


def tone(seconds, rate, frequency=1000.0):
    return np.sqrt(2) * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def decibels(level):
    return 10 * math.log10(level)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_tone_without_pause_has_its_power(rate):
    assert decibels(active_speech_level(tone(8, rate), rate)) == pytest.approx(0, abs=0.05)


def test_silence_counts_no_more_than_its_hangover():
    wave = np.concatenate([tone(5, 8000), np.zeros(20 * 8000)])
    assert decibels(active_speech_level(wave, 8000)) == pytest.approx(decibels(5 / 5.3), abs=0.1)  # 0.2 s, and the decay
    assert decibels(np.mean(wave**2)) < -6


@pytest.mark.parametrize(("frequency", "loss"), [(200, 0.25), (60, 50), (5500, 0.25), (7900, 50)])
def test_the_band_ends_where_the_standard_says(frequency, loss):
    heard = decibels(active_speech_level(tone(4, 16000, 1000), 16000) / active_speech_level(tone(4, 16000, frequency), 16000))
    assert heard == pytest.approx(loss, abs=0.05) if loss < 1 else heard > 40


@given(st.integers(-12, 12))
def test_scales_with_the_power_of_the_wave(exponent):
    wave = bursts(0.5, 8000)
    assert active_speech_level(wave * 2.0**exponent, 8000) == pytest.approx(active_speech_level(wave, 8000) * 4.0**exponent)


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(100), np.array([0.1, np.nan]), np.array([0.1, np.inf])])
def test_refuses_what_has_no_level(wave):
    with pytest.raises(UserError, match="cannot measure the speech level"):
        active_speech_level(wave, 8000)


def test_any_other_length_has_one():
    assert all(active_speech_level(np.full(length, 0.5), 8000) > 0 for length in (1, 2, 50, 1601, 1602))
