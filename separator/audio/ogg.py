"""The links of a chained Ogg file: a recorder that starts again, or a station's next piece, appends a new stream."""

from typing import IO

from separator.audio.pieces import Link, find, read_at

PAGE = b"OggS"
HEADER_BYTES = 27
BEGINS, ENDS = 2, 4  # flags of the first and the last page of a stream


def ogg_links(file: IO[bytes], end: int) -> list[Link]:
    """The streams that follow each other in a file of `end` bytes; none where it is no Ogg."""
    starts: list[int] = []
    marks: list[bool] = []  # whether the last page so far of each link says that it is the last
    began = False
    place: int | None = 0 if read_at(file, 0, 4) == PAGE else None
    while place is not None and place < end:
        header = read_at(file, place, HEADER_BYTES)
        if len(header) < HEADER_BYTES or header[:4] != PAGE:
            place = find(file, PAGE, place + 1, end)
            continue
        begins = bool(header[5] & BEGINS)
        if not starts or (begins and not began):  # streams side by side begin together
            starts.append(place)
            marks.append(False)
        began = begins
        place += HEADER_BYTES + header[26] + sum(read_at(file, place + HEADER_BYTES, header[26]))
        marks[-1] = bool(header[5] & ENDS) and place <= end
    stops = [*starts[1:], end][: len(starts)]
    return [Link(((start, stop),), open_end=not mark) for start, stop, mark in zip(starts, stops, marks, strict=True)]
