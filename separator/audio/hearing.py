"""Live sound put before a network: one channel of it, without offset, whispers raised, judged by what has come so far."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from separator.audio.survey import Condition, Survey

CELL = 0.02  # s, after which it is judged anew; the first of them is held back until it was
SURE = 1.0  # s, from which on an offset is told from slow sound, and a whisper from the quiet before speech
FAINT, RAISED = 2.0**-10, 2.0**-6  # peaks: of sound that is raised, and what it is raised to at most
LEANING = 3.0  # mean over deviation of the first cell, from which it has an offset; that of half a wave is 2.1
KEPT = 0.5  # of the loudest channel's energy, with which the one that was taken alone stays so
MOST = float(np.finfo(np.float32).max)


class Hearing:
    """Makes one channel of live sound, and undoes in the sources what was done to its level.

    Files are judged by all of their sound; here each cell is judged by the cells before it, from the first sample on that is
    not silence. Ordinary sound of one channel is not touched. What comes out does not depend on the blocks that go in.

    Args:
        channels: of the sound.
        sample_rate: Hz.
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        self.channels, self.sample_rate = channels, sample_rate
        self.condition = Condition()
        self._survey = Survey(channels, sample_rate, KEPT)
        self._cell = max(1, round(CELL * sample_rate))
        self._held = np.zeros((0, channels))  # of the cell that is being filled
        self._given = 0  # samples of that cell that were given
        self._heard = 0  # samples that were judged
        self._begun = self._judged = False
        self._alone: int | None = None  # channel that is taken
        self._scales: deque[tuple[int, float]] = deque()  # samples, one behind the other, and what they were multiplied with

    def blocks(self, blocks: Iterable[NDArray[np.float64]]) -> Iterator[NDArray[np.float32]]:
        """Channels, (k, channels), to one, (k',); all that is held when the sound ends, with an error too."""
        try:
            for block in blocks:
                yield self.push(block)
        except (Exception, KeyboardInterrupt):
            yield self.finish()
            raise
        yield self.finish()

    def push(self, block: NDArray[np.float64]) -> NDArray[np.float32]:
        """Take the next samples, full scale at 1; what no 32-bit number holds comes out as it is. (k, channels) -> (k',)."""
        bad = np.flatnonzero(~(np.abs(block) <= MOST).all(1))
        if len(bad):
            before = [self.push(block[: bad[0]]), self.finish()]
            self._scales.append((1, 1.0))
            return np.concatenate([*before, np.full(1, np.nan, np.float32)])
        start = 0
        if not self._begun:
            sound = np.flatnonzero(block.any(1))
            self._begun, start = bool(len(sound)), int(sound[0]) if len(sound) else len(block)
            self._scales.append((start, 1.0))
            if start:
                self._survey.add(block[:start])
        parts = [np.zeros(start, np.float32)]
        while start < len(block):
            part = block[start : start + self._cell - len(self._held)]
            self._held = np.concatenate([self._held, part])
            start += len(part)
            if len(self._held) == self._cell:
                parts.append(self._cell_is_full())
            elif self._judged:
                parts.append(self._give())
        return np.concatenate(parts)

    def finish(self) -> NDArray[np.float32]:
        """Samples still held, at the end. Shape: (k,)."""
        if not len(self._held):
            return np.zeros(0, np.float32)
        return self._cell_is_full()

    def restored(self, sources: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next samples of the sources as loud as the sound was. Shape: (n_src, k) -> (n_src, k)."""
        parts, start = [sources[:, :0]], 0
        while start < sources.shape[1]:
            length, scale = self._scales.popleft()
            taken = min(length, sources.shape[1] - start)
            if taken < length:
                self._scales.appendleft((length - taken, scale))
            parts.append(sources[:, start : start + taken] / np.float32(scale))
            start += taken
        return np.concatenate(parts, 1)

    def notes(self) -> list[str]:
        """Notes on the sound, one line each."""
        return [*self._survey.notes(), *self.condition.notes()]

    def _cell_is_full(self) -> NDArray[np.float32]:
        """Judge it, where it is the first before it is given, else for those that follow."""
        if self._judged:
            given = self._give()
            self._judge()
        else:
            self._judge()
            given = self._give()
        self._held, self._given = self._held[:0], 0
        return given

    def _judge(self) -> None:
        self._survey.add(self._held)
        self._heard += len(self._held)
        self._alone = self._survey.alone()
        one = self._one_channel(self._held)
        if not self._judged and len(one) == self._cell and abs(one.mean()) > LEANING * one.std():
            self.condition = Condition(float(one.mean()))
        elif self._heard >= SURE * self.sample_rate:
            offset = self._survey.condition().offset
            low, high = self._survey.extremes()
            peak = max(high - offset, offset - low)
            scale = 2.0 ** np.floor(np.log2(RAISED / peak)) if 0 < peak < FAINT else 1.0
            self.condition = Condition(offset, float(scale))
        self._judged = True

    def _one_channel(self, frames: NDArray[np.float64]) -> NDArray[np.float64]:
        mono: NDArray[np.float64] = frames.mean(1) if self._alone is None else frames[:, self._alone]
        return mono

    def _give(self) -> NDArray[np.float32]:
        """Samples of the cell not given yet, in two parts where sound becomes too loud to be raised."""
        one = self._one_channel(self._held[self._given :]) - self.condition.offset
        self._given = len(self._held)
        loud = np.abs(one) > FAINT
        quiet = int(loud.argmax()) if self.condition.scale != 1 and loud.any() else len(one)
        self._scales.append((quiet, self.condition.scale))
        one[:quiet] *= self.condition.scale
        if quiet < len(one):
            self.condition = Condition(self.condition.offset)
            self._scales.append((len(one) - quiet, 1.0))
        mono: NDArray[np.float32] = one.astype(np.float32)
        return mono
