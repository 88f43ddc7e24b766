"""WSJ0 (LDC93S6A, LDC93S6B): recordings by the names that the WSJ0-2mix lists give them.

The discs of WSJ0 come in several layouts, in upper or lower case and at any depth; a recording is known by its last two
folders and its name, as in `wsj0/si_tr_s/01t/01to030v.wav`. Each sentence was recorded by two microphones: `.wv1`, the
close-talking one that WSJ0-2mix uses, and `.wv2`, which never is read here.
"""

import os
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path, PurePosixPath

from separator.audio.files import write_wavs
from separator.corpora.lists import MixtureList
from separator.corpora.mixtures import Source
from separator.corpora.training.recordings import read_recording
from separator.errors import UserError
from separator.parallel import parallel_map
from separator.writer import sole_writer

SAMPLE_RATE = 16000
Key = tuple[str, ...]  # last two folders and name without suffix, lower case


def _key(path: str) -> Key:
    return tuple(PurePosixPath(path.lower()).with_suffix("").parts[-3:])


def _walk(root: Path) -> Iterable[tuple[str, str]]:
    """Path and suffix of all files below `root`, lower case suffix, without the `;1` of ISO 9660."""
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            path = f"{folder}/{name}".split(";")[0]
            yield f"{folder}/{name}", PurePosixPath(path).suffix.lower()


def find_recordings(root: str | Path) -> dict[Key, Path]:
    """Find the recordings of the first microphone: `.wv1`, or in a converted tree `.wav`.

    Returns:
        Paths by the last two folders and the name, all in lower case. Where `.wv1` and `.wav` stand side by side, `.wv1` wins.

    Raises:
        UserError: there is no such folder, or it holds neither.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; give the root of WSJ0")
    found: dict[str, dict[Key, Path]] = {".wav": {}, ".wv1": {}, ".wv2": {}}
    for path, suffix in sorted(_walk(root)):
        if suffix in found:
            found[suffix].setdefault(_key(path.split(";")[0]), Path(path))
    recordings = found[".wav"] | found[".wv1"]
    if not recordings:
        other = "only .wv2, which is the second microphone" if found[".wv2"] else "none"
        raise UserError(f"{root} must hold the .wv1 recordings of WSJ0, or .wav files converted from them; found {other}")
    return recordings


def _read_pairs(path: Path) -> dict[str, str]:
    """First and second word of each line, the first in lower case."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not a text file'}") from None
    if any(len(words) == 1 for words in lines):
        raise UserError(f"{path}: each line must hold a name and a value")
    return {words[0].lower(): words[1] for words in lines if words}


def read_levels(folder: str | Path) -> dict[str, float]:
    """Read the active speech levels (mean square) of utterances from the `*.txt` files of a folder, as `activlev/`.

    Raises:
        UserError: the folder has no such files, or a level is not a positive number.
    """
    levels: dict[str, float] = {}
    for path in sorted(Path(folder).glob("*.txt")):
        for name, value in _read_pairs(path).items():
            try:
                levels[name] = float(value)
            except ValueError:
                levels[name] = -1.0
            if not (isfinite(levels[name]) and levels[name] > 0):
                raise UserError(f"{path}: the level of {name} must be a positive number, not {value!r}")
    if not levels:
        raise UserError(f"{folder} holds no active speech levels (*.txt with an utterance and its level a line)")
    return levels


def read_genders(path: str | Path) -> dict[str, str]:
    """Read the gender, "m" or "f", of each speaker from a file with a speaker and `M` or `F` a line.

    Raises:
        UserError: the file cannot be read, or a gender is neither.
    """
    genders = {speaker: value.lower() for speaker, value in _read_pairs(Path(path)).items()}
    if wrong := [f"{value!r} of {speaker}" for speaker, value in genders.items() if value not in {"m", "f"}]:
        raise UserError(f"{path}: gender must be M or F, not {wrong[0]}")
    return genders


def wsj0_sources(
    root: str | Path, levels_folder: str | Path | None = None, genders_file: str | Path | None = None
) -> dict[str, Source]:
    """Map list paths such as `wsj0/si_tr_s/01t/01to030v.wav` to recordings.

    Levels come from `levels_folder`; what it lacks is measured when a mixture is made, by ITU-T P.56 on the 16 kHz recording.

    Raises:
        UserError: the tree, the levels or the genders cannot be used.
    """
    recordings = find_recordings(root)
    levels = read_levels(levels_folder) if levels_folder else {}
    genders = read_genders(genders_file) if genders_file else {}
    return {
        f"wsj0/{'/'.join(key)}.wav": Source(path, key[-2], genders.get(key[-2]), levels.get(key[-1]))
        for key, path in recordings.items()
    }


def _convert(task: tuple[Path, Path]) -> None:
    recording, target = task
    wave, rate = read_recording(recording)
    if rate != SAMPLE_RATE:
        raise UserError(f"{recording} has a sample rate of {rate} Hz; WSJ0 is recorded at {SAMPLE_RATE} Hz")
    write_wavs([target], [wave[None]], rate, len(wave))


def convert_wsj0(root: str | Path, lists: Mapping[str, MixtureList], out: Path, workers: int) -> int:
    """Convert the recordings that mixture lists name to wav files under their list paths below `out`; skips what is there.

    Args:
        root: WSJ0 in any layout.
        lists: mixture lists by name.
        out: gets `wsj0/si_tr_s/01t/01to030v.wav` and so on, 16 kHz, 16 bits.
        workers: processes.

    Returns:
        The number of files converted now.

    Raises:
        UserError: recordings are missing or damaged, a file cannot be written, or another process writes into `out`.
    """
    sources = wsj0_sources(root)
    for name, mixtures in lists.items():
        wanted = {path for entry in mixtures.entries for path in entry.paths}
        if missing := sorted(wanted - sources.keys()):
            raise UserError(f"{root} lacks {len(missing)} of {len(wanted)} recordings of {name}, the first is {missing[0]}")
    paths = sorted({path for mixtures in lists.values() for entry in mixtures.entries for path in entry.paths})
    with sole_writer(out, {(out / path).parent for path in paths}):
        tasks = [(sources[path].path, out / path) for path in paths if not (out / path).exists()]
        parallel_map(_convert, tasks, workers, "converting WSJ0")
    return len(tasks)
