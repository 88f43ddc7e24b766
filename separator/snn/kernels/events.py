"""Event-driven integrate-and-fire layers on the CPU: work is done per incoming spike, and currents never reach memory.

For a block of outputs whose weights fit the fastest cache, the rows of the weights that spikes select are summed step by
step in registers; the sums charge the membrane potentials at once, and the spikes they fire are packed at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from separator.snn.kernels.compiled import compiled
from separator.snn.kernels.threads import in_threads
from separator.snn.kernels.vectors import WIDTH, add_rows, lowest_bit

FRAMES = 16  # positions that a block of weights is used for before the next one is fetched
MOST_ROWS = 2**16  # inputs of a neuron, in 16-bit indices

Words = NDArray[np.uint32]
Integers = NDArray[np.int32]


class Geometry(NamedTuple):
    """Of a two-dimensional convolution: (rows, columns) each."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def outputs(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output."""
        spans = zip((height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        rows, columns = ((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in spans)
        return rows, columns


class EventLayer(NamedTuple):
    """A layer in integers, laid out for `fire_events`; outputs are padded to whole blocks with neurons that never fire."""

    weight: Integers  # (blocks, taps x C_in, WIDTH)
    bias: Integers  # (blocks x WIDTH,), current per time step
    threshold: Integers
    start: Integers
    geometry: Geometry
    outputs: int  # C_out


def event_layer(geometry: Geometry, weight: Integers, bias: Integers, threshold: Integers, start: Integers) -> EventLayer:
    """Lay out a layer.

    Args:
        geometry: of the convolution.
        weight: (C_out, C_in, rows, columns).
        bias: (C_out,), current per time step.
        threshold: (C_out,).
        start: (C_out,), start potential.
    """
    outputs = len(weight)
    blocks = -(-outputs // WIDTH)
    missing = (0, blocks * WIDTH - outputs)
    rows = np.pad(weight.transpose(2, 3, 1, 0).reshape(-1, outputs), ((0, 0), missing))
    return EventLayer(
        np.ascontiguousarray(rows.reshape(-1, blocks, WIDTH).transpose(1, 0, 2)),
        np.pad(bias, missing),
        np.pad(threshold, missing, constant_values=np.iinfo(np.int32).max),
        np.pad(start, missing),
        geometry,
        outputs,
    )


def fire_events(words: Words, layer: EventLayer, window: int, threads: int) -> Words:
    """Packed spike trains that a layer fires on packed spike trains. Shape: (B, H, W, C_in) -> (B, H', W', C_out)."""
    batch, height, width, _ = words.shape
    fired = np.empty((batch, *layer.geometry.outputs(height, width), layer.outputs), np.uint32)
    numbers = layer.weight, layer.bias, layer.threshold, layer.start
    shared = (np.ascontiguousarray(words), *numbers, *layer.geometry, window, fired)
    jobs = batch * fired.shape[1] * -(-fired.shape[2] // FRAMES)
    in_threads(lambda first, last: _fire(first, last, *shared), jobs, threads)
    return fired


@compiled
def _fire(first_job, last_job, words, weight, bias, threshold, start, kernel, stride, padding, dilation, window, fired):  # noqa: ANN001, ANN202
    _, height, width, inputs = words.shape
    _, rows_out, columns_out, outputs = fired.shape
    blocks, most, _ = weight.shape
    groups = (columns_out + FRAMES - 1) // FRAMES
    for job in range(first_job, last_job):
        b, y, first = job // (rows_out * groups), job // groups % rows_out, job % groups * FRAMES
        frames = min(FRAMES, columns_out - first)
        # Per frame and step, the inputs that spike: indices of rows of the weights.
        rows = np.empty((FRAMES, window, most), np.uint16)
        count = np.zeros((FRAMES, window), np.int64)
        for f in range(frames):
            for i in range(kernel[0]):
                j_y = y * stride[0] + i * dilation[0] - padding[0]
                if j_y < 0 or j_y >= height:
                    continue
                for j in range(kernel[1]):
                    j_x = (first + f) * stride[1] + j * dilation[1] - padding[1]
                    if j_x < 0 or j_x >= width:
                        continue
                    row = (i * kernel[1] + j) * inputs
                    for c in range(inputs):
                        word = words[b, j_y, j_x, c]
                        while word:
                            t = lowest_bit(word)
                            word &= word - np.uint32(1)
                            rows[f, t, count[f, t]] = row + c
                            count[f, t] += 1
        v, sums, packed = np.empty(WIDTH, np.int32), np.empty(WIDTH, np.int32), np.empty(WIDTH, np.uint32)
        for block in range(blocks):
            o = block * WIDTH
            for f in range(frames):
                for n in range(WIDTH):
                    v[n] = start[o + n]
                    packed[n] = 0
                for t in range(window):
                    for n in range(WIDTH):
                        sums[n] = 0
                    add_rows(weight[block].ctypes.data, rows[f, t].ctypes.data, count[f, t], sums.ctypes.data)
                    bit = np.uint32(1) << np.uint32(t)
                    for n in range(WIDTH):
                        charged = v[n] + sums[n] + bias[o + n]
                        fires = charged >= threshold[o + n]
                        v[n] = charged - threshold[o + n] if fires else charged
                        packed[n] |= bit if fires else np.uint32(0)
                for n in range(min(WIDTH, outputs - o)):
                    fired[b, y, first + f, o + n] = packed[n]
