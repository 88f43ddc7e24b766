"""Examples to listen to and look at: sound files, spectrograms, and a page that shows them."""

import csv
import html
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from separator.atomic import write_text
from separator.audio.files import Samples, write_wavs
from separator.audio.level import fit_peak
from separator.corpora.mixtures import Mixture
from separator.errors import UserError
from separator.metrics.sisdr import permutation_invariant_si_sdr, si_sdr
from separator.tasks.evaluation.mixtures.results import SUMMARY, is_of, read_results
from separator.tasks.evaluation.mixtures.scoring import read_alike, read_signal
from separator.tasks.presentation.spectrograms import draw_spectrograms
from separator.tasks.separation.files import Separator

if TYPE_CHECKING:
    from separator.models import SeparationModel

GENDERS = {"f": "female", "m": "male"}
PICTURE = "spectrograms.png"
PAGE = "index.html"


@dataclass(frozen=True)
class Choice:
    """A mixture to show, and why."""

    mixture: Mixture
    reason: str


@dataclass(frozen=True)
class Example:
    """Example written for one mixture; all files are in `folder`."""

    folder: Path
    title: str
    improvements: Mapping[str, tuple[float, ...]]  # system -> SI-SDRi of each source, dB


def choose_by_id(mixtures: Sequence[Mixture], ids: Sequence[str], condition: str) -> list[Choice]:
    """The mixtures of these ids.

    Raises:
        UserError: one is not in the set of this condition.
    """
    known = {mixture.id: mixture for mixture in mixtures}
    for name in ids:
        if name not in known:
            raise UserError(f"there is no mixture {name!r} in the set {condition}; --ids are taken from each set")
    return [Choice(known[name], "") for name in ids]


def choose_by_gender(mixtures: Sequence[Mixture], scores: Mapping[str, float] | None = None) -> list[Choice]:
    """Best, median and worst mixture of each pair of genders, or without scores the one in the middle of the list."""
    pairs: dict[str, list[Mixture]] = defaultdict(list)
    for mixture in mixtures:
        if scores is None or mixture.id in scores:
            pairs[describe_genders(mixture)].append(mixture)
    choices = []
    for pair, members in sorted(pairs.items()):
        if scores is None:
            choices.append(Choice(members[len(members) // 2], pair))
            continue
        ranked = sorted(members, key=lambda mixture: (-scores[mixture.id], mixture.id))
        # A pair with one or two mixtures shows each once: of two the best and the worst.
        places = {len(ranked) // 2: "median", len(ranked) - 1: "worst", 0: "best" if len(ranked) > 1 else ""}
        choices += [Choice(ranked[place], ", ".join(filter(None, (pair, places[place])))) for place in sorted(places)]
    return choices


def describe_genders(mixture: Mixture) -> str:
    """Such as "female and male"; empty where the genders are unknown."""
    return " and ".join(GENDERS.get(gender, gender) for gender in sorted(mixture.genders or ()))


def read_improvements(path: Path, condition: str, system: str) -> dict[str, float]:
    """Mean SI-SDRi of each mixture from the `scores.csv` of an evaluation.

    Raises:
        UserError: the file cannot be read, or has no scores of this condition and system.
    """
    values: dict[str, list[float]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if (row["condition"], row["system"]) == (condition, system):
                    values[row["mixture"]].append(float(row["si-sdri"]))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is not a table of `separator evaluate` ({error})") from error
    if not values:
        raise UserError(f"{path} has no scores of {system} for {condition}: take the names that `separator evaluate` was given")
    return {mixture: float(np.mean(sources)) for mixture, sources in values.items()}


def check_scores(folder: Path, system: str, model: "SeparationModel") -> None:
    """Refuse scores that another network than this has by the same name, where the evaluation's summary tells of it.

    Raises:
        UserError: it does, or cannot be read.
    """
    if not (folder / SUMMARY).exists():  # not finished yet
        return
    results = read_results(folder)
    if any(system in systems for systems in results.get("summary", {}).values()) and not is_of(results, system, model):
        raise UserError(f"{system} in {folder} is not the model as it is here; name its own system, or evaluate it")


def write_example(choice: Choice, separators: Mapping[str, Separator], folder: Path) -> Example:
    """Separate a mixture with each system; write sound files and a picture to `folder`.

    Files are `mixture.wav`, `s1.wav` and so on, `NAME_s1.wav` and so on for each system in the order of the references, and
    `spectrograms.png`. Where a signal is over full scale, one gain lowers them all, so that levels can be compared.

    Args:
        choice: mixture.
        separators: systems by name.
        folder: made if need be.

    Raises:
        UserError: a file cannot be read or written.
    """
    mixture, rate = read_signal(choice.mixture.mixture)
    sources = read_alike(choice.mixture.sources, choice.mixture.mixture, len(mixture), rate)
    estimates = {name: in_order(separator.separate(mixture, rate), sources) for name, separator in separators.items()}
    improvements = {name: tuple(si_sdr(signals, sources) - si_sdr(mixture, sources)) for name, signals in estimates.items()}
    signals = {"mixture": mixture[None], "": sources, **estimates}
    gain = fit_peak(max(float(np.abs(group).max()) for group in signals.values()))
    for name, group in signals.items():
        write_wavs(_files(folder, name, len(group)), [group * np.float32(gain)], rate, len(mixture))
    rows = {"reference": sources, **{f"{name} (SI-SDRi {_mean(improvements[name])})": s for name, s in estimates.items()}}
    title = ", ".join(filter(None, (choice.reason, choice.mixture.id)))
    draw_spectrograms(folder / PICTURE, mixture, rows, rate, title)
    return Example(folder, title, improvements)


def write_page(examples: Mapping[str, Sequence[Example]], path: Path) -> None:
    """Write a page with players and pictures.

    Args:
        examples: by condition; their folders are below the page's.
        path: of the page.

    Raises:
        UserError: the file cannot be written.
    """
    parts = [HEAD]
    for condition, members in examples.items():
        parts.append(f"<h2>{html.escape(condition.capitalize())} condition</h2>\n")
        parts += [_section(example, example.folder.relative_to(path.parent).as_posix()) for example in members]
    write_text(path, "".join(parts) + "</body>\n</html>\n")


HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Separated talkers</title>
<style>
body { font-family: sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h3 { overflow-wrap: anywhere; }
td, th { padding: 0.2rem 0.8rem 0.2rem 0; text-align: left; }
img { max-width: 100%; }
</style>
</head>
<body>
<h1>Separated talkers</h1>
<p>Mixtures, their sources, and what each system makes of them. SI-SDRi: improvement of the scale-invariant
signal-to-distortion ratio over the mixture. The pictures share one scale of levels, and so do the sounds of an example.</p>
"""


def _section(example: Example, folder: str) -> str:
    rows = [_row("mixture", [f"{folder}/mixture.wav"], [""])]
    n_src = len(next(iter(example.improvements.values())))
    rows.append(_row("references", [f"{folder}/{path.name}" for path in _files(Path(), "", n_src)], [""] * n_src))
    for name, values in example.improvements.items():
        paths = [f"{folder}/{path.name}" for path in _files(Path(), name, n_src)]
        rows.append(_row(name, paths, [f"SI-SDRi {value:.1f} dB" for value in values]))
    picture = f'<img src="{quote(f"{folder}/{PICTURE}")}" alt="Spectrograms" loading="lazy">\n'
    return f"<h3>{html.escape(example.title)}</h3>\n<table>\n{''.join(rows)}</table>\n{picture}"


def _row(name: str, paths: Sequence[str], captions: Sequence[str]) -> str:
    cells = (
        f'<td><audio controls preload="none" src="{quote(path)}"></audio><br>{html.escape(caption)}</td>'
        for path, caption in zip(paths, captions, strict=True)
    )
    return f"<tr><th>{html.escape(name)}</th>{''.join(cells)}</tr>\n"


def _files(folder: Path, name: str, count: int) -> list[Path]:
    """Sound files of one group of signals: the mixture, the references (no name), or a system's estimates."""
    if name == "mixture":
        return [folder / "mixture.wav"]
    return [folder / f"{name}{'_' if name else ''}s{number}.wav" for number in range(1, count + 1)]


def in_order(estimates: Samples, sources: Samples) -> NDArray[np.float32]:
    """Estimates in the order of the sources."""
    _, permutation = permutation_invariant_si_sdr(estimates[None], sources[None])
    ordered: NDArray[np.float32] = estimates[permutation[0]]
    return ordered


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f} dB"
