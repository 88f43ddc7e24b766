"""Linear layers, normalisation and sigmoid that are defined to the bit, for all that is not spikes in a spiking network.

What comes before the first spike cannot flip it then, and what comes behind the last one is the same whatever it is batched
with. Numbers are whole multiples of a power of two, held in 64-bit floating point, in which sums of that size are exact in any
order; all else is single operations, which IEEE 754 rounds alike everywhere. No gradient passes.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.execution.chosen import chosen_execution
from separator.snn.integers.products import BLOCK, matrix_product
from separator.snn.integers.quanta import EXACT, TINIEST, every_bit, power_above
from separator.snn.synapses.affine import AffineMap

# Bits of a sum of products, of the largest weight of all, and at most of the largest input of a frame.
SUM_BITS, WEIGHT_BITS, INPUT_BITS = 52, 15, 29
# Bits of the largest feature of a frame; so many features have squares that add up exactly.
FEATURE_BITS, MOST_FEATURES = 20, 2**12
BLOCK_SIZE = 2**19  # masks that are computed at a time, so that they stay in the cache meanwhile
# The sigmoid is read from a table: its argument in steps, up to a limit beyond which it is 0 or 1, its value in steps.
ARGUMENT_STEP, ARGUMENT_LIMIT, VALUE_STEP = 2.0**-10, 16.0, 2.0**-20


class ExactLinear(nn.Linear):
    """A linear layer whose outputs are sums that are never rounded, of inputs and weights that are."""

    def in_steps(self) -> "StepWeight":
        """The weights as they are now, to be given to `forward` as often as it is called."""
        weight = self.weight.detach().double()
        per_unit = steps_per_unit(weight.abs().amax(), WEIGHT_BITS)
        return StepWeight((weight * per_unit).round_(), per_unit)

    def forward(self, x: Tensor, exact: "StepWeight | None" = None) -> Tensor:
        """Shape: (..., L) -> (..., N); to the bit, then float64, from weights in steps, if they are given."""
        if exact is None:
            return super().forward(x)
        whole, per_input = _in_steps(x.double(), self.input_bits)
        return self.in_units(F.linear(whole, exact.whole), per_input.mul_(exact.per_unit))

    @property
    def input_bits(self) -> int:
        """Bits of the largest input of a frame, few enough that no sum is rounded."""
        return min(INPUT_BITS, SUM_BITS - WEIGHT_BITS - (self.in_features - 1).bit_length())

    def in_units(self, sums: Tensor, per_unit: Tensor) -> Tensor:
        """Outputs from sums in steps. Shapes: (..., N), how many of these are 1 (..., 1) -> (..., N), in place."""
        sums.mul_(per_unit.reciprocal())
        return sums if self.bias is None else sums.add_(self.bias.detach().double())


class StepWeight(NamedTuple):
    """A weight matrix as whole numbers of steps, float64."""

    whole: Tensor  # (N, L)
    per_unit: Tensor  # how many steps are 1, ()


class EightBitLinear(nn.Linear):
    """A linear layer that can run on 8-bit inputs and weights, each frame and each output in steps of its own."""

    def eight_bits(self) -> "EightBitWeight":
        """The weights as they are now, to be given to `forward` as often as it is called."""
        weight, step = _in_8_bits(self.weight.detach())
        return EightBitWeight(matrix_product(AffineMap(nn.Linear), weight) or _product_in_floats(weight), step.view(-1))

    def forward(self, x: Tensor, exact: "EightBitWeight | None" = None) -> Tensor:
        """Shape: (..., N) -> (..., M); to the bit, then float32 from inputs and weights of 8 bits, if they are given."""
        if exact is None:
            return super().forward(x)
        sums, frame_step = exact.sums(x.flatten(0, -2))
        outputs = sums.float().mul_(frame_step).mul_(exact.step).add_(self.bias.detach())
        return outputs.view(*x.shape[:-1], -1)


class EightBitWeight(NamedTuple):
    """A weight matrix as 8-bit integers in steps."""

    product: Callable[[Tensor], Tensor]  # of 8-bit frames with it, (R, N) -> (R, M)
    step: Tensor  # (M,)

    def sums(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Products with frames of 8 bits, in steps of weights and frames, and the latter. Shape: (R, N) -> (R, M), (R, 1)."""
        whole, step = _in_8_bits(frames.float())
        return self.product(whole), step


class ExactLayerNorm(nn.LayerNorm):
    """Layer normalisation over at most MOST_FEATURES features."""

    def forward(self, x: Tensor, exact: bool = False) -> Tensor:
        """Shape: (..., N) -> (..., N), float32; to the bit if `exact`."""
        return self._exactly(x) if exact else super().forward(x)

    @torch.no_grad()
    def _exactly(self, x: Tensor) -> Tensor:
        gain, bias = self.weight.double(), self.bias.double()
        normalised = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        if (compiled := compiled_for(x)) is not None:
            features, out = x.double().flatten(0, -2), normalised.flatten(0, -2)
            apply_compiled(compiled.normalise, features, gain, bias, self.eps, FEATURE_BITS, TINIEST, out)
            return normalised
        parts = (torch.split(rows.flatten(0, -2), BLOCK) for rows in (x, normalised))
        for features, out in zip(*parts, strict=True):
            whole = features.double()
            per_unit = steps_per_unit(largest(whole), FEATURE_BITS)
            whole = (whole * per_unit).round_()
            mean = whole.sum(-1, keepdim=True) / x.shape[-1]
            variance = torch.linalg.vecdot(whole, whole)[:, None] / x.shape[-1] - mean.square()
            deviation = (variance.clamp_min_(0) + self.eps * per_unit.square()).sqrt_()
            whole.sub_(mean).mul_(1 / deviation).mul_(gain).add_(bias)
            out.copy_(whole)
        return normalised


class MaskingWeights(NamedTuple):
    """Weights of the two layers of `masked`."""

    mask: EightBitWeight
    layer: StepWeight


@torch.no_grad()
def masking_weights(mask: EightBitLinear, layer: ExactLinear) -> MaskingWeights:
    """The weights as they are now, to be given to `masked` as often as it is called."""
    return MaskingWeights(mask.eight_bits(), layer.in_steps())


@torch.no_grad()
def masked(
    mask: EightBitLinear, layer: ExactLinear, seen: Tensor, features: Tensor, weights: MaskingWeights | None = None
) -> Tensor:
    """Output of a layer on masked features, to the bit; a mask is the sigmoid of what `mask` makes of what it sees.

    Shapes: seen (R, M), features (R, N) -> (R, C, L), C the number of masks for each feature.

    Args:
        mask: the layer that masks are made by.
        layer: the layer behind them.
        seen: what `mask` sees.
        features: to be masked.
        weights: of both, those that they have now if None.
    """
    watched = mask._forward_hooks or layer._forward_hooks  # what counts their operations sees them called
    eight_bits, in_steps = masking_weights(mask, layer) if weights is None else weights
    compiled = None if watched else compiled_for(seen)
    frames = max(1, min(BLOCK, BLOCK_SIZE // len(mask.weight)))
    blocks = zip(torch.split(seen, frames), torch.split(features.float(), frames), strict=True)
    if compiled is None:
        masks = ((sigmoid(mask(rows, eight_bits)), some) for rows, some in blocks)
        return torch.cat([layer(of.view(len(of), -1, some.shape[1]) * some[:, None], in_steps) for of, some in masks])
    argument = eight_bits.step, mask.bias, _sigmoid_table(seen.device), 1 / ARGUMENT_STEP
    sources = len(mask.weight) // features.shape[1]
    steps = torch.empty(min(frames, len(seen)), sources, features.shape[1], dtype=torch.float64)
    per_input = torch.empty(len(steps), sources, 1, dtype=torch.float64)
    outputs = torch.empty(len(seen), sources, layer.out_features, dtype=torch.float64)
    for (rows, some), out in zip(blocks, torch.split(outputs, frames), strict=True):
        sums, row_step = eight_bits.sums(rows)
        inputs, per_unit = steps[: len(rows)], per_input[: len(rows)]
        apply_compiled(compiled.mask, sums.int(), row_step, *argument, some, layer.input_bits, TINIEST, inputs, per_unit)
        layer.in_units(torch.matmul(inputs, in_steps.whole.t(), out=out), per_unit * in_steps.per_unit)
    return outputs


def sigmoid(x: Tensor) -> Tensor:
    """Logistic function to the bit, in steps of VALUE_STEP. Shape: any."""
    limit = round(ARGUMENT_LIMIT / ARGUMENT_STEP)
    steps = (x / ARGUMENT_STEP).round_().clamp_(-limit, limit).add_(limit)
    return _sigmoid_table(x.device).index_select(0, steps.int().flatten()).view(x.shape)


@lru_cache
def _sigmoid_table(device: torch.device) -> Tensor:
    """Sigmoid of all steps up to the limit: the last bits, which machines may differ in, are rounded away."""
    limit = round(ARGUMENT_LIMIT / ARGUMENT_STEP)
    exact = torch.sigmoid(torch.arange(-limit, limit + 1, dtype=torch.float64) * ARGUMENT_STEP)
    return ((exact / VALUE_STEP).round() * VALUE_STEP).float().to(device)


def _product_in_floats(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Products of 8-bit frames with 8-bit weights in floating point that has room for their sums."""
    kind = torch.float32 if weight.shape[1] * 127**2 <= EXACT else torch.float64
    whole = weight.to(kind)

    def product(frames: Tensor) -> Tensor:
        with every_bit(frames.device):
            return F.linear(frames.to(kind), whole)

    return product


def compiled_for(x: Tensor) -> ModuleType | None:
    """Loops over frames that are compiled, where they serve: on the CPU, where spikes have been simulated by compiled loops.

    To import numba for these alone takes longer than they save on half an hour of sound.
    """
    fits = x.device.type == "cpu" and chosen_execution() == "fastest" and "numba" in sys.modules
    return import_module("separator.models.kernels") if fits else None


def apply_compiled(loops: Callable[..., None], *arguments: Tensor | float) -> None:
    """Call compiled loops on the arrays of tensors, which must be contiguous if they are written."""
    loops(*(x.detach().contiguous().numpy() if isinstance(x, Tensor) else x for x in arguments))


def _in_steps(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Frames as whole numbers of steps, and how many of these are 1. Shape: (..., N) -> (..., N), (..., 1), float64."""
    if (compiled := compiled_for(x)) is None:
        per_unit = steps_per_unit(largest(x), bits)
        return (x * per_unit).round_(), per_unit
    whole, per_unit = torch.empty(x.shape, dtype=x.dtype), x.new_empty((*x.shape[:-1], 1))
    apply_compiled(compiled.in_steps, x.flatten(0, -2), bits, TINIEST, whole.flatten(0, -2), per_unit.flatten(0, -2))
    return whole, per_unit


def _in_8_bits(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as 8-bit integers in steps of a 127th of their largest magnitude. Shape: (R, N) -> (R, N), (R, 1)."""
    step = (largest(rows) / 127).clamp_min(TINIEST)
    return (rows / step).round_().to(torch.int8), step


def largest(x: Tensor) -> Tensor:
    """Largest magnitude of each frame. Shape: (..., N) -> (..., 1)."""
    return torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True))


def steps_per_unit(largest: Tensor, bits: int) -> Tensor:
    """Powers of two of which `largest` is at most 2^bits steps."""
    return 2.0**bits / power_above(largest)
