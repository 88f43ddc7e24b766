# ruff: noqa: ANN001, ANN201
"""Neurons with two thresholds, step by step, where the currents are known: one pass over these, potentials in the cache.

Arrays are (steps, rows, neurons), numbers of neurons (neurons,); a row is one item of a batch. Quotients are estimated with a
reciprocal in 64-bit floating point and put right by their remainders, which are exact: none of the numbers exceeds 2^43.
"""

import numpy as np

from separator.snn.execution.kernels.compiled import compiled

BLOCK = 1024  # neurons whose potentials stay in the first-level cache over all steps


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
