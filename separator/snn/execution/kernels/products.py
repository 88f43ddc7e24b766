"""Products of a few rows with a matrix, for which a call of BLAS takes longer than what it computes."""

from separator.snn.execution.kernels.compiled import compiled

UNROLLED = 4  # rows of the matrix that are added between two looks at a sum


@compiled
def multiply(rows, columns, out):  # noqa: ANN001, ANN201
    """Sums in whatever order: of whole numbers that are never rounded.

    Args:
        rows: (R, N).
        columns: (N, M), of the same type.
        out: where sums go, (R, M), of the same type.
    """
    count = columns.shape[1]
    whole = len(columns) // UNROLLED * UNROLLED
    out[:] = 0
    for k in range(0, whole, UNROLLED):
        for r in range(len(rows)):
            a, b, c, d = rows[r, k], rows[r, k + 1], rows[r, k + 2], rows[r, k + 3]
            for n in range(count):
                out[r, n] += (a * columns[k, n] + b * columns[k + 1, n]) + (c * columns[k + 2, n] + d * columns[k + 3, n])
    for k in range(whole, len(columns)):
        for r in range(len(rows)):
            for n in range(count):
                out[r, n] += rows[r, k] * columns[k, n]
