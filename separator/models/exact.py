"""Linear layers, normalisation and sigmoid that are defined to the bit, for all that is not spikes in a spiking network.

What comes before the first spike cannot flip it then, and what comes behind the last one is the same whatever it is batched
with. Numbers are whole multiples of a power of two, held in 64-bit floating point, in which sums of that size are exact in any
order; all else is single operations, which IEEE 754 rounds alike everywhere. No gradient passes.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from separator.snn.execution.chosen import FASTEST, chosen_execution, has_loaded_kernels
from separator.snn.integers.products import BLOCK, FEW, matrix_product
from separator.snn.integers.quanta import EXACT, TINIEST, divided, every_bit, power_above
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
        per_unit = float(steps_per_unit(weight.abs().amax(), WEIGHT_BITS))
        return StepWeight((weight * per_unit).round_().t().contiguous(), per_unit)

    def forward(self, x: Tensor, exact: "StepWeight | None" = None) -> Tensor:
        """Shape: (..., L) -> (..., N); to the bit, then float64, from weights in steps, if they are given."""
        if exact is None:
            return super().forward(x)
        if (compiled := compiled_for_few(x)) is not None:
            sums = torch.empty(x.numel() // x.shape[-1], self.out_features, dtype=torch.float64)
            rows = x.double().reshape(-1, x.shape[-1])
            apply_compiled(compiled.linear, rows, self.input_bits, TINIEST, *exact, sums)
            sums = sums.view(*x.shape[:-1], self.out_features)
            return self.biased(sums)
        whole, per_input = _in_steps(x.double(), self.input_bits)
        return self.in_units(torch.matmul(whole, exact.columns), per_input.mul_(exact.per_unit))

    @property
    def input_bits(self) -> int:
        """Bits of the largest input of a frame, few enough that no sum is rounded."""
        return min(INPUT_BITS, SUM_BITS - WEIGHT_BITS - (self.in_features - 1).bit_length())

    def in_units(self, sums: Tensor, per_unit: Tensor) -> Tensor:
        """Outputs from sums in steps. Shapes: (..., N), how many of these are 1 (..., 1) -> (..., N), in place."""
        return self.biased(sums.mul_(per_unit.reciprocal()))

    def biased(self, sums: Tensor) -> Tensor:
        """Sums with the bias, if there is one. Shape: (..., N) -> (..., N), in place."""
        return sums if self.bias is None else sums.add_(self.bias.detach().double())


class StepWeight(NamedTuple):
    """A weight matrix as whole numbers of steps, float64."""

    columns: Tensor  # (L, N)
    per_unit: float  # how many steps are 1


class EightBitLinear(nn.Linear):
    """A linear layer that can run on 8-bit inputs and weights, each frame and each output in steps of its own."""

    def eight_bits(self) -> "EightBitWeight":
        """The weights as they are now, to be given to `forward` as often as it is called."""
        weight, step = _in_8_bits(self.weight.detach())
        columns = weight.t().to(torch.float32 if weight.shape[1] * 127**2 <= EXACT else torch.float64).contiguous()
        product = matrix_product(AffineMap(nn.Linear), weight) or partial(_product_in_floats, columns)
        return EightBitWeight(product, columns, step.view(-1))

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
    columns: Tensor  # (N, M), in a type of floating point that has room for sums
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
        normalised = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        if (compiled := compiled_for(x)) is not None:
            features, out = x.double().flatten(0, -2), normalised.flatten(0, -2)
            apply_compiled(compiled.normalise, features, self.weight, self.bias, self.eps, FEATURE_BITS, TINIEST, out)
            return normalised
        gain, bias = self.weight.double(), self.bias.double()
        parts = (torch.split(rows.flatten(0, -2), BLOCK) for rows in (x, normalised))
        for features, out in zip(*parts, strict=True):
            whole = features.double()
            per_unit = steps_per_unit(largest(whole), FEATURE_BITS)
            whole = (whole * per_unit).round_()
            mean = divided(whole.sum(-1, keepdim=True), x.shape[-1])
            variance = divided(torch.linalg.vecdot(whole, whole)[:, None], x.shape[-1]) - mean.square()
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
    both = masking_weights(mask, layer) if weights is None else weights
    features = features.float()
    # What counts the layers' operations sees them called.
    if compiled_for(seen) is None or mask._forward_hooks or layer._forward_hooks:
        blocks = zip(*(torch.split(rows, _block(mask)) for rows in (seen, features)), strict=True)
        masks = ((sigmoid(mask(rows, both.mask)), some) for rows, some in blocks)
        return torch.cat([layer(of.view(len(of), -1, some.shape[1]) * some[:, None], both.layer) for of, some in masks])
    outputs = torch.empty(len(seen), len(mask.weight) // features.shape[1], layer.out_features, dtype=torch.float64)
    if (compiled := compiled_for_few(seen)) is None:
        return _masked_by_loops(mask, layer, seen, features, both, outputs)
    argument = both.mask.step, mask.bias, _sigmoid_table(seen.device), 1 / ARGUMENT_STEP
    inputs = seen.float(), both.mask.columns, *argument, features
    apply_compiled(compiled.masked_linear, *inputs, layer.input_bits, TINIEST, *both.layer, outputs)
    return layer.biased(outputs)


def _masked_by_loops(
    mask: EightBitLinear, layer: ExactLinear, seen: Tensor, features: Tensor, weights: MaskingWeights, outputs: Tensor
) -> Tensor:
    """The same by compiled loops and products of matrices, a block of frames at a time; where it goes is given."""
    frames, (_, sources, _) = _block(mask), outputs.shape
    argument = weights.mask.step, mask.bias, _sigmoid_table(seen.device), 1 / ARGUMENT_STEP
    steps = torch.empty(min(frames, len(seen)), sources, features.shape[1], dtype=torch.float64)
    per_input = torch.empty(len(steps), sources, 1, dtype=torch.float64)
    compiled = compiled_for(seen)
    assert compiled is not None
    for rows, some, out in zip(*(torch.split(part, frames) for part in (seen, features, outputs)), strict=True):
        sums, row_step = weights.mask.sums(rows)
        inputs, per_unit = steps[: len(rows)], per_input[: len(rows)]
        apply_compiled(compiled.mask, sums.int(), row_step, *argument, some, layer.input_bits, TINIEST, inputs, per_unit)
        layer.in_units(torch.matmul(inputs, weights.layer.columns, out=out), per_unit * weights.layer.per_unit)
    return outputs


def _block(mask: EightBitLinear) -> int:
    """Frames that are masked at a time."""
    return max(1, min(BLOCK, BLOCK_SIZE // len(mask.weight)))


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


def _product_in_floats(columns: Tensor, frames: Tensor) -> Tensor:
    """Products of 8-bit frames with a matrix. Shapes: (N, M), (R, N) -> (R, M)."""
    with every_bit(frames.device):
        return frames.to(columns.dtype) @ columns


def compiled_for(x: Tensor) -> ModuleType | None:
    """Loops over frames that are compiled, where they serve: on the CPU, where spikes have been simulated by compiled loops.

    To import numba for these alone takes longer than they save on half an hour of sound.
    """
    fits = x.device.type == "cpu" and chosen_execution() == FASTEST and has_loaded_kernels()
    return _loops() if fits else None


@lru_cache
def _loops() -> ModuleType:
    return import_module("separator.models.kernels")


def compiled_for_few(x: Tensor) -> ModuleType | None:
    """The same where frames are so few that their products are taken there, too. Shape: (..., N)."""
    compiled = compiled_for(x)
    return None if compiled is None or x.numel() > FEW * x.shape[-1] else compiled


def apply_compiled(loops: Callable[..., None], *arguments: Tensor | float) -> None:
    """Call compiled loops on the arrays of tensors, which must be contiguous if they are written."""
    loops(*(_array(x) if isinstance(x, Tensor) else x for x in arguments))


def _array(x: Tensor) -> NDArray[Any]:
    x = x.detach() if x.requires_grad else x
    return (x if x.is_contiguous() else x.contiguous()).numpy()


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
    step = divided(largest(rows), 127).clamp_min(TINIEST)
    return (rows / step).round_().to(torch.int8), step


def largest(x: Tensor) -> Tensor:
    """Largest magnitude of each frame. Shape: (..., N) -> (..., 1)."""
    return torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True))


def steps_per_unit(largest: Tensor, bits: int) -> Tensor:
    """Powers of two of which `largest` is at most 2^bits steps."""
    return 2.0**bits / power_above(largest)
