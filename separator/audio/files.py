"""Sound files in and out, block by block, so that hours take no more memory than seconds.

Here are the checks that decoders and encoders leave out: samples that are not numbers, disks that fill up.
"""

import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from separator.atomic import atomic_path, make_folder
from separator.audio.decoding import READ_FRAMES, Decoder
from separator.audio.survey import Survey
from separator.errors import UserError

Samples: TypeAlias = NDArray[np.float32]

STANDARD_STREAM = "-"
# What a folder is searched for; a file given by name may have any suffix.
SUFFIX = re.compile(r"\.(aif[cf]?|aiff|au|caf|flac|mp3|nist|og[ag]|opus|rf64|snd|sph|voc|w64|wave?|wv1)", re.IGNORECASE)
# Sound that libsndfile does not read; in a folder it is tried, so that the user is told how to go on.
FOREIGN_SUFFIX = re.compile(r"\.(m4[abr]|aac|ac3|amr|ape|dsf|mka|mpc|opa|ra|tta|weba|wma|wv)", re.IGNORECASE)
BLOCK_FRAMES = 1 << 16
SPOOL_BYTES = 1 << 26  # a stream longer than this goes to a temporary file
FULL_SCALE = 32768


class AudioReader:
    """An open sound file, read from its beginning as one channel."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self.name, self.sample_rate, self.channels = decoder.name, decoder.sample_rate, decoder.channels
        self.frames_read = 0
        self._survey: Survey | None = None
        self._weights = np.full(self.channels, 1 / self.channels)

    @property
    def frames(self) -> int:
        """Samples per channel: counted once it was surveyed, before as the header states, 0 if it does not."""
        return self._decoder.frames if self._survey is None else self._survey.frames

    @property
    def complete(self) -> bool:
        """True if all was read that the header states."""
        return self._decoder.complete

    @property
    def notes(self) -> list[str]:
        """Notes for the listener, one line each; whole once all was read."""
        survey = self._survey or Survey(self.channels, self.sample_rate)
        return survey.notes() + self._decoder.notes

    def fingerprint(self) -> str:
        """SHA-256 of the file's bytes, shortened."""
        return self._decoder.fingerprint()

    def survey(self) -> Survey:
        """Read all for a first time, to know what it is; channels that cancel each other are no longer averaged then.

        Raises:
            UserError: as `blocks`, before any work on a long file.
        """
        survey, self.frames_read = Survey(self.channels, self.sample_rate), 0
        for block in self._decoder.blocks():
            self._one_channel(block)
            self.frames_read += len(block)
            survey.add(block)
        self._require_samples()
        self._survey, self._weights = survey, survey.weights()
        return survey

    def blocks(self, block_frames: int = READ_FRAMES) -> Iterator[Samples]:
        """Yield the channels' mean, to the true end. Shape of a block: (1, k), 1 <= k <= block_frames, full scale at 1.

        Raises:
            UserError: the file is empty, damaged from the start, or has samples that are NaN or infinite.
        """
        self.frames_read = 0
        for block in self._decoder.blocks(block_frames):
            mono = self._one_channel(block)
            self.frames_read += len(mono)
            yield mono[None]
        self._require_samples()

    def _require_samples(self) -> None:
        if not self.frames_read:
            raise UserError(f"cannot use {self.name}: it holds no samples")

    def whole(self) -> Samples:
        """All samples at once. Shape: (T,).

        Raises:
            UserError: as `blocks`, or a part of the file is missing.
        """
        samples = np.concatenate([block[0] for block in self.blocks()])
        if not self.complete:
            raise UserError(f"cannot use {self.name}: {self._decoder.notes[-1]}")
        return samples

    def _one_channel(self, block: NDArray[np.float64]) -> Samples:
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 is refused as infinite
            mono: Samples = (block @ self._weights).astype(np.float32) if self.channels > 1 else block[:, 0].astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(mono))
        if len(bad):
            frame = self.frames_read + int(bad[0])
            place = f"sample {frame} ({frame / self.sample_rate:.3f} s)"
            kind = "too large for 32 bits" if np.isfinite(block[bad[0]]).all() else "NaN or infinite"
            raise UserError(f"cannot use {self.name}: it has samples that are {kind}, the first at {place}")
        return mono


@contextmanager
def open_audio(source: str | Path) -> Iterator[AudioReader]:
    """Open whatever libsndfile reads: a path, a named pipe, or `-` for stdin.

    Raises:
        UserError: the file is missing, a folder, empty, or not a sound file.
    """
    name = "stdin" if source == STANDARD_STREAM else str(source)
    with _spooled(source) if is_stream(source) else Path(source).open("rb") as file:
        yield AudioReader(Decoder(name, file))


def is_stream(source: str | Path) -> bool:
    """True for stdin and named pipes, which can be read once only.

    Raises:
        UserError: the file is missing, a folder or empty.
    """
    return source == STANDARD_STREAM or not _is_regular(Path(source))


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
    name = "stdin" if source == STANDARD_STREAM else source
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool, ExitStack() as stack:
        stream = sys.stdin.buffer if source == STANDARD_STREAM else stack.enter_context(Path(source).open("rb"))
        try:
            while data := stream.read(1 << 20):
                spool.write(data)
        except OSError as error:
            raise UserError(f"cannot read {name}: {error.strerror or error}") from error
        if not spool.tell():
            raise UserError(f"cannot read {name}: nothing came")
        spool.seek(0)
        yield spool


def write_wavs(
    paths: Sequence[Path],
    blocks: Iterable[Samples],
    sample_rate: int,
    frames: int,
    *,
    float32: bool = False,
    comment: str = "",
) -> None:
    """Write sources to wav files, all of them or none: to one file each, or as the channels of a single file.

    16-bit samples are round(32768 x), held within the range of 16 bits. Files over 4 GiB become RF64.

    Args:
        paths: one file, or as many as there are sources.
        blocks: sources, each block (n_src, k).
        sample_rate: Hz.
        frames: samples of each source, the sum of all k.
        float32: write 32-bit floats instead of 16-bit integers.
        comment: kept in each file, see `read_comment`.

    Raises:
        UserError: a path is a folder, a file cannot be written, or the disk is full.
    """
    refuse_folders(paths)
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
                        open_files.enter_context(soundfile.SoundFile(os.fsencode(path), "w", sample_rate, *layout))
                        for path in temporary
                    ]
                _write_parts(paths, sounds, parts)
            for sound in sounds if comment else ():
                sound.comment = comment  # behind the samples: not a few programs take what is behind 44 bytes for sound
        # It is written when a file is closed, which tells nothing of a full disk.
        for path, written in zip(paths, temporary, strict=True):
            if comment and read_comment(written) != comment:
                raise UserError(f"cannot write {path}: is the disk full?")


def write_flac(path: Path, wave: NDArray[np.floating], sample_rate: int) -> None:
    """Write a wave (T,) of some seconds as 16-bit FLAC, whole or not at all.

    Raises:
        UserError: the file cannot be written, or the disk is full.
    """
    whole = BytesIO()  # where libsndfile writes to a file itself, a full disk may go unnoticed
    soundfile.write(whole, to_int16(wave), sample_rate, format="FLAC")
    with atomic_path(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def refuse_folders(paths: Iterable[Path]) -> None:
    """Raise a UserError if one of the paths is a folder, which no file can replace."""
    for path in paths:
        if path.is_dir():
            raise UserError(f"cannot write {path}: it is a folder; move it away, or write to another folder")


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


def read_comment(path: Path) -> str:
    """The comment in a sound file; empty if it has none or is no sound file."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as sound:
            return str(sound.comment)
    except (soundfile.SoundFileRuntimeError, OSError):
        return ""


def to_int16(wave: NDArray[np.floating]) -> NDArray[np.int16]:
    """16-bit samples round(32768 x), held within -32768..32767. libsndfile's own conversion rounds down instead."""
    scaled: NDArray[np.floating] = np.rint(wave * np.float32(FULL_SCALE))
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
        make_folder(self.place)
        try:
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
