"""Separate the demo's mixture with several models; print their scores, write sound files and pictures."""

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
MIXTURE = Mixture("demo", DEMO / "mix.wav", (DEMO / "s1.wav", DEMO / "s2.wav"), None, None)
LAYER = 5  # whose spikes are shown, the one in the middle of the shipped networks; of shallower ones the last that fires
LINE = "{:<20}{:>14}{:>14}{:>10}{:>20}"


def main(models: list[str], out: Path) -> int:
    """Separate, score, draw; returns the exit status."""
    mixture, rate = read_signal(MIXTURE.mixture)
    sources = read_alike(MIXTURE.sources, MIXTURE.mixture, len(mixture), rate)
    pictures = {"reference": sources}
    written: list[str] = []
    drawn: list[str] = []
    print(f"{MIXTURE.mixture}: {len(mixture) / rate:.1f} s of two talkers; {os.cpu_count()} CPU cores\n")
    print(LINE.format("", "SI-SDR (dB)", "SI-SDRi (dB)", "PESQ", "real-time factor"))
    print(row("mixture", score(ScoringJob("demo", "mixture", MIXTURE, None, ("pesq",))), ""))
    for model in models:
        separator = Separator.from_pretrained(model)
        name = separator.model.card.name
        report = separator.separate_file(MIXTURE.mixture, out / name, overwrite=True)
        paths = tuple(map(Path, report.outputs))
        scores = score(ScoringJob("demo", name, MIXTURE, paths, ("pesq",)))
        print(row(name, scores, f"{report.real_time_factor:.3f}"))
        pictures[name] = in_order(read_alike(paths, MIXTURE.mixture, len(mixture), rate), sources)
        written += report.outputs
        if separator.model.card.kind == "snn":
            drawn.append(draw_layer(out / f"{name}-spikes.png", separator, mixture, pictures[name], rate))
    picture = out / "spectrograms.png"
    draw_spectrograms(picture, mixture, pictures, rate, "Two talkers and what the networks make of them")
    print("\nMeans over both talkers. Real-time factor: time that separating took over the length of the sound.")
    print("\n".join(["", "sound files:", *written, "pictures:", str(picture), *drawn]))
    return 0


def draw_layer(
    path: Path, separator: Separator, mixture: NDArray[np.floating], sources: NDArray[np.floating], rate: int
) -> str:
    """Draw the spikes of one layer beneath the mixture, (T,), and the separated talkers, (2, T); returns the file's name."""
    stack = separator.model.network.stack
    layer = min(LAYER, len(stack.layers) - 2)
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
    parser.add_argument("--models", nargs="+", default=["small-ann", "small-snn"], help="shipped models or model files")
    parser.add_argument("--out", type=Path, default=DEMO / "out", help="folder for sound files and pictures")
    arguments = parser.parse_args()
    sys.exit(report_errors("demo", lambda: main(arguments.models, arguments.out)))
