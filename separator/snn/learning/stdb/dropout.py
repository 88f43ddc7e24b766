"""Dropout whose masks stay the same over all steps of a batch (Rathi et al. 2020, Algorithm 2)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

Dropout = nn.Dropout | nn.Dropout1d | nn.Dropout2d


class HeldMasks:
    """Masks of the dropout before one layer, for one batch; drawn as they are first needed.

    Args:
        batch: items of it.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.masks: dict[int, Tensor] = {}  # of each layer that drops, by its place, (B, ...), bool

    def through(self, layers: Iterable[nn.Module], x: Tensor) -> Tensor:
        """What layers without neurons make of the input of some steps, time folded into the batch. Shape: (K B, ...)."""
        for place, layer in enumerate(layers):
            x = self._dropped(place, layer, x) if isinstance(layer, Dropout) else layer(x)
        return x

    def _dropped(self, place: int, layer: Dropout, x: Tensor) -> Tensor:
        if not layer.training or layer.p == 0:
            return x
        if place not in self.masks:
            self.masks[place] = layer(torch.ones_like(x[: self.batch])) != 0
        scale = 1 / (1 - layer.p) if layer.p < 1 else 0.0
        steps = torch.unflatten(x, 0, (-1, self.batch))
        return (steps * self.masks[place]).mul_(scale).flatten(0, 1)
