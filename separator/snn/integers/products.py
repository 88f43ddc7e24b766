"""Affine maps as matrix products: of 8-bit integers, which add exactly in 32 bits, or of any numbers."""

import platform
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.synapses.affine import AffineMap

Work = Callable[[Tensor], Tensor]
FEW = 16  # positions, up to which compiled loops were faster than a thread of BLAS (see `execution.kernels.products`)
BLOCK = 1024  # positions that a CPU computes at a time, so that what it makes of them on the way stays in the cache


def as_it_is(x: Tensor) -> Tensor:
    """The identity."""
    return x


class Product(Protocol):
    """An affine map with its weight, applied to output positions one by one."""

    apply: AffineMap

    def padded_as(self, apply: AffineMap) -> "Product":
        """The same weights under a map that pads otherwise."""

    def seen(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Inputs that each output position sees, (positions, ...), and the sizes of the output. Shape: (B, C_in, ...)."""

    def sums(self, seen: Tensor) -> Tensor:
        """Weighted sums. Shape: (positions, ...) -> (positions, C_out)."""


def joint_sums(
    products: Sequence[Product], inputs: Sequence[Tensor], prepare: Work = as_it_is, finish: Work = as_it_is
) -> Tensor:
    """Sums of several maps, finished, a block of positions at a time. Shape: (B, C_in, ...) -> (B, C_out, ...).

    Args:
        products: the maps, of as many outputs at as many positions each.
        inputs: of each of them, or one for all.
        prepare: inputs one by one, zero as zero, to what the products take.
        finish: of the sums, each position by itself. Shape: (positions, C_out) -> (positions, C_out).
    """
    each = inputs if len(inputs) > 1 else [inputs[0]] * len(products)
    views = [product.seen(x) for product, x in zip(products, each, strict=True)]
    x = inputs[0]
    sizes, block = views[0][1], BLOCK if x.device.type == "cpu" else max(1, len(views[0][0]))
    finished = []
    for parts in zip(*(torch.split(seen, block) for seen, _ in views), strict=True):
        sums = products[0].sums(prepare(parts[0]))
        for product, part in zip(products[1:], parts[1:], strict=True):
            sums.add_(product.sums(prepare(part)))
        finished.append(finish(sums))
    joined = finished[0] if len(finished) == 1 else torch.cat(finished)
    return joined.view(len(x), *sizes, joined.shape[1]).movedim(-1, 1)


class OwnProduct:
    """The identity with a weight for each channel, int32, of 8-bit inputs."""

    def __init__(self, apply: AffineMap, weight: Tensor) -> None:
        self.apply, self.weight = apply, weight.view(-1)

    def padded_as(self, apply: AffineMap) -> "OwnProduct":
        """The same weights under a map that pads otherwise."""
        return OwnProduct(apply, self.weight)

    def seen(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """The inputs at each position. Shape: (B, C, ...) -> (positions, C)."""
        last = self.apply.padded(x).movedim(1, -1)
        return last.reshape(-1, last.shape[-1]), list(last.shape[1:-1])

    def sums(self, seen: Tensor) -> Tensor:
        """Shape: (positions, C) -> (positions, C)."""
        return seen * self.weight


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

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it."""
        return joint_sums([self], [x])

    def sums(self, seen: Tensor) -> Tensor:
        """Shape: (positions, *taps, C_in) -> (positions, C_out)."""
        columns = seen.flatten(1)
        if self.matrix.dtype == torch.int8:
            rows = len(columns)
            # Rows that lie one behind another: of others, as of those that overlap, oneDNN is silently wrong.
            columns = columns.reshape(-1).view(rows, -1)
            if columns.is_cuda and rows <= 16:  # which cuBLAS does not take
                columns = F.pad(columns, (0, 0, 0, 32 - rows))
            return torch._int_mm(columns, self.matrix.t())[:rows]
        return columns @ self.matrix.t()

    def seen(self, x: Tensor) -> tuple[Tensor, list[int]]:
        """Inputs that each output position sees, (positions, *taps, C_in), and the sizes of the output.

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


def product_of(apply: AffineMap, weight: Tensor) -> Product | None:
    """The map with `weight` as a product; None where there is none, or where it would not be exact."""
    if apply.kind is nn.Identity:
        return OwnProduct(apply, weight)
    return matrix_product(apply, weight)


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
        if not multiplies_integers(weight.device.type):
            return None
    return MatrixProduct(apply, weight)


@lru_cache
def multiplies_integers(device: str) -> bool:
    """True if products of int8 are exact on this machine and have instructions of their own.

    Without these torch computes them number by number, twenty to forty times slower than in floating point.
    """
    if device == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        made_for_it = torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported()
        return made_for_it and adds_exactly(device)
    return adds_exactly(device)


@lru_cache
def adds_exactly(device: str) -> bool:
    """True if products of int8 are exact on this machine: instructions before AVX-512 VNNI saturate at 16 bits on their way."""
    extremes = torch.tensor([-128, 127, 32, 0], dtype=torch.int8)
    x, weight = extremes[:, None].repeat(8, 64), extremes[:, None].repeat(2, 64)
    try:
        found = torch._int_mm(x.to(device), weight.t().to(device)).cpu()
    except RuntimeError:  # no such product there
        return False
    return torch.equal(found, (x.double() @ weight.t().double()).to(torch.int32))
