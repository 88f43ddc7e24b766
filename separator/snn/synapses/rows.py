"""Convolutions along one-row images as products of matrices, which on a CPU is the faster way in part.

What a tap adds to the sums is a product of the frames that it sees with its weights, and so are its shares of both gradients.
Of four images of 256 channels and 1500 frames, and three taps, the gradient of the weights took 30 ms of CPU time in this way,
and 82 by oneDNN without dilation, 37 to 48 with some. From dilations of 256 on, where oneDNN took 45 to 65 ms for the sums or
for either gradient, each takes 25 to 35 (AVX2). Of 128 channels and dilations up to 128, oneDNN takes a tenth less of a step of
training, with AVX-512 and without.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

FAR = 192  # dilation from which on all is done in products, as it is for a single tap
WIDE = 192  # channels from which on dilations that are not far are worth products
LEAST = 256  # frames of a row, of fewer of which products were no faster, and many short rows up to 27 times slower


class Row(NamedTuple):
    """A convolution along one dimension, at each position, of all channels together."""

    taps: int
    before: int  # zeros; below 0 to leave inputs out
    after: int
    dilation: int

    @property
    def is_far(self) -> bool:
        """Whether its taps lie far apart."""
        return self.taps > 1 and self.dilation >= FAR

    @property
    def in_products(self) -> bool:
        """Whether the sums and the gradient of the input are products, too."""
        return self.taps == 1 or self.is_far

    def outputs(self, inputs: int) -> int:
        """Length of the sums."""
        return inputs + self.before + self.after - (self.taps - 1) * self.dilation

    def shares(self, inputs: int) -> Iterator[tuple[int, slice, slice]]:
        """Taps, positions of the sums that they have a share in, and what they see there."""
        for tap in range(self.taps):
            ahead = tap * self.dilation - self.before
            first, last = max(0, -ahead), min(self.outputs(inputs), inputs - ahead)
            if first < last:
                yield tap, slice(first, last), slice(first + ahead, last + ahead)


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether `row_sums` does, for images and a weight: of long rows, on a CPU, in the precision that they have."""
    same = x.dtype == weight.dtype and x.dtype in (torch.float32, torch.float64)
    return same and x.shape[-1] >= LEAST and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def row_sums(x: Tensor, weight: Tensor, row: Row) -> Tensor:
    """Sums, through which gradients pass, stored channels last.

    Shapes: (B, C_in, 1, K), (C_out, C_in, 1, taps) -> (B, C_out, 1, J).
    """
    if not row.in_products and row.before != row.after:
        x, row = F.pad(x, (row.before, row.after)), row._replace(before=0, after=0)
    sums: Tensor = _RowConvolution.apply(x, weight, row)  # type: ignore[no-untyped-call]
    return sums


class _RowConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, row: Row) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.row = row
        if not row.in_products:
            return F.conv2d(x, weight, None, 1, (0, row.before), (1, row.dilation))
        frames, taps = _frames(x), _taps(weight)
        sums = frames.new_zeros(len(x), row.outputs(x.shape[-1]), len(weight))
        for image, seen in zip(sums, frames, strict=True):
            for tap, here, there in row.shares(x.shape[-1]):
                image[here].addmm_(seen[there], taps[tap].t())
        return _image(sums)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), row = ctx.saved_tensors, ctx.row
        of_x, of_weight, _ = ctx.needs_input_grad
        frames, gradients, taps = _frames(x), _frames(gradient), _taps(weight)
        to_x = torch.zeros_like(frames) if of_x and row.in_products else None
        to_taps = weight.new_zeros(taps.shape) if of_weight else None
        for image, (seen, wanted) in enumerate(zip(frames, gradients, strict=True)):
            for tap, here, there in row.shares(x.shape[-1]):
                if to_taps is not None:
                    to_taps[tap].addmm_(wanted[here].t(), seen[there])
                if to_x is not None:
                    to_x[image, there].addmm_(wanted[here], taps[tap])
        to_weight = None if to_taps is None else to_taps.permute(1, 2, 0).unsqueeze(2)
        if of_x and to_x is None:
            where = 1, (0, row.before), (1, row.dilation)
            return conv2d_input(x.shape, weight, gradient, *where), to_weight, None  # type: ignore[no-untyped-call]
        return None if to_x is None else _image(to_x), to_weight, None


def _frames(x: Tensor) -> Tensor:
    """Shape: (B, C, 1, K) -> (B, K, C)."""
    return x.squeeze(2).transpose(1, 2).contiguous()


def _image(frames: Tensor) -> Tensor:
    """Shape: (B, K, C) -> (B, C, 1, K)."""
    return frames.transpose(1, 2).unsqueeze(2)


def _taps(weight: Tensor) -> Tensor:
    """Shape: (C_out, C_in, 1, taps) -> (taps, C_out, C_in)."""
    return weight.squeeze(2).permute(2, 0, 1)
