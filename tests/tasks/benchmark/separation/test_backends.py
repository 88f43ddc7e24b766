import numpy as np
import pytest
import torch

from separator.models import ModelCard, SeparationModel
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.execution.chosen import chosen_execution
from separator.tasks.benchmark.separation.backends import run_by
from separator.tasks.separation import files as separation
from separator.tasks.separation.files import Separator


def test_other_backends_separate_the_same(network, noise):
    separator = Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict())))
    ours = network(torch.from_numpy(noise)[None]).numpy()
    plain, rounded, dense = (run_by(backend, separator)(noise) for backend in ("", "bf16", "dense"))
    assert np.array_equal(dense, plain)
    assert np.array_equal(rounded, plain)  # spiking networks are exact whatever others would round
    (theirs,) = run_by("spikingjelly", separator)(noise)
    assert np.array_equal(theirs, ours)


@pytest.mark.parametrize(("backend", "chosen"), [("", "fastest"), ("dense", "dense")])
def test_backends_choose_the_execution_of_every_layer(network, backend, chosen, noise):
    seen = []
    network.stack.observer = lambda run: seen.append((run.position, chosen_execution()))
    run_by(backend, Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict()))))(noise)
    assert set(seen) == {(position, chosen) for position in range(3)}


def test_long_sound_reaches_other_simulators_in_pieces(network, monkeypatch, noise):
    """Which would not fit into memory as a whole."""
    monkeypatch.setattr(separation, "SEGMENT", 0.05)
    separator = Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict())))
    assert [piece.shape for piece in run_by("spikingjelly", separator)(noise)] == [(1, 2, 400), (1, 2, 400), (1, 2, 200)]


def test_bfloat16_rounds_analog_networks(noise):
    network = TasNet(TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))).eval().requires_grad_(False)
    separator = Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict())))
    plain, rounded = (run_by(backend, separator)(noise) for backend in ("", "bf16"))
    assert not np.array_equal(rounded, plain)
    np.testing.assert_allclose(rounded, plain, atol=0.05)
