"""SI-SDRi against the difference of the talkers' pitches, as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from separator.metrics.breakdown import Counts
from separator.metrics.groups import BANDS
from separator.metrics.table import Summary
from separator.tasks.pictures import write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPREAD = 0.06  # between the points of two systems in one band, which is 1 wide


def draw_pitch_picture(path: Path, summary: Summary, counts: Counts) -> None:
    """Write `pitch_figure` to a file.

    Args:
        path: picture file; its suffix chooses the format.
        summary: as `summarise` gives it.
        counts: mixtures in each group.

    Raises:
        UserError: the file cannot be written.
    """
    figure = pitch_figure(summary, counts)
    write_picture(path, figure)


def pitch_figure(summary: Summary, counts: Counts) -> "Figure":
    """A panel for each condition and a line for each system: mean SI-SDRi in each band of pitch, with 95 % intervals.

    A condition in which no pitch is known has a panel that says so.
    """
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1 + 4 * len(summary), 4), layout="constrained")
    panels = figure.subplots(1, len(summary), sharey=True, squeeze=False)[0]
    for axes, (condition, rows) in zip(panels, summary.items(), strict=True):
        _label(axes, condition, counts[condition])
        for number, (system, cells) in enumerate(rows.items()):
            shift = (number - (len(rows) - 1) / 2) * SPREAD
            points = [(place + shift, cells[band]["si-sdri"]) for place, band in enumerate(BANDS) if band in cells]
            axes.errorbar(
                [place for place, _ in points],
                [value.mean for _, value in points],
                yerr=[value.error for _, value in points],
                fmt="o-",
                markersize=4,
                capsize=3,
                color=f"C{number % 10}",
                label=system,
            )
    figure.supxlabel("difference of mean pitch in semitones (number of mixtures)", fontsize="medium")
    panels[0].set_ylabel("SI-SDRi (dB), mean and 95 % interval")
    panels[0].legend(fontsize="small")
    return figure


def _label(axes: "Axes", condition: str, mixtures: dict[str, int]) -> None:
    names = [f"{band.removeprefix('pitch ')}\n({mixtures.get(band, 0)})" for band in BANDS]
    axes.set(title=condition, xlim=(-0.5, len(BANDS) - 0.5))
    axes.set_xticks(range(len(BANDS)), names)
    axes.grid(alpha=0.3)
    axes.axhline(0, color="black", linewidth=0.8)
    if not any(band in mixtures for band in BANDS):
        axes.text(0.5, 0.5, "no pitch could be measured", transform=axes.transAxes, ha="center")
