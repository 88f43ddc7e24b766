"""The level of a network's output: training on a scale-invariant loss leaves it anywhere."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def output_gain(network: nn.Module, batches: Iterable[Tensor], device: str = "cpu") -> float | None:
    """The gain with which a network's estimates add up to their mixtures, in least squares over mixtures of equal energy.

    Args:
        network: in evaluation mode, on `device`.
        batches: sources, (B, n_src, T).
        device: where the network is.

    Returns:
        The gain, or None where the estimates have nothing in common with the mixtures.
    """
    common = energy = 0.0
    for sources in batches:
        mixture = sources.sum(1).to(device)
        together = network(mixture).sum(1).double()
        mixture = mixture.double()
        weight = 1 / mixture.square().sum(-1).clamp_min(torch.finfo(torch.float32).tiny)
        common += float((weight * (mixture * together).sum(-1)).sum())
        energy += float((weight * together.square().sum(-1)).sum())
    return common / energy if common > 0 else None
