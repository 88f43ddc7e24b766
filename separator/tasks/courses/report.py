"""Tables of courses: when the analog accuracy is reached, and what that costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from separator.atomic import write_csv, write_text
from separator.tasks.courses.measures import Steps

SUMMARY = "course"  # files about all networks, beside those called as each
NEARLY = 0.02  # % of accuracy below the analog network, one image or two of 10,000
TOLERANCES = (1.5, 1.0, 0.5, 0.1, 0.0)  # accepted losses of accuracy in %, of Table IV


@dataclass(frozen=True)
class CourseReport:
    """Course of one network over the test items."""

    name: str
    steps: Steps

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Accuracy at each time step by the sums of spikes, in %. Shape: (T,)."""
        return 100 * self.steps.right / self.steps.items

    @property
    def accuracy_by_potential(self) -> NDArray[np.float64]:
        """The same by the free potential."""
        return 100 * self.steps.right_by_potential / self.steps.items

    @property
    def analog(self) -> float:
        """Accuracy of the analog network, in %."""
        return 100 * self.steps.analog_right / self.steps.items

    @property
    def events(self) -> NDArray[np.float64]:
        """Mean events of an item up to each time step. Shape: (T,)."""
        return self.steps.events / self.steps.items

    def first(self, below: float = 0.0, by_potential: bool = False) -> int | None:
        """The first time step, from 1, with an accuracy at most `below` % under the analog one; None if there is none."""
        reached = self._reached(below, by_potential)
        return int(reached.argmax()) + 1 if reached.any() else None

    def settled(self, below: float = 0.0, by_potential: bool = False) -> int | None:
        """The time step from which on the accuracy stays there, to the end of the run; None if it does not."""
        reached = self._reached(below, by_potential)
        missed = np.flatnonzero(~reached)
        after = int(missed[-1]) + 2 if len(missed) else 1
        return after if after <= len(reached) else None

    @property
    def best(self) -> int:
        """The first time step, from 1, of the highest accuracy of the run by the sums of spikes."""
        return int(self.steps.right.argmax()) + 1

    def _reached(self, below: float, by_potential: bool) -> NDArray[np.bool_]:
        right = self.steps.right_by_potential if by_potential else self.steps.right
        reached: NDArray[np.bool_] = right >= self.steps.analog_right - below / 100 * self.steps.items - 1e-9
        return reached

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each time step."""
        names = ("accuracy", "accuracy_by_potential", "events", "likeness")
        likeness = self.steps.likeness / self.steps.items
        columns = zip(self.accuracy, self.accuracy_by_potential, self.events, likeness, strict=True)
        texts = ([f"{value:.6g}" for value in row] for row in columns)
        return [{"step": t} | dict(zip(names, row, strict=True)) for t, row in enumerate(texts, 1)]

    def summary(self, tolerances: Sequence[float] = TOLERANCES) -> dict[str, Any]:
        """What the paper's Table III has of it, by each definition of latency, and what tolerances ask for (Figs. 4 and 5)."""
        found: dict[str, Any] = {"network": self.name, "items": self.steps.items, "steps": len(self.accuracy)}
        found |= {"analog": self.analog, "suppressed": 100 * self.steps.suppressed_right / self.steps.items}
        found |= {"accuracy": self.accuracy[-1], "by_potential": self.accuracy_by_potential[-1]}
        best = self.best
        found |= {"best": self.accuracy[best - 1], "best_step": best, "best_events": self.events[best - 1]}
        for kind, by_potential in (("", False), ("_by_potential", True)):
            found |= {
                f"first{kind}": self.first(0, by_potential),
                f"settled{kind}": self.settled(0, by_potential),
                f"nearly{kind}": self.first(NEARLY, by_potential),
            }
        for tolerance in tolerances:
            step = self.first(tolerance)
            found[f"steps_{tolerance:g}"] = step
            found[f"events_{tolerance:g}"] = None if step is None else self.events[step - 1]
        return found


HEAD = (
    "| network | steps | ANN (%) | SNN (%) | by potential (%) | best (%) | its first step | events there | first | settled | "
    "within 0.02 % | events at first | events at the end | likeness |\n|---|" + "---:|" * 13 + "\n"
)


def table(reports: Sequence[CourseReport], tolerances: Sequence[float] = TOLERANCES) -> str:
    """Table III in Markdown, and how much earlier and at fewer events the last network is there than the others (Table IV)."""
    lines, summaries = [HEAD], [report.summary(tolerances) for report in reports]
    for report, found in zip(reports, summaries, strict=True):
        at, likeness = found["first"], report.steps.likeness[-1] / report.steps.items
        shown = [f"{value:.2f}" for value in (report.analog, found["accuracy"], found["by_potential"], found["best"])]
        cells = [report.name, found["steps"], *shown, found["best_step"], f"{found['best_events']:,.0f}"]
        cells += [_shown(found[name]) for name in ("first", "settled", "nearly")]
        cells += ["-" if at is None else f"{report.events[at - 1]:,.0f}", f"{report.events[-1]:,.0f}", f"{likeness:.4f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    steps = reports[0].steps
    suppressed = f" The ANN without negative activations has {summaries[0]['suppressed']:.2f} %."
    lines.append(
        f"\nOf {steps.items} test items. Best: the highest accuracy of the run, by the sums of the last layer's spikes, or by "
        "its potential where it does not fire. First: the first time step at which the accuracy is that of the ANN or more; "
        "settled: the one from which on it stays there; within 0.02 %: the first at which no more is missing. Events: mean "
        "number of non-zero spikes of an item, of all layers, whatever their coefficient; the input has none. Likeness: mean "
        "cosine between these sums and the ANN's outputs at the end."
        f"{'' if steps.suppressed_right == steps.analog_right else suppressed}\n"
    )
    if len(reports) > 1:
        lines.append(_compared(summaries, shares(reports), tolerances))
    return "".join(lines)


def shares(reports: Sequence[CourseReport]) -> list[float]:
    """Accuracy at the end over that of the last network (the paper's Fig. 7), nan where that has none."""
    ends, last = [int(report.steps.right[-1]) for report in reports], int(reports[-1].steps.right[-1])
    return [end / last if last else math.nan for end in ends]


def _compared(summaries: Sequence[dict[str, Any]], ends: Sequence[float], tolerances: Sequence[float]) -> str:
    """The others over the last network: latency and events at the first step within each tolerance, accuracy at the end."""
    *others, base = summaries
    losses = " | ".join(f"loss at most {tolerance:g} %" for tolerance in tolerances)
    lines = [f"\n| over {base['network']} | {losses} | at the end |\n"]
    lines.append("|---|" + "---:|" * (len(tolerances) + 1) + "\n")
    for found, end in zip(others, ends, strict=False):  # that of the last one is 1
        for what in ("steps", "events"):
            cells = []
            for tolerance in tolerances:
                own, least = (of[f"{what}_{tolerance:g}"] for of in (found, base))
                cells.append("-" if own is None or least is None or not least else f"{own / least:.1f}x")
            lines.append(f"| {what} of {found['network']} | " + " | ".join(cells) + " | |\n")
        lines.append(f"| accuracy of {found['network']} | " + "| " * len(tolerances) + f"{end:.4f} |\n")
    return "".join(lines)


def _shown(value: int | None) -> str:
    return "-" if value is None else str(value)


def write_tables(reports: Sequence[CourseReport], folder: Path, tolerances: Sequence[float] = TOLERANCES) -> None:
    """Write `NAME.csv` of each network and `course.csv` and `course.md` of all; see `separator.tasks.courses.course.follow`."""
    for report in reports:
        write_csv(folder / f"{report.name}.csv", report.rows)
    of_all = zip(reports, shares(reports), strict=True)
    write_csv(folder / f"{SUMMARY}.csv", [report.summary(tolerances) | {"share": share} for report, share in of_all])
    write_text(folder / f"{SUMMARY}.md", table(reports, tolerances))
