"""The frames of an MP3 file, counted: decoders guess the length of one without a header, and stop there."""

from dataclasses import dataclass
from typing import IO

from separator.audio.containers.pieces import Link, Piece, find, read_at

# kbit/s of Layer III by index, of MPEG 1 and of MPEG 2 and 2.5; 0 and 15 stand for none.
BITRATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by version and index
START_BYTES = 54  # of a frame, in which the count of frames lies, if it has one
ROOMY = 9  # index of a bit rate whose frames hold a count of frames at every sample rate


@dataclass(frozen=True)
class _Frame:
    size: int  # bytes
    samples: int
    kind: bytes  # what all frames of a stream share
    tagged: bool  # a frame that holds the number of the others instead of sound
    stated: int  # that number
    bytes_at: int  # where in the frame the bytes of all of them are stated; 0 where they are not


def mpeg_links(file: IO[bytes], end: int) -> list[Link]:
    """The streams that follow each other in a file of `end` bytes, each with a right count; none where it is no MP3."""
    place = after_id3(file)
    first = _frame(file, place)
    if first is None or not _confirmed(file, place, first, end):
        return []
    links: list[Link] = []
    start, head, count = place, first, 0
    at: int | None = place
    while at is not None and at + 4 <= end:
        frame = _frame(file, at)
        if frame is None or (frame.kind != head.kind and not _confirmed(file, at, frame, end)):
            at = _next_frame(file, at + 1, end)
            continue
        if count and (frame.tagged or frame.kind != head.kind):
            links.append(_link(file, start, at, head, count))
            start, head, count = at, frame, 0
        count += not frame.tagged and at + frame.size <= end
        at += frame.size
    return [*links, _link(file, start, end, head, count)] if count else links


def after_id3(file: IO[bytes]) -> int:
    """Place at which a file goes on after the ID3 tags at its beginning."""
    place = 0
    while (tag := read_at(file, place, 10))[:3] == b"ID3" and len(tag) == 10:
        size = 0
        for octet in tag[6:]:
            size = size << 7 | octet & 0x7F
        place += 10 + size + (10 if tag[5] & 0x10 else 0)
    return place


def _link(file: IO[bytes], start: int, stop: int, head: _Frame, count: int) -> Link:
    """A stream as it is where its first frame states enough others (it knows of silence to cut), else with a new count."""
    if head.tagged and head.stated >= count:
        if not head.bytes_at:
            return Link(((start, stop),))
        size, at = (stop - start).to_bytes(4, "big"), start + head.bytes_at  # at a wrong one the decoder complains on stderr
        return Link(((start, at), size, (at + 4, stop)))
    sound = (start + head.size if head.tagged else start, stop)
    return Link((_counting_frame(read_at(file, start, 4), count), sound))


def _counting_frame(header: bytes, count: int) -> Piece:
    """A frame without sound that states a number of frames."""
    header = bytes([header[0], header[1] | 1, ROOMY << 4 | header[2] & 0x0C, header[3]])  # without a check sum or padding
    size = _size(header)
    tag = bytes(_side_bytes(header)) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
    return (header + tag).ljust(size, b"\0")


def _side_bytes(header: bytes) -> int:
    mono = header[3] >> 6 == 3
    return (17 if mono else 32) if header[1] & 8 else (9 if mono else 17)


def _size(header: bytes) -> int:
    """Bytes of a frame."""
    version, bitrate = header[1] >> 3 & 3, BITRATES[bool(header[1] & 8)][header[2] >> 4]
    rate = RATES[version][header[2] >> 2 & 3]
    return (144_000 if version == 3 else 72_000) * bitrate // rate + (header[2] >> 1 & 1)


def _frame(file: IO[bytes], place: int) -> _Frame | None:
    """The frame of Layer III that begins at `place`, if one does."""
    data = read_at(file, place, START_BYTES)
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2 or data[1] >> 3 & 3 == 1:
        return None
    if data[2] >> 4 in (0, 15) or data[2] >> 2 & 3 == 3:
        return None
    tag = 4 + _side_bytes(data) + (0 if data[1] & 1 else 2)
    stated, tagged, bytes_at = 0, True, 0
    if data[tag : tag + 4] in (b"Xing", b"Info"):
        stated = int.from_bytes(data[tag + 8 : tag + 12], "big") if data[tag + 7] & 1 else 0
        bytes_at = tag + (12 if data[tag + 7] & 1 else 8) if data[tag + 7] & 2 else 0
    elif data[36:40] == b"VBRI":
        stated = int.from_bytes(data[50:54], "big")
    else:
        tagged = False
    return _Frame(_size(data), 1152 if data[1] & 8 else 576, bytes([data[1] & 0x1E, data[2] & 0x0C]), tagged, stated, bytes_at)


def _confirmed(file: IO[bytes], place: int, frame: _Frame, end: int) -> bool:
    """True if another frame of its kind follows a frame, which tells it from chance."""
    after = place + frame.size
    following = _frame(file, after)
    return after == end or (following is not None and following.kind == frame.kind)


def _next_frame(file: IO[bytes], place: int, end: int) -> int | None:
    at = find(file, b"\xff", place, end)
    while at is not None:
        frame = _frame(file, at)
        if frame is not None and _confirmed(file, at, frame, end):
            return at
        at = find(file, b"\xff", at + 1, end)
    return None
