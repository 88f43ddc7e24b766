"""Limits of incoming connections, as neuromorphic chips have them (Wu et al. 2021, section 4.3)."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer


class Masked(nn.Module):
    """Weights of which only some can be other than zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Shape: as the mask."""
        return weight * self.mask


def strongest(weight: Tensor, count: int) -> Tensor:
    """Mask of the `count` weights of largest magnitude of each neuron, the first of equal ones. Shape: (C_out, ...), bool."""
    magnitudes = weight.detach().abs().flatten(1)
    places = magnitudes.argsort(dim=1, descending=True, stable=True)[:, :count]
    return torch.zeros_like(magnitudes, dtype=torch.bool).scatter_(1, places, True).view_as(weight)


def kept_weights(layer: AnalogLayer, limit: int) -> int:
    """Weights of a neuron that a limit of incoming connections leaves it.

    Behind average pooling each averaged input is a connection: a weight is worth as many, unless the affine layer stands for
    pooling as well, so that it has a weight for each. An identity beside the layer is one connection.

    Raises:
        UserError: pooling or the identity alone take more, or a shortcut has weights of its own, which are not limited.
    """
    pooled = layer.synapses.averaged if layer.map_of_affine is None else 1
    if isinstance(layer.shortcut, AnalogLayer):
        raise UserError("connections of a shortcut with weights of its own cannot be limited; leave out fan_in")
    beside = int(layer.shortcut is not None)
    if pooled + beside > limit:
        where = (
            f"behind average pooling of {pooled} inputs" if pooled > 1 else "that has the identity beside its other synapses"
        )
        needed = "as many connections" if pooled > 1 and not beside else f"{pooled + beside} connections"
        raise UserError(f"a neuron {where} needs {needed}, not {limit}")
    return (limit - beside) // pooled


def limit_fan_in(layer: AnalogLayer, limit: int) -> None:
    """Keep the strongest connections of each neuron of an analog layer; the others stay zero while it learns.

    Raises:
        UserError: as `kept_weights`.
    """
    weights = kept_weights(layer, limit)
    if weights < layer.affine.weight[0].numel():
        mask = strongest(layer.affine.weight, weights)
        parametrize.register_parametrization(layer.affine, "weight", Masked(mask))


def fan_in(*weights: Tensor) -> int:
    """Most connections, weights other than zero in all incoming maps, of a neuron. Shapes: (C_out, ...) each."""
    return int(torch.stack([weight.flatten(1).count_nonzero(1) for weight in weights]).sum(0).max())
