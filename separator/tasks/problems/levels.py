"""The level of a network's output: training on a scale-invariant loss leaves it anywhere."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from separator.tasks.problems.separation_loss import mixture_and_sources


@torch.no_grad()
def output_gain(network: nn.Module, batches: Iterable[Tensor], n_src: int = 2, device: str = "cpu") -> float | None:
    """The gain with which a network's estimates add up to all talkers, in least squares over mixtures of equal energy.

    Args:
        network: in evaluation mode, on `device`.
        batches: as `mixture_and_sources` takes them.
        n_src: talkers.
        device: where the network is.

    Returns:
        The gain, or None where the estimates have nothing in common with the talkers.
    """
    common = energy = 0.0
    for batch in batches:
        mixture, sources = mixture_and_sources(batch.to(device), n_src)
        together = network(mixture).sum(1).double()
        talkers = sources.sum(1).double()
        weight = 1 / talkers.square().sum(-1).clamp_min(torch.finfo(torch.float32).tiny)
        common += float((weight * (talkers * together).sum(-1)).sum())
        energy += float((weight * together.square().sum(-1)).sum())
    return common / energy if common > 0 else None
