"""Stages: what one layer is before it is converted."""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

Affine = nn.Linear | nn.Conv1d | nn.Conv2d
Norm = nn.BatchNorm1d | nn.BatchNorm2d


class CausalConv2d(nn.Conv2d):
    """A convolution that pads the last dimension, time, before the input only: no output sees what comes later."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape: as of a convolution padded with as many zeros, half of them on either side."""
        padding = [int(zeros) for zeros in self.padding]
        padded = F.pad(input, (2 * padding[1], 0))
        return F.conv2d(padded, self.weight, self.bias, self.stride, (padding[0], 0), self.dilation, self.groups)


class Stage(nn.Module):
    """One analog layer: affine map, batch normalisation, ReLU (Wu et al. 2021, Eq. 7 and section 5.1).

    Args:
        affine: linear layer or convolution.
        norm: batch normalisation of its output, or None.
    """

    def __init__(self, affine: Affine, norm: Norm | None = None) -> None:
        super().__init__()
        self.affine = affine
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Activation a = ReLU(norm(affine(x))). Shape: as the affine layer's."""
        return self.preactivation(x).relu()

    def preactivation(self, x: Tensor) -> Tensor:
        """What the ReLU sees."""
        return self.normalised(self.affine(x))

    def normalised(self, z: Tensor) -> Tensor:
        """What the ReLU sees, from the affine layer's output."""
        return z if self.norm is None else self.norm(z)


def stages_of(layers: Iterable[nn.Module]) -> list[Stage]:
    """Group a flat run of (affine, batch norm or none, ReLU) layers into stages.

    Raises:
        ValueError: a layer is of another kind, or the order is another; the message names it.
    """
    stages: list[Stage] = []
    pending: list[nn.Module] = []
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU) and pending:
            norm = pending[1] if len(pending) == 2 else None
            stages.append(Stage(pending[0], norm))  # type: ignore[arg-type]
            pending = []
        elif (isinstance(layer, Affine) and not pending) or (isinstance(layer, Norm) and len(pending) == 1):
            pending.append(layer)
        else:
            raise ValueError(
                f"layer {position} ({layer}) cannot be converted here: stages are (Linear, Conv1d or Conv2d), "
                "optionally BatchNorm, then ReLU"
            )
    if pending:
        raise ValueError(f"the last layer ({pending[-1]}) has no ReLU; a stage ends with one")
    return stages
