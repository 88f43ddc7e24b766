"""Currents that spikes of any size cause: where few neurons fire, weights are read for those alone.

The inputs at a place are taken two by two, as a machine multiplies and adds pairs of 16-bit integers by one instruction. For a
job, some columns of outputs of one item, the pairs that are not silent are listed once, for each step and place of the input.
Then their rows of weights are added in registers: for a block of outputs and a few taps at a time, over all steps and places
that there is room for, so that these weights stay in the cache meanwhile.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from separator.snn.execution.kernels.compiled import compiled
from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.execution.kernels.threads import in_threads
from separator.snn.execution.kernels.vectors import (
    BYTES,
    NUMBERED,
    TILE,
    Vectors,
    add_pairs,
    append_numbers,
    lowest_bit,
    not_silent,
    on_cache_lines,
    tiles_for,
)

MOST = 2**15 - 1  # largest magnitude of a weight, and of an input
CACHED = 12 * 2**10  # weights that are added over and over
COLUMNS = 512  # of outputs, of a job
SUMS = 2**10  # positions and steps whose sums a job has room for, if a step has no more; with 64 outputs each, 2^18 bytes


class PairedWeights(NamedTuple):
    """Weights laid out for `currents_of`; outputs are padded to whole blocks, inputs to whole pairs."""

    weight: NDArray[np.int16]  # (blocks, rows, columns, pairs, 2 x lanes), of each output the two weights side by side
    tiles: Vectors  # of each block
    bias: NDArray[np.int32]  # (blocks x lanes,)
    outputs: int  # C_out


def paired_weights(weight: NDArray[np.int32], bias: NDArray[np.int32]) -> PairedWeights:
    """Lay out the weights, at most MOST each, and the currents of each step. Shapes: (C_out, C_in, rows, columns), (C_out,)."""
    outputs, inputs, *taps = weight.shape
    tiles = tiles_for(outputs)
    lanes = TILE * len(tiles)
    blocks, pairs = -(-outputs // lanes), -(-inputs // 2)
    missing = (0, blocks * lanes - outputs)
    padded = np.pad(weight.astype(np.int16), (missing, (0, 2 * pairs - inputs), (0, 0), (0, 0)))
    laid_out = padded.reshape(blocks, lanes, pairs, 2, *taps).transpose(0, 4, 5, 2, 1, 3)
    rows = on_cache_lines((blocks, *taps, pairs, 2 * lanes), np.int16)
    rows[:] = laid_out.reshape(rows.shape)
    return PairedWeights(rows, tiles, np.pad(bias, missing), outputs)


def currents_of(
    trains: NDArray[np.int8],
    layer: PairedWeights,
    geometry: Geometry,
    summed: tuple[int, int],
    sizes: tuple[int, int],
    threads: int,
) -> NDArray[np.int32]:
    """Currents of each step, that of the bias included. Shape: (N_s, B, C_in, H, W) -> (N_s, B, C_out, *sizes).

    Args:
        trains: spikes.
        layer: laid out.
        geometry: where outputs look among sums of inputs.
        summed: neighbouring inputs that are summed, without overlap or rest, to at most MOST.
        sizes: of the outputs.
        threads: that share the work.
    """
    currents = np.empty((*trains.shape[:2], layer.outputs, *sizes), np.int32)
    columns = min(sizes[1], COLUMNS)
    group = max(1, SUMS // (sizes[0] * columns))
    shared = (trains, summed, layer.weight, layer.tiles, layer.bias, *geometry, columns, group, currents)
    jobs = trains.shape[1] * -(-sizes[1] // columns)
    in_threads(lambda first, last: _add(*shared, first, last), jobs, threads)
    return currents


@compiled
def _places(inputs, rows, columns, summed, seen, channels, places):  # noqa: ANN001, ANN202
    """Of each of an item's spikes, as they lie in memory, where the sum is that it belongs to, of (rows, seen, channels)."""
    n = 0
    for c in range(inputs):
        for y in range(rows):
            for x in range(columns):
                places[n] = (y // summed[0] * seen + x // summed[1]) * channels + c
                n += 1


@compiled
def _sum(spikes, begin, lines, length, apart, places, sums):  # noqa: ANN001, ANN202
    """Add up the spikes of an item: of so many lines of memory, from `begin` on and so far apart."""
    for line in range(lines):
        start, first = begin + line * apart, line * length
        for x in range(0, length, BYTES):
            if start + x + BYTES <= len(spikes):
                spiking = not_silent(spikes, start + x)
                if length - x < BYTES:
                    spiking &= np.uint32((1 << (length - x)) - 1)
                while spiking:
                    i = x + lowest_bit(spiking)
                    sums[places[first + i]] += spikes[start + i]
                    spiking &= spiking - np.uint32(1)
            else:  # at the very end
                for i in range(x, min(x + BYTES, length)):
                    sums[places[first + i]] += spikes[start + i]


@compiled
def _list(both, first, columns, seen, pairs, numbers, begin, end):  # noqa: ANN001, ANN202
    """List pairs that are not silent by their numbers in a row of places, and where in the list each place begins."""
    for y in range(len(begin)):
        for x in range(columns):
            begin[y, x] = end
            for k in range(0, pairs, NUMBERED):
                at = (y * seen + x) * pairs + k
                end = append_numbers(both, first + at, min(NUMBERED, pairs - k), x * pairs + k, numbers, end)
        begin[y, columns] = end
    return end


@compiled
def _add(  # noqa: ANN202
    trains, summed, weight, tiles, bias, kernel, stride, before, dilation, columns, group, currents, first_job, last_job,  # noqa: ANN001
):  # fmt: skip
    steps, items, inputs, height, width = trains.shape
    _, _, outputs, rows_out, columns_out = currents.shape
    blocks, _, _, pairs, _ = weight.shape
    high, wide = height // summed[0], width // summed[1]
    parts, lanes = (columns_out + columns - 1) // columns, TILE * len(tiles)
    # Taps whose places lie side by side, and whose weights stay in the first-level cache.
    most = max(1, CACHED // (pairs * 2 * lanes)) if dilation[1] == 1 else 1
    chunks = (kernel[1] + most - 1) // most
    run = (kernel[1] + chunks - 1) // chunks
    seen = min(wide, (columns - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1)
    spikes, size = trains.reshape(-1), high * seen * pairs
    places = np.empty(inputs * height * seen * summed[1], np.int32)
    sums = np.empty(2 * (min(group, steps) * size + NUMBERED), np.int16)
    both, numbers = sums.view(np.uint32), np.empty(len(sums) // 2, np.uint32)
    begin = np.empty((min(group, steps), high, seen + 1), np.int64)
    summed_up, apart = currents.reshape(-1), rows_out * columns_out
    total = np.empty((min(group, steps), rows_out, columns, lanes), np.int32)
    for job in range(first_job, last_job):
        item, first = job // parts, job % parts * columns
        last = min(first + columns, columns_out)
        lowest = min(max(first * stride[1] - before[1], 0), wide)
        highest = min(max((last - 1) * stride[1] - before[1] + (kernel[1] - 1) * dilation[1] + 1, lowest), wide)
        lines, length = inputs * height, (highest - lowest) * summed[1]
        if job == first_job or parts > 1:
            _places(inputs, height, length, summed, seen, 2 * pairs, places)
        if length == width:  # all lie side by side
            lines, length = 1, lines * length
        for start in range(0, steps, group):
            here, end = min(group, steps - start), 0
            for t in range(here):
                these = sums[2 * t * size : 2 * (t + 1) * size]
                these[:] = 0
                at = ((start + t) * items + item) * inputs * height * width + lowest * summed[1]
                _sum(spikes, at, lines, length, width, places, these)
                end = _list(both, t * size, highest - lowest, seen, pairs, numbers, begin[t], end)
            for block in range(blocks):
                for t in range(here):
                    for y in range(rows_out):
                        for x in range(columns):
                            for n in range(lanes):
                                total[t, y, x, n] = bias[block * lanes + n]
                for chunk in range(kernel[0] * chunks):
                    i, j = chunk // chunks, chunk % chunks * run
                    taps = min(run, kernel[1] - j)
                    for t in range(here):
                        for y in range(rows_out):
                            row = y * stride[0] - before[0] + i * dilation[0]
                            if 0 <= row < high:
                                for x in range(last - first):
                                    left = (first + x) * stride[1] - before[1] + j * dilation[1] - lowest
                                    at = begin[t, row, min(max(left, 0), highest - lowest)]
                                    n = begin[t, row, min(max(left + taps, 0), highest - lowest)] - at
                                    its = ((block * kernel[0] + i) * kernel[1] + j - left) * pairs  # of the row's first place
                                    to = ((t * rows_out + y) * columns + x) * lanes
                                    its_values = t * size + row * seen * pairs
                                    add_pairs(
                                        weight, its * 2 * lanes, both, its_values, numbers, at, n, total, to, tiles
                                    )  # fmt: skip
                for t in range(here):
                    begins = ((start + t) * items + item) * outputs + block * lanes
                    for y in range(rows_out):
                        for x in range(last - first):
                            to = begins * apart + y * columns_out + first + x
                            for n in range(min(lanes, outputs - block * lanes)):
                                summed_up[to + n * apart] = total[t, y, x, n]
