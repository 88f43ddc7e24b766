"""The links of a chained Ogg file: a recorder that starts again, or a station's next piece, appends a new stream."""

from typing import IO

from separator.audio.containers.pieces import Link, find, read_at

PAGE = b"OggS"
HEADER_BYTES = 27
OPUS_CLOCK, OPUS_RATES = 48_000, (8000, 12_000, 16_000, 24_000)  # Hz; of its granules, and that it is decoded at beside it
BEGINS, ENDS = 2, 4  # flags of the first and the last page of a stream


def ogg_links(file: IO[bytes], end: int) -> list[Link]:
    """The streams that follow each other in a file of `end` bytes; none where it is no Ogg."""
    starts: list[int] = []
    marks: list[bool] = []  # whether the last page so far of each link says that it is the last
    least: list[int] = []  # samples that each link had, as a page that is cut off states
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
            least.append(0)
        began = begins
        place += HEADER_BYTES + header[26] + sum(read_at(file, place + HEADER_BYTES, header[26]))
        marks[-1] = bool(header[5] & ENDS) and place <= end
        if place > end:
            least[-1] = _samples_at(file, starts[-1], int.from_bytes(header[6:14], "little", signed=True))
    stops = [*starts[1:], end][: len(starts)]
    return [
        Link(((start, stop),), open_end=not mark, least_frames=samples)
        for start, stop, mark, samples in zip(starts, stops, marks, least, strict=True)
    ]


def _samples_at(file: IO[bytes], start: int, granules: int) -> int:
    """Samples of the stream that begins at `start` by the granules that a page counts up to its end."""
    first = read_at(file, start, HEADER_BYTES + 255 + 19)
    opus = first.find(b"OpusHead")
    if opus < 0:
        return max(0, granules)
    skipped, rate = (int.from_bytes(first[opus + i : opus + j], "little") for i, j in ((10, 12), (12, 16)))
    return max(0, granules - skipped) * (rate if rate in OPUS_RATES else OPUS_CLOCK) // OPUS_CLOCK
