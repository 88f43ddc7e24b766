"""Check of the pairs of signals that the libraries of metrics can be given."""

import numpy as np
from numpy.typing import NDArray


def usable(estimates: NDArray[np.float64], sources: NDArray[np.float64], shortest: int) -> NDArray[np.bool_]:
    """Pairs of finite signals of at least `shortest` samples with a source that is not silent. (n_src, T) twice -> (n_src,).

    Raises:
        ValueError: the shapes differ; libraries compare signals of unequal length without a word.
    """
    if estimates.shape != sources.shape or estimates.ndim != 2:
        raise ValueError(f"estimates and sources must both be (n_src, T), not {estimates.shape} and {sources.shape}")
    if sources.shape[-1] < shortest:
        return np.zeros(len(sources), np.bool_)
    return np.array([bool(np.isfinite(pair).all() and pair[1].any()) for pair in zip(estimates, sources, strict=True)])
