"""Mean fundamental frequency of speech, measured by Praat (Boersma 1993) through parselmouth."""

import math

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

LOWEST, HIGHEST = 60.0, 500.0  # Hz, of what counts as a fundamental
STEP = 0.01  # s between frames
PERIODS = 3  # of the lowest frequency that a frame of Praat's holds


def mean_pitch(wave: NDArray[np.floating], rate: int) -> float:
    """Geometric mean of the fundamental frequency over the voiced frames, one every 10 ms; the level does not matter.

    Args:
        wave: speech of one talker, shape (T,), finite.
        rate: sample rate, Hz.

    Returns:
        Hz, from 60 to 500; NaN where no frame is voiced, the wave is shorter than a frame (50 ms), or the rate too low for
        any pitch.

    Raises:
        UserError: parselmouth is not installed.
    """
    try:
        from parselmouth import Sound
    except ImportError:
        raise UserError("measuring pitch needs the Python package praat-parselmouth: pip install 'separator[score]'") from None
    if rate < 2 * HIGHEST or len(wave) < math.ceil(PERIODS / LOWEST * rate):
        return math.nan
    pitch = Sound(np.asarray(wave, np.float64), rate).to_pitch(STEP, LOWEST, HIGHEST)
    frequencies: NDArray[np.float64] = pitch.selected_array["frequency"]  # 0 where a frame is not voiced
    voiced = frequencies[frequencies > 0]
    return float(np.exp(np.log(voiced).mean())) if voiced.size else math.nan


def semitones(first: float, second: float) -> float:
    """Distance of two frequencies on the musical scale, never negative; NaN where one is NaN. 12 are an octave."""
    return abs(12 * math.log2(first / second))
