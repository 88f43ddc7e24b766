"""What is exact about frames, compiled: a frame is read and written once, where `separator.models.exact` does so often.

Every number is the one that the same operation gives there, to the bit. Frames are rows of arrays, and spread over threads.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from separator.snn.grid import TINIEST
from separator.snn.kernels.compiled import compiled
from separator.snn.kernels.threads import in_threads

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Floating-point numbers of 32 and of 64 bits: bits behind the exponent, and the exponent of TINIEST.
FRACTION, FRACTION_64 = 23, 52
LOWEST, LOWEST_64 = (bias + round(np.log2(TINIEST)) for bias in (127, 1023))


def normalised(features: Doubles, gain: Doubles, bias: Doubles, eps: float, bits: int, threads: int) -> Floats:
    """Layer normalisation of features that are rounded to so many bits of the largest in their row. Shape: (R, N) -> (R, N)."""
    out = np.empty(features.shape, np.float32)
    in_threads(lambda first, last: _normalise(first, last, features, gain, bias, eps, bits, out), len(features), threads)
    return out


def masked_sums(
    arguments: NDArray[np.int32],
    row_step: Floats,
    step: Floats,
    bias: Floats,
    table: Floats,
    features: Floats,
    weight: Doubles,
    per_argument: float,
    bits: int,
    threads: int,
) -> tuple[Doubles, Doubles]:
    """Sums of masked features, which are rounded to so many bits of the largest of a row and source, times weights.

    Args:
        arguments: (R, C N), of the masks, in steps of both sides of an affine map, without its bias.
        row_step: (R, 1), of its inputs.
        step: (C N,), of its weights.
        bias: (C N,).
        table: (2 A + 1,), masks by their arguments from -A steps to A; all others are as the nearest of these.
        features: (R, N).
        weight: (L, N), whole numbers, so small that no sum of as many products with `bits` bits is rounded.
        per_argument: steps of the table in 1.
        bits: of the largest.
        threads: to compute by.

    Returns:
        Sums in steps, (R, C, L), and how many steps are 1, (R, C, 1).
    """
    sources = arguments.shape[1] // features.shape[1]
    sums = np.empty((len(features), sources, len(weight)), np.float64)
    per_unit = np.empty((len(features), sources, 1), np.float64)
    numbers = arguments, row_step, step, bias, table, features, weight, np.float32(per_argument), bits
    in_threads(lambda first, last: _mask(first, last, *numbers, sums, per_unit), len(features), threads)
    return sums, per_unit


@compiled
def _normalise(first, last, features, gain, bias, eps, bits, out):  # noqa: ANN001, ANN202
    count = features.shape[1]
    magnitudes = features.view(np.int64)
    whole = np.empty(count, np.float64)
    for r in range(first, last):
        largest = np.int64(0)
        for n in range(count):
            largest = max(largest, magnitudes[r, n] & np.int64(0x7FFFFFFFFFFFFFFF))
        exponent = max((largest + (np.int64(1) << FRACTION_64) - 1) >> FRACTION_64, LOWEST_64)  # of the power of two above
        per_unit = 2.0 ** (bits + 1023 - exponent)
        total, squares = np.int64(0), np.int64(0)
        for n in range(count):
            whole[n] = np.rint(features[r, n] * per_unit)
            number = np.int64(whole[n])
            total += number
            squares += number * number
        mean = total / count
        variance = max(squares / count - mean * mean, 0.0)
        scale = 1 / np.sqrt(variance + eps * (per_unit * per_unit))
        for n in range(count):
            out[r, n] = (whole[n] - mean) * scale * gain[n] + bias[n]


@partial(compiled, any_order=True)
def _dot(whole, others):  # noqa: ANN001, ANN202
    total = 0.0
    for n in range(len(whole)):
        total += whole[n] * others[n]
    return total


@compiled
def _mask(  # noqa: ANN202
    first, last, arguments, row_step, step, bias, table, features, weight, per_argument, bits, sums, per_unit,  # noqa: ANN001
):  # fmt: skip
    count, sources = features.shape[1], sums.shape[1]
    limit = np.float32(len(table) // 2)
    nearest, masked, steps = np.empty(count, np.uint32), np.empty(count, np.float32), np.empty(count, np.float64)
    magnitudes = masked.view(np.int32)
    for r in range(first, last):
        for s in range(sources):
            o = s * count
            for n in range(count):
                argument = np.float32(arguments[r, o + n]) * row_step[r, 0] * step[o + n] + bias[o + n]
                nearest[n] = np.rint(min(max(argument * per_argument, -limit), limit)) + limit
            for n in range(count):
                masked[n] = table[nearest[n]] * features[r, n]
            largest = np.int32(0)
            for n in range(count):
                largest = max(largest, magnitudes[n] & np.int32(0x7FFFFFFF))
            exponent = max((largest + (np.int32(1) << FRACTION) - 1) >> FRACTION, LOWEST)  # of the power of two above
            per_unit[r, s, 0] = steps_per_unit = 2.0 ** (bits + 127 - exponent)
            for n in range(count):
                steps[n] = np.rint(masked[n] * steps_per_unit)
            for k in range(len(weight)):
                sums[r, s, k] = _dot(steps, weight[k])
