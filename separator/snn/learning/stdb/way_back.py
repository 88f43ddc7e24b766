"""An affine layer on the way back alone: its gradients need its input and its weight, and nothing that it computed."""

from typing import Any

import torch
from torch import Tensor, nn

from separator.snn.synapses.affine import Affine, affine_map


def unfinished(affine: Affine, x: Tensor) -> Tensor:
    """The layer's output but for its numbers, which are not computed; gradients go through it all the same.

    Shape: as the layer's.
    """
    weight = affine.weight
    if torch.is_autocast_enabled(x.device.type):
        x, weight = (values.to(torch.get_autocast_dtype(x.device.type)) for values in (x, weight))
    if isinstance(affine, nn.Linear):
        sums: Tensor = _Linear.apply(x, weight)  # type: ignore[no-untyped-call]
    else:
        apply = affine_map(affine)
        sizes = apply.outputs(x.shape[2:], weight.shape[2:])
        prepared, stride, padding = apply.prepared(x, weight)
        geometry = (list(stride), list(padding), list(apply.dilation), apply.groups)
        sums = _Convolution.apply(prepared, weight, sizes, geometry)  # type: ignore[no-untyped-call]
    return sums if affine.bias is None else sums + affine.bias.view(-1, *[1] * (sums.dim() - 2))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x.new_zeros(1).expand(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x = gradient @ weight if ctx.needs_input_grad[0] else None
        to_weight = gradient.flatten(0, -2).t() @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        return to_x, to_weight


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sizes: list[int], geometry: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return x.new_zeros(1).expand(len(x), len(weight), *sizes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        wanted = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        to_x, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, dilation, False, [0] * len(stride), groups, wanted
        )
        return to_x, to_weight, None, None
