"""Event-driven integrate-and-fire layers on the CPU: work is done per incoming spike, and currents never reach memory.

A job is a run of output positions of one row that see common inputs: for a dilated convolution, every so many-th position.

1. Each input position that the job sees is listed once: for each time step, the inputs that spike. Three spikes or more one
   after the other are a run, which is listed but twice: where it begins, and where it ends. (Where that saves little, they
   are listed as single spikes.)
2. For each output position and step, the lists of the positions that its taps see are put together to one, of the rows of
   weights that spikes select.
3. For a block of outputs, whose weights stay in the second-level cache meanwhile, the rows of each list are summed in registers
   and charge the membrane potentials; the spikes that these fire are packed at once. Runs are summed to a current that lasts.
   Neurons that wait for all of their input fire behind it, over as many steps on nothing.

Weights are split into bytes from 0 to 255, by adding half of their range to them, which is taken from the sums again as many
times as there were spikes. Weights of 8 bits are one such plane; others take two, three or four, added one after another.
Sums are right modulo 2^32, and so the potentials, which have fewer bits, are right.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from separator.snn.execution.kernels.compiled import compiled
from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.execution.kernels.threads import in_threads
from separator.snn.execution.kernels.vectors import (
    MOVED,
    ROWS_AT_ONCE,
    UNROLLED,
    VECTOR,
    WORDS,
    Vectors,
    add_rows,
    append_spiking,
    bits_set,
    fire,
    lane_order,
    move_rows,
    on_cache_lines,
    tell_runs,
    vectors_for,
)

MOST_ROWS = 2**16 - 1  # inputs times taps whose numbers fit in 16 bits; one more number is for a row of zeros
POSITIONS = 32  # output positions of a job, at most
LISTED = 2**22  # row numbers that a job has room for, if that is not less than one position can have
OUT_OF_REACH = 2**31 - 1  # threshold
KINDS = 3  # of events: a single spike, the begin of a run, its end
# Rows of weights that runs must save for each output position and step, so that telling them from single spikes pays, and
# input positions that this is judged from.
PAYS, SAMPLED = 48, 16
ALWAYS, NEVER = -np.inf, np.inf
NOTHING = np.empty((0, 0, 0, 0), np.int32)

Words = NDArray[np.uint32]
Integers = NDArray[np.int32]


class EventLayer(NamedTuple):
    """A layer in integers, laid out for `fire_events`; outputs are padded to whole blocks with neurons that never fire."""

    weight: NDArray[np.uint8]  # (blocks, planes, taps x inputs + 1, lanes); the last row is zeros, which may be added at will
    vectors: Vectors  # of each row
    excess: int  # of the planes' sum over the weight, per spike
    bias: Integers  # (blocks x lanes,), current per time step
    threshold: Integers
    initial: Integers
    at_once: bool  # whether neurons fire once all of their input is in, not while it arrives
    outputs: int  # C_out


def event_layer(weight: Integers, bias: Integers, threshold: Integers, initial: Integers, at_once: bool = False) -> EventLayer:
    """Lay out a layer.

    Args:
        weight: (C_out, C_in, rows, columns), at most MOST_ROWS to an output; time grows with their bytes.
        bias: (C_out,), current per time step.
        threshold: (C_out,).
        initial: (C_out,), initial potential.
        at_once: whether neurons fire once all of their input is in, not while it arrives.
    """
    planes = int(np.abs(weight).max()).bit_length() // 8 + 1  # with a bit for the sign
    excess = 2 ** (8 * planes - 1)
    outputs = len(weight)
    vectors = vectors_for(outputs)
    lanes = len(vectors) * VECTOR
    blocks = -(-outputs // lanes)
    missing = (0, blocks * lanes - outputs)
    rows = np.pad(weight, (missing, *[(0, 0)] * 3)).transpose(2, 3, 1, 0).reshape(-1, blocks, lanes)[..., lane_order(lanes)]
    raised = (rows.astype(np.int64) + excess).transpose(1, 0, 2)
    laid_out = on_cache_lines((blocks, planes, len(rows) + 1, lanes), np.uint8)
    for plane in range(planes):
        laid_out[:, plane, :-1] = raised >> 8 * plane & 255
    laid_out[:, :, -1] = 0
    return EventLayer(
        laid_out,
        vectors,
        excess,
        np.pad(bias, missing),
        np.pad(threshold, missing, constant_values=OUT_OF_REACH),
        np.pad(initial, missing),
        at_once,
        outputs,
    )


def fire_events(
    words: Words,
    layer: EventLayer,
    geometry: Geometry,
    sizes: Sequence[int],
    window: int,
    threads: int,
    potentials: Integers | None = None,
) -> Words:
    """Packed spike trains that a layer fires on packed spike trains. Shape: (B, H, W, C_in) -> (B, *sizes, C_out).

    Args:
        words: the incoming ones.
        layer: laid out.
        geometry: where outputs look.
        sizes: of the outputs.
        window: time steps.
        threads: that share the work.
        potentials: that neurons start from, (B, *sizes, C_out), in place of the initial ones; then those that they end with.
    """
    fired = np.empty((len(words), *sizes, layer.outputs), np.uint32)
    blocks, planes, rows, _ = layer.weight.shape
    apart, positions, runs = _jobs(sizes[1], geometry.stride[1], geometry.dilation[1], window * rows)
    words = np.ascontiguousarray(words)
    pays = PAYS * words.shape[3] / ((rows - 1) * blocks * planes)
    if threads > 1:  # judged once for all of them
        pays = ALWAYS if _events_saved(words, window) >= pays else NEVER
    carried = NOTHING if potentials is None else potentials
    shared = (words, *layer[:-1], *geometry, window, pays, apart, positions, runs, fired, carried)
    in_threads(lambda first, last: _fire(first, last, *shared), len(words) * sizes[0] * runs[0] * runs[1], threads)
    return fired


@lru_cache
def _jobs(columns: int, stride: int, dilation: int, most_listed: int) -> tuple[int, int, tuple[int, int]]:
    """Output columns from one of a job to the next, how many these are at most, and how many jobs a row of them is."""
    apart = dilation // gcd(stride, dilation)  # output columns that see common input columns are so far apart
    positions = max(1, min(POSITIONS, LISTED // most_listed))
    return apart, positions, (min(apart, columns), -(-columns // (apart * positions)))


@compiled
def _events_saved(words, window):  # noqa: ANN001, ANN202
    """Spikes less events, if runs are told: per input position and step, the mean of a sample."""
    rows = words.reshape(-1, words.shape[-1])
    trains = np.zeros((rows.shape[1] + WORDS - 1) // WORDS * WORDS, np.uint32)
    parts = np.empty((KINDS * 2, len(trains)), np.uint16)
    saved, places = 0, range(0, len(rows), max(1, len(rows) // SAMPLED))
    for at in places:
        for c in range(len(rows[at])):
            trains[c] = rows[at, c]
        for c in range(0, len(trains), WORDS):
            tell_runs(trains, c, window, parts, len(trains))
        for c in range(len(trains)):
            saved += bits_set(trains[c])
            for part in range(len(parts)):
                saved -= bits_set(parts[part, c])
    return saved / max(1, len(places) * window)


@compiled
def _fire(  # noqa: ANN202
    first_job, last_job, words, weight, vectors, excess, bias, threshold, initial, at_once,  # noqa: ANN001
    kernel, stride, before, dilation, window, pays, apart, positions, runs, fired, carried,  # noqa: ANN001
):  # fmt: skip
    _, height, width, inputs = words.shape
    _, rows_out, columns_out, outputs = fired.shape
    blocks, planes, rows, _ = weight.shape
    kinds = KINDS if pays == ALWAYS or (pays < NEVER and _events_saved(words, window) >= pays) else 1
    ahead = apart * stride[1] // dilation[1]  # positions in use that lie between what an output and the next one see first
    seen = (positions - 1) * ahead + kernel[1]
    padded = (inputs + WORDS - 1) // WORDS * WORDS
    trains = np.empty(padded, np.uint32)  # of one input position, then silence
    parts = np.empty((KINDS * 2, padded), np.uint16)  # of these, by kind, 16 steps each
    numbers = np.empty(padded, np.uint16)
    for c in range(padded):  # by loops, which compile in less time than numpy's functions for it
        trains[c], numbers[c] = 0, c
        for part in range(KINDS * 2):
            parts[part, c] = 0
    # Inputs with events at each input position in use, per step and kind, and where each list starts.
    listed = np.empty(kernel[0] * min(seen, positions * kernel[1]) * window * inputs + MOVED, np.uint16)
    place = np.empty((kernel[0], seen, window * kinds + 1), np.int64)
    # Rows of weights that each output position adds, per step and kind, where each list starts, and how many there are.
    selected = np.empty(positions * window * (rows + kinds * UNROLLED) + MOVED, np.uint16)
    begin = np.empty(positions * window * kinds + 1, np.int64)
    events = np.empty(positions * window * kinds, np.int64)
    lanes = len(vectors) * VECTOR
    v, standing, packed = np.empty(lanes, np.int32), np.empty(lanes, np.int32), np.empty(lanes, np.uint32)
    nothing, never = np.empty(lanes, np.int32), np.empty(lanes, np.int32)
    for n in range(lanes):
        nothing[n], never[n] = 0, OUT_OF_REACH
    limit, limit_at = (never, 0) if at_once else (threshold, 1)  # while input arrives, of each block
    for job in range(first_job, last_job):
        image, y = job // (runs[0] * runs[1] * rows_out), job // (runs[0] * runs[1]) % rows_out
        first = job // runs[1] % runs[0] + job % runs[1] * positions * apart
        here = min(positions, (columns_out - first + apart - 1) // apart)
        end = 0  # 1. the events of each input position
        for i in range(kernel[0]):
            i_y = y * stride[0] + i * dilation[0] - before[0]
            for m in range((here - 1) * ahead + kernel[1]):
                i_x = first * stride[1] + m * dilation[1] - before[1]
                used = 0 <= i_y < height and 0 <= i_x < width and m % ahead < kernel[1]
                if used:
                    for c in range(inputs):
                        trains[c] = words[image, i_y, i_x, c]
                    if kinds == KINDS:
                        for c in range(0, inputs, WORDS):
                            tell_runs(trains, c, window, parts, padded)
                    else:
                        for c in range(inputs):
                            parts[0, c], parts[1, c] = trains[c] & 0xFFFF, trains[c] >> 16
                for t in range(window):
                    for kind in range(kinds):
                        place[i, m, t * kinds + kind] = end
                        if used:
                            for c in range(0, inputs, WORDS):
                                at = (2 * kind + t // 16) * padded + c
                                end = append_spiking(parts, at, t % 16, numbers, c, listed, end)
                place[i, m, window * kinds] = end
        end = 0  # 2. the rows that each output position adds
        for p in range(here):
            for k in range(window * kinds):
                at = p * window * kinds + k
                begin[at] = end
                added = 0  # to the numbers of inputs, for the tap
                for i in range(kernel[0]):
                    for m in range(p * ahead, p * ahead + kernel[1]):
                        source, n = place[i, m, k], place[i, m, k + 1] - place[i, m, k]
                        done = 0
                        while done < n:
                            move_rows(listed, source + done, added, selected, end + done)
                            done += MOVED
                        end += n
                        added += inputs
                events[at] = end - begin[at]
                while (end - begin[at]) % UNROLLED:
                    selected[end] = rows - 1
                    end += 1
        begin[here * window * kinds] = end
        for block in range(blocks):  # 3. their sums, charge and spikes
            o = block * lanes
            for p in range(here):
                for n in range(lanes):
                    v[n], standing[n], packed[n] = initial[o + n], 0, 0
                if len(carried):
                    for n in range(min(lanes, outputs - o)):
                        v[n] = carried[image, y, first + p * apart, o + n]
                going_on = 0  # runs
                for t in range(window):
                    at = (p * window + t) * kinds
                    if kinds == KINDS:
                        going_on += events[at + 1] - events[at + 2]
                    for kind in range(kinds):
                        sums = v if kind == 0 else standing
                        for plane in range(planes):
                            plane_at = (block * planes + plane) * rows * lanes
                            done = begin[at + kind]
                            while done < begin[at + kind + 1]:
                                n = min(ROWS_AT_ONCE, begin[at + kind + 1] - done)
                                add_rows(weight, plane_at, selected, done, n, sums, 0, 8 * plane, kind // 2, vectors)
                                done += n
                    less = excess * (events[at] + going_on)
                    fire(v, 0, packed, 0, bias, o, standing, 0, limit, o * limit_at, less, t, vectors)
                for t in range(window if at_once else 0):
                    fire(v, 0, packed, 0, nothing, 0, nothing, 0, threshold, o, 0, t, vectors)
                for n in range(min(lanes, outputs - o)):
                    fired[image, y, first + p * apart, o + n] = packed[n]
                if len(carried):
                    for n in range(min(lanes, outputs - o)):
                        carried[image, y, first + p * apart, o + n] = v[n]
