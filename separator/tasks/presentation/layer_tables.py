"""Tables of a conversion: its layers, its epochs, and the activations it started from."""

from collections.abc import Iterable, Sequence
from typing import Any

from separator.snn.observe.distribution import Distribution
from separator.snn.observe.report import LayerReport, Noted

SHARES = ("rate", "negative", "silent", "saturated", "below", "correlation", "error")  # measures of `agreement` up to 1
AGREEMENT = (  # measures of `agreement`; a conversion that was begun earlier may lack some
    *("rate", "negative", "coefficient", "highest", "largest", "silent", "saturated", "below", "correlation", "error"),
)
PERCENTILES = (99.0, 99.9)  # the bounds of Wu et al. 2021


def activation_rows(distributions: Iterable[Distribution]) -> list[dict[str, Any]]:
    """A row for each layer: how many neurons there were, how many of them silent, and where the bounds lie."""
    return [
        {"layer": d.layer, "neurons": int(d.counts.sum()), "silent": f"{d.silent:.4f}"}
        | {f"percentile {p:g}": f"{d.percentile(p):.6g}" for p in PERCENTILES}
        | {"largest": f"{d.largest:.6g}"}
        for d in distributions
    ]


def layer_table(reports: Sequence[LayerReport]) -> str:
    """A row for each layer, as a Markdown table."""
    head = "| layer | role | threshold | " + " | ".join(AGREEMENT) + " | loss before | converted | tuned | epochs | seconds |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for report in reports:
        low, high = min(report.threshold), max(report.threshold)
        threshold = "-" if report.role == "readout" else f"{low:.4f}" if low == high else f"{low:.4f}..{high:.4f}"
        shares = [f"{report.agreement[name]:.3f}" if name in report.agreement else "-" for name in AGREEMENT]
        losses = [f"{loss:.4f}" for loss in (report.loss_before, report.loss_converted, report.loss_tuned)]
        layer = f"{report.index} again" if report.turn else report.index
        cells = [layer, report.role, threshold, *shares, *losses, report.epochs, f"{report.seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def progress_rows(history: Sequence[Noted], score: str = "score") -> list[dict[str, Any]]:
    """A row for each epoch, counted on through the layers; scores in columns named after what a `score` is, its scale left out.

    Of `accuracy (%)` on subset `dev`, the column is `dev_accuracy`.
    """
    rows, done = [], 0
    for noted in history:
        done += bool(noted.epoch)
        layer_epoch = "" if noted.epoch is None else noted.epoch
        row = {"epoch": done, "layer": noted.layer, "layer_epoch": layer_epoch, "dev_loss": noted.loss}
        rows.append(row | {score_column(name, score): value for name, value in noted.scores.items()})
    return rows


def score_column(subset: str, score: str) -> str:
    """Name of the column of a score on a subset, without its scale."""
    return "_".join([subset, *score.partition(" (")[0].split()])
