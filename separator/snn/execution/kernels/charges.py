"""Charges of neurons that encode an analog input, at a few positions: what `layers.spiking` takes many operations for."""

import numpy as np

from separator.snn.execution.kernels.compiled import compiled
from separator.snn.execution.kernels.products import multiply


@compiled
def charge(x, per_unit, most, columns, constant, floor, ceiling, out):  # noqa: ANN001, ANN201
    """Weighted sums of whole quanta of the input and a constant, rounded and clipped; True if all is finite.

    Args:
        x: (R, N), float32.
        per_unit: quanta of it in 1, a power of two.
        most: magnitude in quanta that it is clipped to.
        columns: (N, M), float64, weights for such quanta.
        constant: (M,), float64.
        floor: (M,), float32.
        ceiling: (M,), float32.
        out: where they go, (R, M), float32.
    """
    whole, sums = np.empty(x.shape, np.float64), np.empty(out.shape, np.float64)
    finite, most = True, np.float32(most)
    for r in range(len(x)):
        for n in range(x.shape[1]):
            quanta = x[r, n] * np.float32(per_unit)
            finite = finite and np.isfinite(x[r, n])
            whole[r, n] = np.rint(min(max(quanta, -most), most))
    multiply(whole, columns, sums)
    for r in range(len(x)):
        for m in range(out.shape[1]):
            rounded = np.float32(np.rint(sums[r, m] + constant[m]))
            out[r, m] = min(max(rounded, floor[m]), ceiling[m])
    return finite
