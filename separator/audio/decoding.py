"""Samples of sound files, counted while they are decoded by libsndfile; what a header states is compared with the count."""

import hashlib
import io
import re
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from separator.audio.containers.links import find_links
from separator.audio.containers.pieces import Link, PiecedFile
from separator.audio.containers.riff import STREAMED_SIZE
from separator.errors import UserError

READ_FRAMES = 1 << 12  # a few, since soundfile gives nothing of a block that ends in damage
# libsndfile reads what is there of a cut-off file and tells so in its log alone.
CUT_OFF = re.compile(r"^ *(?:data|SSND|riff|Riff size|Data Size) *: *(\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_FRAMES = 1 << 60  # libsndfile states 2^63 - 1
HELD = (signal.SIGINT, signal.SIGTERM)  # whose handlers raise exceptions, which callbacks of libsndfile drop


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A sound that is read once from its beginning; soundfile seeks after each block else, which fails without a known end.

    What reading the file fails with is raised once libsndfile has returned.
    """

    def __init__(self, file: PiecedFile) -> None:
        self._pieces = file
        with _calling(file):
            super().__init__(file)

    def next_block(self, most: int) -> NDArray[np.float64]:
        """The next samples, none at the end. Shape: (k, channels), k <= most."""
        with _calling(self._pieces):
            block: NDArray[np.float64] = self.read(most, dtype="float64", always_2d=True)
        return block

    def skip_to(self, place: int) -> None:
        """Go on at a sample, from the beginning."""
        with _calling(self._pieces):
            self.seek(place)

    def seekable(self) -> bool:
        return False


@dataclass
class _Damage:
    """Where a sound could not be read on."""

    start: int  # sample
    silent: int = 0  # samples of silence in the place of what cannot be read


class Decoder:
    """The samples of a file, all its parts one behind the other.

    Args:
        name: for messages.
        file: seekable; it stays open.

    Raises:
        UserError: it cannot be read or is not a sound file, or its parts differ in sample rate or channels.
    """

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._size = file.seek(0, io.SEEK_END)  # up to which it is read, though it may grow
        self.name, self._file, self._links = name, file, find_links(file)
        self.frames_read = 0
        self.complete = True  # whether all was read that headers state, as far as was read
        self.notes: list[str] = []  # what the listener should know, one line each
        stated, layouts = [], []
        for link in self._links:
            with self._opened(link) as sound:
                layouts.append((int(sound.samplerate), int(sound.channels)))
                stated.append(_stated_frames(link, sound))
        if len(set(layouts)) > 1:
            parts = ", then ".join(f"{rate} Hz and {channels} channels" for rate, channels in dict.fromkeys(layouts))
            raise UserError(f"cannot use {name}: it changes between {parts}; separate its parts by themselves")
        self.sample_rate, self.channels = layouts[0]
        # Samples per channel that headers state, for a progress bar and not to be trusted; 0 if unknown.
        self.frames = 0 if None in stated else sum(frames or 0 for frames in stated)

    def blocks(self, most: int = READ_FRAMES) -> Iterator[NDArray[np.float64]]:
        """All samples from the beginning, full scale at 1. Shape of a block: (k, channels), 1 <= k <= most.

        Raises:
            UserError: the file is damaged before its first sample, or cannot be read.
        """
        self.frames_read, self.complete, self.notes = 0, True, []
        if len(self._links) > 1:
            self.notes.append(f"{len(self._links)} sounds one behind the other, read as one")
        for link in self._links:
            before, damaged, numbered = self.frames_read, None, False
            with self._opened(link) as sound:
                stated, numbered = _stated_frames(link, sound), sound.format == "FLAC"
                try:
                    while len(block := sound.next_block(most)):
                        self.frames_read += len(block)
                        yield block
                except soundfile.SoundFileRuntimeError as error:
                    if not self.frames_read:
                        raise UserError(f"cannot read {self.name}: damaged or cut off before its first sample") from error
                    damaged = _Damage(self.frames_read - before)
            if damaged is not None and stated is not None and numbered:
                yield from self._behind(link, damaged, stated, most)
            self._compare(link, stated, self.frames_read - before, damaged)

    def _behind(self, link: Link, damage: _Damage, stated: int, most: int) -> Iterator[NDArray[np.float64]]:
        """Silence for what is damaged, and the samples behind it, where frames have numbers, as those of FLAC have."""
        place, skipped = damage.start, READ_FRAMES
        while place + skipped < stated:
            with self._opened(link) as sound:
                try:
                    sound.skip_to(place + skipped)
                    while len(block := sound.next_block(most)):
                        for first in range(0, skipped, most):
                            yield np.zeros((min(most, skipped - first), self.channels))
                        self.frames_read += skipped + len(block)
                        damage.silent += skipped
                        place, skipped = place + skipped + len(block), 0
                        yield block
                    return
                except soundfile.SoundFileRuntimeError:
                    skipped += max(READ_FRAMES, skipped // 4)

    def fingerprint(self) -> str:
        """SHA-256 of the whole file as long as it was when it was opened, shortened."""
        digest = hashlib.sha256()
        place = self._file.seek(0)
        while data := self._file.read(min(1 << 20, self._size - place)):
            digest.update(data)
            place += len(data)
        return digest.hexdigest()[:16]

    @contextmanager
    def _opened(self, link: Link) -> Iterator[_Forward]:
        try:
            with self._decoding(link) as sound:
                if sound.format == "SDS":  # silence is decoded where they are cut off
                    raise UserError(
                        f"cannot read {self.name}: a MIDI sample dump, whose end cannot be told; make it a wav file"
                    )
                yield sound
        except OSError as error:
            raise UserError(f"cannot read {self.name}: {error.strerror or error}") from error

    def _decoding(self, link: Link) -> _Forward:
        try:
            return _Forward(PiecedFile(self._file, link.pieces))
        except soundfile.SoundFileRuntimeError as error:
            reason = ": ".join(filter(None, (link.codec, error.error_string.rstrip("."))))
            if link.share > 1:
                raise UserError(
                    f"cannot read {self.name}: cut off, and without its end not to be decoded ({reason})"
                ) from error
            remedy = f"ffmpeg -i {shlex.quote(self.name)} sound.wav makes one of most"
            raise UserError(f"cannot read {self.name}: not a sound file that libsndfile knows ({reason}); {remedy}") from error

    def _compare(self, link: Link, stated: int | None, read: int, damaged: _Damage | None) -> None:
        """Note where samples are missing, or more than the header states."""
        lacking = 0 if stated is None else stated - read
        if damaged is not None:
            parts = [f"{self._seconds(damaged.silent)} are silence instead"] * (damaged.silent > 0)
            parts += [f"{self._seconds(lacking)} are lost"] * (lacking > 0)
            after = self._seconds(self.frames_read - read + damaged.start)
            self.notes.append(f"damaged after {after}, {' and '.join(parts) or 'what follows is lost'}")
        elif lacking > 0:
            self.notes.append(f"cut off or damaged: {self._seconds(lacking)} of {self._seconds(read + lacking)} are missing")
        elif lacking < 0:
            self.notes.append(
                f"its header states {self._seconds(read + lacking)}; all {self._seconds(read)} that are there were read"
            )
        elif link.open_end and link.least_frames > read:
            lost = self._seconds(link.least_frames - read)
            self.notes.append(f"cut off: {lost} are missing at least, and all behind them")
        elif link.open_end:
            self.notes.append("it has no mark of its end, so that its end may be missing")
        self.complete = self.complete and damaged is None and lacking <= 0 and link.least_frames <= read

    def _seconds(self, frames: int) -> str:
        return f"{frames / self.sample_rate:.3f} s"


def _stated_frames(link: Link, sound: soundfile.SoundFile) -> int | None:
    """Samples per channel that a header states, None if it does not."""
    if link.frames is not None:
        return link.frames
    # The length of MP3 in a wav file is an estimate.
    if sound.frames > UNKNOWN_FRAMES or (sound.subtype.startswith("MPEG") and sound.format != "MP3"):
        return None
    sizes = [(int(stated), int(there)) for stated, there in CUT_OFF.findall(sound.extra_info)]
    shares = [stated / there for stated, there in sizes if 0 < there < stated < STREAMED_SIZE]
    return round(int(sound.frames) * (link.share if link.share != 1 else [1.0, *shares][-1]))


@contextmanager
def _calling(file: PiecedFile) -> Iterator[None]:
    """Surround a call into libsndfile that may read: raise what reading failed with, whatever libsndfile made of it."""
    with _holding_signals():
        try:
            yield
        finally:
            if file.failure is not None:
                raise file.failure


@contextmanager
def _holding_signals() -> Iterator[None]:
    """Let Ctrl-C and a polite kill wait, in the main thread, which handles them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    try:
        with ExitStack() as stack:
            for number in HELD:
                if (handler := signal.getsignal(number)) is not None:  # None: one that is not Python's
                    stack.callback(signal.signal, number, handler)
                    signal.signal(number, lambda received, _: caught.append(received))
            yield
    finally:
        for received in caught:
            signal.raise_signal(received)
