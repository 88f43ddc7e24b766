"""Rooms and noises to put mixtures in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separator.arrays import read_arrays
from separator.audio.files import SUFFIX
from separator.corpora.training.bank import Cut, Recordings
from separator.corpora.training.recordings import read_recording
from separator.errors import UserError

USUAL_RATE = 8000  # Hz, of impulse responses that say none
INDEX = "noise.tsv"  # of a folder of noises: a path a line, and what else after a tab


@dataclass(frozen=True)
class Rooms:
    """Impulse responses of rooms, each from several places to one microphone."""

    responses: NDArray[np.float32]  # (rooms, places, samples)

    def draw(self, n_src: int, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """A room, and different places in it, by number."""
        room = int(rng.integers(len(self.responses)))
        return room, tuple(int(place) for place in rng.permutation(self.responses.shape[1])[:n_src])

    def require(self, n_src: int) -> None:
        """Refuse mixtures of more talkers than a room has places.

        Raises:
            UserError: there are more.
        """
        if n_src > self.responses.shape[1]:
            places = self.responses.shape[1]
            raise UserError(f"the rooms have {places} places each, too few for {n_src} talkers; leave out --data.rooms")


def load_rooms(path: str | Path, sample_rate: int) -> Rooms:
    """Read impulse responses from an npz file: `rir`, (2 R, L), rows 2i and 2i + 1 of one room, and `rate`, 8000 Hz if absent.

    Raises:
        UserError: the file is missing, damaged, or holds something else, or responses of another rate than `sample_rate`.
    """
    advice = "give --data.rooms an npz file with the array rir, (2 x rooms, samples)"
    arrays = read_arrays(path, advice)
    rir, rate = arrays.get("rir"), arrays.get("rate", np.array(USUAL_RATE))
    if rate.shape != () or rate != sample_rate:
        found = "holds no rate" if "rate" not in arrays else f"has the rate {rate.tolist()}"
        raise UserError(
            f"{path} {found}, which the network's of {sample_rate} Hz needs: responses resampled to it, and their rate in Hz "
            f"as the number rate beside rir ({USUAL_RATE} where there is none)"
        )
    if rir is None or not np.issubdtype(rir.dtype, np.floating):
        raise UserError(f"{path} has no floating-point array rir; {advice}")
    responses = rir.astype(np.float32)
    if responses.ndim != 2 or not len(responses) or len(responses) % 2 or not np.isfinite(responses).all():
        raise UserError(f"{path}: rir must be finite and have two rows for each room, not the shape {responses.shape}")
    if not responses.any(axis=1).all():
        raise UserError(f"{path}: an impulse response of rir is silent")
    return Rooms(responses.reshape(len(responses) // 2, 2, -1))


@dataclass(frozen=True)
class NoiseBank(Recordings):
    """Noises in memory."""

    def draw(self, samples: int, rng: np.random.Generator) -> Cut:
        """`samples` samples of one noise, again and again, from a random place on."""
        i = int(rng.integers(len(self.scales)))
        start = int(rng.integers(self.offsets[i + 1] - self.offsets[i]))
        return self.cut(np.array([i]), start, samples)


def load_noise(folder: str | Path, sample_rate: int) -> NoiseBank:
    """Read the noises of a folder: those that its `noise.tsv` lists, or without one all sound files in it.

    Raises:
        UserError: there are none, or one is damaged or has another sample rate.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give --data.noise a folder of sound files")
    paths = _listed(folder) if (folder / INDEX).exists() else sorted(p for p in folder.rglob("*") if SUFFIX.fullmatch(p.suffix))
    waves: list[NDArray[np.float32]] = []
    for path in paths:
        wave, rate = read_recording(path)
        if rate != sample_rate:
            raise UserError(f"{path} has {rate} Hz, not {sample_rate} Hz; resample the noises")
        if wave.any():
            waves.append(wave)
    if not waves:
        raise UserError(f"{folder} has no noises: no sound files but silent ones")
    offsets = np.concatenate([[0], np.cumsum([len(wave) for wave in waves])]).astype(np.int64)
    joined = np.concatenate([np.round(wave * (32767 / np.abs(wave).max())).astype(np.int16) for wave in waves])
    return NoiseBank(joined, offsets, np.full(len(waves), 1 / 32767, np.float32))


def _listed(folder: Path) -> list[Path]:
    try:
        lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(f"cannot read {folder / INDEX}: not a text file") from None
    return [folder / line.split("\t")[0] for line in lines if line.strip()]
