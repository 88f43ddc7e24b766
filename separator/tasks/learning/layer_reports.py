"""What conversion did to each layer, as files."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from separator.atomic import atomic_path, write_csv, write_text
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.observe import distribution, report
from separator.snn.observe.distribution import Distribution
from separator.snn.observe.report import LayerReport, Noted


def convert_with_reports(engine: ProgressiveTandemLearning, folder: Path, score: str = "score") -> list[LayerReport]:
    """Convert layer by layer, with the reports in the folder written anew after each; `score` says what the engine's is.

    What the activations were beforehand is written once.
    """
    if not (folder / "activations.png").exists():
        write_activations(engine.activations(), folder)
    layers: list[LayerReport] = []
    for layers in engine.layers():
        write_reports(layers, folder)
        write_progress(engine.history, folder, score)
    return layers


def write_activations(distributions: Sequence[Distribution], folder: Path) -> None:
    """Write how activations are distributed, as CSV and as a plot."""
    write_csv(folder / "activations.csv", distribution.rows(distributions))
    with atomic_path(folder / "activations.png") as temporary:
        distribution.plot(distributions, temporary)


def write_reports(layers: Sequence[LayerReport], folder: Path) -> None:
    """Write the report of a conversion, finished or not, as JSON, Markdown and a plot."""
    write_text(folder / "report.json", json.dumps([asdict(layer) for layer in layers], indent=1))
    write_text(folder / "report.md", report.to_markdown(layers))
    with atomic_path(folder / "report.png") as temporary:
        report.plot(layers, temporary)


def write_progress(history: Sequence[Noted], folder: Path, score: str) -> None:
    """Write what each epoch came to, as CSV and as a plot."""
    write_csv(folder / "progress.csv", report.progress_rows(history, score))
    with atomic_path(folder / "progress.png") as temporary:
        report.plot_progress(history, temporary, score)
