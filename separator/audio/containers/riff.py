"""Contents of a wav file, whatever sizes its header states: programs that crash, stream or pass 4 GiB state wrong ones."""

import struct
from dataclasses import dataclass
from typing import IO

from separator.audio.containers.pieces import Link, read_at

FORMS = (b"RIFF", b"RF64", b"BW64", b"RIFX")
# Sizes from here on are placeholders that programs write when they stream a file out (0x7FFFFFFF less a header, 0xFFFFFFFF).
STREAMED_SIZE = 0x7FFFF000
UNKNOWN_SIZE = 0xFFFFFFFF
# libsndfile takes a wav file with these sizes as one that was never closed, and reads to its end, over 4 GiB too.
UNCLOSED_FORM, UNCLOSED_DATA = 8, 0

# Codecs whose bytes do not tell samples to the sample, as blocks of them are padded: Microsoft's and IMA's ADPCM, GSM 6.10.
BLOCKS = (0x02, 0x11, 0x31)


@dataclass(frozen=True)
class _Wav:
    start: int  # place of the form
    data: int  # place of the samples
    order: str  # of bytes, as struct says it
    stated: int | None  # bytes of samples; None for a placeholder
    codec: str
    frames: int | None  # samples per channel that a compressed one states


def riff_links(file: IO[bytes], end: int) -> list[Link]:
    """The wav files that lie one behind the other in a file of `end` bytes; none where it is no wav or has no samples."""
    links = []
    start: int | None = 0
    while start is not None and (wav := _wav(file, start, end)) is not None:
        stop, start = _end(file, wav, end)
        if stop > wav.data:
            header = (b"RIFX" if wav.order == ">" else b"RIFF") + struct.pack(wav.order + "I", UNCLOSED_FORM)
            sizes = struct.pack(wav.order + "I", UNCLOSED_DATA)
            share = 1.0 if wav.stated is None else wav.stated / (stop - wav.data)
            pieces = (header, (wav.start + 8, wav.data - 4), sizes, (wav.data, stop))
            links.append(Link(pieces, share=share, codec=wav.codec, frames=wav.frames if share > 1 else None))
    return links


def _wav(file: IO[bytes], start: int, end: int) -> _Wav | None:
    """Find the samples of the wav file that begins at `start`."""
    form = read_at(file, start, 12)
    if form[:4] not in FORMS or form[8:] != b"WAVE":
        return None
    order, size_64, codec, frames, tag = ">" if form[:4] == b"RIFX" else "<", None, "", None, 0
    place = start + 12
    while len(chunk := read_at(file, place, 24)) >= 8:
        name, size = struct.unpack(order + "4sI", chunk[:8])
        if name == b"data":
            if form[:4] in (b"RF64", b"BW64") and size == UNKNOWN_SIZE:
                stated = size_64
            else:
                stated = None if _is_placeholder(size) and place + 8 + size > end else size
            return _Wav(start, place + 8, order, stated, codec, frames if tag in BLOCKS else None)
        if name == b"ds64" and len(chunk) == 24:
            size_64 = struct.unpack("<Q", chunk[16:])[0]
            size_64 = None if size_64 in (0, (1 << 64) - 1) else size_64
        elif name == b"fmt ":
            tag = struct.unpack(order + "H", chunk[8:10])[0] if len(chunk) > 9 else 0
            codec = f"wav with codec 0x{tag:04x}" if tag else ""
        elif name == b"fact" and len(chunk) >= 12:
            stated = struct.unpack(order + "I", chunk[8:12])[0]
            frames = stated if 0 < stated < STREAMED_SIZE else None
        place += 8 + size + size % 2
    return None


def _is_placeholder(size: int) -> bool:
    return STREAMED_SIZE <= size <= 0x7FFFFFFF or size >= UNKNOWN_SIZE - 0xFFF


def _end(file: IO[bytes], wav: _Wav, end: int) -> tuple[int, int | None]:
    """End of the samples, and start of another wav file after them, if any: a stated size is true if chunks follow it."""
    if wav.stated is None or wav.data + wav.stated >= end:
        return end, None
    stop = wav.data + wav.stated
    for place in (stop + stop % 2 - wav.start % 2, stop):  # some programs leave out the byte that makes sizes even
        after = _after_chunks(file, place, wav.order, end)
        if after is not None:
            return stop, after if after < end else None
    return end, None


def _after_chunks(file: IO[bytes], place: int, order: str, end: int) -> int | None:
    """End of the chunks from `place` on: at another wav file or at `end`; None if these are no chunks."""
    while end - place >= 8:
        name, size = struct.unpack(order + "4sI", read_at(file, place, 8))
        if name in FORMS and read_at(file, place + 8, 4) == b"WAVE":
            return place
        if name.startswith(b"TAG"):  # as players append it
            return end
        if not is_chunk(name):
            return None
        place += 8 + size + size % 2
    return end if place <= end + 1 else None


def is_chunk(name: bytes) -> bool:
    """True if four bytes can be the name of a chunk, which is of ASCII characters; samples hardly ever are."""
    return all(0x20 <= octet < 0x7F for octet in name)
