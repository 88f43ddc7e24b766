"""Sound as bytes that come and go while it lasts: wav streams without a known end, and samples without a header.

libsndfile waits for whole blocks and stops at the end of the first file; live sound has to be taken as it comes, to its last
byte, and what follows has to be looked at.
"""

import os
import select
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from separator.audio.containers.riff import STREAMED_SIZE, UNKNOWN_SIZE, is_chunk
from separator.audio.files import to_int16
from separator.errors import UserError

Encoding = Literal["u8", "s16le", "s24le", "s32le", "f32le", "f64le"]
BYTES: dict[Encoding, int] = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}
# Encodings by the format tag of a wav file and the bits of a sample.
TAGGED: dict[tuple[int, int], Encoding] = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
}
EXTENSIBLE = 0xFFFE  # the tag is in an extension
MOST_BYTES = 1 << 16  # taken at a time
PATIENCE, LOOK = 1.0, 0.1  # s: how long a reader that stalls is waited for in the end, and how often that is looked at
LARGEST_HEADER = 1 << 12  # bytes of a chunk that tells of the samples


class StalledError(KeyboardInterrupt):
    """Work was interrupted, and what is left of it cannot be written, or is not wanted."""


@dataclass(frozen=True)
class PcmFormat:
    """Format of sound in bytes, channels interleaved."""

    rate: int  # Hz
    channels: int
    encoding: Encoding

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * BYTES[self.encoding]

    def frames(self, data: bytes) -> NDArray[np.float64]:
        """Samples, full scale at 1. Shape: whole frames -> (k, channels)."""
        if self.encoding == "s24le":
            octets = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = np.pad(octets, ((0, 0), (1, 0))).view("<i4")[:, 0] / 2.0**31
        elif self.encoding == "u8":
            samples = (np.frombuffer(data, np.uint8) - 128.0) / 128
        elif self.encoding in ("s16le", "s32le"):
            bits = 8 * BYTES[self.encoding]
            samples = np.frombuffer(data, f"<i{bits // 8}") / 2.0 ** (bits - 1)
        else:
            samples = np.frombuffer(data, f"<f{BYTES[self.encoding]}").astype(np.float64)
        return samples.reshape(-1, self.channels)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Mean of all channels, full scale at 1. Shape: whole frames -> (k,)."""
        return _mean(self.frames(data))

    def __str__(self) -> str:
        return f"{self.rate} Hz, {self.channels} channel{'s' * (self.channels != 1)}, {self.encoding}"


def _mean(frames: NDArray[np.float64]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = frames.mean(1).astype(np.float32)
    return mean


class ByteSource:
    """Bytes of a file descriptor as they come.

    Args:
        descriptor: such as that of stdin.
        timeout: seconds to wait for more before a UserError; None for ever.
    """

    def __init__(self, descriptor: int, timeout: float | None = None) -> None:
        self.descriptor, self.timeout = descriptor, timeout
        self._waiting = self._interrupted = False
        self._given_back = b""

    def give_back(self, data: bytes) -> None:
        """Put bytes before those that come next."""
        self._given_back = data + self._given_back

    @property
    def interrupted(self) -> bool:
        """True if no more is to be read."""
        return self._interrupted

    def interrupt(self) -> None:
        """End the reading with a `KeyboardInterrupt`: now, if it waits, else when it is asked for more. For signal handlers.

        Raises:
            StalledError: it was interrupted before.
        """
        if self._interrupted:
            raise StalledError
        self._interrupted = True
        if self._waiting:
            raise KeyboardInterrupt

    def some(self, most: int = MOST_BYTES) -> bytes:
        """At least one byte, as soon as it is there; none at the end.

        Raises:
            UserError: nothing came in time, or reading failed.
            KeyboardInterrupt: it was interrupted.
        """
        self._waiting = True
        try:
            if self._interrupted:
                raise KeyboardInterrupt
            if self._given_back:
                data, self._given_back = self._given_back[:most], self._given_back[most:]
                return data
            if self.timeout is not None and not select.select([self.descriptor], [], [], self.timeout)[0]:
                raise UserError(f"nothing came from stdin for {self.timeout:g} s (--timeout)")
            return os.read(self.descriptor, most)
        except OSError as error:
            raise UserError(f"cannot read stdin: {error.strerror or error}") from error
        finally:
            self._waiting = False

    def upto(self, size: int) -> bytes:
        """So many bytes, fewer at the end only."""
        data = b""
        while len(data) < size and (more := self.some(size - len(data))):
            data += more
        return data


@dataclass
class PcmStream:
    """Samples that are read while they are written: without a header, or wav files of one format, one behind the other."""

    source: ByteSource
    layout: PcmFormat
    size: int | None = None  # bytes of samples that the header announces, None if there is none or it does not know
    notes: list[str] = field(default_factory=list)  # what the listener should know, one line each

    @classmethod
    def open_wav(cls, source: ByteSource) -> "PcmStream":
        """Read the header of a wav file.

        Raises:
            UserError: it is none, or of samples of a kind that is not known.
        """
        start = source.upto(12)
        if not start:
            raise UserError("nothing came from stdin")
        return cls(source, *_header(source, start))

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """As `frames`, the mean of all channels. Shape of a block: (k,)."""
        return map(_mean, self.frames())

    def frames(self) -> Iterator[NDArray[np.float64]]:
        """Samples until the end. Shape of a block: (k, channels).

        Raises:
            UserError: the stream is cut off or ends within a sample, or a file of another format follows.
        """
        seconds = 0.0
        while True:
            for block in self._samples():
                seconds += len(block) / self.layout.rate
                yield block
            start = self._next_file()
            if start is None:
                return
            if not start:
                continue
            layout, self.size = _header(self.source, start)
            if layout != self.layout:
                raise UserError(f"stdin changes from {self.layout} to {layout} after {seconds:.3f} s; take each by itself")

    def _samples(self) -> Iterator[NDArray[np.float64]]:
        """Those of one file."""
        left, rest = self.size, b""
        while left is None or left > 0:
            data = self.source.some(MOST_BYTES if left is None else min(left, MOST_BYTES))
            if not data:
                break
            left = None if left is None else left - len(data)
            data = rest + data
            whole = len(data) // self.layout.frame_bytes * self.layout.frame_bytes
            rest = data[whole:]
            if whole:
                yield self.layout.frames(data[:whole])
        if left:
            raise UserError(f"stdin was cut off {left} bytes before the end that its header announces")
        if rest:
            raise UserError(f"stdin ended in the middle of a sample, {len(rest)} of {self.layout.frame_bytes} bytes were there")

    def _next_file(self) -> bytes | None:
        """Pass over what is not samples; the first 12 bytes of a file that follows, none if samples go on, None at the end."""
        if self.size is None:
            return None
        self.source.upto(self.size % 2)
        while len(start := self.source.upto(8)) == 8:
            name, size = struct.unpack("<4sI", start)
            if name in (b"RIFF", b"RF64"):
                return start + self.source.upto(4)
            if not is_chunk(name):  # more sound, as where a size over 4 GiB wraps
                self.source.give_back(start)
                self.size = None
                self.notes.append("more sound came than its header states, and was taken")
                return b""
            _skip(self.source, size + size % 2)
        return None


def _header(source: ByteSource, start: bytes) -> tuple[PcmFormat, int | None]:
    """Format and size of the samples of a wav file that begins with the 12 bytes `start`; its samples come next."""
    if len(start) < 12 or start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        raise UserError("stdin is not a wav stream; for samples without a header say --raw s16le or f32le, and --rate")
    layout, size_64 = None, None
    while len(chunk := source.upto(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            if layout is None:
                break
            if start[:4] == b"RF64" and size == UNKNOWN_SIZE:
                return layout, size_64
            return layout, None if size in (0, UNKNOWN_SIZE) or size >= STREAMED_SIZE else size
        if name in (b"fmt ", b"ds64") and size <= LARGEST_HEADER:
            data = source.upto(size + size % 2)
            if name == b"fmt ":
                layout = _layout(data)
            elif len(data) >= 16:
                size_64 = int(struct.unpack("<Q", data[8:16])[0]) or None
        else:
            _skip(source, size + size % 2)
    raise UserError("stdin is a wav stream that ends in its header")


def _layout(data: bytes) -> PcmFormat:
    """Format of the samples, from a `fmt ` chunk."""
    if len(data) < 16:
        raise UserError("stdin is a wav stream with a damaged header")
    tag, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", data[:16])
    if tag == EXTENSIBLE and len(data) >= 26:
        (tag,) = struct.unpack("<H", data[24:26])
    encoding = TAGGED.get((tag, bits))
    if encoding is None:
        raise UserError(
            f"stdin is a wav stream with codec 0x{tag:04x}, {bits} bits a sample, which cannot be taken live; make it plain "
            "with ffmpeg -i - -c:a pcm_s16le -f wav -, or leave --stream out"
        )
    if not channels or not rate or frame_bytes != channels * BYTES[encoding]:
        raise UserError("stdin is a wav stream with a damaged header")
    return PcmFormat(rate, channels, encoding)


def _skip(source: ByteSource, size: int) -> None:
    while size and (data := source.some(min(size, MOST_BYTES))):
        size -= len(data)


class PcmWriter:
    """Sources written while they are made, each block at once: to one file as its channels, or to a file each.

    A context manager. The header of a wav file announces no size until the end, and for ever where the output is a pipe.

    Args:
        files: open for writing, unbuffered; they are closed in the end.
        layout: of each file.
        wav: whether there is a header.
        interrupted: tells whether the work is to end; then a reader that stalls is not waited for.
    """

    def __init__(
        self, files: Sequence[BinaryIO], layout: PcmFormat, wav: bool, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self.files, self.layout, self.wav, self.interrupted = files, layout, wav, interrupted
        self.written = 0  # bytes of samples of each file
        self.cut = 0  # samples over full scale

    def __enter__(self) -> "PcmWriter":
        if self.wav:
            for file in self.files:
                _write(file, wav_header(self.layout), self.interrupted)
        return self

    def write(self, sources: NDArray[np.float32]) -> None:
        """Write the next samples. Shape: (n_src, k).

        Raises:
            UserError: the disk is full.
            BrokenPipeError: nobody reads any more.
            StalledError: the work is to end, and the reader stalls.
        """
        encoded = sources if self.layout.encoding == "f32le" else to_int16(sources)
        if self.layout.encoding != "f32le":
            self.cut += int((np.abs(sources) > 1).sum())
        for file, part in zip(self.files, np.split(encoded, len(self.files)), strict=True):
            data = np.ascontiguousarray(part.T).astype(part.dtype.newbyteorder("<")).tobytes()
            _write(file, data, self.interrupted)
        self.written += sources.shape[-1] * self.layout.frame_bytes

    def __exit__(self, *exception: object) -> None:
        for file in self.files:
            with file, suppress(OSError):  # a failure has been told of by then
                if self.wav and file.seekable() and self.written < STREAMED_SIZE:
                    file.seek(0)
                    file.write(wav_header(self.layout, self.written))


def _write(file: BinaryIO, data: bytes, interrupted: Callable[[], bool]) -> None:
    view, most = memoryview(data), _most_at_once(file)
    try:
        while view:
            if most is not None:
                _await_reader(file, interrupted)
            view = view[file.write(view[:most]) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {file.name}: {error.strerror or error}") from error


def _most_at_once(file: BinaryIO) -> int | None:
    """Bytes that a pipe takes without waiting once it takes any; None for a file, which never waits for a reader."""
    mode = os.fstat(file.fileno()).st_mode
    return select.PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None


def _await_reader(file: BinaryIO, interrupted: Callable[[], bool]) -> None:
    """Wait until a pipe takes more; for ever, unless the work is interrupted.

    A signal does not end Python's own waiting in a write, so that nothing would end a process whose reader stalls.
    """
    waited = 0.0  # s, since the interruption
    while not select.select([], [file], [], LOOK)[1]:
        waited += LOOK if interrupted() else 0
        if waited >= PATIENCE:
            raise StalledError


def wav_header(layout: PcmFormat, size: int | None = None) -> bytes:
    """The 44 bytes before the samples of a wav file of 16-bit integers or 32-bit floats; None for a size not known yet."""
    tag, bits = (3, 32) if layout.encoding == "f32le" else (1, 16)
    form = struct.pack("<HHIIHH", tag, layout.channels, layout.rate, layout.rate * layout.frame_bytes, layout.frame_bytes, bits)
    whole, data = (UNKNOWN_SIZE, UNKNOWN_SIZE) if size is None else (36 + size, size)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", whole, b"WAVE", b"fmt ", 16, form, b"data", data)
