"""The report of an evaluation, for people and for programs."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from separator.metrics.breakdown import SWAPS, Counts, breakdown_table, swaps_table
from separator.metrics.table import Summary, differences_table, markdown_table
from separator.tasks.evaluation.mixtures.operations import operations_markdown
from separator.tasks.evaluation.mixtures.overview import TIMED, overview_table
from separator.tasks.evaluation.mixtures.pitch_picture import draw_pitch_picture
from separator.tasks.evaluation.mixtures.spiking import SPIKES_PICTURE, spiking_rows, spiking_table
from separator.tasks.evaluation.mixtures.systems import UNPROCESSED

TABLES = (
    ("SI-SDR and PESQ (the layout of the paper's Table 4)", ("si-sdr", "pesq")),
    ("Other metrics", ("si-sdri", "sdr", "stoi")),
)
PICTURE = "pitch.png"  # beside the tables
BREAKDOWN = """## Where separation fails

SI-SDRi (dB) by the genders of the talkers, and by the difference of their mean pitches in semitones, with 95 % confidence
intervals:

"""
SWAPPED = """
The oracle chooses every 125 ms which estimate belongs to which talker, so what it adds is what swaps of the talkers cost:

"""
SWAPPED_APART = """
Cost of swaps (dB) by genders and pitch:

"""


@dataclass(frozen=True)
class Report:
    """Results of an evaluation; every mean is over its own mixtures alone."""

    summary: Summary
    differences: Summary  # each system minus the first one
    swaps: Summary  # what the oracle for who is who adds to SI-SDRi
    mixtures: Counts  # in each group
    operations: dict[str, dict[str, dict[str, Any]]]  # condition -> spiking system -> operations report
    notes: tuple[str, ...]  # subsets, what is unknown, and failures, one line each
    metrics: tuple[str, ...]
    twins: Mapping[str, str] = field(default_factory=dict)  # of spiking systems, the analog ones they are compared with
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of models, what tells their networks from others
    speeds: Mapping[str, float] = field(default_factory=dict)  # real-time factors of the models that were timed
    threads: int = 1  # with which they were

    @cached_property
    def spiking(self) -> list[dict[str, Any]]:
        """A row for each condition and system: what it separates, and what its spikes cost if it has any."""
        return spiking_rows(self.summary, self.differences, self.operations, self.twins)

    def to_json(self) -> str:
        """Everything, for programs; numbers that do not exist are null."""
        values = {
            "metrics": self.metrics,
            "summary": _plain(self.summary),
            "differences": _plain(self.differences),
            "swaps": _plain(self.swaps),
            "mixtures": self.mixtures,
            "operations": self.operations,
            "spiking": [{name: _finite(value) for name, value in row.items()} for row in self.spiking],
            "networks": self.networks,
            "real_time_factors": {"threads": self.threads, "systems": self.speeds} if self.speeds else {},
            "notes": self.notes,
        }
        return json.dumps(values, indent=1, allow_nan=False) + "\n"

    def to_markdown(self) -> str:
        """Tables for people."""
        parts = ["# Scores\n\n", *(f"- {note}\n" for note in self.notes), "\n" if self.notes else "", self._overview(), "\n"]
        for title, columns in TABLES:
            if metrics := [metric for metric in columns if metric in self.metrics]:
                parts += [f"## {title}\n\n", markdown_table(self.summary, metrics), "\n"]
        parts += [self._breakdown(), "\n"]
        if self.differences:
            parts += ["## Differences between systems\n\n", differences_table(self.differences, self.metrics), "\n"]
        if self.operations:
            parts += ["## Spikes\n\n", spiking_table(self.spiking), f"\n![SI-SDRi against operations]({SPIKES_PICTURE})\n\n"]
            parts.append("## Operations and energy\n\n")
        for condition, systems in self.operations.items():
            for system, report in systems.items():
                parts += [operations_markdown(f"{system} ({condition})", report), "\n"]
        return "".join(parts).rstrip("\n") + "\n"

    def draw(self, path: Path) -> None:
        """Draw SI-SDRi against the difference of the pitches.

        Raises:
            UserError: the file cannot be written.
        """
        draw_pitch_picture(path, _separating(self.summary), self.mixtures)

    def _overview(self) -> str:
        table = overview_table(self.summary, self.metrics, self.operations, self.twins, self.speeds)
        timed = TIMED.format(threads=self.threads, s="s" * (self.threads > 1)) if self.speeds else ""
        return f"## At a glance\n\n{table}{timed}"

    def _breakdown(self) -> str:
        summary, swaps = _separating(self.summary), _separating(self.swaps)
        return "".join(
            (
                BREAKDOWN,
                breakdown_table(summary, self.mixtures, "si-sdri"),
                f"\n![SI-SDRi by difference of pitch]({PICTURE})\n",
                SWAPPED,
                swaps_table(summary, swaps),
                SWAPPED_APART,
                breakdown_table(swaps, self.mixtures, SWAPS),
            )
        )


def _separating(summary: Summary) -> Summary:
    """The summary without the unprocessed mixture, which improves nothing anywhere, unless there is nothing else."""
    return {
        condition: {name: cells for name, cells in rows.items() if name != UNPROCESSED or len(rows) == 1}
        for condition, rows in summary.items()
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return {name: _finite(number) for name, number in asdict(value).items()}
