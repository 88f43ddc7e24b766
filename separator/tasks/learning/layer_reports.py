"""Files that tell of a conversion while it goes on."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from separator.atomic import write_csv, write_text
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.observe.distribution import Distribution
from separator.snn.observe.report import LayerReport, Noted
from separator.tasks.pictures import write_picture
from separator.tasks.presentation.layer_pictures import activations_figure, layers_figure, progress_figure
from separator.tasks.presentation.layer_tables import activation_rows, layer_table, progress_rows

PAUSE = 10.0  # s, between pictures of a conversion that goes on


def convert_with_reports(engine: ProgressiveTandemLearning, folder: Path, score: str = "score") -> list[LayerReport]:
    """Convert layer by layer, with the reports in the folder written anew after each; `score` says what the engine's is.

    Their pictures, which take longer than a small layer, wait for some seconds to pass, or for the end. The distributions of
    activations beforehand are written once.
    """
    if not (folder / "activations.png").exists():
        write_activations(engine.activations(), folder)
    layers: list[LayerReport] = []
    drawn = time.monotonic()
    for layers in engine.layers():
        write_reports(layers, folder)
        write_progress(engine.history, folder, score)
        if time.monotonic() - drawn > PAUSE:
            draw_reports(layers, engine.history, folder, score)
            drawn = time.monotonic()
    draw_reports(layers, engine.history, folder, score)
    return layers


def write_activations(distributions: Sequence[Distribution], folder: Path) -> None:
    """Write the distributions of activations, as CSV and as a picture."""
    write_csv(folder / "activations.csv", activation_rows(distributions))
    write_picture(folder / "activations.png", activations_figure(distributions))


def write_reports(layers: Sequence[LayerReport], folder: Path) -> None:
    """Write the report of a conversion, finished or not, as JSON and Markdown."""
    write_text(folder / "report.json", json.dumps([asdict(layer) for layer in layers], indent=1))
    write_text(folder / "report.md", layer_table(layers))


def write_progress(history: Sequence[Noted], folder: Path, score: str) -> None:
    """Write loss and scores of each epoch, as CSV."""
    write_csv(folder / "progress.csv", progress_rows(history, score))


def draw_reports(layers: Sequence[LayerReport], history: Sequence[Noted], folder: Path, score: str) -> None:
    """Draw the report of a conversion, and its loss or scores of each epoch."""
    write_picture(folder / "report.png", layers_figure(layers))
    write_picture(folder / "progress.png", progress_figure(history, score))
