"""SI-SDR with an oracle for who is who: an oracle gives each short block of the estimates to the talkers.

What it is above the SI-SDR of one assignment for the whole signal tells what talkers that swap channels cost.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from separator.metrics.sisdr import si_sdr

BLOCK = 0.125  # s


def oracle_si_sdr(estimates: ArrayLike, sources: ArrayLike, mixture: ArrayLike, block: int) -> NDArray[np.float64]:
    """SI-SDR of what `oracle_estimates` puts together.

    Args:
        estimates: Separated signals in any order and at any level, shape (n_est, T), n_est >= n_src.
        sources: Clean signals, shape (n_src, T).
        mixture: Their mixture, shape (T,).
        block: Samples in which nobody changes places; the last block may be shorter.

    Returns:
        SI-SDR in dB, shape (n_src,), with the limits of `si_sdr`; NaN throughout where a sample is not finite.

    Raises:
        ValueError: the lengths differ, or there are fewer estimates than sources.
    """
    estimates, sources, mixture = (np.asarray(signal, np.float64) for signal in (estimates, sources, mixture))
    if not estimates.shape[-1] == sources.shape[-1] == mixture.shape[-1] or len(estimates) < len(sources):
        raise ValueError(f"estimates {estimates.shape}, sources {sources.shape} and mixture {mixture.shape} do not fit")
    if not all(np.isfinite(signal).all() for signal in (estimates, sources, mixture)):
        return np.full(len(sources), np.nan)
    return si_sdr(oracle_estimates(estimates, sources, mixture, block), sources)


def oracle_estimates(
    estimates: NDArray[np.float64], sources: NDArray[np.float64], mixture: NDArray[np.float64], block: int
) -> NDArray[np.float64]:
    """Estimates in the order of the sources, block by block; arguments as in `oracle_si_sdr`, all finite.

    Each estimate e is first scaled to the mixture x by least squares, with the gain <e, x> / <e, e>. Then each block takes
    the assignment of estimates to sources with the least squared error.

    Returns:
        Scaled estimates, shape (n_src, T).
    """
    levelled = _scaled_to(mixture, estimates)
    chosen = np.empty_like(sources)
    for start in range(0, sources.shape[-1], block):
        part = slice(start, start + block)
        errors = np.square(sources[:, None, part] - levelled[None, :, part]).sum(-1)  # (n_src, n_est)
        chosen[:, part] = levelled[linear_sum_assignment(errors)[1], part]
    return chosen


def _scaled_to(mixture: NDArray[np.float64], estimates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimates with the gain that brings each closest to the mixture; a silent one stays silent. Shape (n_est, T)."""
    energies = np.square(estimates).sum(-1)
    products = (estimates * mixture).sum(-1)
    gains = np.divide(products, energies, out=np.zeros_like(energies), where=energies > 0)
    scaled: NDArray[np.float64] = gains[:, None] * estimates
    return scaled
