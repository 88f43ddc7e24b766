"""What conversion did to each layer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.signal import Signal
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.spikes.trains import Spikes


@dataclass(frozen=True)
class LayerReport:
    """One layer of a conversion: losses on the dev batches, and how well spikes stand for activations."""

    index: int
    role: str
    loss_before: float  # this layer still analog, the ones before it spiking
    loss_converted: float
    loss_tuned: float
    epochs: int
    threshold: list[float]
    agreement: dict[str, float]  # see `agreement`; empty for the readout
    seconds: float = 0.0
    turn: int = 0  # of the passes over the layers


@dataclass(frozen=True)
class Noted:
    """What a conversion had come to after an epoch."""

    layer: int  # counted on through the passes
    epoch: int | None  # of the layer; 0 where it has just been converted, None before that
    loss: float  # on the dev batches
    scores: dict[str, float]  # by the name of the batches that they are of


@torch.no_grad()
def agreement(twin: AnalogLayer, spiking: SpikingLayer, signals: Iterable[tuple[Signal, Signal | None]]) -> dict[str, float]:
    """Compare spike counts times threshold with the analog twin's activations on the same input.

    Args:
        twin: the analog layer.
        spiking: the layer.
        signals: what it sees, and what its shortcut sees if that is something else.

    Returns:
        rate: mean spikes per neuron and time step;
        silent, saturated: shares of neurons that never fire, or fire at every step, on an input;
        correlation: Pearson's, over all neurons;
        error: root mean square difference over the root mean square activation.
    """
    if spiking.role == "readout":
        return {}
    n = fired_sum = silent = saturated = 0.0
    moments = torch.zeros(5, dtype=torch.float64)  # sums of a, b, aa, bb, ab for activation a and spiking b
    low, high = spiking.neuron.limits(spiking.window)
    for signal, beside in signals:
        incoming = signal.activation if signal.spikes is None else signal.spikes
        spikes = spiking.run(incoming, None if beside is None else beside.spikes)
        assert isinstance(spikes, Spikes)
        counts = spikes.events
        a = twin(signal.activation, None if beside is None else beside.activation).double()
        b = spiking.activation(spikes).double()
        n += counts.numel()
        fired_sum += float(counts.sum(dtype=torch.float64))
        silent += float((counts == 0).sum())
        saturated += float(((spikes.values == high) | ((spikes.values == low) & (low != 0))).sum())
        moments += torch.stack([a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()]).cpu()
    a_mean, b_mean, aa, bb, ab = (moments / n).tolist()
    spread = ((aa - a_mean**2) * (bb - b_mean**2)) ** 0.5
    return {
        "rate": fired_sum / n / spiking.window,
        "silent": silent / n,
        "saturated": saturated / n,
        "correlation": (ab - a_mean * b_mean) / spread if spread > 0 else 0.0,
        "error": (max(0.0, aa - 2 * ab + bb) / aa) ** 0.5 if aa > 0 else 0.0,
    }


COLUMNS = ("rate", "silent", "saturated", "correlation", "error")


def to_markdown(reports: Sequence[LayerReport]) -> str:
    """A table with one row per layer."""
    head = "| layer | role | threshold | " + " | ".join(COLUMNS) + " | loss before | converted | tuned | epochs | seconds |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for report in reports:
        low, high = min(report.threshold), max(report.threshold)
        threshold = "-" if report.role == "readout" else f"{low:.4f}" if low == high else f"{low:.4f}..{high:.4f}"
        shares = [f"{report.agreement[name]:.3f}" if report.agreement else "-" for name in COLUMNS]
        losses = [f"{loss:.4f}" for loss in (report.loss_before, report.loss_converted, report.loss_tuned)]
        layer = f"{report.index} again" if report.turn else report.index
        cells = [layer, report.role, threshold, *shares, *losses, report.epochs, f"{report.seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def plot(reports: Sequence[LayerReport], path: Any) -> None:
    """Losses and agreement over the layers, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, layers = figure.subplots(1, 2)
    index = range(len(reports))
    for name, label in (("loss_before", "before"), ("loss_converted", "converted"), ("loss_tuned", "tuned")):
        losses.plot(index, [getattr(report, name) for report in reports], "o-", label=label)
    losses.set(xlabel="layer", ylabel="loss on dev batches", title="Where conversion hurts, and what tuning mends")
    firing = {number: report for number, report in enumerate(reports) if report.agreement}
    for name in COLUMNS:
        layers.plot(list(firing), [report.agreement[name] for report in firing.values()], "o-", label=name)
    layers.set(xlabel="layer", title="Spike count times threshold against activation", ylim=(0, 1.02))
    for axes in (losses, layers):
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        axes.set_xticks(index)
    figure.savefig(path, dpi=120)


def progress_rows(history: Sequence[Noted], score: str = "score") -> list[dict[str, Any]]:
    """A row for each epoch, counted on through the layers; scores in columns named after what a `score` is, its scale left out.

    Of `accuracy (%)` on subset `dev`, the column is `dev_accuracy`.
    """
    rows, done = [], 0
    for noted in history:
        done += bool(noted.epoch)
        layer_epoch = "" if noted.epoch is None else noted.epoch
        row = {"epoch": done, "layer": noted.layer, "layer_epoch": layer_epoch, "dev_loss": noted.loss}
        rows.append(row | {_column(name, score): value for name, value in noted.scores.items()})
    return rows


def _column(subset: str, score: str) -> str:
    return "_".join([subset, *score.partition(" (")[0].split()])


def plot_progress(history: Sequence[Noted], path: Any, score: str = "score") -> None:
    """Scores, or where none are the loss, over the epochs of all layers, every other layer shaded (the paper's Fig. 5).

    Args:
        history: of a conversion, at least one epoch.
        path: of the picture.
        score: what a score is.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    rows = progress_rows(history, score)
    curves = {_column(name, score): name for name in history[0].scores} or {"dev_loss": "dev"}
    for column, name in curves.items():
        axes.plot([row["epoch"] for row in rows], [row[column] for row in rows], ".-", label=name)
    starts = [row["epoch"] for row in rows if row["layer_epoch"] == 0]
    for left, right in zip(starts[1::2], [*starts, rows[-1]["epoch"]][2::2], strict=False):
        axes.axvspan(left, right, color="grey", alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", ylabel=score if history[0].scores else "loss", title="Conversion, layer by layer")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, format="png")
