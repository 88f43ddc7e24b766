"""Headers of less common sound files, read where libsndfile refuses a cut-off one, or does not tell what it lacks."""

import re
import struct
from collections.abc import Iterator
from typing import IO

from separator.audio.containers.pieces import Link, read_at

VOC_START = b"Creative Voice File\x1a"
VOC_SOUND = {1: 2, 9: 12}  # kinds of blocks that begin a sound, and the bytes in front of its samples
W64_START = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
W64_CHUNK = 24  # bytes of the head of a chunk, which its size counts as well
MOST_FRAMES = 1 << 40  # libsndfile states far more where it does not know
# Samples in what headers of AIFF-C count, by codec; of others it is not known.
PLAIN = (b"NONE", b"sowt", b"twos", b"raw ", b"fl32", b"FL32", b"fl64", b"FL64", b"in24", b"in32", b"ulaw", b"alaw")
AIFF_SAMPLES = dict.fromkeys(PLAIN, 1) | {b"ima4": 64}


def container_links(file: IO[bytes], end: int) -> list[Link]:
    """The sound of a NIST SPHERE, VOC, CAF, W64, AIFF or 8SVX file of `end` bytes; none where it is none of these."""
    start = read_at(file, 0, 20)
    if start.startswith(b"NIST_1A"):
        return [_nist(file, end)]
    if start == VOC_START:
        return [_voc(file, end)]
    if start.startswith(b"caff"):
        return [_caf(file, end)]
    if start.startswith(W64_START):
        return [_w64(file, end)]
    if start.startswith(b"FORM"):
        return [_iff(file, start[8:12], end)]
    return []


def _nist(file: IO[bytes], end: int) -> Link:
    count = re.search(rb"^sample_count -i (\d+)", read_at(file, 0, 1024), re.MULTILINE)
    return Link(((0, end),), frames=int(count[1]) or None if count else None)


def _voc(file: IO[bytes], end: int) -> Link:
    """The sound's block no longer than the file, which libsndfile refuses."""
    place = int.from_bytes(read_at(file, 20, 2), "little")
    while place >= len(VOC_START) and len(head := read_at(file, place, 4)) == 4 and head[0]:
        size, content = int.from_bytes(head[1:], "little"), place + 4
        if head[0] in VOC_SOUND and content + size > end > content + VOC_SOUND[head[0]]:
            there = end - content
            pieces = ((0, place + 1), there.to_bytes(3, "little"), (content, end), b"\0")  # a block that says: the end
            return Link(pieces, share=(size - VOC_SOUND[head[0]]) / (there - VOC_SOUND[head[0]]))
        place = content + size
    return Link(((0, end),))


def _caf(file: IO[bytes], end: int) -> Link:
    """The samples' chunk no longer than the file, which libsndfile refuses."""
    place, frames = 8, None
    while len(head := read_at(file, place, 12)) == 12:
        name, size = struct.unpack(">4sq", head)
        content = place + 12
        if name == b"data":
            there = end - content
            if size > there > 4:  # the first four bytes count edits
                pieces = ((0, place + 4), struct.pack(">q", there), (content, end))
                return Link(pieces, frames=frames, share=(size - 4) / (there - 4))
            break
        if name == b"pakt":  # of compressed sound
            frames = int.from_bytes(read_at(file, content + 8, 8), "big") or None
        if size < 0:
            break
        place = content + size
    return Link(((0, end),))


def _w64(file: IO[bytes], end: int) -> Link:
    place, frames = 40, None
    while len(head := read_at(file, place, W64_CHUNK)) == W64_CHUNK:
        name, size = head[:4], int.from_bytes(head[16:], "little")
        if name == b"fact":
            stated = int.from_bytes(read_at(file, place + W64_CHUNK, 8), "little")
            frames = stated if 0 < stated < MOST_FRAMES else None
        if name == b"data" and size > end - place > W64_CHUNK:
            return Link(((0, end),), frames=frames, share=(size - W64_CHUNK) / (end - place - W64_CHUNK))
        if name == b"data" or size < W64_CHUNK:
            break
        place += -(-size // 8) * 8
    return Link(((0, end),))


def _iff(file: IO[bytes], form: bytes, end: int) -> Link:
    for name, place, size in _iff_chunks(file, end):
        if name == b"COMM" and form in (b"AIFF", b"AIFC"):
            common = read_at(file, place, 22)
            samples = 1 if form == b"AIFF" else AIFF_SAMPLES.get(common[18:22], 0)
            if len(common) >= 18 and samples:
                return Link(((0, end),), frames=samples * int.from_bytes(common[2:6], "big") or None)
        if name == b"BODY" and size > end - place > 0:
            return Link(((0, end),), share=size / (end - place))
    return Link(((0, end),))


def _iff_chunks(file: IO[bytes], end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and stated size of each chunk."""
    place = 12
    while place + 8 <= end:
        name, size = struct.unpack(">4sI", read_at(file, place, 8))
        yield name, place + 8, size
        place += 8 + size + size % 2
