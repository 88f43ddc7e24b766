"""Linear layers, normalisation and sigmoid that are defined to the bit, for all that is not spikes in a spiking network.

What comes before the first spike cannot flip it then, and what comes behind the last one is the same whatever it is batched
with. Numbers are whole multiples of a power of two, held in 64-bit floating point, in which sums of that size are exact in any
order; all else is single operations, which IEEE 754 rounds alike everywhere. No gradient passes.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.affine import AffineMap
from separator.snn.grid import TINIEST, power_above
from separator.snn.products import BLOCK, matrix_product

# Bits of a sum of products, of the largest weight of all, and at most of the largest input of a frame.
SUM_BITS, WEIGHT_BITS, INPUT_BITS = 52, 15, 29
# Bits of the largest feature of a frame; so many features have squares that add up exactly.
FEATURE_BITS, MOST_FEATURES = 20, 2**12
# The sigmoid is read from a table: its argument in steps, up to a limit beyond which it is 0 or 1, its value in steps.
ARGUMENT_STEP, ARGUMENT_LIMIT, VALUE_STEP = 2.0**-10, 16.0, 2.0**-20


class ExactLinear(nn.Linear):
    """A linear layer whose outputs are sums that are never rounded, of inputs and weights that are."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., L) -> (..., N); to the bit, then float64, if `exact`."""
        if not exact:
            return super().forward(x)
        x, weight = x.double(), self.weight.detach().double()
        bits = min(INPUT_BITS, SUM_BITS - WEIGHT_BITS - (self.in_features - 1).bit_length())
        per_input = _steps_per_unit(_largest(x), bits)
        per_weight = _steps_per_unit(weight.abs().amax(), WEIGHT_BITS)
        sums = F.linear((x * per_input).round_(), (weight * per_weight).round_()).mul_(1 / (per_input * per_weight))
        return sums if self.bias is None else sums.add_(self.bias.detach().double())


class EightBitLinear(nn.Linear):
    """A linear layer that can run on 8-bit inputs and weights, each frame and each output in steps of its own."""

    def eight_bits(self) -> "EightBitWeight":
        """The weights as they are now, to be given to `forward` as often as it is called."""
        weight, step = _in_8_bits(self.weight.detach())
        return EightBitWeight(
            matrix_product(AffineMap(nn.Linear), weight) or partial(_product_in_64_bits, weight), step.view(-1)
        )

    def forward(self, x: Tensor, exact: "EightBitWeight | None" = None) -> Tensor:
        """Shape: (..., N) -> (..., M); to the bit, then float32 from inputs and weights of 8 bits, if they are given."""
        if exact is None:
            return super().forward(x)
        frames, frame_step = _in_8_bits(x.float().flatten(0, -2))
        outputs = exact.product(frames).float().mul_(frame_step).mul_(exact.step).add_(self.bias.detach())
        return outputs.view(*x.shape[:-1], -1)


class EightBitWeight(NamedTuple):
    """A weight matrix as 8-bit integers in steps."""

    product: Callable[[Tensor], Tensor]  # of 8-bit frames with it, (R, N) -> (R, M)
    step: Tensor  # (M,)


class ExactLayerNorm(nn.LayerNorm):
    """Layer normalisation over at most MOST_FEATURES features."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., N) -> (..., N), float32; to the bit if `exact`."""
        return self._exactly(x) if exact else super().forward(x)

    @torch.no_grad()
    def _exactly(self, x: Tensor) -> Tensor:
        normalised = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        gain, bias = self.weight.double(), self.bias.double()
        parts = (torch.split(rows.flatten(0, -2), BLOCK) for rows in (x, normalised))
        for features, out in zip(*parts, strict=True):
            whole = features.double()
            per_unit = _steps_per_unit(_largest(whole), FEATURE_BITS)
            whole = (whole * per_unit).round_()
            mean = whole.sum(-1, keepdim=True) / x.shape[-1]
            variance = torch.linalg.vecdot(whole, whole)[:, None] / x.shape[-1] - mean.square()
            deviation = (variance.clamp_min_(0) + self.eps * per_unit.square()).sqrt_()
            whole.sub_(mean).mul_(1 / deviation).mul_(gain).add_(bias)
            out.copy_(whole)
        return normalised


def sigmoid(x: Tensor, exact: bool = False) -> Tensor:
    """Logistic function; to the bit, in steps of VALUE_STEP, if `exact`. Shape: any."""
    if not exact:
        return x.sigmoid()
    limit = round(ARGUMENT_LIMIT / ARGUMENT_STEP)
    steps = (x / ARGUMENT_STEP).round_().clamp_(-limit, limit).add_(limit)
    return _sigmoid_table(x.device).index_select(0, steps.int().flatten()).view(x.shape)


@lru_cache
def _sigmoid_table(device: torch.device) -> Tensor:
    """Sigmoid of all steps up to the limit: the last bits, which machines may differ in, are rounded away."""
    limit = round(ARGUMENT_LIMIT / ARGUMENT_STEP)
    exact = torch.sigmoid(torch.arange(-limit, limit + 1, dtype=torch.float64) * ARGUMENT_STEP)
    return ((exact / VALUE_STEP).round() * VALUE_STEP).float().to(device)


def _product_in_64_bits(weight: Tensor, frames: Tensor) -> Tensor:
    return F.linear(frames.double(), weight.double())


def _in_8_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as 8-bit integers in steps of a 127th of their largest magnitude. Shape: (R, N) -> (R, N), (R, 1)."""
    step = (_largest(rows) / 127).clamp_min(TINIEST)
    return (rows / step).round_().to(torch.int8), step


def _largest(x: Tensor) -> Tensor:
    """Largest magnitude of each frame. Shape: (..., N) -> (..., 1)."""
    return torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True))


def _steps_per_unit(largest: Tensor, bits: int) -> Tensor:
    """Powers of two of which `largest` is at most 2^bits steps."""
    return 2.0**bits / power_above(largest)
