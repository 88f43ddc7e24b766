"""Separation of a stream of any length: overlapping chunks, talkers matched on the overlap, weighted overlap-add."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float32]


def cut_chunks(blocks: Iterable[Array], segment: int, overlap: int) -> Iterator[tuple[int, Array]]:
    """Cut a stream into chunks of `segment` samples, each starting `segment - overlap` after the one before.

    The last chunk ends with the stream and keeps its full length, by starting earlier, so that the network always has its
    context. A stream of at most `segment` samples is one chunk.

    Args:
        blocks: the stream, each block (..., k).
        segment: samples of a chunk, at least 1.
        overlap: samples that a chunk shares with the next, 0 <= overlap < segment.

    Yields:
        The first sample of a chunk in the stream, and the chunk (..., n), n <= segment.

    Raises:
        ValueError: segment or overlap is out of range.
    """
    if not 0 <= overlap < segment:
        raise ValueError(f"overlap must be at least 0 and under the segment of {segment} samples, not {overlap}")
    start, hop, given, held = 0, segment - overlap, False, None
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], axis=-1)  # the stream from `start` on
        while held.shape[-1] >= (hop if given else 0) + segment:
            if given:
                start, held = start + hop, held[..., hop:]
            yield start, held[..., :segment]
            given = True
    if held is None or not held.shape[-1]:
        return
    surplus = held.shape[-1] - segment
    if not given:
        yield 0, held
    elif surplus:
        yield start + surplus, held[..., surplus:]


def overlap_add(
    separate: Callable[[Array], Array], blocks: Iterable[Array], segment: int, overlap: int
) -> Iterator[tuple[Array, Array]]:
    """Separate a stream chunk by chunk and join the estimates, in memory that does not grow with the stream.

    Every chunk is weighted with a triangle and the sum is divided by the summed weights, so that any overlap is right and
    the middle of a chunk, which the network sees in its context, counts more than its ends. The order of the talkers is
    carried on over the overlap; with an overlap of 0 each chunk keeps the network's own order.

    Args:
        separate: mixture (B, n) to estimates (B, n_src, n).
        blocks: the mixture, each block (B, k).
        segment: samples of a chunk.
        overlap: samples shared by neighbouring chunks, 0 <= overlap < segment.

    Yields:
        The next piece of the mixture (B, k) and of its estimates (B, n_src, k).
    """
    previous = 0
    mixture = summed = weights = None
    for start, chunk in cut_chunks(blocks, segment, overlap):
        estimates, window = separate(chunk), triangle(chunk.shape[-1])
        if mixture is None or summed is None or weights is None:
            mixture, summed, weights = chunk, estimates * window, window
        else:
            done = start - previous
            yield mixture[..., :done], summed[..., :done] / weights[:done]
            summed, weights = summed[..., done:], weights[done:]
            estimates = in_order_of(summed / weights, estimates)
            fresh = chunk.shape[-1] - len(weights)
            summed = np.pad(summed, ((0, 0), (0, 0), (0, fresh))) + estimates * window
            weights = np.pad(weights, (0, fresh)) + window
            mixture = chunk
        previous = start
    if mixture is not None and summed is not None and weights is not None:
        yield mixture, summed / weights


def triangle(length: int) -> Array:
    """Symmetric triangular window, positive everywhere, 1 at most. Shape: (length,)."""
    ramp = np.arange(1, length + 1)
    return (np.minimum(ramp, ramp[::-1]) / ((length + 1) // 2)).astype(np.float32)


def in_order_of(reference: Array, estimates: Array) -> Array:
    """Reorder the sources of each item as those of `reference`, compared where both have samples.

    Args:
        reference: sources so far, (B, n_src, n).
        estimates: sources in any order, (B, n_src, m), m >= n; their first n samples are at the time of the reference.

    Returns:
        The estimates (B, n_src, m), reordered.
    """
    shared = estimates[..., : reference.shape[-1]]
    return np.stack([item[best_order(old, new)] for old, new, item in zip(reference, shared, estimates, strict=True)])


def best_order(reference: Array, estimates: Array) -> NDArray[np.intp]:
    """Find the order of `estimates` with the smallest summed squared distance to `reference`. Shapes: (n_src, n).

    The norms are the same in every order, so that the inner products decide; an optimal assignment, not a greedy one.
    Where both hold nothing to tell talkers apart, the order stays.
    """
    products = reference.astype(np.float64) @ estimates.T.astype(np.float64)
    columns: NDArray[np.intp] = linear_sum_assignment(products, maximize=True)[1]
    return columns
