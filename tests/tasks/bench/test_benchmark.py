import numpy as np
import pytest
import torch

from separator.errors import UserError
from separator.models import ModelCard, SeparationModel, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.execution.chosen import chosen_execution
from separator.snn.export.spikingjelly import SpikingJellyStack
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.tasks import separation
from separator.tasks.bench.benchmark import benchmark, to_markdown
from separator.tasks.bench.measurement import Case, Measurement
from separator.tasks.bench.systems import check_spikes, in_hands, model_named, parse_system, random_model
from separator.tasks.separation import Separator
from tests.snn.nets import converted


def test_every_system_is_measured_on_every_length(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    path = tmp_path / "tiny.safetensors"
    save_model(path, TasNet(config).eval(), ModelCard("tiny", config.to_dict()))
    results = benchmark([str(path)], [0.5, 1.0], threads=1)
    assert [(result.case.system, result.case.seconds) for result in results] == [(str(path), 0.5), (str(path), 1.0)]
    assert all(result.elapsed > 0 and 50 < result.memory < 20_000 for result in results)


@pytest.fixture
def network():
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    network = TasNet(config).eval().requires_grad_(False)
    converted(network.stack, network.stack_input(network.encode(torch.randn(2, 400))), 4, 0.5, weight_bits=8)
    return network


NOISE = np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32)


def test_other_hands_separate_the_same(network):
    separator = Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict())))
    ours = network(torch.from_numpy(NOISE)[None]).numpy()
    plain, rounded, dense = (in_hands(hands, separator)(NOISE) for hands in ("", "bf16", "dense"))
    assert np.array_equal(dense, plain)
    assert np.array_equal(rounded, plain)  # spiking networks are exact whatever others would round
    (theirs,) = in_hands("spikingjelly", separator)(NOISE)
    assert np.array_equal(theirs, ours)


@pytest.mark.parametrize(("hands", "chosen"), [("", "fastest"), ("dense", "dense")])
def test_hands_choose_the_execution_of_every_layer(network, hands, chosen):
    seen = []
    network.stack.observer = lambda run: seen.append((run.position, chosen_execution()))
    in_hands(hands, Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict()))))(NOISE)
    assert set(seen) == {(position, chosen) for position in range(3)}


def test_long_sound_reaches_other_simulators_in_pieces(network, monkeypatch):
    """Which would not fit into memory as a whole."""
    monkeypatch.setattr(separation, "SEGMENT", 0.05)
    separator = Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict())))
    assert [piece.shape for piece in in_hands("spikingjelly", separator)(NOISE)] == [(1, 2, 400), (1, 2, 400), (1, 2, 200)]


def test_bfloat16_rounds_analog_networks():
    network = TasNet(TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))).eval().requires_grad_(False)
    separator = Separator(SeparationModel(network, ModelCard("tiny", network.config.to_dict())))
    plain, rounded = (in_hands(hands, separator)(NOISE) for hands in ("", "bf16"))
    assert not np.array_equal(rounded, plain)
    np.testing.assert_allclose(rounded, plain, atol=0.05)


def test_spikes_are_compared_before_timing(network, monkeypatch):
    with record_activity(network) as activity, torch.no_grad():
        network(torch.from_numpy(NOISE)[None])
    firing = activity.layers[:-1]
    rate = sum(layer.spikes for layer in firing) / sum(layer.neurons * layer.window for layer in firing)
    for hands, same in (("", None), ("bf16", None), ("dense", True), ("spikingjelly", True)):
        check = check_spikes(hands, network, NOISE)
        assert check.firing_rate == pytest.approx(rate)
        assert check.same is same
    outcomes = SpikingJellyStack.outcomes

    def differing(stack, x):
        *words, potential = outcomes(stack, x)
        return [words[0], words[1] ^ torch.nn.functional.one_hot(torch.tensor(0), words[1].shape[-1]).int(), potential]

    monkeypatch.setattr(SpikingJellyStack, "outcomes", differing)
    with pytest.raises(UserError, match="other spikes than ours from layer 1 on"):
        check_spikes("spikingjelly", network, NOISE)


def test_analog_networks_have_no_spikes_to_compare():
    network = TasNet(TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))).eval()
    assert check_spikes("bf16", network, NOISE) is None
    for hands in ("dense", "spikingjelly"):
        with pytest.raises(UserError, match=f"'{hands}' is for spiking networks"):
            check_spikes(hands, network, NOISE)


def test_names_of_systems():
    assert parse_system("dense:a@b/c.safetensors@16") == ("dense", "a@b/c.safetensors", 16)
    assert parse_system("small-ann") == ("", "small-ann", None)
    with pytest.raises(UserError, match="nothing runs a network as 'abacus'; take bf16"):
        parse_system("abacus:small-snn")


@pytest.mark.parametrize(("name", "kind"), [("paper-ann", "ann"), ("paper-snn-pipelined", "snn")])
def test_networks_of_the_published_size_are_made(name, kind):
    stack = random_model(name, 4).network.stack
    assert len(stack.layers) == 11
    if kind == "ann":
        assert stack.dynamics is None
        assert stack.layers[1].affine.weight.shape == (512, 512, 1, 3)
    else:
        assert stack.dynamics == Dynamics(4, 0.5, "pipelined", 8)
        assert stack.layers[1].weight.shape == (512, 512, 1, 3)


def test_networks_of_other_widths_fire_as_asked():
    for rate in (0.05, 0.3):
        network = model_named("paper-snn", 32, width=32, rate=rate).network
        assert network.stack.layers[1].weight.shape == (32, 32, 1, 3)
        assert network.config.filters == 32
        noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
        assert check_spikes("", network, noise).firing_rate == pytest.approx(rate, rel=0.15)
    for wrong, message in (({"width": 0}, "cannot be made"), ({"rate": 0.9}, "cannot be made.*out of reach")):
        with pytest.raises(UserError, match=message):
            model_named("paper-snn", **wrong)
    with pytest.raises(UserError, match="not of small-snn"):
        model_named("small-snn", width=32)


def test_unknown_system_is_one_line():
    with pytest.raises(UserError, match="nonsense cannot be measured: no model 'nonsense'"):
        benchmark(["nonsense"], [1.0], threads=1)


def test_ratios_are_to_the_first_system_on_the_same_length():
    timed = (("a", 10, 2.0), ("b", 10, 5.0), ("b", 60, 6.0))
    results = [Measurement(Case(name, seconds, 1), elapsed, 100, 0.25, True, working=20.0) for name, seconds, elapsed in timed]
    rows = [line.split(" | ") for line in to_markdown(results).splitlines()[2:]]
    assert [row[4] for row in rows] == ["1.00", "2.50", "1.00"]
    assert [row[3] for row in rows] == ["0.2000", "0.5000", "0.1000"]
    assert {tuple(row[5:]) for row in rows} == {("100", "20", "0.250", "yes |")}
