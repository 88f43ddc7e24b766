"""Learning curves of several trainings side by side, from their CSV logs (the layout of Wu et al. 2021, Fig. 4)."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from separator.atomic import write_text
from separator.errors import UserError
from separator.tasks.pictures import write_picture

Metric = Literal["accuracy", "loss"]
LABELS: dict[Metric, str] = {"accuracy": "accuracy (%)", "loss": "loss"}
BEST: dict[Metric, Callable[[Sequence[float]], float]] = {"accuracy": max, "loss": min}


@dataclass(frozen=True)
class Run:
    """A training or a conversion, and where it is drawn."""

    panel: str  # such as the way of learning
    line: str  # such as the network
    folder: Path  # that the training or conversion wrote its log into

    @classmethod
    def parse(cls, text: str) -> "Run":
        """A run from `PANEL/LINE=FOLDER`, or `LINE=FOLDER` where there is one panel only.

        Raises:
            UserError: a part is missing.
        """
        name, _, folder = text.partition("=")
        panel, slash, line = name.rpartition("/")
        if not line or not folder or (slash and not panel):
            raise UserError(f"expected PANEL/LINE=FOLDER or LINE=FOLDER, not {text!r}")
        return cls(panel, line, Path(folder))


@dataclass(frozen=True)
class Curve:
    """Values that a training or a conversion logged, by epoch."""

    epochs: tuple[int, ...]
    values: dict[str, tuple[float, ...]]  # by column, such as dev_loss; NaN where nothing was logged
    conversion: bool = False  # of which only the last epoch is that of a wholly spiking network

    def best(self, metric: Metric) -> tuple[float, int] | None:
        """Best dev value and its epoch; None if there never was a number, or it may be that of a network half converted."""
        if self.conversion:
            return None
        dev = self.values[f"dev_{metric}"]
        finite = [value for value in dev if math.isfinite(value)]
        if not finite:
            return None
        best = BEST[metric](finite)
        return best, self.epochs[dev.index(best)]


def read_curve(folder: Path) -> Curve:
    """Curve that a training wrote into `folder/csv`, or a conversion into `folder/progress.csv`.

    Where a training was gone on with, it is epoch by epoch the last that was written. A conversion's epochs are counted on
    through the layers, and a layer's last one is what the layer ended with; epoch 0 is the analog network.

    Raises:
        UserError: there is no log, or it is damaged.
    """
    rows: dict[int, dict[str, float]] = {}
    try:
        logs = sorted(folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
        for log in logs:
            for row in _rows(log):
                if not row["epoch"]:  # learning rates have steps only
                    continue
                numbers = {name: float(value) for name, value in row.items() if value and name not in ("epoch", "step")}
                epoch = rows.setdefault(int(row["epoch"]) + 1, {})
                epoch |= numbers
        conversion = not logs and (folder / "progress.csv").exists()
        if conversion:
            for row in _rows(folder / "progress.csv"):
                if row["layer_epoch"] != "0":
                    rows[int(row["epoch"])] = {name: float(value) for name, value in row.items() if name.startswith("dev_")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the log of {folder} cannot be read ({error})") from error
    if not any("dev_loss" in row for row in rows.values()):
        raise UserError(f"{folder} has no log of a training with an epoch in it; give the --out of one")
    epochs = tuple(sorted(rows))
    columns = sorted({name for row in rows.values() for name in row})
    values = {name: tuple(rows[epoch].get(name, math.nan) for epoch in epochs) for name in columns}
    return Curve(epochs, values, conversion)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def plot_curves(runs: Sequence[Run], picture: Path) -> Path:
    """Draw the curves, a panel beside the other, and write the table of best and last values beside them; returns the table.

    Accuracies are drawn if all runs have them, else losses.

    Raises:
        UserError: two runs have the same name, a log cannot be read, or a file cannot be written.
    """
    if len({(run.panel, run.line) for run in runs}) < len(runs):
        raise UserError("two runs have the same name")
    if picture.suffix == ".md":
        raise UserError(f"{picture} is where the table would be; give the picture another ending, such as .png")
    curves = [(run, read_curve(run.folder)) for run in runs]
    metric: Metric = "accuracy" if all("dev_accuracy" in curve.values for _, curve in curves) else "loss"
    draw(curves, metric, picture)
    table = picture.with_suffix(".md")
    write_text(table, to_markdown(curves, metric))
    return table


def to_markdown(curves: Sequence[tuple[Run, Curve]], metric: Metric) -> str:
    """A table with one row per run."""
    digits = 2 if metric == "accuracy" else 5
    head = ["learning", "network", "epochs", f"best dev {LABELS[metric]}", "at epoch", "last dev", "last train"]
    lines = [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * (len(head) - 2)]
    for run, curve in curves:
        best = curve.best(metric)
        found = ("-", "-") if best is None else (f"{best[0]:.{digits}f}", str(best[1]))
        seen = [curve.values.get(f"{part}_{metric}") for part in ("dev", "train")]
        last = ("-" if values is None else f"{values[-1]:.{digits}f}" for values in seen)
        cells = [run.panel, run.line, str(curve.epochs[-1]), *found, *last]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(curves: Sequence[tuple[Run, Curve]], metric: Metric, path: Any) -> None:
    """Dev values over epochs, and dotted those of training: a panel for each name, in the order they come in."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels, names = (list(dict.fromkeys(names)) for names in zip(*((run.panel, run.line) for run, _ in curves), strict=True))
    figure = Figure(figsize=(1 + 4 * len(panels), 3.8), layout="constrained")
    for place, (panel, axes) in enumerate(
        zip(panels, figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], strict=True)
    ):
        for run, curve in curves:
            if run.panel != panel:
                continue
            color = f"C{names.index(run.line) % 10}"
            axes.plot(curve.epochs, curve.values[f"dev_{metric}"], ".-", color=color, label=run.line)
            if f"train_{metric}" in curve.values:
                axes.plot(curve.epochs, curve.values[f"train_{metric}"], ":", color=color, linewidth=1)
        axes.set(xlabel="epoch", title=f"({chr(ord('A') + place % 26)}) {panel}" if len(panels) > 1 else panel)
        if place == 0:
            axes.set_ylabel(f"{LABELS[metric]}: dev, dotted train")
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    write_picture(path, figure)
