"""Event-driven integrate-and-fire layers on the CPU: work is done per incoming spike, and currents never reach memory.

For a tile of weights that fits the fastest cache, the rows that spikes select are summed in registers, step by step; when all
tiles of a block of outputs are through, the sums charge the membrane potentials, and the spikes they fire are packed at once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from separator.snn.kernels.compiled import compiled
from separator.snn.kernels.geometry import Geometry
from separator.snn.kernels.threads import in_threads
from separator.snn.kernels.vectors import ROW_BITS, add_rows, lowest_bit

FRAMES = 32  # positions that a tile of weights is used for before the next one is fetched
TILE = 256  # inputs: their 8-bit weights add up in 16 bits without overflow, and their rows take 32 KiB

Words = NDArray[np.uint32]
Integers = NDArray[np.int32]


class EventLayer(NamedTuple):
    """A layer in integers, laid out for `fire_events`; outputs are padded to whole blocks with neurons that never fire."""

    weight: NDArray[Any]  # (blocks, taps, tiles, inputs of a tile, outputs of a block), int16 or int32
    bias: Integers  # (blocks x outputs of a block,), current per time step
    threshold: Integers
    start: Integers
    geometry: Geometry
    outputs: int  # C_out


def event_layer(geometry: Geometry, weight: Integers, bias: Integers, threshold: Integers, start: Integers) -> EventLayer:
    """Lay out a layer.

    Args:
        geometry: of the convolution.
        weight: (C_out, C_in, rows, columns); those of 8 bits are summed faster.
        bias: (C_out,), current per time step.
        threshold: (C_out,).
        start: (C_out,), start potential.
    """
    outputs, inputs = weight.shape[:2]
    kind = np.int16 if np.abs(weight).max() <= (2**15 - 1) // TILE else np.int32
    block = ROW_BITS // np.dtype(kind).itemsize // 8
    blocks, tiles = -(-outputs // block), -(-inputs // TILE)
    size = -(-inputs // tiles)
    missing = (0, blocks * block - outputs)
    rows = np.pad(weight.astype(kind), (missing, (0, tiles * size - inputs), (0, 0), (0, 0)))
    tiled = rows.reshape(blocks, block, tiles, size, -1).transpose(0, 4, 2, 3, 1)
    return EventLayer(
        np.ascontiguousarray(tiled),
        np.pad(bias, missing),
        np.pad(threshold, missing, constant_values=np.iinfo(np.int32).max),
        np.pad(start, missing),
        geometry,
        outputs,
    )


def fire_events(words: Words, layer: EventLayer, sizes: Sequence[int], window: int, threads: int) -> Words:
    """Packed spike trains that a layer fires on packed spike trains. Shape: (B, H, W, C_in) -> (B, *sizes, C_out)."""
    fired = np.empty((len(words), *sizes, layer.outputs), np.uint32)
    numbers = layer.weight, layer.bias, layer.threshold, layer.start
    shared = (np.ascontiguousarray(words), *numbers, *layer.geometry, window, fired)
    jobs = len(words) * fired.shape[1] * -(-fired.shape[2] // FRAMES)
    in_threads(lambda first, last: _fire(first, last, *shared), jobs, threads)
    return fired


@compiled
def _fire(first_job, last_job, words, weight, bias, threshold, start, kernel, stride, before, dilation, window, fired):  # noqa: ANN001, ANN202
    _, height, width, inputs = words.shape
    _, rows_out, columns_out, outputs = fired.shape
    blocks, taps, tiles, size, lanes = weight.shape
    groups = (columns_out + FRAMES - 1) // FRAMES
    # Of each input position in use, per tile and step: the inputs that spike.
    lists = np.empty((taps * FRAMES, tiles, window, size), np.uint8)
    count = np.empty((taps * FRAMES, tiles, window), np.int64)
    place = np.full((kernel[0], width), -1)  # of an input position in `lists`
    seen = np.empty((taps, FRAMES), np.int64)  # place of the input position that each tap of each output position sees
    sums = np.empty((FRAMES, window, lanes), np.int32)
    v, packed = np.empty(lanes, np.int32), np.empty(lanes, np.uint32)
    for job in range(first_job, last_job):
        b, y, first = job // (rows_out * groups), job // groups % rows_out, job % groups * FRAMES
        frames = min(FRAMES, columns_out - first)
        places = 0
        place[:] = -1
        for tap in range(taps):
            i, j = tap // kernel[1], tap % kernel[1]
            j_y = y * stride[0] + i * dilation[0] - before[0]
            for f in range(frames):
                j_x = (first + f) * stride[1] + j * dilation[1] - before[1]
                if j_y < 0 or j_y >= height or j_x < 0 or j_x >= width:
                    seen[tap, f] = -1
                    continue
                if place[i, j_x] < 0:
                    place[i, j_x] = places
                    count[places] = 0
                    for tile in range(tiles):
                        for row in range(min(size, inputs - tile * size)):
                            word = words[b, j_y, j_x, tile * size + row]
                            while word:
                                t = lowest_bit(word)
                                word &= word - np.uint32(1)
                                n = count[places, tile, t]
                                lists[places, tile, t, n] = row
                                count[places, tile, t] = n + 1
                    places += 1
                seen[tap, f] = place[i, j_x]
        for block in range(blocks):
            o = block * lanes
            sums[:] = 0
            for tap in range(taps):
                for tile in range(tiles):
                    rows = ((block * taps + tap) * tiles + tile) * size * lanes
                    for f in range(frames):
                        p = seen[tap, f]
                        if p < 0:
                            continue
                        for t in range(window):
                            n = count[p, tile, t]
                            if n:
                                spiking = ((p * tiles + tile) * window + t) * size
                                add_rows(weight, rows, lists, spiking, n, sums, (f * window + t) * lanes)
            for f in range(frames):
                for n in range(lanes):
                    v[n] = start[o + n]
                    packed[n] = 0
                for t in range(window):
                    bit = np.uint32(1) << np.uint32(t)
                    for n in range(lanes):
                        charged = v[n] + sums[f, t, n] + bias[o + n]
                        fires = charged >= threshold[o + n]
                        v[n] = charged - threshold[o + n] if fires else charged
                        packed[n] |= bit if fires else np.uint32(0)
                for n in range(min(lanes, outputs - o)):
                    fired[b, y, first + f, o + n] = packed[n]
