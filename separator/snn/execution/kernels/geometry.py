"""Geometry of convolutions: the places of the input that outputs see."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """Sizes of a two-dimensional convolution: (rows, columns) each."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)  # zeros that the input is padded with
    dilation: tuple[int, int] = (1, 1)
