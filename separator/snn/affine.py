"""Linear layers and convolutions without their numbers: how to apply one, and how to make one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.stage import Affine

APPLY: dict[type[Affine], Callable[..., Tensor]] = {nn.Linear: F.linear, nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d}


@dataclass(frozen=True)
class AffineMap:
    """An affine layer as a function of input, weight and bias."""

    kind: type[Affine]
    geometry: dict[str, Any] = field(default_factory=dict)  # stride, padding, dilation and groups of a convolution

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply it. Shapes: as the layer's."""
        return APPLY[self.kind](x, weight, bias, **self.geometry)

    def module(self, weight: Tensor, bias: Tensor) -> Affine:
        """A layer of this kind with these numbers, free to learn."""
        inputs, outputs = weight.shape[1], weight.shape[0]
        if self.kind is nn.Linear:
            layer: Affine = nn.Linear(inputs, outputs)
        else:
            inputs *= self.geometry["groups"]
            layer = self.kind(inputs, outputs, tuple(weight.shape[2:]), **self.geometry)  # type: ignore[arg-type]
        layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        return layer


def affine_map(affine: Affine) -> AffineMap:
    """The map of an affine layer.

    Raises:
        ValueError: padding other than zeros.
    """
    if isinstance(affine, nn.Linear):
        return AffineMap(nn.Linear)
    if affine.padding_mode != "zeros":
        raise ValueError(f"{affine} pads with '{affine.padding_mode}'; only zero padding can be converted")
    kind: type[Affine] = nn.Conv1d if isinstance(affine, nn.Conv1d) else nn.Conv2d
    return AffineMap(kind, {name: getattr(affine, name) for name in ("stride", "padding", "dilation", "groups")})
