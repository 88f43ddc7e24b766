"""Results of a sweep over conversions, as a table and as a picture (Wu et al. 2021, Tables 2 and 3, Fig. 6)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from separator.atomic import write_text
from separator.metrics.intervals import Interval, mean
from separator.tasks.journal import Row
from separator.tasks.learning.sweeps.settings import LABELS
from separator.tasks.pictures import write_picture
from separator.tasks.problems.protocol import Score

ANALOG = "ann"  # in place of a value: the network before conversion
COLUMNS = ("score", "epochs", "operations")


@dataclass(frozen=True)
class Swept:
    """Results of a sweep, or of several into the same folder."""

    scored: Score  # what results are given in
    vary: str  # one of `LABELS`
    rows: Sequence[Row]  # of the journal
    last: Sequence[str] = ()  # variants that come behind the others, in this order

    @property
    def variants(self) -> list[str]:
        """All that were converted."""
        found = {row["variant"] for row in self.rows} - {""}
        return [*sorted(found - set(self.last)), *(variant for variant in self.last if variant in found)]

    def runs(self, variant: str) -> dict[str, list[Row]]:
        """Rows of a variant by value, 0 first, then the largest; of the analog networks, by ANALOG."""
        by_value: dict[str, list[Row]] = {}
        for row in self.rows:
            if row["variant"] == variant:
                by_value.setdefault(row[self.vary], []).append(row)
        return dict(sorted(by_value.items(), key=lambda item: -math.inf if item[0] in (ANALOG, "0") else -float(item[0])))


def column(runs: Sequence[Row], name: str) -> Interval | None:
    """Mean of a column over the runs that have it, with its interval; None if none has."""
    values = [float(row[name]) for row in runs if row[name]]
    return mean(np.array(values)) if values else None


def differences(runs: Sequence[Row], base: Sequence[Row]) -> Interval | None:
    """Mean difference of scores from those of `base` with the same seeds, with its interval; None where no seed is in both."""
    scores = {row["seed"]: float(row["score"]) for row in base}
    found = [float(row["score"]) - scores[row["seed"]] for row in runs if row["seed"] in scores]
    return mean(np.array(found)) if found else None


def write_sweep(swept: Swept, folder: Path) -> None:
    """Write the table and the picture of what there is so far."""
    write_text(folder / f"{swept.vary}.md", to_markdown(swept))
    plot(swept, folder / f"{swept.vary}.png")


def to_markdown(swept: Swept) -> str:
    """The table: the ANN, then a row for each variant and value.

    Differences are from the ANN, or where bits of weights are varied from floating point, as in the paper's Table 2, seed by
    seed.
    """
    digits = swept.scored.decimals
    analog, floating = swept.runs(""), swept.vary == "weight_bits" and any(row[swept.vary] == "0" for row in swept.rows)
    against = "against floating point" if floating else "against the ANN"
    head = [LABELS[swept.vary], swept.scored.title, against, "epochs", "synaptic operations / MACs", "runs"]
    lines = [f"| system | {' | '.join(head)} |", "|---|" + "---:|" * len(head)]
    for number, variant in enumerate(swept.variants):
        converted = swept.runs(variant)
        base = converted.get("0", []) if floating else analog.get(ANALOG, [])
        for name, runs in ((analog if number == 0 else {}) | converted).items():
            score, operations, epochs = (column(runs, one) for one in ("score", "operations", "epochs"))
            assert score is not None  # each row has one
            change = None if runs is base else differences(runs, base)
            cells = [
                "ANN" if name == ANALOG else variant,
                "" if name == ANALOG else "float" if swept.vary == "weight_bits" and name == "0" else name,
                _shown(score, "", digits),
                "" if change is None else _shown(change, "+", digits),
                "" if epochs is None else f"{epochs.value:.0f}",
                "" if operations is None else f"{operations.value:.3f}",
                str(len(runs)),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    several = any(len(runs) > 1 for variant in ("", *swept.variants) for runs in swept.runs(variant).values())
    note = "\n± 95 % interval of the mean over networks trained from different seeds; differences are seed by seed.\n"
    return "\n".join(lines) + "\n" + (note if several else "")


def _shown(value: Interval, sign: str, digits: int) -> str:
    spread = "" if math.isnan(value.half) else f" ± {value.half:.{digits}f}"
    return f"{value.value:{sign}.{digits}f}{spread}"


def plot(swept: Swept, path: Any) -> None:
    """Score, operations and epochs over what was varied, as a picture (the layout of the paper's Fig. 6)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    labels = {
        "score": swept.scored.title,
        "operations": "synaptic operations / MACs of the ANN",
        "epochs": "epochs of conversion",
    }
    analog = column(swept.runs("").get(ANALOG, []), "score")
    places = sorted({float(row[swept.vary]) for row in swept.rows if row["variant"]})
    for axes, (name, label) in zip(figure.subplots(1, 3), labels.items(), strict=True):
        for variant in swept.variants:
            found = {float(value): column(runs, name) for value, runs in swept.runs(variant).items()}
            known = {place: found[place] for place in places if found.get(place) is not None}
            means, halves = ([getattr(interval, part) for interval in known.values()] for part in ("value", "half"))
            axes.errorbar(list(known), means, halves, fmt="o-", capsize=3, label=variant)
        if name == "score":
            if analog is not None:
                axes.axhline(analog.value, linestyle="--", color="grey", label="ANN")
            axes.legend(fontsize="small")
        axes.set(xlabel=LABELS[swept.vary], ylabel=label)
        if swept.vary == "window":
            axes.set_xscale("log", base=2)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.grid(alpha=0.3)
    write_picture(path, figure)
