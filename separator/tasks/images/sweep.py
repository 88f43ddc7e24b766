"""Conversions of networks for images while settings are varied, over several seeds: the paper's Tables 2 and 3 and Fig. 6."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from separator.atomic import atomic_path, make_folder, write_text
from separator.errors import UserError
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network
from separator.parallel import map_unordered
from separator.snn.progressive import ConversionSettings
from separator.tasks.images.batches import SCORES, Goal, ImageSettings
from separator.tasks.images.conversion import ImageConversionRun, convert_images
from separator.tasks.images.evaluation import operations_ratio
from separator.tasks.images.training import ImageOptimiserSettings, ImageTrainingSettings, train_images
from separator.tasks.journal import Journal

ANALOG = "ann"  # in place of a value: the network before conversion
QUANTISED = "quantised"  # of a variant: its analog network is trained with as many levels of activation as there are steps
VARIED = {"window": "time window", "patience": "patience", "weight_bits": "weight bits", "start": "start potential"}
COLUMNS = ("score", "epochs", "operations")

Log = Callable[[str], None]
Variant = dict[str, Any]  # fields of `ConversionSettings` in place of the common ones, and `QUANTISED`


@dataclass(frozen=True)
class ImageSweepSettings:
    """What is trained, converted and varied."""

    data: ImageSettings
    model: FeedForwardConfig
    goal: Goal = "classify"
    optimiser: ImageOptimiserSettings = field(default_factory=ImageOptimiserSettings)
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    vary: str = "window"  # the field of `conversion` that is varied
    values: list[float] = field(default_factory=lambda: [32, 16, 8, 4, 2, 1])  # 0 weight bits are floating point
    variants: dict[str, Variant] = field(default_factory=lambda: {"snn": {}})  # each converted with each value
    seeds: int = 5  # networks trained, each converted in each way
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all
    jobs: int = 1  # trainings and conversions at a time; of more than one, each has a thread

    def __post_init__(self) -> None:
        if self.vary not in VARIED:
            raise UserError(f"'{self.vary}' cannot be varied; take {', '.join(VARIED)}")
        if self.seeds < 1 or self.jobs < 1 or not self.values or not self.variants:
            raise UserError("a sweep has at least one seed, one job, one value and one variant")
        for work in self.conversions():
            _ = self.settings_of(work)  # refuses values that cannot be

    def conversions(self) -> "Iterator[Conversion]":
        """All that is to be converted."""
        for seed in range(self.seeds):
            for variant in self.variants:
                for value in self.values:
                    yield Conversion(seed, variant, float(value))

    def settings_of(self, work: "Conversion") -> ConversionSettings:
        """How a conversion is done.

        Raises:
            UserError: a value cannot be.
        """
        variant = {name: value for name, value in self.variants[work.variant].items() if name != QUANTISED}
        known = {f.name: f.type for f in fields(ConversionSettings)}
        for name in variant:
            if name not in known:
                raise UserError(f"variant {work.variant}: conversion has no '{name}'; there are {', '.join(known)}")
        whole = known[self.vary] is not float
        if whole and work.value != int(work.value):
            raise UserError(f"{self.vary} is a whole number, not {work.value:g}")
        value = int(work.value) if whole else work.value
        variant[self.vary] = None if self.vary == "weight_bits" and value == 0 else value
        if self.vary == "weight_bits" and value != 0:  # those of all layers
            variant["encoder_bits"] = value
        return replace(self.conversion, **variant)

    def levels_of(self, work: "Conversion") -> int | None:
        """Levels of activation that its analog network is trained with; None for ReLU."""
        quantised = self.variants[work.variant].get(QUANTISED, False)
        return self.settings_of(work).window if quantised else self.model.levels


@dataclass(frozen=True)
class Conversion:
    """One conversion of a sweep."""

    seed: int
    variant: str
    value: float


@dataclass(frozen=True)
class Analog:
    """One analog network of a sweep."""

    seed: int
    levels: int | None


def sweep_images(settings: ImageSweepSettings, folder: Path, log: Log = print) -> Path:
    """Train and convert, or go on with what `folder` has; returns the table.

    `folder` receives the models, in a folder for each seed, and, as FIELD.csv, FIELD.md and FIELD.png, the results, written
    anew after each conversion.

    Raises:
        UserError: of training and of conversion.
    """
    make_folder(folder)
    journal = Journal(folder / f"{settings.vary}.csv", ("seed", "variant", settings.vary), COLUMNS)
    missing = [work for work in settings.conversions() if journal.find(_key(settings, work)) is None]
    analog = dict.fromkeys(Analog(work.seed, settings.levels_of(work)) for work in missing)
    tasks = [_Task(settings, folder, network) for network in analog if not _analog_file(folder, network).is_file()]
    for task, _ in _done(_train, tasks, settings.jobs, log):
        log(f"{task.label}: done")
    for network in analog:
        if network.levels == settings.model.levels:
            _, card = load_network(_analog_file(folder, network))
            key = {"seed": network.seed, "variant": "", settings.vary: ANALOG}
            journal.add([key | {"score": float(card.scores["test"]), "epochs": card.scores["epochs"]}])
    for done, row in _done(_convert, [_Task(settings, folder, work) for work in missing], settings.jobs, log):
        log(f"{done.label}: {SCORES[settings.goal]} {row['score']:.5g}")
        journal.add([_key(settings, done.work) | row])
        write_sweep(settings, journal, folder)
    journal.finish()
    write_sweep(settings, journal, folder)
    return folder / f"{settings.vary}.md"


@dataclass(frozen=True)
class _Task:
    settings: ImageSweepSettings
    folder: Path
    work: Any  # Analog or Conversion

    @property
    def label(self) -> str:
        """For messages."""
        if isinstance(self.work, Analog):
            return f"seed {self.work.seed}: training"
        return f"seed {self.work.seed}: {self.work.variant}, {VARIED[self.settings.vary]} {self.work.value:g}"


def _done(
    work: Callable[..., Any], tasks: Iterable[_Task], jobs: int, log: Callable[[str], None]
) -> Iterator[tuple[_Task, Any]]:
    """Results as they come; what the work itself says is heard of one job at a time only."""
    if jobs == 1:
        for task in tasks:
            log(task.label)
            yield task, work(task, log)
        return
    for task, result in map_unordered(work, tasks, jobs):
        if result is None:
            raise UserError("a worker process was killed, perhaps for lack of memory; use fewer --jobs")
        yield task, result


def _key(settings: ImageSweepSettings, work: Conversion) -> dict[str, object]:
    return {"seed": work.seed, "variant": work.variant, settings.vary: work.value}


def _analog_file(folder: Path, network: Analog) -> Path:
    name = "ann" if network.levels is None else f"ann-{network.levels}"
    return folder / f"seed-{network.seed}" / name / "ann.safetensors"


def _silent(line: str) -> None:
    pass


def _train(task: _Task, log: Log = _silent) -> Path:
    settings, network = task.settings, task.work
    training = ImageTrainingSettings(
        settings.data,
        replace(settings.model, levels=network.levels),
        settings.goal,
        settings.optimiser,
        "ann",
        network.seed,
        settings.device,
        settings.threads if settings.jobs == 1 else 1,
    )
    return train_images(training, _analog_file(task.folder, network).parent, settings.jobs == 1 and sys.stderr.isatty(), log)


def _convert(task: _Task, log: Log = _silent) -> dict[str, object]:
    settings, work = task.settings, task.work
    analog = _analog_file(task.folder, Analog(work.seed, settings.levels_of(work)))
    run = ImageConversionRun(
        str(analog),
        settings.data,
        settings.settings_of(work),
        name=work.variant,
        seed=work.seed + 1,
        device=settings.device,
        threads=settings.threads if settings.jobs == 1 else 1,
    )
    out = task.folder / f"seed-{work.seed}" / f"{work.variant}-{settings.vary}-{work.value:g}"
    network, card = load_network(convert_images(run, out, log))
    assert isinstance(network, FeedForward)
    operations = operations_ratio(network, settings.data.read().test, settings.data.dev_batch)
    return {"score": float(card.scores["test"]), "epochs": card.scores["epochs"], "operations": operations}


@dataclass(frozen=True)
class Spread:
    """Mean of several runs, and half of its 95 % interval by their standard deviation; 0 of a single run."""

    mean: float
    half: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of the values of several runs."""
        half = 1.96 * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(mean(values), half, len(values))


Summary = dict[str, Spread]  # by value, ANALOG first


def summarised(settings: ImageSweepSettings, journal: Journal, variant: str, column: str) -> Summary:
    """A column of a variant by value, the ANN's first, over the seeds that have it."""
    by_value: dict[str, list[float]] = {}
    for name in (ANALOG, *(f"{float(value):.6g}" for value in settings.values)):
        keys = ({"seed": s, "variant": "" if name == ANALOG else variant, settings.vary: name} for s in range(settings.seeds))
        found = [float(row[column]) for row in map(journal.find, keys) if row is not None and row[column]]
        if found:
            by_value[name] = found
    return {name: Spread.of(values) for name, values in by_value.items()}


def write_sweep(settings: ImageSweepSettings, journal: Journal, folder: Path) -> None:
    """Write the table and the picture of what there is so far."""
    results = {
        variant: {column: summarised(settings, journal, variant, column) for column in COLUMNS} for variant in settings.variants
    }
    write_text(folder / f"{settings.vary}.md", to_markdown(settings, results))
    with atomic_path(folder / f"{settings.vary}.png") as temporary:
        plot(settings, results, temporary)


def to_markdown(settings: ImageSweepSettings, results: dict[str, dict[str, Summary]]) -> str:
    """The table: the ANN, then a row for each variant and value."""
    digits = 2 if settings.goal == "classify" else 5
    head = [VARIED[settings.vary], SCORES[settings.goal], "against the ANN", "epochs", "synaptic operations / MACs", "runs"]
    lines = [f"| system | {' | '.join(head)} |", "|---|" + "---:|" * len(head)]
    for number, (variant, columns) in enumerate(results.items()):
        analog = columns["score"].get(ANALOG)
        for name, score in columns["score"].items():
            if name == ANALOG and number:
                continue
            change = "" if name == ANALOG or analog is None else f"{score.mean - analog.mean:+.{digits}f}"
            operations, epochs = columns["operations"].get(name), columns["epochs"].get(name)
            cells = [
                "ANN" if name == ANALOG else variant,
                "" if name == ANALOG else "float" if settings.vary == "weight_bits" and name == "0" else name,
                f"{score.mean:.{digits}f} ± {score.half:.{digits}f}",
                change,
                "" if epochs is None else f"{epochs.mean:.0f}",
                "" if operations is None else f"{operations.mean:.3f}",
                str(score.runs),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(settings: ImageSweepSettings, results: dict[str, dict[str, Summary]], path: Any) -> None:
    """Score, operations and epochs over what was varied, as a picture (the layout of the paper's Fig. 6)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    labels = {
        "score": SCORES[settings.goal],
        "operations": "synaptic operations / MACs of the ANN",
        "epochs": "epochs of conversion",
    }
    for axes, (column, label) in zip(figure.subplots(1, 3), labels.items(), strict=True):
        for variant, columns in results.items():
            spreads = {float(name): spread for name, spread in columns[column].items() if name != ANALOG}
            places = sorted(spreads)
            means, halves = ([getattr(spreads[place], part) for place in places] for part in ("mean", "half"))
            axes.errorbar(places, means, halves, fmt="o-", capsize=3, label=variant)
        analog = next(iter(results.values()))["score"].get(ANALOG)
        if column == "score":
            if analog is not None:
                axes.axhline(analog.mean, linestyle="--", color="grey", label="ANN")
            axes.legend(fontsize="small")
        axes.set(xlabel=VARIED[settings.vary], ylabel=label)
        if settings.vary == "window":
            axes.set_xscale("log", base=2)
            axes.set_xticks(settings.values, [f"{value:g}" for value in settings.values])
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")
