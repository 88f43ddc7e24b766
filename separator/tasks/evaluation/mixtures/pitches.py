"""Differences between the talkers' pitches in each mixture, measured once and kept in a table."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from tqdm import tqdm

from separator.audio.pitch import mean_pitch, semitones
from separator.corpora.mixtures import Mixture
from separator.parallel import FEW, map_surviving
from separator.tasks.evaluation.mixtures.scoring import read_signal
from separator.tasks.fingerprints import files_fingerprint
from separator.tasks.journal import Journal, Key

KEY = ("condition", "mixture", "source")
PitchDifferences = dict[tuple[str, str], float]  # condition and mixture -> semitones, NaN where a talker has no pitch


@dataclass(frozen=True)
class _Job:
    """One reference source to be measured."""

    key: Key
    path: Path
    fingerprint: str  # of the file today


def measure_differences(
    conditions: Mapping[str, Sequence[Mixture]], path: Path, processes: int, progress: bool = False
) -> PitchDifferences:
    """Difference of the talkers' mean pitches in every mixture, from its reference sources.

    Args:
        conditions: mixtures by condition.
        path: CSV file that keeps the pitch of each source in Hz; what it has is not measured again, unless the source has
            changed since.
        processes: to measure with.
        progress: show a progress bar on stderr.

    Returns:
        Semitones by condition and mixture; of more than two talkers, between the closest two. NaN where a source has no
        pitch that can be measured.

    Raises:
        UserError: a file cannot be read or written, or parselmouth is not installed.
    """
    journal = Journal(path, KEY, ("fingerprint", "pitch"))
    jobs = list(_jobs(conditions))
    missing = [job for job in jobs if journal.rows.get(job.key, {}).get("fingerprint") != job.fingerprint]
    with tqdm(total=len(missing), desc="pitch", unit="file", disable=None if progress else True, leave=False) as bar:
        for job, pitch in _measured(missing, processes):
            journal.add([dict(zip(KEY, job.key, strict=True)) | {"fingerprint": job.fingerprint, "pitch": pitch}])
            bar.update()
    journal.finish()
    found: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        condition, mixture, _ = job.key
        found.setdefault((condition, mixture), []).append(float(journal.rows[job.key]["pitch"]))
    return {mixture: closest(pitches) for mixture, pitches in found.items()}


def _jobs(conditions: Mapping[str, Sequence[Mixture]]) -> Iterator[_Job]:
    for condition, mixtures in conditions.items():
        for mixture in mixtures:
            for number, source in enumerate(mixture.sources, 1):
                yield _Job((condition, mixture.id, str(number)), source, files_fingerprint([source])[:16])


def closest(pitches: Sequence[float]) -> float:
    """Semitones between the two pitches (Hz) that are closest; NaN where a pitch is NaN."""
    if any(map(math.isnan, pitches)):
        return math.nan
    return min(semitones(first, second) for first, second in combinations(pitches, 2))


def _measured(jobs: Sequence[_Job], processes: int) -> Iterator[tuple[_Job, float]]:
    if processes > 1 and len(jobs) > FEW:
        return map_surviving(_measure, jobs, processes)
    return ((job, _measure(job)) for job in jobs)


def _measure(job: _Job) -> float:
    return mean_pitch(*read_signal(job.path))
