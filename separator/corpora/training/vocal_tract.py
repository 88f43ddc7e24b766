"""Voices as of a longer or shorter vocal tract: resonances moved in frequency, apart from the pitch."""

from math import pi, sin

import numpy as np
from numpy.typing import NDArray

FRAME = 0.032  # s, of which half is the step from frame to frame
ORDER = 12  # of the linear prediction: two for each of five resonances under 4 kHz, and two for the slope of the spectrum
WHITE = 1e-4  # of the power, added as white noise: the predictor exists where there is silence
SMOOTHING = 60.0  # Hz, by which resonances are widened: between the harmonics of high voices there is none to be found
MOST_GAIN = 10.0  # of a bin, either way

Frames = NDArray[np.float64]


def lag_window(sample_rate: int) -> NDArray[np.float64]:
    """What the autocorrelation at 0 to `ORDER` samples is multiplied by, (ORDER + 1,).

    The spectrum falls off exponentially from each line: a kernel above zero, which leaves the predictor stable, made by sums
    and products alone, which every machine rounds alike.
    """
    lags = np.arange(ORDER + 1) / sample_rate
    window: NDArray[np.float64] = 1 / (1 + (2 * pi * SMOOTHING * lags) ** 2)
    return window


def frame_window(size: int) -> NDArray[np.float64]:
    """Window of frames that overlap by half, (size,): squares of the two at a place add up to one.

    By Python's sine, which is the same on every machine.
    """
    return np.array([sin(pi * (i + 0.5) / size) for i in range(size)])


def linear_prediction(autocorrelation: Frames, order: int = ORDER) -> Frames:
    """Coefficients of the prediction error filter, by Levinson's and Durbin's recursion.

    Args:
        autocorrelation: (F, at least order + 1), the first of each row above zero.
        order: of the predictor.

    Returns:
        (F, order + 1), the first of each row one.
    """
    filters = np.zeros((len(autocorrelation), order + 1))
    filters[:, 0] = 1
    error = autocorrelation[:, :1].copy()
    for i in range(1, order + 1):
        reflection = -(filters[:, :i] * autocorrelation[:, i:0:-1]).sum(axis=1, keepdims=True) / error
        filters[:, 1 : i + 1] += reflection * filters[:, i - 1 :: -1][:, :i]
        error *= 1 - reflection**2
    return filters


def _power(spectrum: NDArray[np.complex128]) -> Frames:
    """Squared magnitude; of real numbers, since complex products round differently from machine to machine."""
    return spectrum.real * spectrum.real + spectrum.imag * spectrum.imag


def _gains(spectrum: NDArray[np.complex128], ratio: float, sample_rate: int) -> Frames:
    """Gain of each bin that moves the envelope of frames (F, bins) to `ratio` times its frequencies."""
    bins = spectrum.shape[1]
    size = 2 * (bins - 1)
    autocorrelation = np.fft.irfft(_power(spectrum), size)[:, : ORDER + 1] * lag_window(sample_rate)
    autocorrelation[:, 0] = autocorrelation[:, 0] * (1 + WHITE) + np.finfo(np.float64).tiny
    inverse = _power(np.fft.rfft(linear_prediction(autocorrelation), size))  # the envelope is one over its root
    place = np.minimum(np.arange(bins) / ratio, bins - 1)
    below = np.minimum(place.astype(np.int64), bins - 2)
    part = place - below
    moved = inverse[:, below] * (1 - part) + inverse[:, below + 1] * part
    gains: Frames = np.clip(np.sqrt(inverse / moved), 1 / MOST_GAIN, MOST_GAIN)
    return gains


def move_resonances(wave: NDArray[np.float32], ratio: float, sample_rate: int) -> NDArray[np.float32]:
    """Move the resonances of a voice, of which vowels and the sound of a person are made; pitch and pace stay.

    Frame by frame, the spectrum's envelope by linear prediction (Makhoul, "Linear prediction: a tutorial review", 1975) is
    replaced by the same envelope at `ratio` times its frequencies.

    Args:
        wave: (T,), full scale 1.
        ratio: above 1 for a shorter vocal tract.
        sample_rate: Hz.

    Returns:
        (T,), about as loud.
    """
    hop = round(FRAME * sample_rate / 2)
    size = 2 * hop
    window = frame_window(size)
    frames = -(-len(wave) // hop) + 1
    padded = np.zeros((frames + 1) * hop)
    padded[hop : hop + len(wave)] = wave
    spectrum = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window, 2 * size)
    spectrum.view(np.float64).reshape(*spectrum.shape, 2)[:] *= _gains(spectrum, ratio, sample_rate)[:, :, None]
    shaped = np.fft.irfft(spectrum, 2 * size)[:, :size] * window
    out = np.zeros((frames + 1, hop))
    out[:-1] += shaped[:, :hop]
    out[1:] += shaped[:, hop:]
    moved: NDArray[np.float32] = out.reshape(-1)[hop : hop + len(wave)].astype(np.float32)
    return moved
