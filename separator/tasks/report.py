"""The report of an evaluation, for people and for programs."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from separator.metrics.table import Summary, differences_table, markdown_table
from separator.tasks.operations import operations_markdown

TABLES = (
    ("SI-SDR and PESQ (the layout of the paper's Table 4)", ("si-sdr", "pesq")),
    ("Other metrics", ("si-sdri", "sdr", "stoi")),
)


@dataclass(frozen=True)
class Report:
    """What an evaluation found; every mean is over its own mixtures alone."""

    summary: Summary
    differences: Summary  # each system minus the first one
    operations: dict[str, dict[str, dict[str, Any]]]  # condition -> spiking system -> operations report
    notes: tuple[str, ...]  # subsets and failures, one line each
    metrics: tuple[str, ...]

    def to_json(self) -> str:
        """Everything, for programs; numbers that do not exist are null."""
        values = {
            "metrics": self.metrics,
            "summary": _plain(self.summary),
            "differences": _plain(self.differences),
            "operations": self.operations,
            "notes": self.notes,
        }
        return json.dumps(values, indent=1, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Tables for people."""
        parts = ["# Scores\n\n", *(f"- {note}\n" for note in self.notes), "\n" if self.notes else ""]
        for title, columns in TABLES:
            if metrics := [metric for metric in columns if metric in self.metrics]:
                parts += [f"## {title}\n\n", markdown_table(self.summary, metrics), "\n"]
        if self.differences:
            parts += ["## Differences between systems\n\n", differences_table(self.differences, self.metrics), "\n"]
        if self.operations:
            parts.append("## Operations and energy\n\n")
        for condition, systems in self.operations.items():
            for system, report in systems.items():
                parts += [operations_markdown(f"{system} ({condition})", report), "\n"]
        return "".join(parts).rstrip("\n") + "\n"


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {name: number if math.isfinite(number) else None for name, number in asdict(value).items()}
