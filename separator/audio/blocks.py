"""Streams of blocks of samples."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


def marking_the_last(blocks: Iterable[NDArray[np.float32]]) -> Iterator[tuple[NDArray[np.float32], bool]]:
    """Each block with whether it is the last one, which is known once there is no other."""
    held: NDArray[np.float32] | None = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True


def in_blocks_of(length: int, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """The same stream in blocks of `length` samples, the last one shorter, in memory that does not grow with the stream.

    Args:
        length: at least 1.
        blocks: each (..., k).

    Yields:
        Blocks (..., length); none of them empty.
    """
    held: list[NDArray[np.float32]] = []
    size = 0
    for block in blocks:
        while size + block.shape[-1] >= length:
            cut = length - size
            yield np.concatenate([*held, block[..., :cut]], -1)
            held, size, block = [], 0, block[..., cut:]
        held.append(block)
        size += block.shape[-1]
    if size:
        yield np.concatenate(held, -1)
