"""A stage as one affine map: batch normalisation folded into the layer before it, layers without neurons into that behind."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.snn.absorb import absorbed_weight
from separator.snn.affine import AffineMap, affine_map
from separator.snn.stage import Stage


class Statistics(NamedTuple):
    """What batch norm subtracts and divides by."""

    mean: Tensor  # (C,)
    variance: Tensor  # (C,), biased

    @classmethod
    def of(cls, sums: Tensor) -> "Statistics":
        """Of a batch, as batch norm takes them in training. Shape: (B, C, ...)."""
        dimensions = [d for d in range(sums.dim()) if d != 1]
        variance, mean = torch.var_mean(sums.detach(), dimensions, correction=0)
        return cls(mean, variance)


def synaptic_weight(stage: Stage) -> Tensor:
    """Weight of `Stage.synapses`, batch norm left out.

    Raises:
        ValueError: layers before the affine one have seen no input yet, whose shape it takes.
    """
    if not stage.before:
        return stage.affine.weight
    if stage.seen is None:
        raise ValueError(f"{stage} has seen no input yet; run the network once before converting it")
    return absorbed_weight(list(stage.before), affine_map(stage.affine), stage.affine.weight, stage.seen)


def folded(stage: Stage, statistics: Statistics | None = None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the affine map that equals the stage but for its ReLU in evaluation mode, eps included.

    Args:
        stage: the stage.
        statistics: for its batch norm, if there is one, in place of the running ones.

    Returns:
        weight, of the shape that `Stage.synapses` takes, and bias (C_out,); differentiable in the stage's parameters.
    """
    weight = synaptic_weight(stage)
    bias = stage.affine.bias if stage.affine.bias is not None else weight.new_zeros(weight.shape[0])
    norm = stage.norm
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


def folded_shortcut(stage: Stage, statistics: Statistics | None = None) -> tuple[AffineMap, Tensor, Tensor]:
    """The shortcut of a stage as an affine map: the map, its weight, of the identity (C, 1), and its bias; see `folded`."""
    if isinstance(stage.shortcut, Stage):
        return stage.shortcut.synapses, *folded(stage.shortcut, statistics)
    neurons = stage.affine.weight.detach()
    return AffineMap(nn.Identity), neurons.new_ones(len(neurons), 1), neurons.new_zeros(len(neurons))
