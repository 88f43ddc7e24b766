# ruff: noqa: ANN001, ANN201
"""Neurons with two thresholds, step by step, where the currents are known: one pass over these, potentials in the cache.

Arrays are (steps, rows, neurons), numbers of neurons (neurons,); a row is one item of a batch. Quotients are estimated with a
reciprocal in 64-bit floating point and put right by their remainders, which are exact: none of the numbers exceeds 2^43.
"""

import numpy as np

from separator.snn.execution.kernels.compiled import compiled

BLOCK = 1024  # neurons whose potentials stay in the first-level cache over all steps
ROWS, COLUMNS = 64, 128  # steps and items, and outputs, that rows of weights are added for while they are in the cache


@compiled
def fire_signed(currents, v, positive, negative, plus, minus, steps, words_up, words_down, first, last):
    """Spikes of -1, 0 or 1 as the bits of two words; see `separator.snn.neurons.double_threshold.DoubleThreshold`."""
    repeated = currents.shape[0] == 1
    for row in range(first, last):
        for start in range(0, v.shape[1], BLOCK):
            stop = min(start + BLOCK, v.shape[1])
            for t in range(steps):
                at = 0 if repeated else t
                for i in range(start, stop):
                    x = np.int32(v[row, i] + np.int32(currents[at, row, i]))
                    up = np.int32(x + plus[i] >= positive[i])
                    down = np.int32(minus[i] - x >= negative[i])
                    v[row, i] = x - up * positive[i] + down * negative[i]
                    words_up[row, i] |= up << np.int32(t)
                    words_down[row, i] |= down << np.int32(t)


@compiled
def fire_augmented(
    currents,
    v,
    positive,
    negative,
    plus,
    minus,
    boundary,
    most,
    steps,
    coefficients,
    first,
    last,
):
    """Spikes with coefficients of at most `boundary`; potentials saturate at `most`; see `Augmented`."""
    repeated = currents.shape[0] == 1
    upper, lower = 1.0 / positive.astype(np.float64), 1.0 / negative.astype(np.float64)
    for row in range(first, last):
        for start in range(0, v.shape[1], BLOCK):
            stop = min(start + BLOCK, v.shape[1])
            for t in range(steps):
                at = 0 if repeated else t
                for i in range(start, stop):
                    x = np.float64(v[row, i]) + np.float64(currents[at, row, i])
                    x = min(max(x, -most), most)
                    above = x > 0
                    size = np.float64(positive[i] if above else negative[i])
                    charge = x + plus[i] if above else minus[i] - x
                    whole = np.floor(charge * (upper[i] if above else lower[i]))
                    rest = charge - whole * size
                    whole += np.float64(rest >= size) - np.float64(rest < 0)
                    whole = min(whole, boundary)
                    spike = whole if above else -whole
                    v[row, i] = np.int32(x - spike * size)
                    coefficients[t, row, i] = np.int8(spike)


@compiled
def fire_path_independent(
    currents,
    charges,
    fired,
    positive,
    negative,
    plus,
    minus,
    boundary,
    steps,
    coefficients,
    first,
    last,
):
    """Spikes that are missing to the thresholds in all that has come; see `PathIndependent`."""
    repeated = currents.shape[0] == 1
    upper, lower = 1.0 / positive.astype(np.float64), 1.0 / negative.astype(np.float64)
    for row in range(first, last):
        for start in range(0, charges.shape[1], BLOCK):
            stop = min(start + BLOCK, charges.shape[1])
            for t in range(steps):
                at = 0 if repeated else t
                for i in range(start, stop):
                    charges[row, i] += np.int64(currents[at, row, i])
                    x = np.float64(charges[row, i])
                    above = x > 0
                    size = np.float64(positive[i] if above else negative[i])
                    charge = x + plus[i] if above else minus[i] - x
                    whole = np.floor(charge * (upper[i] if above else lower[i]))
                    rest = charge - whole * size
                    whole += np.float64(rest >= size) - np.float64(rest < 0)
                    due = (whole if above else -whole) - np.float64(fired[row, i])
                    spike = min(max(due, -boundary), boundary)
                    fired[row, i] += np.int32(spike)
                    coefficients[t, row, i] = np.int8(spike)


@compiled
def add_rows(trains, weight, bias, currents, first, last):
    """Currents that spikes cause through synapses of each input with each output: a row of weights for every spike.

    Args:
        trains: (rows, inputs), int8, spikes of a step and an item.
        weight: (inputs, outputs), int32.
        bias: (outputs,), int32, current of each step.
        currents: (rows, outputs), int32, written.
        first: of the rows to do.
        last: the one behind them.
    """
    inputs, outputs = weight.shape
    spiking = np.empty((ROWS, inputs), np.int32)
    counts = np.empty(ROWS, np.int64)
    for begin in range(first, last, ROWS):
        end = min(begin + ROWS, last)
        for row in range(begin, end):
            n = 0
            for j in range(inputs):
                if trains[row, j] != 0:
                    spiking[row - begin, n] = j
                    n += 1
            counts[row - begin] = n
        for start in range(0, outputs, COLUMNS):
            stop = min(start + COLUMNS, outputs)
            for row in range(begin, end):
                for i in range(start, stop):
                    currents[row, i] = bias[i]
                for k in range(counts[row - begin]):
                    j = spiking[row - begin, k]
                    size = np.int32(trains[row, j])
                    for i in range(start, stop):
                        currents[row, i] += size * weight[j, i]


@compiled
def unpack_signed(words_up, words_down, trains, first, last):
    """Spikes of -1, 0 or 1 of each step, (steps, rows, neurons), int8, from two words of each train; rows are items."""
    for row in range(first, last):
        for t in range(trains.shape[0]):
            for i in range(words_up.shape[1]):
                up = (words_up[row, i] >> np.int32(t)) & np.int32(1)
                down = (words_down[row, i] >> np.int32(t)) & np.int32(1)
                trains[t, row, i] = np.int8(up - down)
