"""Affine maps as one matrix product: of 8-bit integers, which adds exactly in 32 bits, or of any numbers."""

from collections.abc import Callable
from copy import copy
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from separator.snn.affine import AffineMap

Work = Callable[[Tensor], Tensor]
BLOCK = 1024  # positions that a CPU computes at a time, so that what it makes of them on the way stays in the cache


def as_it_is(x: Tensor) -> Tensor:
    """The identity."""
    return x


class MatrixProduct:
    """An ungrouped affine map with its weight, without bias. Shape: (B, C_in, ...) -> (B, C_out, ...).

    Args:
        apply: the map.
        weight: as the layer's; of int8 it takes int8 and makes int32, else it takes and makes what it is of itself.
    """

    def __init__(self, apply: AffineMap, weight: Tensor) -> None:
        self.apply, self.taps = apply, weight.shape[2:]
        self.matrix = weight.movedim(1, -1).flatten(1).contiguous()  # (C_out, taps x C_in)

    def padded_as(self, apply: AffineMap) -> "MatrixProduct":
        """The same weights under a map that pads otherwise."""
        padded = copy(self)
        padded.apply = apply
        return padded

    def __call__(self, x: Tensor, prepare: Work = as_it_is, finish: Work = as_it_is) -> Tensor:
        """Apply it to prepared inputs and finish the sums, a block of positions at a time.

        Args:
            x: input.
            prepare: inputs one by one, zero as zero, to what the product takes.
            finish: of the sums, each position by itself. Shape: (positions, C_out) -> (positions, C_out).
        """
        seen, sizes = self._seen(x)
        blocks = torch.split(seen, BLOCK if seen.device.type == "cpu" else max(1, len(seen)))
        finished = [finish(self._sums(prepare(block.flatten(1)))) for block in blocks]
        joined = finished[0] if len(finished) == 1 else torch.cat(finished)
        return joined.view(len(x), *sizes, len(self.matrix)).movedim(-1, 1)

    def _sums(self, columns: Tensor) -> Tensor:
        """Shape: (positions, taps x C_in) -> (positions, C_out)."""
        if self.matrix.dtype == torch.int8:
            rows = len(columns)
            # Rows that lie one behind another: of others, as of those that overlap, oneDNN is silently wrong.
            columns = columns.reshape(-1).view(rows, -1)
            if columns.is_cuda and rows <= 16:  # which cuBLAS does not take
                columns = F.pad(columns, (0, 0, 0, 32 - rows))
            return torch._int_mm(columns, self.matrix.t())[:rows]
        return columns @ self.matrix.t()

    def _seen(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """What each output position sees, (positions, *taps, C_in), and the sizes of the output.

        Of one row it is a view: copies are made a block at a time then, in the cache.
        """
        x = self.apply.flattened(x).movedim(1, -1).contiguous()
        if not self.taps:
            return x, []
        sizes = self.apply.outputs(x.shape[1:-1], self.taps)
        if any(self.apply.edges):
            x = F.pad(x, (0, 0, *self.apply.edges))
        image, *along, channel = x.stride()
        strides = [s * n for s, n in zip(self.apply.stride, along, strict=True)]
        dilations = [d * n for d, n in zip(self.apply.dilation, along, strict=True)]
        view = x.as_strided((len(x), *sizes, *self.taps, x.shape[-1]), (image, *strides, *dilations, channel))
        return view.flatten(0, len(sizes)), sizes


def matrix_product(apply: AffineMap, weight: Tensor) -> MatrixProduct | None:
    """The map with `weight` as a matrix product; None where there is none, or where it would not be exact."""
    if apply.groups != 1:
        return None
    if weight.dtype == torch.int8:
        inputs = weight[0].numel()
        if inputs < 2:
            return None  # oneDNN cannot tell how such a matrix lies in memory, and is silently wrong
        if weight.is_cuda and (len(weight) % 8 or inputs % 8):
            return None  # cuBLAS takes no others
        if not adds_exactly(weight.device.type):
            return None
    return MatrixProduct(apply, weight)


@lru_cache
def adds_exactly(device: str) -> bool:
    """Whether products of int8 are exact on this machine: instructions before AVX-512 VNNI saturate at 16 bits on their way."""
    extremes = torch.tensor([-128, 127, 32, 0], dtype=torch.int8)
    x, weight = extremes[:, None].repeat(8, 64), extremes[:, None].repeat(2, 64)
    try:
        found = torch._int_mm(x.to(device), weight.t().to(device)).cpu()
    except RuntimeError:  # no such product there
        return False
    return torch.equal(found, (x.double() @ weight.t().double()).to(torch.int32))
