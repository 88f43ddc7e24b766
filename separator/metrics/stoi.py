"""Short-time objective intelligibility (Taal et al. 2011), computed by pystoi."""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from separator.metrics.usable import usable

SHORTEST = 0.4  # s: STOI compares segments of 30 frames (384 ms)


def stoi(estimates: ArrayLike, sources: ArrayLike, sample_rate: int) -> NDArray[np.float64]:
    """STOI of each estimate against the source in the same place; any sample rate, resampled to 10 kHz inside.

    Args:
        estimates: Separated signals in the order of their sources, shape (n_src, T).
        sources: Clean signals, shape (n_src, T).
        sample_rate: Hz.

    Returns:
        STOI, at most 1, shape (n_src,); NaN where it is undefined: a silent source, samples that are not finite, or fewer
        than 30 frames of speech.

    Raises:
        ValueError: the shapes differ.
    """
    from pystoi import stoi as measure

    estimates, sources = np.asarray(estimates, np.float64), np.asarray(sources, np.float64)
    values = np.full(len(sources), np.nan)
    for i, good in enumerate(usable(estimates, sources, shortest=round(SHORTEST * sample_rate))):
        if good:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Not enough STFT frames")
                try:
                    values[i] = measure(sources[i], estimates[i], sample_rate)
                except RuntimeWarning:  # pystoi would give 1e-5 as if it had measured it
                    values[i] = np.nan
    return values
