"""Integrate-and-fire layers on a GPU, in Triton: products of 8-bit integers on its tensor cores; currents never reach memory.

A program sums the currents of a tile of outputs for a few time steps, in registers. These charge the membrane potentials, and
the spikes are packed, before the next steps' currents are summed; the words of the whole window are written at the end.

Sums are exact, since products are of spikes with 8-bit integers and are added in 32 bits. Wider weights are split into signed
bytes, of which the sums of the higher ones count 256 times those of the next.
"""

# ruff: noqa: ANN001, ANN202, RUF005 (kernels are Triton's dialect, not typed Python)

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.trains import LONGEST

# Of a tile: output positions, output channels, and inputs that are fetched at once. The time steps that are summed together
# divide 8, so that their spikes are in one byte of a word. More of them would not fit in an H100's registers.
POSITIONS, CHANNELS, INPUTS, STEPS = 64, 64, 64, 4
WARPS = 8

# Inputs of a neuron that are too many. With fewer, sums stay below 2^31 on their way: weights add up to at most 2^24 (see
# `separator.snn.integers.quanta`), to which the rounding of higher bytes adds up to 256 for each input, and the next byte 128.
MOST_INPUTS = 2**22


class TensorCoreLayer(NamedTuple):
    """A layer in integers, laid out for `fire_layer`; outputs and inputs are padded to whole tiles."""

    weight: Tensor  # (bytes, C_out, taps x C_in), int8, the highest byte first
    bias: Tensor  # (C_out,), int32, current per time step
    threshold: Tensor
    initial: Tensor
    outputs: int  # C_out before padding


def tensor_core_layer(weight: Tensor, bias: Tensor, threshold: Tensor, initial: Tensor) -> TensorCoreLayer:
    """Lay out a layer.

    Args:
        weight: (C_out, C_in, rows, columns), int32, less than MOST_INPUTS for each output.
        bias: (C_out,), int32, current per time step.
        threshold: (C_out,), int32.
        initial: (C_out,), int32, initial potential.
    """
    outputs, inputs = weight.shape[:2]
    missing = -outputs % CHANNELS
    rows = F.pad(weight.movedim(1, -1), (0, -inputs % INPUTS, 0, 0, 0, 0, 0, missing)).flatten(1)
    bias, threshold, initial = (F.pad(x, (0, missing)) for x in (bias, threshold, initial))
    return TensorCoreLayer(_signed_bytes(rows), bias, threshold, initial, outputs)


def _signed_bytes(x: Tensor) -> Tensor:
    """Digits of integers to the base 256, -128 to 127, the highest first. Shape: (...) -> (bytes, ...), int8."""
    rest = x.to(torch.int64)
    digits: list[Tensor] = []
    while not digits or bool(rest.any()):
        digits.append((rest + 128) % 256 - 128)
        rest = (rest - digits[-1]) // 256
    return torch.stack(digits[::-1]).to(torch.int8)


def fire_layer(layer: TensorCoreLayer, geometry: Geometry, words: Tensor, sizes: Sequence[int], window: int) -> Tensor:
    """Packed spike trains that a layer fires on packed spike trains. Shape: (B, H, W, C_in) -> (B, *sizes, C_out)."""
    fired = torch.empty((len(words), *sizes, layer.outputs), dtype=torch.int32, device=words.device)
    seen = _in_view(words, geometry, sizes, window)
    numbers = layer.weight, layer.bias, layer.threshold, layer.initial
    planes, channels, _ = layer.weight.shape
    kernel, stride, _, dilation = geometry
    positions = fired[..., 0].numel()
    programs = -(-positions // POSITIONS) * (channels // CHANNELS)
    with torch.cuda.device_of(words):  # type: ignore[no-untyped-call]
        _fire[(programs,)](
            *(seen, *numbers, fired),
            *(positions, *sizes, seen[0, ..., 0].numel(), *seen.shape[2:4], channels, layer.outputs, *stride, *dilation),
            *(*kernel, seen.shape[-1] // INPUTS, window),
            *(planes, POSITIONS, CHANNELS, INPUTS, STEPS),
            num_warps=WARPS,
        )
    return fired


@lru_cache
def exact_on(device: torch.device) -> bool:
    """True if the kernel is right on this GPU, tried on the spot; warns where it ought to be and is not.

    It needs compute capability 8.0, since Triton makes no products of 8-bit integers for less, and Triton needs a C compiler.
    """
    draw = torch.Generator().manual_seed(0)
    words, weight = (torch.randint(-(2**high), 2**high, (n, 100), generator=draw).int() for n, high in ((80, 31), (70, 10)))
    numbers = {"threshold": torch.arange(1000, 8000, 100).int(), "initial_potential": torch.arange(70).int()}
    trains = torch.stack([words >> t & 1 for t in range(LONGEST)])
    right, _ = IntegrateAndFire().run(trains @ weight.t(), numbers)
    assert isinstance(right, BinarySpikes)
    expected = right.words
    try:
        if torch.cuda.get_device_capability(device) < (8, 0):
            return False
        weight, bias, threshold, initial = (
            x.to(device) for x in (weight[..., None, None], numbers["threshold"] * 0, *numbers.values())
        )
        layer = tensor_core_layer(weight, bias, threshold, initial)
        fired = fire_layer(layer, Geometry(), words.to(device)[None, None], (1, len(words)), LONGEST)[0, 0]
        reason = "" if torch.equal(fired.cpu(), expected) else "it computes wrong spikes"
    except Exception as error:  # of the driver, of Triton, of the compilers that it calls: they have no class in common
        reason = f"{type(error).__name__}: {error}"
    if reason:
        warnings.warn(f"Triton cannot be used on {device}, pipelined layers run slower there: {reason}", stacklevel=2)
    return not reason


def _in_view(words: Tensor, geometry: Geometry, sizes: Sequence[int], window: int) -> Tensor:
    """Spikes outputs see, 8 steps to a byte, zeros for padding. Shape: (B, H, W, C_in) -> (bytes, B, ..., C_in), int8."""
    spans = zip(geometry.kernel, geometry.stride, geometry.dilation, sizes, strict=True)
    reach = [(n - 1) * s + (k - 1) * d + 1 for k, s, d, n in spans]
    count, inputs = -(-window // 8), words.shape[-1]
    seen = torch.zeros((count, len(words), *reach, inputs + -inputs % INPUTS), dtype=torch.int8, device=words.device)
    octets = words[..., None].view(torch.int8).movedim(-1, 0)
    rows, columns = (min(n, max(0, r - b)) for n, r, b in zip(words.shape[1:3], reach, geometry.before, strict=True))
    top, left = geometry.before
    seen[:, :, top : top + rows, left : left + columns, :inputs] = octets[:count, :, :rows, :columns]
    return seen


# What differs from layer to layer, or from one length of sound to another, is not compiled in.
VARYING = ["positions", "rows_out", "columns_out", "positions_in", "rows_in", "columns_in", "channels", "stride_y", "stride_x"]
VARYING += ["dilation_y", "dilation_x", "kernel_rows", "kernel_columns", "tiles", "window"]


@triton.jit(do_not_specialize=VARYING)
def _fire(
    seen_ptr,
    weight_ptr,
    bias_ptr,
    threshold_ptr,
    initial_ptr,
    fired_ptr,
    positions,
    rows_out,
    columns_out,
    positions_in,
    rows_in,
    columns_in,
    channels,
    outputs,
    stride_y,
    stride_x,
    dilation_y,
    dilation_x,
    kernel_rows,
    kernel_columns,
    tiles,
    window,
    planes: tl.constexpr,
    n_positions: tl.constexpr,
    n_channels: tl.constexpr,
    n_inputs: tl.constexpr,
    steps: tl.constexpr,
):
    inputs = tiles * n_inputs
    parts = kernel_rows * kernel_columns * tiles
    blocks = channels // n_channels
    program = tl.program_id(0)
    channel = program % blocks * n_channels + tl.arange(0, n_channels)
    position = (program // blocks).to(tl.int64) * n_positions + tl.arange(0, n_positions)
    present = position < positions
    at = tl.where(present, position, 0)
    column = at % columns_out
    row = at // columns_out % rows_out
    image = at // columns_out // rows_out
    corner = (image * rows_in + row * stride_y) * columns_in + column * stride_x
    lane = tl.arange(0, n_inputs)
    corners = seen_ptr + (corner * inputs)[:, None] + lane[None, :]
    rows = weight_ptr + (channel.to(tl.int64) * (parts * n_inputs))[None, :] + lane[:, None]
    bias = tl.load(bias_ptr + channel)[None, :]
    threshold = tl.load(threshold_ptr + channel)[None, :]
    nothing = tl.full((n_positions, n_channels), 0, tl.int32)
    v = nothing + tl.load(initial_ptr + channel)[None, :]
    words = nothing
    for first in range(0, window, steps):
        octets = corners + first // 8 * (positions_in.to(tl.int64) * inputs)
        sums = (nothing,) * steps
        for plane in tl.static_range(planes):
            weights = rows + plane * (channels.to(tl.int64) * (parts * n_inputs))
            higher = sums
            sums = ()
            for i in tl.static_range(steps):
                sums = sums + (higher[i] << 8,)
            for part in range(parts):
                tap = part // tiles
                below = (tap // kernel_columns * dilation_y).to(tl.int64)
                aside = below * columns_in + tap % kernel_columns * dilation_x
                octet = tl.load(octets + (aside * inputs + part % tiles * n_inputs))
                weight = tl.load(weights + part * n_inputs)
                so_far = sums
                sums = ()
                for i in tl.static_range(steps):
                    spikes = (octet >> (first % 8 + i)) & 1
                    sums = sums + (tl.dot(spikes.to(tl.int8), weight, so_far[i], out_dtype=tl.int32),)
        for i in tl.static_range(steps):
            charged = v + sums[i] + bias
            fires = (charged >= threshold) & (first + i < window)
            v = charged - tl.where(fires, threshold, 0)
            words |= fires.to(tl.int32) << (first + i)
    where = position[:, None] * outputs + channel[None, :]
    tl.store(fired_ptr + where, words, present[:, None] & (channel < outputs)[None, :])
