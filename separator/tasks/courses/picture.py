"""Picture of courses: errors against time steps and events, likeness to the analog network, what tolerances save."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from separator.tasks.courses.report import TOLERANCES, CourseReport, shares
from separator.tasks.pictures import write_picture

LABELS = (
    ("time steps", "error (%), by potential dotted"),
    ("events of an item", "error (%)"),
    ("time steps", "cosine with the ANN's outputs"),
    ("accepted loss of accuracy (%)", "time steps needed"),
    ("accepted loss of accuracy (%)", "events of an item needed"),
    ("network", "accuracy at the end over the last one's"),
)


def draw(reports: Sequence[CourseReport], path: Path, tolerances: Sequence[float] = TOLERANCES) -> None:
    """Draw the figures of Yu et al. 2021: 2, 3 and 6, then 4, 5 and 7; where there is one network, 7 stays empty."""
    from matplotlib.figure import Figure

    figure = Figure((16, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    by_step, by_events, likeness, steps_needed, events_needed, accuracies = axes.flat
    for report in reports:
        steps, error = np.arange(1, len(report.accuracy) + 1), 100 - report.accuracy
        (line,) = by_step.plot(steps, error, label=report.name)
        color = line.get_color()
        by_step.plot(steps, 100 - report.accuracy_by_potential, ":", color=color)
        by_events.plot(np.maximum(report.events, 1), error, color=color)
        likeness.plot(steps, report.steps.likeness / report.steps.items, color=color)
        reached = [(tolerance, step) for tolerance in sorted(tolerances) if (step := report.first(tolerance)) is not None]
        losses, needed = [tolerance for tolerance, _ in reached], [step for _, step in reached]
        steps_needed.plot(losses, needed, "o-", color=color)
        events_needed.plot(losses, [max(report.events[step - 1], 1) for step in needed], "o-", color=color)
        for own in (by_step, by_events):
            own.axhline(100 - report.analog, color=color, lw=0.5, ls="--")
    found = shares(reports)
    if len(reports) > 1 and not math.isnan(found[-1]):
        accuracies.plot([report.name for report in reports], found, "o-", color="black")
        accuracies.set_ylim(min(0.99, 0.99 * min(found)), max(1.01, 1.01 * max(found)))
        accuracies.tick_params("x", rotation=30)
    for own, (across, up) in zip(axes.flat, LABELS, strict=True):
        own.set_xlabel(across)
        own.set_ylabel(up)
        own.grid(alpha=0.3)
    for own in (by_step, by_events, likeness):
        own.set_xscale("log")
    for own in (by_step, by_events, steps_needed, events_needed):
        own.set_yscale("log")
    figure.legend(*by_step.get_legend_handles_labels(), loc="outside upper center", ncols=8, fontsize="small")
    write_picture(path, figure)
