"""Tables of where separation fails: scores by the talkers' genders and pitches, and the cost of swaps of the talkers."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from separator.metrics.groups import BANDS
from separator.metrics.table import GROUPS, METRICS, OVERALL, Score, Statistic, Summary, summarise

SWAPS = "swaps"
Counts = dict[str, dict[str, int]]  # condition -> group -> mixtures


def swap_costs(scores: Iterable[Score]) -> Summary:
    """SI-SDRi that swaps cost: that with the oracle minus that without, source by source, as the metric "swaps"."""
    return summarise(
        replace(score, values={SWAPS: score.values["oracle-si-sdri"] - score.values["si-sdri"]}) for score in scores
    )


def count_mixtures(scores: Iterable[Score]) -> Counts:
    """Number of different mixtures of each condition in each group, and overall."""
    mixtures: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for score in scores:
        for group in (*score.groups, OVERALL):
            mixtures[score.condition][group].add(score.mixture)
    return {condition: {group: len(ids) for group, ids in groups.items()} for condition, groups in mixtures.items()}


def breakdown_table(summary: Summary, counts: Counts, metric: str) -> str:
    """One metric as a Markdown table with a column for each pair of genders and each band of pitch, in every condition."""
    found = {group for groups in counts.values() for group in groups}
    groups = [*sorted(found - {*GROUPS, *BANDS}), *(band for band in BANDS if band in found), OVERALL]
    heads = ["Condition", "System", *(GROUPS.get(group, group) for group in groups)]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(groups)]
    for condition, rows in summary.items():
        numbers = (str(counts[condition].get(group, 0)) for group in groups)
        lines.append("| " + " | ".join([condition.capitalize(), "(mixtures)", *numbers]) + " |")
        for system, cells in rows.items():
            values = (with_error(cells.get(group, {}).get(metric)) for group in groups)
            lines.append("| " + " | ".join([condition.capitalize(), system, *values]) + " |")
    return "\n".join(lines) + "\n"


def swaps_table(summary: Summary, swaps: Summary) -> str:
    """SI-SDRi over all mixtures without and with the oracle, and their difference, as a Markdown table."""
    heads = ["Condition", "System", METRICS["si-sdri"].title, METRICS["oracle-si-sdri"].title, "Cost of swaps (dB)"]
    lines = ["| " + " | ".join(heads) + " |", "|---|---|---:|---:|---:|"]
    for condition, rows in summary.items():
        for system, cells in rows.items():
            overall: Mapping[str, Statistic] = cells[OVERALL] | swaps[condition][system][OVERALL]
            values = (with_error(overall[metric]) for metric in ("si-sdri", "oracle-si-sdri", SWAPS))
            lines.append("| " + " | ".join([condition.capitalize(), system, *values]) + " |")
    return "\n".join(lines) + "\n"


def with_error(value: Statistic | None, decimals: int = 2) -> str:
    """A mean with its 95 % confidence interval, as printed in a table; `-` where there is none."""
    if value is None or math.isnan(value.mean):
        return "-"
    mean = f"{value.mean:.{decimals}f}"
    return mean if math.isnan(value.error) else f"{mean} ± {value.error:.{decimals}f}"
