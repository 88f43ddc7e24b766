"""Hours of mixtures that a network has learned from, and the dev figures that they came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from separator.atomic import write_csv
from separator.models.card import ModelCard
from separator.tasks.pictures import write_picture

HOURS, LOG, PICTURE = "hours", "hours.csv", "hours.png"


@dataclass(frozen=True)
class Finish:
    """The end of a training without one: epochs over which the learning rate falls to zero."""

    hours: float  # as asked for
    first: int  # epoch
    end: int  # epoch behind the last


@dataclass
class Heard:
    """Hours that a network has learned from so far, and dev figures on the way."""

    hours: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)  # hours and dev figures, each time these were measured
    _written: int = 0

    @classmethod
    def of_card(cls, card: ModelCard) -> "Heard":
        """Hours and figures of the model that training starts from."""
        return cls.from_dict(card.scores)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Heard":
        """From what `to_dict` gave, among other things."""
        rows = [dict(row) for row in values.get("history", ())]
        return cls(float(values.get(HOURS, 0.0)), rows, len(rows))

    def to_dict(self, rounded: bool = True) -> dict[str, Any]:
        """Plain values, for model cards or, not rounded so that one can go on counting, for checkpoints."""
        return {HOURS: round(self.hours, 9) if rounded else self.hours, "history": self.rows}

    def add(self, seconds: float) -> None:
        """Count mixtures of so many seconds in all."""
        self.hours += seconds / 3600

    def note(self, figures: Mapping[str, float]) -> None:
        """Take note of dev figures by name."""
        self.rows.append({HOURS: round(self.hours, 3), **{name: round(value, 4) for name, value in figures.items()}})

    def fresh(self) -> bool:
        """True if figures were noted since this was last asked."""
        written, self._written = self._written, len(self.rows)
        return written < len(self.rows)


def write_hours(rows: Sequence[Mapping[str, float]], folder: Path) -> None:
    """Write dev figures against hours of mixtures, if there are any, as a table and a picture into the folder.

    Raises:
        UserError: a file cannot be written.
    """
    if not rows:
        return
    columns = dict.fromkeys(name for row in rows for name in row)
    write_csv(folder / LOG, [{name: row.get(name, "") for name in columns} for row in rows])
    plot_hours(rows, folder / PICTURE)


def plot_hours(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw a line for each figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(name for row in rows for name in row if name != HOURS):
        points = [(row[HOURS], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), ".-", label=name.removesuffix("_SI-SDRi").replace("_", " "))
    axes.set(xlabel="hours of mixtures heard", ylabel="SI-SDRi (dB)", title="Averaged weights on dev mixtures")
    axes.legend()
    axes.grid(alpha=0.3)
    write_picture(path, figure)
