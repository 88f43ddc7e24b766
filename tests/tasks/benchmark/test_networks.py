import numpy as np
import pytest

from separator.errors import UserError
from separator.snn.layers.dynamics import Dynamics
from separator.tasks.benchmark.networks import find_model, random_model
from separator.tasks.benchmark.separation.spikes import check_spikes


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
        network = find_model("paper-snn", 32, width=32, rate=rate).network
        assert network.stack.layers[1].weight.shape == (32, 32, 1, 3)
        assert network.config.filters == 32
        noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
        assert check_spikes("", network, noise).firing_rate == pytest.approx(rate, rel=0.15)
    for wrong, message in (({"width": 0}, "cannot be made"), ({"rate": 0.9}, "cannot be made.*out of reach")):
        with pytest.raises(UserError, match=message):
            find_model("paper-snn", **wrong)
    with pytest.raises(UserError, match="not of small-snn"):
        find_model("small-snn", width=32)
