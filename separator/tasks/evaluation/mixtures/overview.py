"""All systems of an evaluation at a glance: how well they separate, how fast, and by how many operations."""

from collections.abc import Mapping, Sequence
from typing import Any

from separator.metrics.breakdown import with_error
from separator.metrics.groups import BANDS
from separator.metrics.table import METRICS, OVERALL, Summary

BESIDE = ("pesq", "stoi")  # metrics that stand beside SI-SDRi, where they were measured
COSTS = ("Real-time factor", "M operations/s", "M MACs/s")
EXPLAINED = """
SI-SDRi in dB, overall and by the difference of the talkers' mean pitches in semitones; 95 % confidence intervals. Operations
are additions of a weight that spikes cause; multiply-accumulates (MACs) of a spiking network are those that stay in floating
point. They are counted where a spiking network is scored: of an analog network, in the one that was converted from it.
"""
TIMED = """
A real-time factor is the time that separating takes over the length of the sound, 60 s of noise, on {threads} CPU thread{s}.
"""


def overview_table(
    summary: Summary,
    metrics: Sequence[str],
    operations: Mapping[str, Mapping[str, Mapping[str, Any]]],
    twins: Mapping[str, str],
    speeds: Mapping[str, float],
) -> str:
    """A Markdown table with a row for each condition and system.

    Args:
        summary: scores of the systems.
        metrics: that were measured.
        operations: operations reports, by condition and spiking system.
        twins: of spiking systems, the analog ones they were converted from.
        speeds: real-time factors, of the systems that have any.
    """
    found = {group for rows in summary.values() for cells in rows.values() for group in cells}
    bands = [band for band in BANDS if band in found]
    beside = [metric for metric in BESIDE if metric in metrics]
    heads = ["Condition", "System", "SI-SDRi", *bands, *(METRICS[metric].title for metric in beside), *COSTS]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for condition, systems in summary.items():
        costs = _costs(operations.get(condition, {}), twins)
        for system, cells in systems.items():
            values = [
                *(with_error(cells.get(group, {}).get("si-sdri")) for group in (OVERALL, *bands)),
                *(with_error(cells[OVERALL].get(metric), METRICS[metric].decimals) for metric in beside),
                f"{speeds[system]:.4f}" if system in speeds else "-",
                *costs.get(system, ("-", "-")),
            ]
            lines.append("| " + " | ".join([condition.capitalize(), system, *values]) + " |")
    return "\n".join(lines) + "\n" + EXPLAINED


def _costs(operations: Mapping[str, Mapping[str, Any]], twins: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Synaptic operations and multiply-accumulates of a second of sound, in millions, of the systems that they are known of."""
    mega = 1e-6
    costs: dict[str, tuple[str, str]] = {}
    for system, report in operations.items():
        left, replaced = report["float_macs_per_second"], report["replaced_macs_per_second"]
        costs[system] = (f"{report['synaptic_operations_per_second'] * mega:.1f}", f"{left * mega:.1f}")
        if system in twins:
            costs[twins[system]] = ("-", f"{(left + replaced) * mega:.1f}")
    return costs
