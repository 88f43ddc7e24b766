"""Exact operations on frames, compiled: a frame is read and written once, where `separator.models.exact` does so often.

Every number is the one that the same operation gives there, to the bit. Frames are rows of arrays. One thread computes: what
a second one would gain is lost while torch's own threads, which wait by spinning, keep it from its core.
"""

import numpy as np

from separator.snn.execution.kernels.compiled import compiled
from separator.snn.execution.kernels.products import multiply

# Floating-point numbers of 32 and of 64 bits: bits behind the exponent, and what is added to it.
FRACTION, FRACTION_64 = 23, 52
BIAS, BIAS_64 = 127, 1023
NO_SIGN, NO_SIGN_64 = 2**31 - 1, 2**63 - 1


@compiled
def normalise(features, gain, bias, eps, bits, tiniest, out):  # noqa: ANN001, ANN201
    """Layer normalisation of features that are rounded to so many bits of the largest in their row.

    Args:
        features: (R, N), float64.
        gain: (N,), float32.
        bias: (N,), float32.
        eps: added to the variance.
        bits: at most 20, and N at most 2^12, so that squares add up in 64 bits.
        tiniest: power of two that the largest counts as if it is below.
        out: where it goes, (R, N), float32.
    """
    count = features.shape[1]
    magnitudes = features.view(np.int64)  # which are in the order of the numbers, but for the sign
    floor = np.array([tiniest], np.float64).view(np.int64)[0]
    whole = np.empty(count, np.float64)
    for r in range(len(features)):
        largest = floor
        for n in range(count):
            largest = max(largest, magnitudes[r, n] & np.int64(NO_SIGN_64))
        exponent = (largest + (np.int64(1) << FRACTION_64) - 1) >> FRACTION_64  # of the power of two above
        per_unit = 2.0 ** (bits + BIAS_64 - exponent)
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


@compiled
def in_steps(x, bits, tiniest, whole, per_unit):  # noqa: ANN001, ANN201
    """Rows rounded to so many bits of the largest in each.

    Args:
        x: (R, N), float64.
        bits: of the largest.
        tiniest: power of two that the largest counts as if it is below.
        whole: where they go as whole numbers of steps, (R, N), float64.
        per_unit: where it goes how many steps are 1, (R, 1), float64.
    """
    magnitudes = x.view(np.int64)  # which are in the order of the numbers, but for the sign
    floor = np.array([tiniest], np.float64).view(np.int64)[0]
    for r in range(len(x)):
        largest = floor
        for n in range(x.shape[1]):
            largest = max(largest, magnitudes[r, n] & np.int64(NO_SIGN_64))
        exponent = (largest + (np.int64(1) << FRACTION_64) - 1) >> FRACTION_64  # of the power of two above
        per_unit[r, 0] = 2.0 ** (bits + BIAS_64 - exponent)
        for n in range(x.shape[1]):
            whole[r, n] = np.rint(x[r, n] * per_unit[r, 0])


@compiled
def linear(x, bits, tiniest, columns, per_weight, out):  # noqa: ANN001, ANN201
    """Products of a few rows, rounded to so many bits of the largest in each, with a matrix.

    Args:
        x: (R, N), float64.
        bits: of the largest, few enough that no sum is rounded.
        tiniest: power of two that the largest counts as if it is below.
        columns: (N, M), float64, whole numbers of steps.
        per_weight: how many of these are 1.
        out: where sums go, (R, M), float64.
    """
    whole, per_unit = np.empty(x.shape, np.float64), np.empty((len(x), 1), np.float64)
    in_steps(x, bits, tiniest, whole, per_unit)
    multiply(whole, columns, out)
    for r in range(len(x)):
        unit = 1 / (per_unit[r, 0] * per_weight)
        for n in range(out.shape[1]):
            out[r, n] *= unit


@compiled
def moments(features, bits, tiniest, out):  # noqa: ANN001, ANN201
    """Sum and sum of squares of features that are rounded to so many bits of the largest in their row.

    Args:
        features: (R, N), float64.
        bits: at most 20, and N at most 2^12, so that squares add up in 64 bits.
        tiniest: power of two that the largest counts as if it is below.
        out: where they go, in steps and squares of these, and how many steps are 1, (R, 3), float64.
    """
    magnitudes = features.view(np.int64)  # which are in the order of the numbers, but for the sign
    floor = np.array([tiniest], np.float64).view(np.int64)[0]
    for r in range(len(features)):
        largest = floor
        for n in range(features.shape[1]):
            largest = max(largest, magnitudes[r, n] & np.int64(NO_SIGN_64))
        exponent = (largest + (np.int64(1) << FRACTION_64) - 1) >> FRACTION_64  # of the power of two above
        per_unit = 2.0 ** (bits + BIAS_64 - exponent)
        total, squares = np.int64(0), np.int64(0)
        for n in range(features.shape[1]):
            number = np.int64(np.rint(features[r, n] * per_unit))
            total += number
            squares += number * number
        out[r, 0], out[r, 1], out[r, 2] = total, squares, per_unit


@compiled
def scale_rows(features, mean, scale, gain, bias, out):  # noqa: ANN001, ANN201
    """Features less the mean of their row, times its scale, with gain and bias of each column.

    Args:
        features: (R, N), float64.
        mean: (R,), float64.
        scale: (R,), float64.
        gain: (N,), float64.
        bias: (N,), float64.
        out: where it goes, (R, N), float32.
    """
    for r in range(len(features)):
        for n in range(features.shape[1]):
            out[r, n] = (features[r, n] - mean[r]) * scale[r] * gain[n] + bias[n]


@compiled
def mask(arguments, row_step, step, bias, table, per_argument, features, bits, tiniest, steps, per_unit):  # noqa: ANN001, ANN201
    """Masked features, rounded to so many bits of the largest of a row and source.

    Args:
        arguments: (R, C N), int32, of the masks, in steps of both sides of an affine map, without its bias.
        row_step: (R, 1), float32, of its inputs.
        step: (C N,), float32, of its weights.
        bias: (C N,), float32.
        table: (2 A + 1,), float32, masks by their arguments from -A steps to A; all others are as the nearest of these.
        per_argument: steps of the table in 1.
        features: (R, N), float32.
        bits: of the largest.
        tiniest: power of two that the largest counts as if it is below.
        steps: where they go as whole numbers of steps, (R, C, N), float64.
        per_unit: where it goes how many steps are 1, (R, C, 1), float64.
    """
    count = features.shape[1]
    limit, per_argument = np.float32(len(table) // 2), np.float32(per_argument)
    nearest, masked = np.empty(count, np.uint32), np.empty(count, np.float32)
    magnitudes = masked.view(np.int32)
    floor = np.array([tiniest], np.float32).view(np.int32)[0]
    for r in range(len(features)):
        for s in range(steps.shape[1]):
            o = s * count
            for n in range(count):
                argument = np.float32(arguments[r, o + n]) * row_step[r, 0] * step[o + n] + bias[o + n]
                at = argument * per_argument
                at = at if at < limit else limit  # what is no number, too, so that nothing is read beside the table
                nearest[n] = np.rint(at if at > -limit else -limit) + limit
            for n in range(count):
                masked[n] = table[nearest[n]] * features[r, n]
            largest = floor
            for n in range(count):
                largest = max(largest, magnitudes[n] & np.int32(NO_SIGN))
            exponent = (largest + (np.int32(1) << FRACTION) - 1) >> FRACTION  # of the power of two above
            steps_per_unit = 2.0 ** (bits + BIAS - exponent)
            for n in range(count):
                steps[r, s, n] = np.rint(masked[n] * steps_per_unit)
            per_unit[r, s, 0] = steps_per_unit


@compiled
def masked_linear(  # noqa: ANN201
    seen, mask_columns, step, bias, table, per_argument, features, bits, tiniest, columns, per_weight, out,  # noqa: ANN001
):  # fmt: skip
    """Products of a few rows of masked features with a matrix, from what the masks are made of.

    Args:
        seen: (R, K), float32, what the masks' layer sees, to be rounded to 8 bits of the largest of a row.
        mask_columns: (K, C N), that layer's weights, whole numbers of steps of a type that adds them exactly.
        step: (C N,), float32, these steps.
        bias: (C N,), float32, of that layer.
        table: masks by their arguments, as `mask` has it.
        per_argument: steps of the table in 1.
        features: (R, N), float32.
        bits: of the largest masked feature of a row and source.
        tiniest: power of two that the largest counts as if it is below.
        columns: (N, M), float64, whole numbers of steps.
        per_weight: how many of these are 1.
        out: where sums go, (R, C, M), float64.
    """
    rows, sources, count = len(seen), out.shape[1], features.shape[1]
    whole, row_step = np.empty(seen.shape, mask_columns.dtype), np.empty((rows, 1), np.float32)
    for r in range(rows):
        largest = np.float32(0)
        for k in range(seen.shape[1]):
            largest = max(largest, abs(seen[r, k]))
        row_step[r, 0] = max(largest / np.float32(127), np.float32(tiniest))
        for k in range(seen.shape[1]):
            whole[r, k] = np.rint(seen[r, k] / row_step[r, 0])
    sums = np.empty((rows, mask_columns.shape[1]), mask_columns.dtype)
    multiply(whole, mask_columns, sums)
    steps, per_unit = np.empty((rows, sources, count), np.float64), np.empty((rows, sources, 1), np.float64)
    arguments = sums.astype(np.int32)
    mask(arguments, row_step, step, bias, table, per_argument, features, bits, tiniest, steps, per_unit)
    multiply(steps.reshape(rows * sources, count), columns, out.reshape(rows * sources, out.shape[2]))
    for r in range(rows):
        for s in range(sources):
            unit = 1 / (per_unit[r, s, 0] * per_weight)
            for n in range(out.shape[2]):
                out[r, s, n] *= unit
