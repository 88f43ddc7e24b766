"""Scores put together in the layout of the paper's Table 4 (Wu et al. 2021): condition, system, metric by gender."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from separator.metrics.intervals import mean

OVERALL = "overall"
GROUPS = {"diff": "Diff.", "same": "Same", OVERALL: "Overall"}  # the columns of Table 4


@dataclass(frozen=True)
class Metric:
    """Title and decimals of a metric in tables."""

    title: str
    decimals: int


METRICS = {
    "si-sdr": Metric("SI-SDR (dB)", 2),
    "si-sdri": Metric("SI-SDRi (dB)", 2),
    "oracle-si-sdri": Metric("Oracle SI-SDRi (dB)", 2),
    "sdr": Metric("SDR (dB)", 2),
    "stoi": Metric("STOI", 3),
    "pesq": Metric("PESQ", 2),
}


@dataclass(frozen=True)
class Score:
    """Scores of one system for one source of one mixture; a value that is not finite is a failed measurement."""

    condition: str
    system: str
    mixture: str
    groups: tuple[str, ...]  # that the mixture belongs to, such as "diff", but for that of all mixtures
    values: Mapping[str, float]


@dataclass(frozen=True)
class Statistic:
    """Mean over the sources that could be measured, and how many could not."""

    mean: float  # NaN where nothing could be measured
    error: float  # half width of the 95 % confidence interval of the mean, from the spread between mixtures
    count: int
    failed: int


# condition -> system -> group -> metric
Summary = dict[str, dict[str, dict[str, dict[str, Statistic]]]]


def summarise(scores: Iterable[Score]) -> Summary:
    """Means by condition, system, group and metric, in the order of their first appearance."""
    cells: dict[tuple[str, str, str, str], list[tuple[str, float]]] = defaultdict(list)
    for score in scores:
        for group in (*score.groups, OVERALL):
            for metric, value in score.values.items():
                cells[score.condition, score.system, group, metric].append((score.mixture, value))
    summary: Summary = {}
    for (condition, system, group, metric), values in cells.items():
        groups = summary.setdefault(condition, {}).setdefault(system, {})
        groups.setdefault(group, {})[metric] = statistic(values)
    return summary


def statistic(values: Sequence[tuple[str, float]]) -> Statistic:
    """Statistic of (mixture, value) pairs; sources of one mixture count as one observation for the confidence interval."""
    by_mixture: dict[str, list[float]] = defaultdict(list)
    for mixture, value in values:
        if math.isfinite(value):
            by_mixture[mixture].append(value)
    finite = [value for group in by_mixture.values() for value in group]
    if not finite:
        return Statistic(math.nan, math.nan, 0, len(values))
    error = mean(np.array([np.mean(group) for group in by_mixture.values()])).half
    return Statistic(float(np.mean(finite)), error, len(finite), len(values) - len(finite))


def differences(scores: Sequence[Score], system: str, baseline: str) -> Summary:
    """Differences `system` minus `baseline`, source by source, where both could be measured; as `summarise` gives them.

    Both systems' scores must list the same sources in the same order. The confidence interval is that of the paired
    difference, far narrower than those of the two means.
    """
    pairs = zip(
        (score for score in scores if score.system == system),
        (score for score in scores if score.system == baseline),
        strict=True,
    )
    return summarise(
        Score(a.condition, f"{system} - {baseline}", a.mixture, a.groups, {m: a.values[m] - b.values[m] for m in a.values})
        for a, b in pairs
    )


def markdown_table(summary: Summary, metrics: Sequence[str]) -> str:
    """The summary as a Markdown table: a row per condition and system, three columns (Diff., Same, Overall) per metric."""
    groups = [group for group in GROUPS if any(group in cells for rows in summary.values() for cells in rows.values())]
    heads = ["Condition", "System"]
    heads += [f"{METRICS[metric].title} {GROUPS[group]}" for metric in metrics for group in groups]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for condition, rows in summary.items():
        for system, cells in rows.items():
            values = [
                number(cells.get(group, {}).get(metric), METRICS[metric].decimals) for metric in metrics for group in groups
            ]
            lines.append("| " + " | ".join([condition.capitalize(), system, *values]) + " |")
    return "\n".join(lines) + "\n"


def differences_table(compared: Summary, metrics: Sequence[str]) -> str:
    """Paired differences over all genders with their 95 % confidence intervals, as a Markdown table."""
    heads = ["Condition", "Systems", *(METRICS[metric].title for metric in metrics)]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(metrics)]
    for condition, rows in compared.items():
        for systems, cells in rows.items():
            values = [interval(cells[OVERALL][metric], METRICS[metric].decimals) for metric in metrics]
            lines.append("| " + " | ".join([condition.capitalize(), systems, *values]) + " |")
    return "\n".join([*lines, "", "Means of the differences source by source, with their 95 % confidence intervals."]) + "\n"


def interval(value: Statistic, decimals: int) -> str:
    """A signed mean with its confidence interval; `-` where there is none."""
    return "-" if math.isnan(value.mean) else f"{value.mean:+.{decimals}f} ± {value.error:.{decimals}f}"


def number(value: Statistic | None, decimals: int) -> str:
    """A mean as printed in a table; `-` where there is none."""
    return "-" if value is None or math.isnan(value.mean) else f"{value.mean:.{decimals}f}"


def failures(summary: Summary) -> list[str]:
    """One line for each condition, system and metric with sources that could not be measured."""
    return [
        f"{METRICS[metric].title.split(' (')[0]} of {system} ({condition}): {value.failed} of {value.failed + value.count} "
        "sources could not be measured and are left out of the mean, which is too high where estimates of the system are "
        "silent; differences are of sources that both could be measured on"
        for condition, rows in summary.items()
        for system, cells in rows.items()
        for metric, value in cells.get(OVERALL, {}).items()
        if value.failed
    ]
