"""Separate the demo's mixture with several models; print their scores, write sound files and a picture."""

import argparse
import os
import sys
from pathlib import Path

from separator.cli.main import report_errors
from separator.corpora.mixtures import Mixture
from separator.tasks.examples import in_order
from separator.tasks.pictures import draw_spectrograms
from separator.tasks.scoring import ScoringJob, SourceScore, read_alike, read_signal, score
from separator.tasks.separation import Separator

DEMO = Path(__file__).resolve().parent
MIXTURE = Mixture("demo", DEMO / "mix.wav", (DEMO / "s1.wav", DEMO / "s2.wav"), None, None)
LINE = "{:<20}{:>14}{:>14}{:>10}{:>20}"


def main(models: list[str], out: Path) -> int:
    """Separate, score, draw; returns the exit status."""
    mixture, rate = read_signal(MIXTURE.mixture)
    sources = read_alike(MIXTURE.sources, MIXTURE.mixture, len(mixture), rate)
    pictures = {"reference": sources}
    written: list[str] = []
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
    picture = out / "spectrograms.png"
    draw_spectrograms(picture, mixture, pictures, rate, "Two talkers and what the networks make of them")
    print("\nMeans over both talkers. Real-time factor: time that separating took over the length of the sound.")
    print("\n".join(["", "sound files:", *written, "spectrograms:", str(picture)]))
    return 0


def row(name: str, scores: list[SourceScore], real_time_factor: str) -> str:
    """One line of the table."""
    means = [sum(source.values[metric] for source in scores) / len(scores) for metric in ("si-sdr", "si-sdri", "pesq")]
    return LINE.format(name, *(f"{mean:.2f}" for mean in means), real_time_factor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["small-ann", "small-snn"], help="shipped models or model files")
    parser.add_argument("--out", type=Path, default=DEMO / "out", help="folder for sound files and the picture")
    arguments = parser.parse_args()
    sys.exit(report_errors("demo", lambda: main(arguments.models, arguments.out)))
