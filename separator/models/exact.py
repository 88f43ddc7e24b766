"""Linear layer and normalisation that are defined to the bit, so that what comes before the first spike cannot flip it.

Numbers are whole multiples of a power of two, held in 64-bit floating point, in which sums of that size are exact in any order
and whatever they are batched with; all else is single operations, which IEEE 754 rounds alike everywhere. No gradient passes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.grid import power_above

# Bits of the largest input of a frame and of the largest weight of all; so many inputs have products that add up exactly.
INPUT_BITS, WEIGHT_BITS, MOST_INPUTS = 29, 15, 2**8
# Bits of the largest feature of a frame; so many features have squares that add up exactly.
FEATURE_BITS, MOST_FEATURES = 20, 2**12
BLOCK = 256  # frames normalised at a time


class ExactLinear(nn.Linear):
    """A linear layer without bias of at most MOST_INPUTS inputs."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., L) -> (..., N); to the bit, then float64, if `exact`."""
        if not exact:
            return super().forward(x)
        x, weight = x.double(), self.weight.detach().double()
        per_input = _steps_per_unit(_largest(x), INPUT_BITS)
        per_weight = _steps_per_unit(weight.abs().amax(), WEIGHT_BITS)
        sums = F.linear((x * per_input).round_(), (weight * per_weight).round_())
        return sums.mul_(1 / (per_input * per_weight))


class ExactLayerNorm(nn.LayerNorm):
    """Layer normalisation over at most MOST_FEATURES features."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., N) -> (..., N), float32; to the bit if `exact`."""
        return self._exactly(x) if exact else super().forward(x)

    @torch.no_grad()
    def _exactly(self, x: Tensor) -> Tensor:
        normalised = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        gain, bias = self.weight.double(), self.bias.double()
        parts = (torch.split(rows.flatten(0, -2), BLOCK) for rows in (x, normalised))  # small enough for the cache
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


def _largest(x: Tensor) -> Tensor:
    """Largest magnitude of each frame. Shape: (..., N) -> (..., 1)."""
    return torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True))


def _steps_per_unit(largest: Tensor, bits: int) -> Tensor:
    """Powers of two of which `largest` is at most 2^bits steps."""
    return 2.0**bits / power_above(largest)
