"""What conversion did to each stage."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from separator.snn.spiking import SpikingStage
from separator.snn.stage import Stage
from separator.snn.tandem import Signal


@dataclass(frozen=True)
class StageReport:
    """One stage of a conversion: losses on the dev batches, and how well spikes stand for activations."""

    index: int
    role: str
    loss_before: float  # this stage still analog, the ones before it spiking
    loss_converted: float
    loss_tuned: float
    epochs: int
    threshold: list[float]
    agreement: dict[str, float]  # see `agreement`; empty for the readout
    seconds: float = 0.0


@torch.no_grad()
def agreement(twin: Stage, spiking: SpikingStage, signals: Iterable[Signal]) -> dict[str, float]:
    """Compare spike counts times threshold with the analog twin's activations on the same input.

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
    for signal in signals:
        spikes = spiking.encode(signal.activation) if signal.spikes is None else spiking.fire(signal.spikes)
        counts = spikes.counts
        a = twin(signal.activation).double()
        b = spiking.activation(spikes).double()
        n += counts.numel()
        fired_sum += float(counts.sum(dtype=torch.float64))
        silent += float((counts == 0).sum())
        saturated += float((counts == spiking.window).sum())
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


def to_markdown(reports: Sequence[StageReport]) -> str:
    """A table with one row per stage."""
    head = "| stage | role | threshold | " + " | ".join(COLUMNS) + " | loss before | converted | tuned | epochs | seconds |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for report in reports:
        low, high = min(report.threshold), max(report.threshold)
        threshold = "-" if report.role == "readout" else f"{low:.4f}" if low == high else f"{low:.4f}..{high:.4f}"
        shares = [f"{report.agreement[name]:.3f}" if report.agreement else "-" for name in COLUMNS]
        losses = [f"{loss:.4f}" for loss in (report.loss_before, report.loss_converted, report.loss_tuned)]
        cells = [report.index, report.role, threshold, *shares, *losses, report.epochs, f"{report.seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def plot(reports: Sequence[StageReport], path: Any) -> None:
    """Losses and agreement over the stages, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, layers = figure.subplots(1, 2)
    index = [report.index for report in reports]
    for name, label in (("loss_before", "before"), ("loss_converted", "converted"), ("loss_tuned", "tuned")):
        losses.plot(index, [getattr(report, name) for report in reports], "o-", label=label)
    losses.set(xlabel="stage", ylabel="loss on dev batches", title="Where conversion hurts, and what tuning mends")
    firing = [report for report in reports if report.agreement]
    for name in COLUMNS:
        layers.plot([r.index for r in firing], [r.agreement[name] for r in firing], "o-", label=name)
    layers.set(xlabel="stage", title="Spike count times threshold against activation", ylim=(0, 1.02))
    for axes in (losses, layers):
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
        axes.set_xticks(index)
    figure.savefig(path, dpi=120)
