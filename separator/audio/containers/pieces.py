"""A sound file as its decoder is to see it: ranges of the file, and bytes in the place of headers that say wrong things."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

Piece = bytes | tuple[int, int]  # bytes, or from where to where of the file


@dataclass(frozen=True)
class Link:
    """A part of a file that is a sound by itself; most files are one, chained and concatenated ones several."""

    pieces: tuple[Piece, ...]
    frames: int | None = None  # samples per channel that its header states; None for what the decoder makes of it
    share: float = 1.0  # bytes of sound that its header states, by those that are there
    codec: str = ""  # where an error should name it
    least_frames: int = 0  # samples per channel that it had at least, as what is left of a cut-off part states
    open_end: bool = False  # whether it lacks the mark that its kind ends with


class PiecedFile(io.RawIOBase):
    """Pieces of a file one behind the other, read-only and seekable.

    What reading fails with, Ctrl-C included, is kept in `failure` and looks like the end of the file: libsndfile, which reads
    by callbacks, would drop it.

    Args:
        file: seekable; it stays open.
        pieces: none of them empty.
    """

    def __init__(self, file: IO[bytes], pieces: Sequence[Piece]) -> None:
        super().__init__()
        self.file, self.pieces, self.place = file, pieces, 0
        self.failure: BaseException | None = None  # the first
        sizes = [len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces]
        self.starts = [0, *accumulate(sizes)]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self.place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, which may lie after the end."""
        self.place = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.starts[-1]}[whence])
        return self.place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer; return how many bytes were there for it, fewer than it holds at the end only, 0 after a failure."""
        try:
            return 0 if self.failure else self._fill(memoryview(buffer))
        except BaseException as error:
            self.failure = error
            return 0

    def _fill(self, target: memoryview) -> int:
        filled = 0
        while filled < len(target) and self.place < self.starts[-1]:
            number = bisect_right(self.starts, self.place) - 1
            most = min(len(target) - filled, self.starts[number + 1] - self.place)
            part = self._part(self.pieces[number], self.place - self.starts[number], most)
            if not part:  # the file has become shorter meanwhile
                break
            target[filled : filled + len(part)] = part
            filled, self.place = filled + len(part), self.place + len(part)
        return filled

    def _part(self, piece: Piece, start: int, size: int) -> bytes:
        return piece[start : start + size] if isinstance(piece, bytes) else read_at(self.file, piece[0] + start, size)


def read_at(file: IO[bytes], place: int, size: int) -> bytes:
    """So many bytes of a file from a place on, fewer at its end."""
    file.seek(place)
    return file.read(size)


def find(file: IO[bytes], wanted: bytes, place: int, end: int) -> int | None:
    """Next place at which `wanted` begins, from `place` on; None where it does not before `end`."""
    while place < end:
        block = read_at(file, place, 1 << 16)
        if (found := block.find(wanted)) >= 0:
            return place + found
        if len(block) < len(wanted):
            return None
        place += len(block) - len(wanted) + 1
    return None
