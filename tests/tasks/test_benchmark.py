import numpy as np
import pytest
import torch

from separator.errors import UserError
from separator.models import ModelCard, SeparationModel, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.spiking import Dynamics
from separator.tasks.benchmark import Measurement, benchmark, in_hands, random_model, to_markdown
from separator.tasks.separation import Separator
from tests.snn.nets import converted


def test_every_system_is_measured_on_every_length(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    path = tmp_path / "tiny.safetensors"
    save_model(path, TasNet(config).eval(), ModelCard("tiny", config.to_dict()))
    results = benchmark([str(path)], [0.5, 1.0], threads=1)
    assert [(result.system, result.seconds) for result in results] == [(str(path), 0.5), (str(path), 1.0)]
    assert all(result.elapsed > 0 and 50 < result.memory < 20_000 for result in results)


def test_other_hands_separate_the_same():
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    network = TasNet(config).eval().requires_grad_(False)
    separator = Separator(SeparationModel(network, ModelCard("tiny", config.to_dict())))
    mixture = np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32)
    plain, rounded = (in_hands(hands, separator)(mixture) for hands in ("", "bf16"))
    assert not np.array_equal(rounded, plain)
    np.testing.assert_allclose(rounded, plain, atol=0.05)
    converted(network.stack, network.stack_input(network.encode(torch.randn(2, 400))), 4, 0.5)
    plain, rounded = (in_hands(hands, separator)(mixture) for hands in ("", "bf16"))
    assert np.array_equal(rounded, plain)  # spiking networks are exact whatever others would round
    ours = network(torch.from_numpy(mixture)[None])
    assert torch.equal(in_hands("spikingjelly", separator)(mixture), ours)
    with pytest.raises(UserError, match="nothing runs a network as 'abacus'"):
        in_hands("abacus", separator)


@pytest.mark.parametrize(("name", "kind"), [("paper-ann", "ann"), ("paper-snn-pipelined", "snn")])
def test_networks_of_the_published_size_are_made(name, kind):
    stack = random_model(name, 4).network.stack
    assert len(stack.stages) == 11
    if kind == "ann":
        assert stack.dynamics is None
    else:
        assert stack.dynamics == Dynamics(4, 0.5, "pipelined", 8)
        assert stack.stages[1].weight.shape == (512, 512, 1, 3)


def test_unknown_system_is_one_line():
    with pytest.raises(UserError, match="nonsense cannot be measured: no model 'nonsense'"):
        benchmark(["nonsense"], [1.0], threads=1)


def test_ratios_are_to_the_first_system_on_the_same_length():
    results = [Measurement("a", 10, 2.0, 100), Measurement("b", 10, 5.0, 200), Measurement("b", 60, 6.0, 300)]
    rows = [line.split(" | ") for line in to_markdown(results).splitlines()[2:]]
    assert [row[4] for row in rows] == ["1.00", "2.50", "1.00"]
    assert [row[3] for row in rows] == ["0.2000", "0.5000", "0.1000"]
