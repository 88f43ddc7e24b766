import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from separator.audio.pitch import mean_pitch
from separator.corpora.training.vocal_tract import linear_prediction, move_resonances

RATE = 8000


def vowel(resonances, pitch=100, seconds=1.0, bandwidth=80):
    """Pulses through one resonance after another."""
    wave = np.zeros(int(seconds * RATE))
    wave[:: RATE // pitch] = 1
    for frequency in resonances:
        radius = np.exp(-np.pi * bandwidth / RATE)
        wave = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * frequency / RATE), radius**2], wave)
    return (wave / wave.std()).astype(np.float32)


def resonances(wave, count):
    """Of a vowel: the poles nearest to the unit circle of a predictor over all of it."""
    r = np.correlate(wave, wave, "full")[len(wave) - 1 :][: 2 * count + 1].astype(np.float64)
    poles = np.roots(np.concatenate([[1], -solve_toeplitz(r[:-1], r[1:])]))
    return sorted(float(np.angle(pole)) * RATE / (2 * np.pi) for pole in poles if pole.imag > 0)


def test_the_predictor_is_scipys():
    rng = np.random.default_rng(0)
    waves = lfilter([1], [1, -0.9, 0.5], rng.standard_normal((5, 400)))
    lags = np.stack([[wave[: len(wave) - lag] @ wave[lag:] for lag in range(13)] for wave in waves])
    expected = [np.concatenate([[1], -solve_toeplitz(r[:-1], r[1:])]) for r in lags]
    assert linear_prediction(lags) == pytest.approx(np.stack(expected), abs=1e-9)


@pytest.mark.parametrize("ratio", [0.85, 0.9, 1.1, 1.15])
def test_resonances_move_and_pitch_does_not(ratio):
    moved = move_resonances(vowel([700, 1800]), ratio, RATE)
    assert resonances(moved, 2) == pytest.approx([700 * ratio, 1800 * ratio], rel=0.06)  # by harmonics of 100 Hz
    assert mean_pitch(moved, RATE) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize("samples", [0, 1, 127, 128, 5000, 8001])
def test_no_move_and_silence_change_nothing(samples):
    wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    same = move_resonances(wave, 1.0, RATE)
    assert same.dtype == np.float32 and same == pytest.approx(wave, abs=1e-6)
    assert not move_resonances(np.zeros(samples, np.float32), 1.2, RATE).any()


def test_steps_in_level_stay_bounded():
    """Where one talker's recordings are joined, silence is beside speech."""
    wave = vowel([500, 1500])
    wave[2000:6000] = 0
    moved = move_resonances(wave, 0.85, RATE)
    assert np.abs(moved).max() < 2 * np.abs(wave).max() and not moved[2300:5700].any()
