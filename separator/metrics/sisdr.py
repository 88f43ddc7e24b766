"""Scale-invariant signal-to-distortion ratio, zero-mean, and the assignment of estimates to sources that maximises it.

By hand: libraries guard divisions by a small number, so that silent and perfect estimates get some finite ratio.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

# What is left of a constant signal after its mean is removed: rounding, relative to the energy before.
_ROUNDING = 1e-28
# Stands for an infinite ratio (dB) where ratios are added up to compare assignments.
_INFINITE = 1e6


def si_sdr(estimates: ArrayLike, sources: ArrayLike) -> NDArray[np.float64]:
    """SI-SDR of estimates against sources, along the last axis (Wu et al. 2021, Eq. 14; Le Roux et al. 2019).

    Both signals are made zero-mean first. The leading axes broadcast.

    Args:
        estimates: Separated signals, shape (..., T).
        sources: Clean signals, shape (..., T).

    Returns:
        SI-SDR in dB, shape (...). An estimate without error is +inf. An estimate that is silent (constant) holds nothing of
        its source and is -inf. Against a silent source the ratio is undefined: NaN. So it is where a sample is not finite.

    Raises:
        ValueError: the lengths differ.
    """
    estimates, sources = np.asarray(estimates, np.float64), np.asarray(sources, np.float64)
    if estimates.shape[-1] != sources.shape[-1]:
        raise ValueError(f"estimates have {estimates.shape[-1]} samples, sources {sources.shape[-1]}")
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates, silent_estimate = _centre(estimates)
        sources, silent_source = _centre(sources)
        scale = _energy(estimates, sources) / _energy(sources, sources)
        targets = scale[..., None] * sources
        errors = targets - estimates
        ratio = 10 * np.log10(_energy(targets, targets) / _energy(errors, errors))
    finite = np.isfinite(estimates).all(-1) & np.isfinite(sources).all(-1)
    return np.where(finite & ~silent_source, np.where(silent_estimate, -np.inf, ratio), np.nan)


def best_permutation(estimates: ArrayLike, sources: ArrayLike) -> NDArray[np.int64]:
    """Assign an estimate to each source, with the highest sum of SI-SDR (by the Hungarian method).

    Args:
        estimates: Shape (B, n_est, T), n_est >= n_src.
        sources: Shape (B, n_src, T).

    Returns:
        Index of the estimate of each source, shape (B, n_src).
    """
    estimates, sources = np.asarray(estimates), np.asarray(sources)
    scores = si_sdr(estimates[:, None, :, :], sources[:, :, None, :])  # (B, n_src, n_est)
    scores = np.nan_to_num(scores, nan=0, posinf=_INFINITE, neginf=-_INFINITE)
    return np.stack([linear_sum_assignment(score, maximize=True)[1] for score in scores]).astype(np.int64)


def permutation_invariant_si_sdr(estimates: ArrayLike, sources: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """SI-SDR of each source's own estimate, after `best_permutation`.

    Args:
        estimates: Shape (B, n_est, T), n_est >= n_src.
        sources: Shape (B, n_src, T).

    Returns:
        SI-SDR in dB in the order of the sources, shape (B, n_src); and the index of the estimate of each, shape (B, n_src).
    """
    estimates = np.asarray(estimates)
    permutation = best_permutation(estimates, sources)
    return si_sdr(np.take_along_axis(estimates, permutation[..., None], axis=1), sources), permutation


def _centre(signals: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Signals without their mean, and which of them were constant. (..., T) -> (..., T), (...)."""
    centred = signals - signals.mean(-1, keepdims=True)
    return centred, _energy(centred, centred) <= _ROUNDING * _energy(signals, signals)


def _energy(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    inner: NDArray[np.float64] = np.einsum("...t,...t->...", left, right)
    return inner
