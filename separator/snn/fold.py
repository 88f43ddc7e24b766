"""Batch normalisation folded into the layer before it."""

import torch
from torch import Tensor

from separator.snn.stage import Stage


def folded(stage: Stage) -> tuple[Tensor, Tensor]:
    """Weight and bias of the affine map that equals affine and batch norm in evaluation mode, eps included.

    Returns:
        weight, of the affine layer's shape, and bias (C_out,); differentiable in the stage's parameters.
    """
    weight = stage.affine.weight
    bias = stage.affine.bias if stage.affine.bias is not None else weight.new_zeros(weight.shape[0])
    norm = stage.norm
    if norm is None:
        return weight, bias
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError(f"{norm} keeps no running statistics; only batch norm that does can be folded")
    scale = torch.rsqrt(norm.running_var + norm.eps)
    shift = -norm.running_mean * scale
    if norm.weight is not None:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return weight * scale.view(-1, *[1] * (weight.dim() - 1)), bias * scale + shift
