"""Spiking systems side by side: what they separate, and what their spikes cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from separator.metrics.breakdown import with_error
from separator.metrics.table import OVERALL, Statistic, Summary, interval
from separator.tasks.evaluation.mixtures.systems import UNPROCESSED
from separator.tasks.pictures import write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPIKES_TABLE, SPIKES_PICTURE = "spikes.csv", "spikes.png"
METRIC, DECIMALS = "si-sdri", 2
MARKERS = "osD^v"  # of ten systems each, which have ten colours
# Of an operations report; there is none of analog systems.
COSTS = (
    "window",
    "latency_steps",
    "spikes_per_second",
    "spikes_per_neuron",
    "synaptic_operations_per_second",
    "synaptic_operations_per_mac",
    "bits_per_spike",
)
HEADS = (
    *("Condition", "System", "Steps", "Steps to the result", "SI-SDRi (dB)", "Against", "Difference (dB)", "M spikes/s"),
    *("Spikes per neuron", "M operations/s", "Operations / MACs", "Bits a spike"),
)
EXPLAINED = """
A spike is what a neuron emits at a time step that is not zero, whatever its sign and coefficient; a neuron is a channel in a
frame, and its spikes are those of all time steps. A synaptic operation is the addition of a weight that one spike causes, times
the spike's coefficient if it has one; MACs are the ANN's multiply-accumulates in the layers that spikes drive. Bits of a spike
are those that say what a neuron fires at a step, silence included. Differences are source by source from the ANN listed before,
with 95 % intervals.
"""


def spiking_rows(
    summary: Summary, differences: Summary, operations: Mapping[str, Mapping[str, Mapping[str, Any]]], twins: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A row for each condition and system but the unprocessed mixture; None where there is nothing to tell.

    Args:
        summary: scores of the systems.
        differences: of pairs of systems, named "A - B".
        operations: operations reports, by condition and spiking system.
        twins: of spiking systems, the analog ones they are compared with.
    """
    rows: list[dict[str, Any]] = []
    for condition, systems in summary.items():
        for system, cells in systems.items():
            if system == UNPROCESSED:
                continue
            twin, costs = twins.get(system), operations.get(condition, {}).get(system, {})
            apart = differences[condition][f"{system} - {twin}"][OVERALL][METRIC] if twin else None
            scores = {"condition": condition, "system": system} | _columns(METRIC, cells[OVERALL][METRIC])
            against = {"against": twin} | _columns("difference", apart)
            rows.append(scores | against | {name: costs.get(name) for name in COSTS})
    return rows


def _columns(name: str, value: Statistic | None) -> dict[str, float | None]:
    return {name: None if value is None else value.mean, f"{name}_error": None if value is None else value.error}


def _statistic(row: Mapping[str, Any], name: str) -> Statistic | None:
    return None if row[name] is None else Statistic(row[name], row[f"{name}_error"], 1, 0)


def spiking_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `spiking_rows` as a Markdown table, and what its columns are."""
    lines = ["| " + " | ".join(HEADS) + " |", "|---|---|" + "---:|" * (len(HEADS) - 2)]
    for row in rows:
        apart, mega = _statistic(row, "difference"), 1e-6
        cells = [
            *(row["condition"].capitalize(), row["system"], _shown(row["window"], "d"), _shown(row["latency_steps"], "d")),
            *(with_error(_statistic(row, METRIC)), row["against"] or "-", interval(apart, DECIMALS) if apart else "-"),
            *(_shown(row["spikes_per_second"], ".2f", mega), _shown(row["spikes_per_neuron"], ".3f")),
            *(_shown(row["synaptic_operations_per_second"], ".1f", mega), _shown(row["synaptic_operations_per_mac"], ".3f")),
            _shown(row["bits_per_spike"], "d"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + EXPLAINED


def _shown(value: float | None, form: str, unit: float | None = None) -> str:
    return "-" if value is None else f"{value if unit is None else value * unit:{form}}"


def draw_spiking(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `spiking_figure` to a file, whose suffix chooses the format.

    Raises:
        UserError: the file cannot be written.
    """
    figure = spiking_figure(rows)
    write_picture(path, figure)


def spiking_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """A panel for each condition: SI-SDRi of spiking systems against their operations, and that of analog ones as lines."""
    # Importing pyplot would choose a screen; a figure by itself draws to files on any machine.
    from matplotlib.figure import Figure

    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    figure = Figure(figsize=(4 + 5 * len(conditions), 4), layout="constrained")
    panels = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
    for axes, condition in zip(panels, conditions, strict=True):
        axes.set(title=condition, xlabel="synaptic operations / MACs of the ANN")
        axes.grid(alpha=0.3)
        _draw(axes, [row for row in rows if row["condition"] == condition])
    panels[0].set_ylabel("SI-SDRi (dB), mean and 95 % interval")
    panels[-1].legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))  # beside, where it hides no interval
    return figure


def _draw(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    for number, row in enumerate(rows):
        colour, marker, cost = f"C{number % 10}", MARKERS[number // 10 % len(MARKERS)], row["synaptic_operations_per_mac"]
        if cost is None:
            axes.axhline(row[METRIC], color=colour, linestyle="--", label=row["system"])
            continue
        bits = row["bits_per_spike"]
        label = f"{row['system']}: {row['window']} steps, {bits} bit{'s' * (bits != 1)}"
        axes.errorbar([cost], [row[METRIC]], yerr=[row[f"{METRIC}_error"]], fmt=marker, capsize=3, color=colour, label=label)
