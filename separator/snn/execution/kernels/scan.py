# ruff: noqa: ANN001, ANN201
"""Neurons step by step where the currents are known: one pass over these, potentials in the cache.

Arrays are (steps, rows, channels, neurons), numbers of neurons (channels,); the innermost loop is over neurons that have the
same numbers: the places of a channel of one item, or where a channel has one place, the items. Quotients are estimated with a
reciprocal in 64-bit floating point and put right by their remainders, which are exact: none of the numbers exceeds 2^43.
"""

import numpy as np

from separator.snn.execution.kernels.compiled import compiled
from separator.snn.execution.kernels.vectors import TILE, fire_either, lowest_bit

LEAST = -(2**31)  # number of 32 bits
CACHED = 2048  # potentials that stay in the first-level cache; currents of so many neurons lie side by side at each step
FOUR, ONE = (0,) * 4, (0,)  # vectors of neurons that fire at once


@compiled
def fire_leaky(currents, v, thresholds, strict, kept, delayed, steps, words, first, last):
    """Spikes of 0 or 1 as the bits of a word, of neurons that keep `kept` of 256 parts of their potential; see `Leaky`.

    Where the comparison is not `strict`, and all is kept, they are integrate-and-fire neurons.
    """
    repeated, channels = currents.shape[0] == 1, v.shape[1]
    late, now = np.int32(delayed), np.int32(1 - delayed)
    for job in range(first, last):
        row, c = job // channels, job % channels
        threshold, firing = thresholds[c], np.int32(thresholds[c] + strict)
        potentials, fired = v[row, c], words[row, c]
        for t in range(steps):
            incoming = currents[0 if repeated else t, row, c]
            for i in range(potentials.shape[0]):
                x = np.int32(potentials[i] + np.int32(incoming[i]) * now)
                spike = np.int32(x >= firing)
                fired[i] |= spike << np.int32(t)
                if kept < 256:
                    x = np.int32((x >> 8) * kept + (((x & 255) * kept) >> 8))
                potentials[i] = np.int32(x - spike * threshold + np.int32(incoming[i]) * late)


@compiled
def fire_signed(currents, v, positive, negative, plus, minus, steps, words_up, words_down, first, last):
    """Spikes of -1, 0 or 1 as the bits of two words; see `separator.snn.neurons.double_threshold.DoubleThreshold`."""
    repeated, channels = currents.shape[0] == 1, v.shape[1]
    for job in range(first, last):
        row, c = job // channels, job % channels
        above, below, early, late = positive[c], negative[c], plus[c], minus[c]
        potentials, ups, downs = v[row, c], words_up[row, c], words_down[row, c]
        for t in range(steps):
            incoming = currents[0 if repeated else t, row, c]
            for i in range(potentials.shape[0]):
                x = np.int32(potentials[i] + np.int32(incoming[i]))
                up = np.int32(x + early >= above)
                down = np.int32(late - x >= below)
                potentials[i] = x - up * above + down * below
                ups[i] |= up << np.int32(t)
                downs[i] |= down << np.int32(t)


@compiled
def thresholds_in(x, above, below, early, late, per_above, per_below):
    """Whole thresholds in a potential, of either sign, at least 0, as of numbers of one neuron and their reciprocals."""
    high = x > 0
    size = above if high else below
    charge = x + early if high else late - x
    whole = np.floor(charge * (per_above if high else per_below))
    rest = charge - whole * size
    return whole + (1.0 if rest >= size else 0.0) - (1.0 if rest < 0 else 0.0)


@compiled
def fire_augmented(currents, v, positive, negative, plus, minus, boundary, most, steps, coefficients, first, last):
    """Spikes with coefficients of at most `boundary`; potentials saturate at `most`; see `Augmented`.

    Most neurons fire none or one threshold, which takes comparisons only; where one may fire more, those are looked for.
    """
    repeated, channels, places = currents.shape[0] == 1, v.shape[1], v.shape[2]
    highest = np.int32(most)
    together = max(1, CACHED // places)
    for start in range(first, last, together):
        for t in range(steps):
            for job in range(start, min(start + together, last)):
                row, c = job // channels, job % channels
                above, below = positive[c], negative[c]
                up_at, down_at = np.int32(above - plus[c]), np.int32(minus[c] - below)
                next_up = np.int32(min(up_at + np.int64(above), np.int64(most) + 1))
                next_down = np.int32(max(down_at - np.int64(below), np.int64(LEAST)))
                potentials = v[row, c]
                incoming, fired = currents[0 if repeated else t, row, c], coefficients[t, row, c]
                i = 0
                while i < places:
                    if i + TILE * len(FOUR) <= places:
                        n = TILE * len(FOUR)
                        more = fire_either(
                            potentials, incoming, fired, i, above, below, up_at, down_at, next_up, next_down, highest, FOUR
                        )  # fmt: skip
                    elif i + TILE <= places:
                        n = TILE
                        more = fire_either(
                            potentials, incoming, fired, i, above, below, up_at, down_at, next_up, next_down, highest, ONE
                        )  # fmt: skip
                    else:
                        n = 1
                        x = min(max(np.int32(potentials[i] + incoming[i]), -highest), highest)
                        more = np.uint32((x >= next_up) | (x <= next_down))
                        up, down = np.int32(x >= up_at), np.int32(x <= down_at)
                        potentials[i] = np.int32(x - up * above + down * below)
                        fired[i] = np.int8(up - down)
                    if more and boundary > 1:
                        _fire_more(potentials, fired, i, more, above, below, plus[c], minus[c], boundary - 1.0)
                    i += n


@compiled
def _fire_more(potentials, fired, first, more, above, below, early, late, boundary):  # noqa: ANN202
    """What is left of neurons that have fired a threshold, the bits of `more` from `first` on: of at most `boundary` more."""
    while more:
        i = first + lowest_bit(more)
        x, sign = float(potentials[i]), fired[i]
        whole = thresholds_in(x, float(above), float(below), float(early), float(late), 1.0 / above, 1.0 / below)
        whole = min(whole, boundary)
        fired[i] = np.int8(np.int32(sign * (whole + 1)))
        potentials[i] = np.int32(x - sign * whole * (above if sign > 0 else below))
        more &= more - np.uint32(1)


@compiled
def fire_path_independent(
    currents, charges, fired, positive, negative, plus, minus, boundary, never, steps, coefficients, first, last
):
    """Spikes missing to the thresholds in all that has come, a negative one of `never` being none; see `PathIndependent`."""
    repeated, channels = currents.shape[0] == 1, charges.shape[1]
    for job in range(first, last):
        row, c = job // channels, job % channels
        above, below, early, late = float(positive[c]), float(negative[c]), float(plus[c]), float(minus[c])
        per_above, per_below, signed = 1.0 / above, 1.0 / below, 1.0 if negative[c] != never else 0.0
        totals, done = charges[row, c], fired[row, c]
        for t in range(steps):
            incoming, spikes = currents[0 if repeated else t, row, c], coefficients[t, row, c]
            for i in range(totals.shape[0]):
                totals[i] += np.int64(incoming[i])
                x = float(totals[i])
                whole = thresholds_in(x, above, below, early, late, per_above, per_below)
                due = (whole if x > 0 else -whole * signed) - float(done[i])
                spike = min(max(due, -boundary), boundary)
                done[i] += np.int32(spike)
                spikes[i] = np.int8(np.int32(spike))


@compiled
def unpack_signed(words_up, words_down, trains, first, last):
    """Spikes of -1, 0 or 1 of each step, (steps, rows, neurons), int8, from two words of each train; rows are items."""
    for row in range(first, last):
        for t in range(trains.shape[0]):
            for i in range(words_up.shape[1]):
                up = (words_up[row, i] >> np.int32(t)) & np.int32(1)
                down = (words_down[row, i] >> np.int32(t)) & np.int32(1)
                trains[t, row, i] = np.int8(up - down)
