"""The sounds that a file holds, found by their bytes, since stated lengths are wrong too often to be trusted."""

import io
from typing import IO

from separator.audio.containers.kinds import container_links
from separator.audio.containers.mpeg import after_id3, mpeg_links
from separator.audio.containers.ogg import ogg_links
from separator.audio.containers.pieces import Link, find, read_at
from separator.audio.containers.riff import UNKNOWN_SIZE, riff_links

# A FLAC stream and the header of its first block, which has 34 bytes.
FLAC_START = b"fLaC\x00\x00\x00\x22"
FLAC_FIRST_BLOCK = b"fLaC\x80\x00\x00\x22"  # where it is the last as well

# Bits of a sample by the encodings of au files whose blocks libsndfile rounds up: G.721 and the two G.723.
AU_BITS = {23: 4, 25: 3, 26: 5}


def find_links(file: IO[bytes]) -> list[Link]:
    """The sounds of a seekable file, each to be decoded by itself, to its end.

    What is of a kind that nothing is known of here is one link, to be decoded as it is.
    """
    end = file.seek(0, io.SEEK_END)
    for links_of in (riff_links, ogg_links, flac_links, au_links, container_links, mpeg_links):
        if links := links_of(file, end):
            return links
    return [Link(((0, end),))]


def flac_links(file: IO[bytes], end: int) -> list[Link]:
    """FLAC streams one behind the other, without their stated lengths, at which the decoder would stop."""
    start: int | None = after_id3(file)
    assert start is not None
    if read_at(file, start, 8) not in (FLAC_START, FLAC_FIRST_BLOCK):
        return []
    links = []
    while start is not None:
        following = find(file, FLAC_START, start + 1, end)
        # 36 bits of the first block's 14th to 18th byte.
        total = start + 8 + 13
        field = read_at(file, total, 5)
        if len(field) < 5:
            break
        stated = int.from_bytes(field, "big") & (1 << 36) - 1
        unstated = bytes([field[0] & 0xF0, 0, 0, 0, 0])
        pieces = ((start, total), unstated, (total + 5, following or end))
        links.append(Link(pieces, frames=stated or None))
        start = following
    return links


def au_links(file: IO[bytes], end: int) -> list[Link]:
    """An au file, without its stated length."""
    header = read_at(file, 0, 16)
    if len(header) < 16 or header[:4] not in (b".snd", b"dns."):
        return []
    order = "big" if header[:4] == b".snd" else "little"
    offset, stated = (int.from_bytes(header[i : i + 4], order) for i in (4, 8))  # type: ignore[arg-type]
    if offset >= end:
        return []
    unstated = b"\xff" * 4
    share = 1.0 if stated == UNKNOWN_SIZE else stated / (end - offset)
    bits = AU_BITS.get(int.from_bytes(header[12:], order))  # type: ignore[arg-type]
    frames = stated * 8 // bits if bits and share > 1 else None
    return [Link(((0, 8), unstated, (12, end)), frames=frames, share=share)]
