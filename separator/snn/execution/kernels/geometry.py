"""Where the outputs of a convolution look."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """Of a two-dimensional convolution: (rows, columns) each."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)  # zeros that the input is padded with
    dilation: tuple[int, int] = (1, 1)
