"""Scores of systems over sets of mixtures: the paper's Table 4, and where they fail; every source's scores in a CSV file."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from separator.atomic import write_csv, write_text
from separator.corpora.mixtures import Mixture
from separator.errors import UserError
from separator.metrics.breakdown import count_mixtures, swap_costs
from separator.metrics.groups import gender_group, gender_pair, groups_of
from separator.metrics.table import METRICS, Score, Summary, differences, failures, summarise
from separator.parallel import map_unordered
from separator.tasks.evaluation.mixtures import operations
from separator.tasks.evaluation.mixtures.pitches import PitchDifferences, measure_differences
from separator.tasks.evaluation.mixtures.report import PICTURE, Report
from separator.tasks.evaluation.mixtures.results import SUMMARY, identity
from separator.tasks.evaluation.mixtures.scoring import ScoringJob, SourceScore, score
from separator.tasks.evaluation.mixtures.speed import TABLE as SPEED_TABLE
from separator.tasks.evaluation.mixtures.speed import measure_speeds
from separator.tasks.evaluation.mixtures.spiking import SPIKES_PICTURE, SPIKES_TABLE, draw_spiking
from separator.tasks.evaluation.mixtures.systems import UNPROCESSED, ModelSystem, System, Unprocessed, analog_twins
from separator.tasks.fingerprints import files_fingerprint
from separator.tasks.journal import Journal, Row
from separator.writer import sole_writer

BASIC = ("si-sdr", "si-sdri", "oracle-si-sdri")  # measured in any case
LIBRARIES = {"sdr": "fast_bss_eval", "stoi": "pystoi", "pesq": "pesq"}
# What the report needs in any case: the module, and the package that brings it.
REPORT_LIBRARIES = {"parselmouth": "praat-parselmouth", "matplotlib": "matplotlib"}
COUNTED = 100  # mixtures of each condition on which operations are counted
UTTERANCE = ("condition", "system", "mixture")
# A row is valid as long as its fingerprint is that of the mixture and the system of today.
DETAILS = ("fingerprint", "speaker", "gender", "group", "pair", "semitones", "estimate", "seconds")
NEWER = ("pair", "semitones", "oracle-si-sdri")  # columns that earlier versions did not write


@dataclass(frozen=True)
class Evaluation:
    """Systems to be scored, and the mixtures and metrics that they are scored on.

    Raises:
        UserError: a metric is unknown or its library is missing, or two systems have one name.
    """

    conditions: Mapping[str, Sequence[Mixture]]  # by name, such as "open" and "closed"
    systems: Sequence[System]  # beside the unprocessed mixture, which is always scored
    metrics: Sequence[str] = tuple(METRICS)
    limit: int | None = None  # mixtures of each condition, evenly spread over it
    processes: int = 1
    timed: Mapping[str, str] = field(default_factory=dict)  # models whose speed is measured as well, by their systems' names
    threads: int = 1  # with which they are timed, on the CPU

    def __post_init__(self) -> None:
        for metric in self.metrics:
            if metric not in METRICS:
                raise UserError(f"there is no metric {metric!r}; take some of {', '.join(METRICS)}")
            if metric in LIBRARIES and find_spec(LIBRARIES[metric]) is None:
                raise UserError(f"{metric} needs the Python package {LIBRARIES[metric]}: pip install 'separator[score]'")
        for module, package in REPORT_LIBRARIES.items():
            if find_spec(module) is None:
                raise UserError(f"the report needs the Python package {package}: pip install 'separator[score]'")
        names = [system.name for system in self.all_systems]
        if len(set(names)) < len(names):
            raise UserError(f"each system needs a name of its own, and {UNPROCESSED!r} is taken; these are {', '.join(names)}")

    @property
    def all_systems(self) -> tuple[System, ...]:
        """The unprocessed mixture, then the others."""
        return Unprocessed(), *self.systems

    @property
    def measured(self) -> tuple[str, ...]:
        """Metrics in the order of the table."""
        return tuple(metric for metric in METRICS if metric in {*BASIC, *self.metrics})

    @cached_property
    def chosen(self) -> dict[str, tuple[Mixture, ...]]:
        """The mixtures to score by condition: all, or the subset that `limit` asks for."""
        return {name: balanced_subset(mixtures, self.limit or len(mixtures)) for name, mixtures in self.conditions.items()}

    @cached_property
    def utterances(self) -> tuple["Utterance", ...]:
        """Every system's estimates for every chosen mixture.

        Raises:
            UserError: estimate files are missing.
        """
        return tuple(
            Utterance(condition, system, mixture, _fingerprint(condition, system, mixture))
            for condition, mixtures in self.chosen.items()
            for system in self.all_systems
            for mixture in mixtures
        )

    def counts(self, utterance: "Utterance") -> bool:
        """Whether the operations of these estimates are counted: of spiking networks, for a subset of the chosen mixtures."""
        system = utterance.system
        spiking = isinstance(system, ModelSystem) and system.model.card.kind == "snn"
        return spiking and (utterance.condition, utterance.mixture.id) in self._counted

    @cached_property
    def _counted(self) -> frozenset[tuple[str, str]]:
        """Condition and id of each chosen mixture that operations are counted on."""
        return frozenset(
            (name, mixture.id) for name, chosen in self.chosen.items() for mixture in balanced_subset(chosen, COUNTED)
        )


@dataclass(frozen=True)
class Utterance:
    """One system's estimates for one mixture."""

    condition: str
    system: System
    mixture: Mixture
    fingerprint: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The columns UTTERANCE."""
        return self.condition, self.system.name, self.mixture.id

    @property
    def sources(self) -> range:
        """Numbers of the sources."""
        return range(1, len(self.mixture.sources) + 1)

    def rows(self, scores: Journal) -> list[Row]:
        """Known rows of each source, in order; empty rows where there is nothing or it is outdated."""
        rows = [scores.rows.get((*self.key, str(source)), {}) for source in self.sources]
        return [row if row.get("fingerprint") == self.fingerprint else {} for row in rows]

    def missing(self, scores: Journal, metrics: Sequence[str]) -> tuple[str, ...]:
        """Metrics without a value for some source."""
        rows = self.rows(scores)
        return tuple(metric for metric in metrics if not all(row.get(metric) for row in rows))


Todo = dict[tuple[str, str, str], tuple[Utterance, tuple[str, ...]]]


def evaluate(evaluation: Evaluation, folder: Path, progress: bool = False) -> Report:
    """Score all systems; what an earlier call with the same folder has scored is kept, unless it has changed since.

    Writes `scores.csv` (one row per source), `operations.csv` (one row per layer), `pitch.csv` (one row per reference source),
    `summary.json`, `RESULTS.md` and its picture `pitch.png`; where systems are spiking, `spikes.csv` and `spikes.png` as
    well, what each of them separates and what its spikes cost; where models are timed, `speed.csv`.

    Args:
        evaluation: what to score.
        folder: for the results, made if need be.
        progress: show a progress bar on stderr.

    Raises:
        UserError: a file cannot be read or written, signals do not fit each other, or another process writes into the folder.
    """
    with sole_writer(folder):
        return _evaluate(evaluation, folder, progress)


def _evaluate(evaluation: Evaluation, folder: Path, progress: bool) -> Report:
    scores = Journal(folder / "scores.csv", (*UTTERANCE, "source"), (*DETAILS, *METRICS), NEWER)
    counts = Journal(folder / "operations.csv", (*UTTERANCE, *operations.KEY), ("fingerprint", *operations.COUNTS))
    todo = _missing(evaluation, scores, counts)
    pitches = measure_differences(evaluation.chosen, folder / "pitch.csv", evaluation.processes, progress)
    _score_missing(evaluation, todo, scores, counts, pitches, progress)
    for journal in (scores, counts):
        journal.finish()
    speeds: dict[str, float] = {}
    if evaluation.timed:
        speeds = measure_speeds(evaluation.timed, folder / SPEED_TABLE, evaluation.threads, progress)
    report = _report(evaluation, scores, counts, pitches, speeds)
    write_text(folder / SUMMARY, report.to_json())
    write_text(folder / "RESULTS.md", report.to_markdown())
    report.draw(folder / PICTURE)
    if report.operations:
        write_csv(folder / SPIKES_TABLE, report.spiking)
        draw_spiking(folder / SPIKES_PICTURE, report.spiking)
    return report


def balanced_subset(mixtures: Sequence[Mixture], count: int) -> tuple[Mixture, ...]:
    """`count` mixtures evenly spread over the list, with the genders in the same proportions as in all of it.

    The subset depends on nothing but the list and the count. Its order is that of the list.
    """
    # Sorting by gender (stable) and stepping evenly through the result gives each gender pair its share, to one mixture.
    order = sorted(range(len(mixtures)), key=lambda i: sorted(mixtures[i].genders or ()))
    count = min(count, len(mixtures))
    return tuple(mixtures[i] for i in sorted(order[(2 * k + 1) * len(mixtures) // (2 * count)] for k in range(count)))


def _fingerprint(condition: str, system: System, mixture: Mixture) -> str:
    files = files_fingerprint((mixture.mixture, *mixture.sources))
    return hashlib.sha256(f"{files} {system.fingerprint(condition, mixture)}".encode()).hexdigest()[:16]


def _missing(evaluation: Evaluation, scores: Journal, counts: Journal) -> Todo:
    """Utterances without complete rows, with the metrics that are missing: none where operations alone are to be counted."""
    known = {(*(row[name] for name in UTTERANCE), row["fingerprint"]) for row in counts.rows.values()}
    return {
        utterance.key: (utterance, missing)
        for utterance in evaluation.utterances
        if (missing := utterance.missing(scores, evaluation.measured))
        or (evaluation.counts(utterance) and (*utterance.key, utterance.fingerprint) not in known)
    }


def _score_missing(
    evaluation: Evaluation, todo: Todo, scores: Journal, counts: Journal, pitches: PitchDifferences, progress: bool
) -> None:
    """Score what there is to do, appending rows as they come."""

    def jobs() -> Iterator[ScoringJob]:
        for (condition, system, _), (utterance, missing) in todo.items():
            estimates, rows = utterance.system.estimate(condition, utterance.mixture, evaluation.counts(utterance))
            place = dict(zip(UTTERANCE, utterance.key, strict=True)) | {"fingerprint": utterance.fingerprint}
            counts.add(place | row for row in rows)
            yield ScoringJob(condition, system, utterance.mixture, estimates, missing)

    with tqdm(total=len(todo), desc="scoring", unit="mixture", disable=None if progress else True, leave=False) as bar:
        for job, results in map_unordered(score, jobs(), evaluation.processes):
            utterance, _ = todo[job.condition, job.system, job.mixture.id]
            scores.add(_rows(utterance, scores, pitches, _without_pesq(job) if results is None else results))
            bar.update()


def _without_pesq(job: ScoringJob) -> list[SourceScore]:
    """Scores of a job that killed its process: PESQ, the only part known to crash, counts as failed.

    Raises:
        UserError: the process dies without PESQ as well.
    """
    rest = replace(job, metrics=tuple(metric for metric in job.metrics if metric != "pesq"))
    ((_, results),) = map_unordered(score, [rest], 1)
    if results is None:
        raise UserError(f"the process that scores {job.mixture.id} dies (out of memory?); run again with fewer --jobs to go on")
    failed = {"pesq": float("nan")} if "pesq" in job.metrics else {}
    return [replace(result, values=result.values | failed) for result in results]


def _rows(
    utterance: Utterance, scores: Journal, pitches: PitchDifferences, results: Sequence[SourceScore]
) -> list[dict[str, object]]:
    """New rows of a mixture; metrics that were measured before stay."""
    mixture = utterance.mixture
    return [
        {
            **former,
            **dict(zip(UTTERANCE, utterance.key, strict=True)),
            "source": source,
            "fingerprint": utterance.fingerprint,
            "speaker": mixture.speakers[source - 1] if mixture.speakers else "",
            "gender": mixture.genders[source - 1] if mixture.genders else "",
            "group": gender_group(mixture.genders) or "",
            "pair": gender_pair(mixture.genders) or "",
            "semitones": pitches[utterance.condition, mixture.id],
            "estimate": result.estimate + 1,
            "seconds": result.seconds,
            **result.values,
        }
        for source, former, result in zip(utterance.sources, utterance.rows(scores), results, strict=True)
    ]


def _report(
    evaluation: Evaluation, scores: Journal, counts: Journal, pitches: PitchDifferences, speeds: Mapping[str, float]
) -> Report:
    """Put the rows of an evaluation together."""
    chosen = [
        Score(*utterance.key, groups, {metric: float(row[metric]) for metric in evaluation.measured})
        for utterance in evaluation.utterances
        for groups in (groups_of(utterance.mixture.genders, pitches[utterance.condition, utterance.mixture.id]),)
        for row in utterance.rows(scores)
    ]
    summary = summarise(chosen)
    first, *others = [system.name for system in evaluation.systems] or [UNPROCESSED]
    twins = analog_twins(evaluation.systems)
    compared: Summary = {}
    for pair in dict.fromkeys([*((other, first) for other in others), *twins.items()]):
        for condition, rows in differences(chosen, *pair).items():
            compared.setdefault(condition, {}).update(rows)
    return Report(
        summary,
        compared,
        swap_costs(chosen),
        count_mixtures(chosen),
        _operations(evaluation, scores, counts),
        (*_set_notes(evaluation, pitches), *failures(summary)),
        evaluation.measured,
        twins,
        {system.name: identity(system.model) for system in evaluation.systems if isinstance(system, ModelSystem)},
        speeds,
        evaluation.threads,
    )


def _set_notes(evaluation: Evaluation, pitches: PitchDifferences) -> Iterator[str]:
    """Notes that the reader should know of each set of mixtures."""
    for name, chosen in evaluation.chosen.items():
        total, count = len(evaluation.conditions[name]), len(chosen)
        if count < total:
            yield f"{name}: a SUBSET of {count} of {total} mixtures, evenly spread over the set"
        if unknown := sum(gender_group(mixture.genders) is None for mixture in chosen):
            yield f"{name}: {unknown} of {count} mixtures are in no column of genders, as those of their talkers are unknown"
        if unknown := sum(math.isnan(pitches[name, mixture.id]) for mixture in chosen):
            yield f"{name}: {unknown} of {count} mixtures are in no band of pitch, as a source has none that can be measured"


def _operations(evaluation: Evaluation, scores: Journal, counts: Journal) -> dict[str, dict[str, dict[str, Any]]]:
    """Operations reports of the systems that have any, over the chosen mixtures on which they were counted."""
    spikes = {system.name: system.spikes() for system in evaluation.systems if isinstance(system, ModelSystem)}
    counted: dict[tuple[str, ...], list[Row]] = {}
    for row in counts.rows.values():
        counted.setdefault((row["condition"], row["system"], row["mixture"], row["fingerprint"]), []).append(row)
    used: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in evaluation.utterances:
        if (*utterance.key, utterance.fingerprint) in counted:
            used.setdefault((utterance.condition, utterance.system.name), []).append(utterance)
    reports: dict[str, dict[str, dict[str, Any]]] = {}
    for (condition, system), utterances in used.items():
        seconds = sum(float(utterance.rows(scores)[0]["seconds"]) for utterance in utterances)
        rows = chain.from_iterable(counted[*utterance.key, utterance.fingerprint] for utterance in utterances)
        total = operations.total_operations(rows, seconds)
        reports.setdefault(condition, {})[system] = operations.operations_report(total) | spikes[system]
    return reports
