"""Sets of mixtures on disk: `mix/`, `s1/`, `s2/` with one wav file each per mixture, and the index `mixtures.tsv`."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from separator.atomic import write_text
from separator.audio.active_level import level_of_recording
from separator.audio.files import write_wavs
from separator.corpora.kaldi import Corpus
from separator.corpora.lists import ListEntry, MixtureList
from separator.corpora.mixing import Mode, mix, resample_source
from separator.corpora.training.recordings import read_recording
from separator.errors import UserError
from separator.parallel import parallel_map
from separator.resume import refuse_differences
from separator.writer import sole_writer

INDEX = "mixtures.tsv"
MADE = "made.json"  # how the mixtures of a set were made, so that all of it is made alike


@dataclass(frozen=True)
class Source:
    """A recording that mixtures are made of."""

    path: Path
    speaker: str
    gender: str | None = None  # "m" or "f"
    level: float | None = None  # active speech level (mean square); measured where it is None


@dataclass(frozen=True)
class Mixture:
    """A mixture on disk with its reference sources."""

    id: str
    mixture: Path
    sources: tuple[Path, ...]
    speakers: tuple[str, ...] | None  # None in sets made by other programs, without an index
    genders: tuple[str, ...] | None  # "m" or "f" of each source; None if one is unknown


@dataclass(frozen=True)
class _Task:
    """Work of a process that makes one mixture."""

    entry: ListEntry
    sources: tuple[Source, ...]
    paths: tuple[Path, ...]  # of the mixture, then of each source
    mode: Mode
    sample_rate: int


def corpus_sources(corpus: Corpus) -> dict[str, Source]:
    """Map the paths that mixture lists use, relative to the parent of the data folder, to the recordings of a corpus."""
    root = corpus.folder.parent
    return {
        str(utterance.path.relative_to(root) if utterance.path.is_relative_to(root) else utterance.path): Source(
            utterance.path, utterance.speaker, corpus.gender.get(utterance.speaker)
        )
        for utterance in corpus.utterances
    }


def _read_levelled(source: Source, sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """Wave at `sample_rate`, and the active level of the recording as it is."""
    wave, rate = read_recording(source.path)
    level = level_of_recording(source.path, wave, rate) if source.level is None else source.level
    return resample_source(wave, rate, sample_rate), level


def _make_mixture(task: _Task) -> None:
    waves, levels = zip(*(_read_levelled(source, task.sample_rate) for source in task.sources), strict=True)
    mixture, sources = mix(waves, levels, task.entry.gains_db, task.mode)
    block: NDArray[Any] = np.vstack([mixture, sources])
    write_wavs(task.paths, [block], task.sample_rate, block.shape[1])


def _folders(n_src: int) -> list[str]:
    return ["mix", *(f"s{i}" for i in range(1, n_src + 1))]


def _tasks(mixtures: MixtureList, sources: Mapping[str, Source], folder: Path, mode: Mode, sample_rate: int) -> Iterable[_Task]:
    wanted = {path for entry in mixtures.entries for path in entry.paths}
    if missing := sorted(wanted - sources.keys()):
        raise UserError(f"{len(missing)} of {len(wanted)} listed recordings are not in the corpus, the first is {missing[0]}")
    for entry in mixtures.entries:
        paths = tuple(folder / name / f"{entry.id}.wav" for name in _folders(len(entry.paths)))
        yield _Task(entry, tuple(sources[path] for path in entry.paths), paths, mode, sample_rate)


def _index_row(task: _Task, folder: Path) -> dict[str, object]:
    row: dict[str, object] = {"id": task.entry.id, "mixture": task.paths[0].relative_to(folder)}
    columns = zip(task.paths[1:], task.sources, task.entry.gains_db, strict=True)
    for i, (path, source, gain) in enumerate(columns, 1):
        row |= {f"source_{i}": path.relative_to(folder), f"speaker_{i}": source.speaker}
        row |= {f"gender_{i}": source.gender or "", f"gain_db_{i}": gain}
    return row


def write_mixtures(
    mixtures: MixtureList, sources: Mapping[str, Source], folder: Path, mode: Mode, sample_rate: int, workers: int
) -> int:
    """Make all mixtures of a list that `folder` lacks, then its index; an interrupted call can be repeated.

    Args:
        mixtures: the list.
        sources: recordings by their path in the list.
        folder: of the set; gets `mix/`, `s1/`, `s2/`, ... with 16-bit wav files, `mixtures.tsv` and `made.json`.
        mode: `min` cuts the sources of a mixture to the shortest, `max` pads them to the longest.
        sample_rate: of the mixtures, Hz.
        workers: processes.

    Returns:
        The number of mixtures made.

    Raises:
        UserError: recordings are missing or unusable, a file cannot be written, the folder holds mixtures made otherwise or of
            recordings that have changed since, or another process writes into it.
    """
    tasks = list(_tasks(mixtures, sources, folder, mode, sample_rate))
    with sole_writer(folder, {path.parent for task in tasks for path in task.paths}):
        return _write(tasks, folder, {"mode": mode, "rate": sample_rate}, workers)


def _write(tasks: Sequence[_Task], folder: Path, made: dict[str, Any], workers: int) -> int:
    lacking = [task for task in tasks if not all(path.exists() for path in task.paths)]
    _require_alike(folder, made, _recordings(tasks))
    parallel_map(_make_mixture, lacking, workers, f"mixing {folder.name}")
    rows = [_index_row(task, folder) for task in tasks]
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / INDEX, text.getvalue())
    return len(lacking)


def _recordings(tasks: Iterable[_Task]) -> dict[str, str]:
    """Size and modification time of each recording that mixtures are made of, by its path in the list."""
    used = {path: source.path for task in tasks for path, source in zip(task.entry.paths, task.sources, strict=True)}
    status = {path: file.stat() for path, file in sorted(used.items()) if file.is_file()}
    return {path: f"{found.st_size} {found.st_mtime_ns}" for path, found in status.items()}


def _require_alike(folder: Path, made: dict[str, Any], recordings: dict[str, str]) -> None:
    """Keep how mixtures are made, and refuse a folder whose mixtures were made otherwise, by an earlier version included.

    Of what recordings its mixtures were made, an earlier version did not keep.
    """
    kept = folder / MADE
    try:
        known = _known(folder, kept)
    except (ValueError, soundfile.SoundFileError) as error:
        raise UserError(f"{folder} is damaged; remove it to make its mixtures anew") from error
    refuse_differences(known, made, folder)
    before = known.get("recordings", {})
    if changed := [path for path, status in recordings.items() if before.get(path, status) != status]:
        raise UserError(
            f"{folder} holds mixtures of {len(changed)} recordings that have changed since, the first is {changed[0]}; "
            "give another --out"
        )
    write_text(kept, json.dumps(made | {"recordings": before | recordings}) + "\n")


def _known(folder: Path, kept: Path) -> dict[str, Any]:
    """How the mixtures of a folder were made; nothing where there are none, as an earlier call failed at the first one."""
    any_made = next((folder / "mix").glob("[!.]*.wav"), None)
    if any_made is None:
        return {}
    known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    return known or {"rate": soundfile.info(any_made).samplerate}


def _numbered(row: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Values of the columns `name_1`, `name_2`, ..."""
    return tuple(value for key, value in row.items() if key.startswith(f"{name}_"))


def _read_index(folder: Path) -> Iterable[Mixture]:
    with (folder / INDEX).open(encoding="utf-8", newline="") as file:
        if not (lines := file.readlines())[-1].endswith("\n"):
            raise KeyError("its last line is cut off")
        for row in csv.DictReader(lines, delimiter="\t"):
            genders = _numbered(row, "gender")
            yield Mixture(
                row["id"],
                folder / row["mixture"],
                tuple(folder / path for path in _numbered(row, "source")),
                _numbered(row, "speaker"),
                genders if all(genders) else None,
            )


def _scan_folders(folder: Path) -> Iterable[Mixture]:
    """Mixtures of a set that another program made."""
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] == "s" and path.name[1:].isdigit())
    for path in sorted((folder / "mix").glob("[!.]*.wav")):
        yield Mixture(path.stem, path, tuple(folder / name / path.name for name in names), None, None)


def read_mixtures(folder: str | Path) -> tuple[Mixture, ...]:
    """Read a set of mixtures: from its index, or without one from the file names in `mix/`, `s1/`, `s2/`, ...

    Raises:
        UserError: there is no such set, it is not finished, its index is damaged, or files are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    if not (folder / "mix").is_dir():
        raise UserError(f"{folder} holds no mixtures: it has no folder mix/; make them with `separator mix`")
    if (folder / MADE).exists() and not (folder / INDEX).exists():
        raise UserError(f"{folder} is not finished; run `separator mix` again")
    try:
        mixtures = tuple(_read_index(folder) if (folder / INDEX).exists() else _scan_folders(folder))
    except (AttributeError, LookupError, TypeError, UnicodeDecodeError):
        raise UserError(f"{folder / INDEX} is damaged; remove it and run `separator mix` again") from None
    if not mixtures or any(len(mixture.sources) < 2 for mixture in mixtures):
        raise UserError(f"{folder} holds no mixtures with two or more sources")
    missing = [path for mixture in mixtures for path in (mixture.mixture, *mixture.sources) if not path.is_file()]
    if missing:
        raise UserError(f"{folder}: {len(missing)} wav files are missing, the first is {missing[0]}; run `separator mix` again")
    return mixtures
