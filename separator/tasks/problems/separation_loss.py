"""Batches of mixtures."""

from torch import Tensor


def mixture_and_sources(batch: Tensor, n_src: int) -> tuple[Tensor, Tensor]:
    """Mixtures and what to find in them, of a batch of rows that add up to the mixtures.

    Args:
        batch: sources, (B, n_src, T), or sources and noise, (B, n_src + 1, T).
        n_src: talkers.

    Returns:
        Mixtures (B, T) and sources (B, n_src, T).
    """
    return batch.sum(1), batch[:, :n_src]
