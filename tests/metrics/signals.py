"""Signals for the tests of metrics."""

import numpy as np


def speechlike(seed, seconds=2.0, sample_rate=8000):
    """Noise in bursts of syllables and pauses, shape (T,)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    syllables = np.clip(np.sin(2 * np.pi * (3 * time + rng.random())), 0, None)
    pauses = np.sin(2 * np.pi * (0.7 * time + rng.random())) > -0.6
    coloured = np.convolve(rng.standard_normal(len(time)), [1, 0.9, 0.6, 0.3], "same")
    return 0.1 * syllables * pauses * coloured


def buzz(frequency, rate=8000, seconds=1.0):
    """Sum of all harmonics below half the rate, as a band-limited train of pulses; `frequency` may vary, shape (T,)."""
    frequency = np.broadcast_to(frequency, round(seconds * rate))
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    return sum(np.cos(k * phase) for k in range(1, int(rate / 2 / frequency.max()))) / 20
