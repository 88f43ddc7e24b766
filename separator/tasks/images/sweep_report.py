"""Results of a sweep over conversions, as a table and as a picture (Wu et al. 2021, Tables 2 and 3, Fig. 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from separator.atomic import atomic_path, write_text
from separator.tasks.images.batches import SCORES, Goal
from separator.tasks.journal import Journal

ANALOG = "ann"  # in place of a value: the network before conversion
COLUMNS = ("score", "epochs", "operations")
LABELS = {"window": "time window", "patience": "patience", "weight_bits": "weight bits", "start": "start potential"}


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


@dataclass(frozen=True)
class Swept:
    """What was varied."""

    goal: Goal
    vary: str  # one of `LABELS`
    values: Sequence[float]
    variants: Sequence[str]
    seeds: int

    def summary(self, journal: Journal, variant: str, column: str) -> Summary:
        """A column of a variant by value, the ANN's first, over the seeds that have it."""
        by_value: dict[str, list[float]] = {}
        for name in (ANALOG, *(f"{float(value):.6g}" for value in self.values)):
            keys = ({"seed": s, "variant": "" if name == ANALOG else variant, self.vary: name} for s in range(self.seeds))
            found = [float(row[column]) for row in map(journal.find, keys) if row is not None and row[column]]
            if found:
                by_value[name] = found
        return {name: Spread.of(values) for name, values in by_value.items()}


def write_sweep(swept: Swept, journal: Journal, folder: Path) -> None:
    """Write the table and the picture of what there is so far."""
    results = {variant: {column: swept.summary(journal, variant, column) for column in COLUMNS} for variant in swept.variants}
    write_text(folder / f"{swept.vary}.md", to_markdown(swept, results))
    with atomic_path(folder / f"{swept.vary}.png") as temporary:
        plot(swept, results, temporary)


def to_markdown(swept: Swept, results: Mapping[str, Mapping[str, Summary]]) -> str:
    """The table: the ANN, then a row for each variant and value.

    Differences are from the ANN, or where bits of weights are varied from floating point, as in the paper's Table 2.
    """
    digits = 2 if swept.goal == "classify" else 5
    base = "0" if swept.vary == "weight_bits" and 0 in swept.values else ANALOG
    against = "against the ANN" if base == ANALOG else "against floating point"
    head = [LABELS[swept.vary], SCORES[swept.goal], against, "epochs", "synaptic operations / MACs", "runs"]
    lines = [f"| system | {' | '.join(head)} |", "|---|" + "---:|" * len(head)]
    for number, (variant, columns) in enumerate(results.items()):
        reference = columns["score"].get(base)
        for name, score in columns["score"].items():
            if name == ANALOG and number:
                continue
            change = "" if name == base or reference is None else f"{score.mean - reference.mean:+.{digits}f}"
            operations, epochs = columns["operations"].get(name), columns["epochs"].get(name)
            cells = [
                "ANN" if name == ANALOG else variant,
                "" if name == ANALOG else "float" if swept.vary == "weight_bits" and name == "0" else name,
                f"{score.mean:.{digits}f} ± {score.half:.{digits}f}",
                change,
                "" if epochs is None else f"{epochs.mean:.0f}",
                "" if operations is None else f"{operations.mean:.3f}",
                str(score.runs),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(swept: Swept, results: Mapping[str, Mapping[str, Summary]], path: Any) -> None:
    """Score, operations and epochs over what was varied, as a picture (the layout of the paper's Fig. 6)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    labels = {
        "score": SCORES[swept.goal],
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
        axes.set(xlabel=LABELS[swept.vary], ylabel=label)
        if swept.vary == "window":
            axes.set_xscale("log", base=2)
            axes.set_xticks(swept.values, [f"{value:g}" for value in swept.values])
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")
