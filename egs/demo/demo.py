"""Separate the demo's mixtures with several models; print their scores, write sound files and pictures."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from separator.cli.main import report_errors
from separator.corpora.mixtures import Mixture
from separator.tasks.evaluation.mixtures.scoring import ScoringJob, SourceScore, read_alike, read_signal, score
from separator.tasks.presentation.examples import in_order
from separator.tasks.presentation.spectrograms import draw_spectrograms
from separator.tasks.presentation.spike_picture import draw_spikes, layer_spikes
from separator.tasks.separation.files import Separator

DEMO = Path(__file__).resolve().parent
MIXTURES = {"mix": "a man and a woman", "alike": "two women of like pitch"}
LINE = "{:<20}{:>14}{:>14}{:>10}{:>20}"


def main(models: list[str], out: Path) -> int:
    """Separate, score, draw; returns the exit status."""
    separators = {}
    for model in models:
        separator = Separator.from_pretrained(model)
        separators[separator.model.card.name] = separator
    written: list[str] = []
    drawn: list[str] = []
    for name, talkers in MIXTURES.items():
        mixture = Mixture(name, DEMO / f"{name}.wav", (DEMO / f"{name}-1.wav", DEMO / f"{name}-2.wav"), None, None)
        outputs, pictures = compare(mixture, talkers, separators, out)
        written += outputs
        drawn += pictures
    print("Means over both talkers. Real-time factor: time that separating took over the length of the sound.")
    print("\n".join(["", "sound files:", *written, "pictures:", *drawn]))
    return 0


def compare(mixture: Mixture, talkers: str, separators: dict[str, Separator], out: Path) -> tuple[list[str], list[str]]:
    """Print a table of one mixture; returns the sound files and the pictures that were written."""
    samples, rate = read_signal(mixture.mixture)
    sources = read_alike(mixture.sources, mixture.mixture, len(samples), rate)
    shown = {"reference": sources}
    written: list[str] = []
    drawn = [str(out / f"{mixture.id}-spectrograms.png")]
    print(f"{mixture.mixture}: {len(samples) / rate:.1f} s of {talkers}; {os.cpu_count()} CPU cores\n")
    print(LINE.format("", "SI-SDR (dB)", "SI-SDRi (dB)", "PESQ", "real-time factor"))
    print(row("mixture", score(ScoringJob("demo", "mixture", mixture, None, ("pesq",))), ""))
    for name, separator in separators.items():
        report = separator.separate_file(mixture.mixture, out / name, overwrite=True)
        paths = tuple(map(Path, report.outputs))
        print(row(name, score(ScoringJob("demo", name, mixture, paths, ("pesq",))), f"{report.real_time_factor:.3f}"))
        shown[name] = in_order(read_alike(paths, mixture.mixture, len(samples), rate), sources)
        written += report.outputs
        if separator.model.card.kind == "snn":
            drawn.append(draw_layer(out / f"{mixture.id}-{name}-spikes.png", separator, samples, shown[name], rate))
    print()
    draw_spectrograms(
        Path(drawn[0]), samples, shown, rate, f"Two talkers ({talkers}) and what the networks make of the mixture"
    )
    return written, drawn


def draw_layer(
    path: Path, separator: Separator, mixture: NDArray[np.floating], sources: NDArray[np.floating], rate: int
) -> str:
    """Draw the spikes of one layer beneath the mixture, (T,), and the separated talkers, (2, T); returns the file's name."""
    stack = separator.model.network.stack
    layer = (len(stack.layers) - 1) // 2
    spikes = layer_spikes(separator.model.network, mixture, layer)
    title = f"layer {layer + 1} of {len(stack.layers)} of {separator.model.card.name}"
    draw_spikes(path, mixture, sources, spikes, rate, title, stack.dynamics.window)
    return str(path)


def row(name: str, scores: list[SourceScore], real_time_factor: str) -> str:
    """One line of the table."""
    means = [sum(source.values[metric] for source in scores) / len(scores) for metric in ("si-sdr", "si-sdri", "pesq")]
    return LINE.format(name, *(f"{mean:.2f}" for mean in means), real_time_factor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["medium-ann", "medium-snn"], help="shipped models or model files")
    parser.add_argument("--out", type=Path, default=DEMO / "out", help="folder for sound files and pictures")
    arguments = parser.parse_args()
    sys.exit(report_errors("demo", lambda: main(arguments.models, arguments.out)))
