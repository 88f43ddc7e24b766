"""Signal-to-distortion ratio of BSS Eval version 3 (Vincent et al. 2006), computed by fast-bss-eval."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from separator.metrics.usable import usable

FILTER_LENGTH = 512  # taps of the distortion filter that BSS Eval allows


def sdr(estimates: ArrayLike, sources: ArrayLike) -> NDArray[np.float64]:
    """SDR of each estimate against the source in the same place; a filter of 512 taps counts as no distortion.

    Args:
        estimates: Separated signals in the order of their sources, shape (n_src, T).
        sources: Clean signals, shape (n_src, T).

    Returns:
        SDR in dB, shape (n_src,); NaN where it is undefined: a silent source or estimate, samples that are not finite,
        or fewer samples than the filter has taps.

    Raises:
        ValueError: the shapes differ.
    """
    estimates, sources = np.asarray(estimates, np.float64), np.asarray(sources, np.float64)
    values = np.full(len(sources), np.nan)
    for i, good in enumerate(usable(estimates, sources, shortest=FILTER_LENGTH)):
        if good and estimates[i].any():
            values[i] = _sdr_of_pair(estimates[i], sources[i])
    return values


def _sdr_of_pair(estimate: NDArray[np.float64], source: NDArray[np.float64]) -> float:
    from fast_bss_eval.numpy import sdr_loss

    # Levels do not matter, but the library leaves very low ones as they are.
    estimate, source = estimate / np.abs(estimate).max(), source / np.abs(source).max()
    with np.errstate(divide="ignore"):  # an estimate without distortion is +inf
        # `pairwise` for a single pair: without it, the library's call of numpy.linalg.solve fails with numpy 2.
        loss = sdr_loss(estimate[None], source[None], filter_length=FILTER_LENGTH, clamp_db=None, pairwise=True)
    return -float(loss[0, 0])
