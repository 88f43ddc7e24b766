import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.models import exact, window_norm
from separator.models.streaming import TasNetStream
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.execution.chosen import execution
from separator.snn.layers.dynamics import Dynamics
from separator.snn.stack import reference
from tests.models.pieces import streamed
from tests.snn.nets import randomised

OPTIONS = {name: {"boundary": 3} for name in ("augmented", "path-independent")}
MEMORY = {"look_back": (8,), "skips": True, "norm_window": 0.0025}  # five frames to either side


def network_of(causal, schedule=None, seed=0, neuron="integrate-and-fire", bits=8, **changes):
    torch.manual_seed(seed)
    config = TasNetConfig(filters=32, filter_length=8, channels=6, dilations=(1, 2, 4), causal=causal, **changes)
    network = TasNet(config).eval()
    if changes:
        torch.nn.init.uniform_(network.norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(network.norm.bias, -0.2, 0.2)
    for layer in network.stack.layers:
        randomised(layer).norm.bias.data -= config.slope  # many sums below zero, if activations go there
    if schedule is not None:
        seen = network.stack_input(network.encode(0.1 * torch.randn(1, 2000)))
        network.stack.convert(seen, Dynamics(4, 0.5, schedule, bits, neuron=neuron, neuron_options=OPTIONS.get(neuron, {})))
    return network


@given(
    st.booleans(),
    st.sampled_from(["pipelined", "layer-by-layer"]),
    st.integers(1, 300),
    st.lists(st.integers(1, 40), max_size=12),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([{}, MEMORY]),
    st.booleans(),
)
def test_spiking_networks_give_the_same_bits_in_blocks_of_any_size(
    causal, schedule, samples, sizes, seed, known_end, changes, live
):
    network = network_of(causal, schedule, seed, **changes)
    mixture = 0.1 * torch.randn(2, samples)
    estimates, late, look_ahead = streamed(TasNetStream(network, live), mixture, sizes, known_end)
    assert torch.equal(estimates, network(mixture))
    assert late <= look_ahead


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
@pytest.mark.parametrize(("changes", "bits"), [({}, 8), (MEMORY, None)])
def test_networks_of_either_sign_give_the_same_bits_in_blocks_and_by_all_executions(neuron, schedule, changes, bits):
    """Those of the definition, in plain integer arithmetic; what the last layer gives is rectified."""
    network = network_of(False, schedule, neuron=neuron, bits=bits, slope=0.5, **changes)
    mixture = 0.1 * torch.randn(2, 151)
    x, layers = network.stack_input(network.encode(mixture)), network.stack.spiking_layers()
    trains = reference.trains(layers, x)
    assert all((train < 0).any() for train in trains[:-1])
    assert any((abs(train) > 1).any() for train in trains[:-1]) == (neuron != "double-threshold")
    potential = torch.from_numpy(trains[-1].sum(0)).double() * layers[-1].quantum.view(-1, 1, 1)
    assert (potential < 0).any()
    expected, outcome = network(mixture), potential.float().relu()
    for name in ("fastest", "dense", "event-driven"):
        with execution(name):
            assert torch.equal(network.stack(x), outcome)
            assert torch.equal(network(mixture), expected)
            for live in (False, True):
                estimates, late, look_ahead = streamed(TasNetStream(network, live), mixture, [1, 1, 30, 7, 50])
                assert torch.equal(estimates, expected) and late <= look_ahead


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("changes", [{}, MEMORY, {"slope": 0.2}])
def test_analog_networks_differ_by_rounding_alone(causal, changes):
    network = network_of(causal, **changes)
    mixture = torch.randn(2, 333)
    estimates, _, _ = streamed(TasNetStream(network), mixture, [1] * 50 + [7] * 20)
    torch.testing.assert_close(estimates, network(mixture), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("changes", "more"), [({}, 0), (MEMORY, 5 * 4)])
def test_samples_come_as_late_as_was_said_and_no_later(causal, changes, more):
    mixture = torch.randn(1, 400)
    _, late, look_ahead = streamed(TasNetStream(network_of(causal, **changes)), mixture, [1] * 400)
    assert late == look_ahead == (7 if causal else 7 + 7 * 4 + more)


@pytest.mark.parametrize("changes", [{}, MEMORY])
def test_estimates_are_the_same_bits_without_compiled_loops(changes, monkeypatch):
    network = network_of(False, "layer-by-layer", **changes)
    mixture = 0.1 * torch.randn(2, 900)
    compiled = network(mixture)
    for module in (exact, window_norm):
        monkeypatch.setattr(module, "compiled_for", lambda _: None)
    assert torch.equal(network(mixture), compiled)


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_estimates_of_a_batch_are_those_of_its_items(schedule):
    """Masks and decoder included, whatever they are batched with."""
    network = network_of(False, schedule)
    mixture = 0.1 * torch.randn(5, 2500)  # more frames than are decoded at a time
    together = network(mixture)
    assert together.abs().max() > 0
    assert torch.equal(torch.cat([network(item[None]) for item in mixture]), together)
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    assert torch.equal(network(mixture), together)
    torch.set_num_threads(before)
