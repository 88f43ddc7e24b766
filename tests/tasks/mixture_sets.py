"""Small sets of mixtures, and networks for them, for the tests of scoring."""

import csv

import numpy as np
import soundfile
import torch

from separator.corpora.mixtures import INDEX, read_mixtures
from separator.models import ModelCard, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from tests.metrics.signals import buzz, speechlike
from tests.snn.nets import converted, randomised

RATE = 8000
TINY = TasNetConfig(filters=8, filter_length=16, channels=6, dilations=(1, 2))


def write_signal(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")


def make_set(folder, genders=("mf", "mm", "ff"), seconds=1.5, rate=RATE, pitches=None):
    """A set with one mixture for each pair of genders: ids mix0, mix1, ...

    Sources are noise without pitch, or buzzes where `pitches` has a pair of frequencies for each mixture.
    """
    rows = []
    for i, pair in enumerate(genders):
        sources = [speechlike(10 * i + j, seconds, rate) for j in range(2)]
        if pitches:
            sources = [buzz(frequency, rate, seconds) for frequency in pitches[i]]
        row = {"id": f"mix{i}", "mixture": f"mix/mix{i}.wav"}
        write_signal(folder / "mix" / f"mix{i}.wav", sum(sources), rate)
        for j, (source, gender) in enumerate(zip(sources, pair, strict=True), 1):
            write_signal(folder / f"s{j}" / f"mix{i}.wav", source, rate)
            row |= {f"source_{j}": f"s{j}/mix{i}.wav", f"speaker_{j}": f"{gender}{i}{j}", f"gender_{j}": gender}
        rows.append(row)
    with (folder / INDEX).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return read_mixtures(folder)


def read(path):
    return soundfile.read(path)[0]


def write_estimates(folder, mixtures, noise=0.02):
    """Sources with noise, in the opposite order, named as `separate` names them."""
    for mixture in mixtures:
        for number, source in enumerate(reversed(mixture.sources), 1):
            samples = read(source)
            samples = samples + noise * np.random.default_rng(number).standard_normal(samples.size)
            write_signal(folder / f"{mixture.id}_s{number}.wav", samples)


def tiny_network():
    torch.manual_seed(0)
    network = TasNet(TINY)
    for layer in network.stack.layers:
        randomised(layer)
    return network.eval()


def save_tiny_models(folder):
    """An analog network and its spiking conversion: ann.safetensors and snn.safetensors."""
    network = tiny_network()
    save_model(folder / "ann.safetensors", network, ModelCard("tiny-ann", TINY.to_dict()))
    with torch.no_grad():
        example = network.stack_input(network.encode(torch.from_numpy(speechlike(0)).float()[None]))
        converted(network.stack, example, 4, 0.5)
    conversion = {"window": 4, "initial_potential": 0.5, "readout": network.stack.readout, "schedule": "pipelined"}
    save_model(folder / "snn.safetensors", network, ModelCard("tiny-snn", TINY.to_dict(), conversion))
    return folder / "ann.safetensors", folder / "snn.safetensors"
