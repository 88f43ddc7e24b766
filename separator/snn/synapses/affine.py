"""Linear layers, convolutions and the identity without their numbers: how to apply one, and how to make one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.synapses.rows import WIDE, Row, row_sums, serves

Affine = nn.Linear | nn.Conv1d | nn.Conv2d


class CausalConv2d(nn.Conv2d):
    """A convolution that pads the last dimension, time, before the input only: no output sees what comes later."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape: as of a convolution padded with as many zeros, half of them on either side."""
        padding = [int(zeros) for zeros in self.padding]
        padded = F.pad(input, (2 * padding[1], 0))
        return F.conv2d(padded, self.weight, self.bias, self.stride, (padding[0], 0), self.dilation, self.groups)


class PaddedConv(nn.Module):
    """A convolution, strided or not, that pads with other numbers of zeros before its input than after it."""

    around: tuple[tuple[int, int], ...] = ()  # zeros before and after, of each dimension of position

    def forward(self, input: Tensor) -> Tensor:
        """Shape: as of a convolution without padding whose input has these zeros."""
        sums: Tensor = super().forward(F.pad(input, edges_of(self.around)))
        return sums


class PaddedConv1d(PaddedConv, nn.Conv1d):
    """Of one dimension of position."""


class PaddedConv2d(PaddedConv, nn.Conv2d):
    """Of two."""


PADDED: dict[type[nn.Module], type[PaddedConv1d] | type[PaddedConv2d]] = {nn.Conv1d: PaddedConv1d, nn.Conv2d: PaddedConv2d}
APPLY: dict[type[nn.Module], Callable[..., Tensor]] = {nn.Linear: F.linear, nn.Conv1d: F.conv1d, nn.Conv2d: F.conv2d}


@dataclass(frozen=True)
class AffineMap:
    """An affine layer as a function of input, weight and bias; all but `kind` is of a convolution.

    Of kind `nn.Identity`, each output sees the one input at its own place, with a weight of its channel: (C, 1).
    """

    kind: type[Affine] | type[nn.Identity]
    stride: tuple[int, ...] = ()
    padding: tuple[
        tuple[int, int], ...
    ] = ()  # zeros before and after, of each dimension of position; below 0 to leave some out
    dilation: tuple[int, ...] = ()
    groups: int = 1
    flatten: bool = False  # a linear layer of all dimensions but the batch
    averaged: int = 1  # inputs that the layer itself sees the mean of, where average pooling before it is part of the map
    pooled: tuple[int, ...] = ()  # these, by dimension of position of the input, which they divide; empty if that is not known
    # Of each dimension of a kernel with dilation behind such pooling, (n, d): of its runs of n taps, one in d has synapses.
    runs: tuple[tuple[int, int], ...] = ()

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply it. Shapes: as the layer's."""
        if self.kind is nn.Identity:
            sums = self.padded(x) * weight.view(-1, *[1] * (x.dim() - 2))
            return _plus(sums, bias)
        if self.kind is nn.Linear:
            return F.linear(self.flattened(x), weight, bias)
        if (row := self.row(x, weight)) is not None:
            return _plus(row_sums(x, weight, row), bias)
        x, stride, padding = self.prepared(x, weight)
        return APPLY[self.kind](x, weight, bias, stride, padding, self.dilation, self.groups)

    def prepared(self, x: Tensor, weight: Tensor) -> tuple[Tensor, tuple[int, ...], tuple[int, ...]]:
        """Input, stride and padding of the convolution that it is computed by.

        One of single positions that sees some of them only is given those alone: stored channels last, oneDNN's backward pass
        of such convolutions writes where it must not (torch 2.11).
        """
        padding, stride, skips = tuple(before for before, _ in self.padding), self.stride, self.skips_inputs(weight)
        if skips or any(before != after or before < 0 for before, after in self.padding):
            x, padding = self.padded(x), (0,) * len(padding)
        if skips:
            places: tuple[Any, ...] = (..., *(slice(None, None, step) for step in stride))
            x, stride = x[places], (1,) * len(stride)
        return x, stride, padding

    def skips_inputs(self, weight: Tensor) -> bool:
        """Whether it is a convolution of single positions, of which it sees some only."""
        return self.kind not in (nn.Linear, nn.Identity) and set(weight.shape[2:]) == {1} and max(self.stride) > 1

    def row(self, x: Tensor, weight: Tensor) -> Row | None:
        """The convolution along one-row images that it is, of all channels, where `row_sums` is the faster way; else None."""
        if self.kind is not nn.Conv2d or x.dim() != 4 or any(self.padding[0]) or not serves(x, weight):
            return None
        if not x.shape[2] == weight.shape[2] == self.groups == max(self.stride) == 1:
            return None
        row = Row(weight.shape[3], *self.padding[1], self.dilation[1])
        if not row.is_far and min(weight.shape[:2]) < WIDE:
            return None
        return row if row.in_products or (torch.is_grad_enabled() and weight.requires_grad) else None

    def flattened(self, x: Tensor) -> Tensor:
        """The input as the map sees it: flat if it flattens. Shape: (B, ...) -> (B, ...)."""
        return x.flatten(1) if self.flatten else x

    def padded(self, x: Tensor) -> Tensor:
        """The input with its padding. Shape: (B, C, ...) -> (B, C, ...)."""
        return F.pad(x, self.edges) if any(self.edges) else x

    @property
    def edges(self) -> list[int]:
        """The padding as `torch.nn.functional.pad` takes it, last dimension first."""
        return edges_of(self.padding)

    def outputs(self, sizes: Sequence[int], taps: Sequence[int]) -> list[int]:
        """Sizes of the output's dimensions of position, from those of the input and of the kernel."""
        spans = zip(sizes, taps, self.stride, self.padding, self.dilation, strict=True)
        return [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in spans]

    def synapses(self, weight: Tensor) -> Tensor:
        """Mask of the weights that are synapses: all but those in gaps between taps. Shape: as the weight's, bool."""
        exist = torch.ones_like(weight, dtype=torch.bool)
        for dimension, (run, period) in enumerate(self.runs, 2):
            gaps = torch.arange(weight.shape[dimension], device=weight.device) // run % period != 0
            exist.index_fill_(dimension, gaps.nonzero()[:, 0], False)
        return exist

    def with_time_padding(self, before: int, after: int) -> "AffineMap":
        """The map that pads its last dimension, time, with so many zeros."""
        return replace(self, padding=(*self.padding[:-1], (before, after)))

    def module(self, weight: Tensor, bias: Tensor) -> Affine:
        """A layer of this kind with these numbers, free to learn."""
        inputs, outputs, taps = weight.shape[1] * self.groups, weight.shape[0], tuple(weight.shape[2:])
        alike = all(before == after for before, after in self.padding)
        if self.kind is nn.Linear:
            layer: Affine = nn.Linear(inputs, outputs)
        else:
            make: Any = self.kind if alike else PADDED[self.kind]
            padding = tuple(before if alike else 0 for before, _ in self.padding)
            layer = make(inputs, outputs, taps, self.stride, padding, self.dilation, self.groups)
        if isinstance(layer, PaddedConv):
            layer.around = self.padding
        layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        return layer


def edges_of(padding: Sequence[tuple[int, int]]) -> list[int]:
    """Zeros before and after each dimension of position as `torch.nn.functional.pad` takes them, last dimension first."""
    return [zeros for pair in reversed(padding) for zeros in pair]


def applied(affine: Affine, x: Tensor) -> Tensor:
    """What an affine layer makes of its input, in the fastest way to run or to learn. Shapes: as the layer's."""
    seen_called = affine._forward_hooks or affine._forward_pre_hooks  # by what counts operations
    if isinstance(affine, nn.Conv2d) and affine.padding_mode == "zeros" and not seen_called:
        apply = affine_map(affine)
        if apply.row(x, affine.weight) is not None or apply.skips_inputs(affine.weight):
            return apply(x, affine.weight, affine.bias)
    whole: Tensor = affine(x)
    return whole


def _plus(sums: Tensor, bias: Tensor | None) -> Tensor:
    """Sums with the bias of each channel. Shape: (B, C_out, ...)."""
    return sums if bias is None else sums + bias.view(-1, *[1] * (sums.dim() - 2))


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
    return AffineMap(kind, affine.stride, _padding(affine), affine.dilation, affine.groups)


def _padding(affine: nn.Conv1d | nn.Conv2d) -> tuple[tuple[int, int], ...]:
    if isinstance(affine, PaddedConv):
        return affine.around
    if affine.padding == "valid":
        return ((0, 0),) * len(affine.kernel_size)
    if affine.padding == "same":  # the larger half after, as torch does
        reach = (d * (k - 1) for d, k in zip(affine.dilation, affine.kernel_size, strict=True))
        return tuple((r // 2, r - r // 2) for r in reach)
    pairs = tuple((int(p), int(p)) for p in affine.padding)
    return (*pairs[:-1], (2 * pairs[-1][0], 0)) if isinstance(affine, CausalConv2d) else pairs
