"""Conversions of networks for images while one setting is varied, over several seeds: the paper's Table 3 and Fig. 6."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from separator.atomic import atomic_path, make_folder, write_text
from separator.errors import UserError
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network
from separator.snn.progressive import ConversionSettings
from separator.tasks.images.batches import Goal, ImageSettings
from separator.tasks.images.conversion import ImageConversionRun, convert_images
from separator.tasks.images.evaluation import operations_ratio
from separator.tasks.images.training import ImageOptimiserSettings, ImageTrainingSettings, train_images
from separator.tasks.journal import Journal

ANALOG = "ann"  # in place of a value: the network before conversion
VARIED = {"window": "time window", "patience": "patience", "weight_bits": "weight bits", "start": "start potential"}
SCORES: dict[Goal, str] = {"classify": "accuracy (%)", "reconstruct": "mean square error"}


@dataclass(frozen=True)
class ImageSweepSettings:
    """What is trained, converted and varied."""

    data: ImageSettings
    model: FeedForwardConfig
    goal: Goal = "classify"
    optimiser: ImageOptimiserSettings = field(default_factory=ImageOptimiserSettings)
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    vary: str = "window"  # the field of `conversion` that is varied
    values: list[float] = field(default_factory=lambda: [32, 16, 8, 4, 2, 1])
    seeds: int = 5  # networks trained, each converted with each value
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all

    def __post_init__(self) -> None:
        if self.vary not in VARIED:
            raise UserError(f"'{self.vary}' cannot be varied; take {', '.join(VARIED)}")
        if self.seeds < 1 or not self.values:
            raise UserError("a sweep has at least one seed and one value")
        for value in self.values:
            _ = self.converted_with(value)  # refuses values that cannot be

    def converted_with(self, value: float) -> ConversionSettings:
        """The conversion with a value in place of what is varied."""
        kind = next(f.type for f in fields(ConversionSettings) if f.name == self.vary)
        whole = kind != "float" and kind is not float
        if whole and value != int(value):
            raise UserError(f"{self.vary} is a whole number, not {value:g}")
        varied: dict[str, Any] = {self.vary: int(value) if whole else value}
        return replace(self.conversion, **varied)


def sweep_images(settings: ImageSweepSettings, folder: Path, log: Callable[[str], None] = print) -> Path:
    """Train and convert, or go on with what `folder` has; returns the table.

    `folder` receives `seed-S/ann` and `seed-S/FIELD-VALUE` with the models, and, as FIELD.csv, FIELD.md and FIELD.png,
    the results, written anew after each conversion.

    Raises:
        UserError: of training and of conversion.
    """
    make_folder(folder)
    journal = Journal(folder / f"{settings.vary}.csv", ("seed", settings.vary), ("score", "epochs", "operations"))
    test = settings.data.read().test
    for seed in range(settings.seeds):
        ann = folder / f"seed-{seed}" / "ann" / "ann.safetensors"
        key = {"seed": seed, settings.vary: ANALOG}
        if not ann.is_file():
            log(f"seed {seed}: training")
            train_images(_training(settings, seed), ann.parent, progress=False)
        if journal.find(key) is None:
            _, card = load_network(ann)
            journal.add([key | {"score": float(card.scores["test"]), "epochs": card.scores["epochs"]}])
        for value in settings.values:
            key = {"seed": seed, settings.vary: float(value)}
            if journal.find(key) is not None:
                continue
            log(f"seed {seed}: {VARIED[settings.vary]} {value:g}")
            out = folder / f"seed-{seed}" / f"{settings.vary}-{value:g}"
            run = ImageConversionRun(
                str(ann), settings.data, settings.converted_with(value), "snn", seed + 1, settings.device, settings.threads
            )
            network, card = load_network(convert_images(run, out, lambda line: None))
            assert isinstance(network, FeedForward)
            row = {"score": float(card.scores["test"]), "epochs": card.scores["epochs"]}
            journal.add([key | row | {"operations": operations_ratio(network, test)}])
            write_sweep(settings, journal, folder)
    journal.finish()
    write_sweep(settings, journal, folder)
    return folder / f"{settings.vary}.md"


def _training(settings: ImageSweepSettings, seed: int) -> ImageTrainingSettings:
    return ImageTrainingSettings(
        settings.data, settings.model, settings.goal, settings.optimiser, "ann", seed, settings.device, settings.threads
    )


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


def summarised(settings: ImageSweepSettings, journal: Journal, column: str) -> dict[str, Spread]:
    """A column by value, the ANN's first, over the seeds that have it."""
    by_value: dict[str, list[float]] = {}
    for name in (ANALOG, *(f"{float(value):.6g}" for value in settings.values)):
        rows = [journal.find({"seed": seed, settings.vary: name}) for seed in range(settings.seeds)]
        found = [float(row[column]) for row in rows if row is not None and row[column]]
        if found:
            by_value[name] = found
    return {name: Spread.of(values) for name, values in by_value.items()}


def write_sweep(settings: ImageSweepSettings, journal: Journal, folder: Path) -> None:
    """Write the table and the picture of what there is so far."""
    columns = {name: summarised(settings, journal, name) for name in ("score", "epochs", "operations")}
    write_text(folder / f"{settings.vary}.md", to_markdown(settings, columns))
    with atomic_path(folder / f"{settings.vary}.png") as temporary:
        plot(settings, columns, temporary)


def to_markdown(settings: ImageSweepSettings, columns: dict[str, dict[str, Spread]]) -> str:
    """The table: a row for each value."""
    digits = 2 if settings.goal == "classify" else 5
    head = [VARIED[settings.vary], SCORES[settings.goal], "against the ANN", "epochs", "synaptic operations / MACs", "runs"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    analog = columns["score"].get(ANALOG)
    for name, score in columns["score"].items():
        change = "" if name == ANALOG or analog is None else f"{score.mean - analog.mean:+.{digits}f}"
        operations = columns["operations"].get(name)
        epochs = columns["epochs"].get(name)
        cells = [
            "ANN" if name == ANALOG else name,
            f"{score.mean:.{digits}f} ± {score.half:.{digits}f}",
            change,
            "" if epochs is None else f"{epochs.mean:.0f}",
            "" if operations is None else f"{operations.mean:.3f}",
            str(score.runs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(settings: ImageSweepSettings, columns: dict[str, dict[str, Spread]], path: Any) -> None:
    """Score, operations and epochs over what was varied, as a picture (the layout of the paper's Fig. 6)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    labels = {
        "score": SCORES[settings.goal],
        "operations": "synaptic operations / MACs of the ANN",
        "epochs": "epochs of conversion",
    }
    for axes, (column, label) in zip(figure.subplots(1, 3), labels.items(), strict=True):
        spreads = {float(name): spread for name, spread in columns[column].items() if name != ANALOG}
        places = sorted(spreads)
        means, halves = ([getattr(spreads[place], part) for place in places] for part in ("mean", "half"))
        axes.errorbar(places, means, halves, fmt="o-", capsize=3, label="SNN")
        analog = columns["score"].get(ANALOG)
        if column == "score" and analog is not None:
            axes.axhline(analog.mean, linestyle="--", color="grey", label="ANN")
            axes.legend()
        axes.set(xlabel=VARIED[settings.vary], ylabel=label)
        if settings.vary == "window" and places:
            axes.set_xscale("log", base=2)
            axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")
