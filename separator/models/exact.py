"""Linear layer and normalisation that are defined to the bit, so that what comes before the first spike cannot flip it.

Numbers are whole multiples of a power of two, held in 64-bit floating point, in which sums of that size are exact in any order
and whatever they are batched with; all else is single operations, which IEEE 754 rounds alike everywhere. No gradient passes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.grid import power_above

INPUT_BITS, WEIGHT_BITS = 29, 15  # of the largest input of a frame and the largest weight of all: 2^8 products add up exactly
FEATURE_BITS = 20  # of the largest feature of a frame: the squares of 2^12 add up exactly
TINIEST = 2.0**-100  # what counts as the largest of a frame of silence


class ExactLinear(nn.Linear):
    """A linear layer without bias of at most 256 inputs."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., L) -> (..., N); to the bit, then float64, if `exact`."""
        if not exact:
            return super().forward(x)
        x, weight = x.double(), self.weight.detach().double()
        weight = _rounded(weight, weight.abs().amax(), WEIGHT_BITS)
        return F.linear(_rounded(x, x.abs().amax(-1, keepdim=True), INPUT_BITS), weight)


class ExactLayerNorm(nn.LayerNorm):
    """Layer normalisation over at most 4,096 features."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., N) -> (..., N), float32; to the bit if `exact`."""
        if not exact:
            return super().forward(x)
        rounded = _rounded(x.double(), x.abs().amax(-1, keepdim=True).double(), FEATURE_BITS)
        mean = rounded.sum(-1, keepdim=True) / x.shape[-1]
        variance = rounded.square().sum(-1, keepdim=True) / x.shape[-1] - mean.square()
        normalised = (rounded - mean) / (variance.clamp_min(0) + self.eps).sqrt()
        return (normalised * self.weight.detach().double() + self.bias.detach().double()).float()


def _rounded(x: Tensor, largest: Tensor, bits: int) -> Tensor:
    """Multiples of one power of two of which `largest` is at most 2^bits."""
    step = power_above(largest.clamp_min(TINIEST)) / 2.0**bits
    return torch.round(x / step) * step
