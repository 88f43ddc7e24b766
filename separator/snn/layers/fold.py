"""A layer as one affine map: batch normalisation folded into the layer before it, layers without neurons into that behind."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.synapses.absorb import absorbed_weight
from separator.snn.synapses.affine import AffineMap, affine_map


class Statistics(NamedTuple):
    """Statistics that batch norm subtracts and divides by."""

    mean: Tensor  # (C,)
    variance: Tensor  # (C,), biased

    @classmethod
    def of(cls, sums: Tensor) -> "Statistics":
        """Statistics of a batch, as batch norm takes them in training. Shape: (B, C, ...)."""
        dimensions = [d for d in range(sums.dim()) if d != 1]
        exact = sums.detach().to(torch.promote_types(sums.dtype, torch.float32))  # as batch norm does with 16 bits
        variance, mean = torch.var_mean(exact, dimensions, correction=0)
        return cls(mean, variance)


def synaptic_weight(layer: AnalogLayer) -> Tensor:
    """Weight of `AnalogLayer.synapses`, batch norm left out.

    Raises:
        ValueError: layers before the affine one have seen no input yet, whose shape it takes.
    """
    if not layer.before or layer.map_of_affine is not None:
        return layer.affine.weight
    if layer.seen is None:
        raise ValueError(f"{layer} has seen no input yet; run the network once before converting it")
    return absorbed_weight(list(layer.before), affine_map(layer.affine), layer.affine.weight, layer.seen)


def folded(layer: AnalogLayer, statistics: Statistics | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the affine map that equals the layer but for its ReLU in evaluation mode, eps included.

    Args:
        layer: the layer.
        statistics: for its batch norm, if there is one, in place of the running ones.

    Returns:
        weight, of the shape that `AnalogLayer.synapses` takes, and bias (C_out,); differentiable in the layer's parameters.
    """
    weight = synaptic_weight(layer)
    bias = layer.affine.bias if layer.affine.bias is not None else weight.new_zeros(weight.shape[0])
    norm = layer.norm
    if norm is None:
        return weight, bias
    if statistics is None:
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError(f"{norm} keeps no running statistics; only batch norm that does can be folded")
        statistics = Statistics(norm.running_mean, norm.running_var)
    scale = torch.rsqrt(statistics.variance + norm.eps)
    shift = -statistics.mean * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), bias * scale + shift


def folded_shortcut(layer: AnalogLayer, statistics: Statistics | None = None) -> tuple[AffineMap, Tensor, Tensor]:
    """The shortcut of a layer as an affine map: the map, its weight, of the identity (C, 1), and its bias; see `folded`."""
    if isinstance(layer.shortcut, AnalogLayer):
        return layer.shortcut.synapses, *folded(layer.shortcut, statistics)
    neurons = layer.affine.weight.detach()
    return AffineMap(nn.Identity), neurons.new_ones(len(neurons), 1), neurons.new_zeros(len(neurons))
