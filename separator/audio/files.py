"""Sound files in and out, block by block, so that hours take no more memory than seconds.

soundfile (libsndfile) decodes and encodes; here are the checks that it leaves out: cut-off files that it shortens in
silence, samples that are not numbers, disks that fill up.
"""

import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from separator.atomic import atomic_path
from separator.errors import UserError

Samples: TypeAlias = NDArray[np.float32]

STANDARD_STREAM = "-"
# What a folder is searched for; a file given by name may have any suffix.
SUFFIX = re.compile(r"\.(aif[cf]?|aiff|au|caf|flac|mp3|nist|og[ag]|opus|rf64|snd|sph|voc|w64|wave?|wv1)", re.IGNORECASE)
BLOCK_FRAMES = 1 << 16
SPOOL_BYTES = 1 << 26  # a stream longer than this goes to a temporary file
# Sizes from here on are placeholders that programs write when they stream a file out (0x7FFFFFFF less a header, 0xFFFFFFFF).
STREAMED_SIZE = 0x7FFFF000
# libsndfile reads what is there of a cut-off file and tells so in its log alone.
CUT_OFF = re.compile(r"^ *(?:data|SSND|riff|Riff size|Data Size) *: *(\d+) \(should be (\d+)\)", re.MULTILINE)
CUT_OFF_RF64 = re.compile(r"Calculated frame count (\d+) does not match value from 'ds64' chunk of (\d+)")
FULL_SCALE = 32768


@dataclass
class AudioReader:
    """An open sound file, read once from its beginning as one channel."""

    name: str
    sound: soundfile.SoundFile
    frames_read: int = 0
    notes: list[str] = field(default_factory=list)  # what the listener should know, one line each

    @property
    def sample_rate(self) -> int:
        """Samples per second, Hz."""
        return int(self.sound.samplerate)

    @property
    def frames(self) -> int:
        """Samples per channel that the header announces."""
        return int(self.sound.frames)

    def blocks(self, block_frames: int = BLOCK_FRAMES) -> Iterator[Samples]:
        """Yield the mean of all channels. Shape of a block: (1, k), 1 <= k <= block_frames, full scale at 1.

        Raises:
            UserError: the file is damaged, cut off or empty, or has samples that are NaN or infinite.
        """
        if self.sound.channels > 1:
            self.notes.append(f"{self.sound.channels} channels averaged to one")
        while len(block := self._read(block_frames)):
            with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 is refused as infinite
                mono = block.mean(axis=1).astype(np.float32)
            self._require_finite(mono)
            self.frames_read += len(mono)
            yield mono[None]
        self._require_complete()

    def _read(self, frames: int) -> NDArray[np.float64]:
        try:
            block: NDArray[np.float64] = self.sound.read(frames, dtype="float64", always_2d=True)
        except soundfile.SoundFileRuntimeError as error:
            raise UserError(f"cannot read {self.name}: damaged or cut off after {self._place(self.frames_read)}") from error
        return block

    def _require_finite(self, mono: Samples) -> None:
        bad = np.flatnonzero(~np.isfinite(mono))
        if len(bad):
            place = self._place(self.frames_read + int(bad[0]))
            raise UserError(f"cannot use {self.name}: it has NaN or infinite samples, the first at {place}")

    def _require_complete(self) -> None:
        if not self.frames_read:
            raise UserError(f"cannot use {self.name}: it holds no samples")
        if self.frames_read < self.frames:
            lacking = f"{self.frames_read} of {self.frames} samples are there"
            if self.sound.format != "MP3":
                raise UserError(f"cannot read {self.name}: it is cut off, {lacking}")
            # Without a Xing header the length of an MP3 file is an estimate, so that a short one may be whole.
            self.notes.append(f"shorter than its header says: {lacking}")

    def _place(self, frame: int) -> str:
        return f"sample {frame} ({frame / self.sample_rate:.3f} s)"


@contextmanager
def open_audio(source: str | Path) -> Iterator[AudioReader]:
    """Open whatever soundfile reads: a path, a named pipe, or `-` for stdin.

    Raises:
        UserError: the file is missing, a folder, empty, cut off, or not a sound file.
    """
    name = "stdin" if source == STANDARD_STREAM else str(source)
    with ExitStack() as stack:
        streams = source == STANDARD_STREAM or not _is_regular(Path(source))
        readable = stack.enter_context(_spooled(source)) if streams else str(source)
        try:
            sound = stack.enter_context(soundfile.SoundFile(readable))
        # TypeError: soundfile takes the suffix .raw for samples without a header.
        except (soundfile.SoundFileRuntimeError, TypeError) as error:
            reason = getattr(error, "error_string", "no header").rstrip(".")
            raise UserError(f"cannot read {name}: not a sound file that libsndfile knows ({reason})") from error
        _require_whole(name, sound.extra_info)
        yield AudioReader(name, sound)


def _is_regular(path: Path) -> bool:
    """Tell a readable, non-empty file from a pipe, which can be opened and read once only."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"cannot read {path}: it is a folder; -r takes the files in it")
        if not stat.S_ISREG(mode):
            return False
        with path.open("rb") as file:
            if not file.read(1):
                raise UserError(f"cannot read {path}: the file is empty")
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    return True


@contextmanager
def _spooled(source: str | Path) -> Iterator[IO[bytes]]:
    """Copy a stream that cannot seek to a file that can: in memory while small, then on disk."""
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool, ExitStack() as stack:
        stream = sys.stdin.buffer if source == STANDARD_STREAM else stack.enter_context(Path(source).open("rb"))
        try:
            while data := stream.read(1 << 20):
                spool.write(data)
        except OSError as error:
            raise UserError(f"cannot read {source}: {error.strerror or error}") from error
        if not spool.tell():
            raise UserError(f"cannot read {'stdin' if source == STANDARD_STREAM else source}: nothing came")
        spool.seek(0)
        yield spool


def _require_whole(name: str, log: str) -> None:
    """Raise a UserError where libsndfile's log tells of less data than the header announces."""
    sizes = [(int(announced), int(there)) for announced, there in CUT_OFF.findall(log)]
    sizes += [(int(announced), int(there)) for there, announced in CUT_OFF_RF64.findall(log)]
    for announced, there in sizes:
        if there < announced < STREAMED_SIZE:
            raise UserError(f"cannot read {name}: it is cut off, {there / announced:.0%} of it is there")


def write_wavs(
    paths: Sequence[Path], blocks: Iterable[Samples], sample_rate: int, frames: int, *, float32: bool = False
) -> None:
    """Write sources to wav files, all of them or none: to one file each, or as the channels of a single file.

    16-bit samples are round(32768 x), held within the range of 16 bits. Files over 4 GiB become RF64.

    Args:
        paths: one file, or as many as there are sources.
        blocks: sources, each block (n_src, k).
        sample_rate: Hz.
        frames: samples of each source, the sum of all k.
        float32: write 32-bit floats instead of 16-bit integers.

    Raises:
        UserError: a file cannot be written, or the disk is full.
    """
    with ExitStack() as stack:
        temporary = [stack.enter_context(atomic_path(path)) for path in paths]
        with ExitStack() as open_files:
            sounds: list[soundfile.SoundFile] = []
            for block in blocks:
                encoded = block if float32 else to_int16(block)
                parts = np.split(encoded, len(paths))
                if not sounds:
                    layout = _wav_layout(len(parts[0]), frames, float32)
                    sounds = [
                        open_files.enter_context(soundfile.SoundFile(path, "w", sample_rate, *layout)) for path in temporary
                    ]
                _write_parts(paths, sounds, parts)


def _wav_layout(channels: int, frames: int, float32: bool) -> tuple[int, str, None, str]:
    """Channels, subtype, endianness and format of a wav file, in soundfile's order."""
    size = frames * channels * (4 if float32 else 2)
    return channels, "FLOAT" if float32 else "PCM_16", None, "RF64" if size > 0xFFFF0000 else "WAV"


def _write_parts(paths: Sequence[Path], sounds: Sequence[soundfile.SoundFile], parts: Sequence[NDArray[np.generic]]) -> None:
    for path, sound, part in zip(paths, sounds, parts, strict=True):
        try:
            sound.write(np.ascontiguousarray(part.T))
            sound.flush()
        except (soundfile.SoundFileRuntimeError, AssertionError) as error:
            raise UserError(f"cannot write {path}: is the disk full?") from error


def to_int16(wave: Samples) -> NDArray[np.int16]:
    """16-bit samples round(32768 x), held within -32768..32767. libsndfile's own conversion rounds down instead."""
    scaled: NDArray[np.float32] = np.rint(wave * np.float32(FULL_SCALE))
    return scaled.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


class Spool:
    """Sources kept on disk as float32 until their levels are known; a context manager that leaves no file.

    Args:
        folder: where there is room; the system's temporary folder if None.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path | None) -> None:
        self.place = folder or Path(tempfile.gettempdir())
        self.n_src = 0
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self.place)  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise self._failure(error) from error

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._file.close()
        except OSError:
            # A full disk is reported by `append`; what could not be flushed is thrown away here in any case.
            return

    def append(self, block: Samples) -> None:
        """Add a block of sources, (n_src, k)."""
        self.n_src = len(block)
        try:
            self._file.write(np.ascontiguousarray(block.T, dtype=np.float32).tobytes())
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def blocks(self, block_frames: int = BLOCK_FRAMES) -> Iterator[Samples]:
        """Yield all that was added, from the beginning. Shape of a block: (n_src, k)."""
        self._file.seek(0)
        while data := self._file.read(4 * self.n_src * block_frames):
            yield np.frombuffer(data, np.float32).reshape(-1, self.n_src).T

    def _failure(self, error: OSError) -> UserError:
        return UserError(f"cannot write in {self.place}: {error.strerror or error}")
