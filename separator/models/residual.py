"""Basic blocks of residual networks (He et al. 2016), two convolutions and what goes past them, as layers of a stack."""

from collections.abc import Callable

import torch
from torch import nn

from separator.snn.layers.analog import AnalogLayer


class Averages(nn.Conv2d):
    """The mean of N x N positions of each channel, as a convolution in which nothing is learned.

    Args:
        channels: of input and output.
        size: N.
    """

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, channels, size, size, groups=channels, bias=False)
        del self.weight
        self.register_buffer("weight", torch.full((channels, 1, size, size), 1 / size**2))


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3, the second of which adds what the block sees, by the identity or bias-free weights of 1 x 1.

    Args:
        channels: of what it sees.
        filters: of both convolutions.
        stride: of the first, and of the way past it.
        drop: share of dropout between them.
        pool: mean of so many positions in either direction that both ways see, 1 for none.
        bias: of the convolutions.
        norm: whether batch normalisation is behind all convolutions.
        activation: makes one.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        stride: int,
        drop: float,
        pool: int,
        bias: bool,
        norm: bool,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        pooled = [nn.AvgPool2d(pool)] if pool > 1 else []
        between = [nn.Dropout(drop)] if drop else []

        def normalised() -> nn.BatchNorm2d | None:
            return nn.BatchNorm2d(filters) if norm else None

        past: nn.Identity | AnalogLayer = nn.Identity()
        if stride > 1 or channels != filters:
            weights = nn.Conv2d(channels, filters, 1, stride, bias=False)
            past = AnalogLayer(weights, normalised(), pooled, activation=None)
        elif pooled:
            past = AnalogLayer(Averages(channels, pool), activation=None)
        first = nn.Conv2d(channels, filters, 3, stride, 1, bias=bias)
        second = nn.Conv2d(filters, filters, 3, 1, 1, bias=bias)
        self.first = AnalogLayer(first, normalised(), pooled, activation())
        self.second = AnalogLayer(second, normalised(), between, activation(), past)
