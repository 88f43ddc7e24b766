"""Perceptual evaluation of speech quality, narrow band (ITU-T P.862 with the mapping of P.862.1), computed by pesq."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from separator.metrics.usable import usable

SAMPLE_RATES = (8000, 16000)  # Hz, those of P.862
SHORTEST = 0.25  # s, as the reference implementation demands
# The reference implementation holds 50 stretches of speech and writes past its arrays at the 51st: wrong values, then crashes.
# The shortest stretch that it tells from the next takes 0.44 s with its pause (measured with bursts of noise): 50 need 22 s.
LONGEST = 22.0  # s


def pesq(estimates: ArrayLike, sources: ArrayLike, sample_rate: int) -> NDArray[np.float64]:
    """Narrow-band PESQ (MOS-LQO) of each estimate against the source in the same place.

    Args:
        estimates: Separated signals in the order of their sources, shape (n_src, T).
        sources: Clean signals, shape (n_src, T).
        sample_rate: 8000 or 16000 Hz.

    Returns:
        MOS-LQO, 1 to 4.6, shape (n_src,); NaN where it is undefined: a silent source or estimate, samples that are not finite,
        under 0.25 s or over 22 s.

    Raises:
        ValueError: the shapes differ, or the sample rate is another one.
    """
    from pesq import PesqError
    from pesq import pesq as measure

    if sample_rate not in SAMPLE_RATES:
        raise ValueError(f"PESQ is defined at 8000 and 16000 Hz, not at {sample_rate} Hz")
    estimates, sources = np.asarray(estimates, np.float64), np.asarray(sources, np.float64)
    values = np.full(len(sources), np.nan)
    if sources.shape[-1] > LONGEST * sample_rate:
        return values
    for i, good in enumerate(usable(estimates, sources, shortest=round(SHORTEST * sample_rate))):
        if good and estimates[i].any():
            value = measure(sample_rate, sources[i], estimates[i], "nb", on_error=PesqError.RETURN_VALUES)
            values[i] = value if value > 0 else np.nan  # negative values are error codes
    return values
