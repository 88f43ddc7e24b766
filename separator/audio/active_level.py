"""Active speech level by ITU-T P.56, method B, as voicebox's `activlev` measures it for WSJ0-2mix."""

from functools import lru_cache
from math import acosh, atan, ceil, cosh, exp, inf, pi, sqrt, tan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from separator.errors import UserError

TIME_CONSTANT = 0.03  # s, of each of the two poles that smooth the envelope
HANGOVER = 0.2  # s, by which activity outlasts the envelope
MARGIN = 15.9  # dB, between the active level and the threshold of activity
BINS = 20  # thresholds, each half the power of the one before: a range of 60 dB
BAND = (200.0, 5500.0)  # Hz, edges (-0.25 dB) of the band that is measured
ORDER, RIPPLE, STOP = 5, 0.25, 50.0  # Chebyshev type 2 filters: order, loss at the band edge and in the stop band (dB)

Array = NDArray[np.float64]


@lru_cache
def _band_filters(sample_rate: int) -> tuple[tuple[Array, Array], ...]:
    """Coefficients (b, a) of the input filters: the high pass, and from 14 kHz on the low pass."""
    from scipy.signal import cheby2  # half a second, here and below, which what measures no level need not wait for

    # Ratio of stop-band edge to band edge of the analogue prototype; the tangent undoes the warping of the bilinear transform.
    ratio = cosh(acosh(sqrt((10 ** (STOP / 10) - 1) / (10 ** (RIPPLE / 10) - 1))) / ORDER)
    warped = [tan(pi * edge / sample_rate) for edge in BAND]
    filters = [cheby2(ORDER, STOP, atan(warped[0] / ratio) * 2 / pi, "highpass")]
    if sample_rate > 14000:
        filters.append(cheby2(ORDER, STOP, atan(warped[1] * ratio) * 2 / pi, "lowpass"))
    return tuple(filters)


def _envelope_exponents(wave: Array, sample_rate: int) -> Array:
    """Binary exponent of the squared envelope (the power lies in [2^(e-1), 2^e)), held for the hangover. Shape (T,) to (T,)."""
    from scipy.signal import lfilter

    pole = exp(-1 / (sample_rate * TIME_CONSTANT))
    envelope = lfilter([(1 - pole) ** 2], [1, -2 * pole, pole**2], np.abs(wave))
    mantissas, exponents = np.frexp(envelope**2)
    exponents = np.where(mantissas == 0, -inf, exponents)
    window = ceil(HANGOVER * sample_rate) + 1
    held: Array = maximum_filter1d(exponents, window, origin=(window - 1) // 2, mode="constant", cval=-inf)
    return held


def _crossing_level(levels: Array, thresholds: Array) -> float:
    """Active level (dB) where level minus threshold rises through the margin, between bins by linear interpolation."""
    excess = levels - thresholds - MARGIN
    rises = np.flatnonzero((excess[:-1] < 0) & (excess[1:] >= 0))
    if rises.size:
        j = int(rises[0])
        fraction = excess[j] / (excess[j] - excess[j + 1])
        return float(levels[j] + fraction * (levels[j + 1] - levels[j]))
    return float(levels[-1] if excess[-1] <= 0 else levels[0])


def level_of_recording(path: Path, wave: NDArray[np.floating], sample_rate: int) -> float:
    """Active speech level of a recording, which errors name; see `active_speech_level`."""
    try:
        return active_speech_level(wave, sample_rate)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def active_speech_level(wave: NDArray[np.floating], sample_rate: int) -> float:
    """Mean square power of `wave` (T,) while somebody speaks, after ITU-T P.56 method B (12/2011, section 7).

    The wave is limited to 200..5500 Hz (below 14 kHz sample rate: high pass only), rectified and smoothed by two poles of
    30 ms; it is active where this envelope, held for 200 ms, exceeds a threshold 15.9 dB below the level. `wave` divided by
    the square root of the result speaks with unit power.

    Raises:
        UserError: the wave is empty, silent in this band, or not finite.
    """
    from scipy.signal import lfilter

    samples = np.asarray(wave, dtype=np.float64)
    if not np.isfinite(samples).all():
        raise UserError("cannot measure the speech level of a wave with NaN or infinite samples; repair or leave out the file")
    for b, a in _band_filters(sample_rate) if samples.size else ():
        samples = lfilter(b, a, samples)
    energy = float(np.square(samples).sum())
    exponents = _envelope_exponents(samples, sample_rate) if energy > 0 else np.array([-inf])
    top = exponents.max() + 1
    if top == -inf:
        raise UserError("cannot measure the speech level of an empty or silent wave; leave out the file")
    bins = np.minimum(top - exponents, BINS).astype(np.intp)
    active_samples = np.cumsum(np.bincount(bins, minlength=BINS + 1)[1:])
    thresholds = 10 * np.log10(2) * (top - np.arange(1, BINS + 1) - 1)
    levels = 10 * np.log10(energy) - 10 * np.log10(active_samples)
    return float(10 ** (_crossing_level(levels, thresholds) / 10))
