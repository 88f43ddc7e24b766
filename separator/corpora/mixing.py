"""The mixing protocol of WSJ0-2mix (Hershey et al. 2016), as its published generators apply it."""

from collections.abc import Sequence
from math import floor, log10
from pathlib import PurePosixPath
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

Mode = Literal["min", "max"]  # cut to the shortest source, or pad to the longest
MODES: tuple[Mode, ...] = get_args(Mode)

HEADROOM = 0.9  # peak of the loudest wave of a mixture that would else exceed full scale

Array = NDArray[np.float64]


def print_gain(gain: float) -> str:
    """Print a gain (dB) as MATLAB's `num2str` does, which named the published files.

    Whole numbers have no decimals, others five significant digits (and four decimals from 10 on).
    """
    if gain == int(gain):
        return str(int(gain))
    return f"{gain:.{max(floor(log10(abs(gain))), 0) + 5}g}"


def mixture_id(paths: Sequence[str], gains_db: Sequence[float]) -> str:
    """Name of a mixture without suffix: file names and gains, joined with `_`."""
    return "_".join(f"{PurePosixPath(path).stem}_{print_gain(gain)}" for path, gain in zip(paths, gains_db, strict=True))


def resample_source(wave: NDArray[np.floating], rate: int, new_rate: int) -> Array:
    """Resample `wave` (T,) by a polyphase filter (Kaiser 5.0, as MATLAB's `resample`); shape (ceil(T * new_rate / rate),).

    Raises:
        UserError: `new_rate` is above `rate`, which would make a mixture without high frequencies.
    """
    if new_rate > rate:
        raise UserError(f"recordings of {rate} Hz cannot make mixtures of {new_rate} Hz; choose a rate of at most {rate} Hz")
    samples = np.asarray(wave, dtype=np.float64)
    if new_rate == rate:
        return samples
    from scipy.signal import resample_poly  # half a second, which sound of the right rate need not wait for

    resampled: Array = resample_poly(samples, new_rate, rate)
    return resampled


def fit_lengths(sources: Sequence[Array], mode: Mode) -> Array:
    """Stack waves of different lengths, cut to the shortest (`min`) or padded with zeros to the longest (`max`); (C, T)."""
    lengths = [len(source) for source in sources]
    if mode == "min":
        return np.stack([source[: min(lengths)] for source in sources])
    return np.stack([np.pad(source, (0, max(lengths) - len(source))) for source in sources])


def mix(sources: Sequence[Array], levels: Sequence[float], gains_db: Sequence[float], mode: Mode) -> tuple[Array, Array]:
    """Mix sources by the WSJ0-2mix protocol.

    Each source is brought to unit active level, then to its gain; after cutting or padding, mixture and sources share one
    factor, 0.9 / max(1, largest peak among them).

    Args:
        sources: C waves, each (T_c,), at the rate of the mixture.
        levels: active speech level of each (mean square), measured before resampling.
        gains_db: gain of each in dB.
        mode: `min` cuts to the shortest, `max` pads to the longest.

    Returns:
        The mixture (T,) and its sources (C, T), which add up to it.
    """
    scaled = [
        source / np.sqrt(level) * 10 ** (gain / 20) for source, level, gain in zip(sources, levels, gains_db, strict=True)
    ]
    stacked = fit_lengths(scaled, mode)
    mixture = stacked.sum(axis=0)
    factor = HEADROOM / max(1.0, np.abs(mixture).max(initial=0.0), np.abs(stacked).max(initial=0.0))
    return mixture * factor, stacked * factor
