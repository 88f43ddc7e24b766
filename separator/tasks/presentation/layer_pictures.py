"""Pictures of a conversion: its layers, its epochs, and the activations it started from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from separator.snn.observe.distribution import Distribution
from separator.snn.observe.report import LayerReport, Noted
from separator.tasks.presentation.layer_tables import PERCENTILES, SHARES, progress_rows, score_column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = 100  # that the neurons of a layer are drawn in
LOSSES = {"loss_before": "before", "loss_converted": "converted", "loss_tuned": "tuned"}


def layers_figure(reports: Sequence[LayerReport]) -> "Figure":
    """Losses, and agreement of spikes with activations, over the layers."""
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, layers = figure.subplots(1, 2)
    index = range(len(reports))
    for name, label in LOSSES.items():
        losses.plot(index, [getattr(report, name) for report in reports], "o-", label=label)
    losses.set(xlabel="layer", ylabel="loss on dev batches", title="Where conversion hurts, and what tuning mends")
    firing = {number: report for number, report in enumerate(reports) if report.agreement}
    for name in SHARES:
        layers.plot(list(firing), [report.agreement.get(name, np.nan) for report in firing.values()], "o-", label=name)
    layers.set(xlabel="layer", title="Spike count times threshold against activation", ylim=(0, 1.02))
    for axes in (losses, layers):
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        axes.set_xticks(index)
    return figure


def progress_figure(history: Sequence[Noted], score: str = "score") -> "Figure":
    """Scores, or where none are the loss, over the epochs of all layers, every other layer shaded (Wu et al. 2021, Fig. 5).

    Args:
        history: of a conversion, at least one epoch.
        score: name and scale of the scores, such as `accuracy (%)`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    rows = progress_rows(history, score)
    curves = {score_column(name, score): name for name in history[0].scores} or {"dev_loss": "dev"}
    for column, name in curves.items():
        axes.plot([row["epoch"] for row in rows], [row[column] for row in rows], ".-", label=name)
    starts = [row["epoch"] for row in rows if row["layer_epoch"] == 0]
    for left, right in zip(starts[1::2], [*starts, rows[-1]["epoch"]][2::2], strict=False):
        axes.axvspan(left, right, color="grey", alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", ylabel=score if history[0].scores else "loss", title="Conversion, layer by layer")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def activations_figure(distributions: Sequence[Distribution]) -> "Figure":
    """Number of neurons against activation, a line for each layer, its first percentile dotted (Wu et al. 2021, Fig. 1)."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, d in enumerate(distributions):
        colour = colormaps["viridis"](i / max(1, len(distributions) - 1))
        edges = np.linspace(0, d.largest or 1.0, BARS + 1)
        axes.stairs(d.counts.view(BARS, -1).sum(1).numpy(), edges, color=colour, label=f"layer {d.layer}")
        axes.axvline(d.percentile(PERCENTILES[0]), color=colour, linestyle=":")
    axes.set_yscale("log")
    title = f"Activations of the analog network; dotted: percentile {PERCENTILES[0]:g}"
    axes.set(xlabel="activation", ylabel="neurons", title=title)
    axes.legend(fontsize="small", ncols=2 if len(distributions) > 12 else 1)
    axes.grid(alpha=0.3)
    return figure
