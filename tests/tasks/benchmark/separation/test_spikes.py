import pytest
import torch

from separator.errors import UserError
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.export.spikingjelly import SpikingJellyStack
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.snn.stack.simulation import simulate
from separator.tasks.benchmark.separation.spikes import check_spikes


def test_spikes_are_compared_before_timing(network, monkeypatch, noise):
    with record_activity(network) as activity, torch.no_grad():
        network(torch.from_numpy(noise)[None])
    firing = activity.layers[:-1]
    rate = sum(layer.spikes for layer in firing) / sum(layer.neurons * layer.window for layer in firing)
    for backend, same in (("", None), ("bf16", None), ("dense", True), ("spikingjelly", True)):
        check = check_spikes(backend, network, noise)
        assert check.firing_rate == pytest.approx(rate)
        assert check.same is same
    outcomes = SpikingJellyStack.outcomes

    def differing(stack, x):
        *words, potential = outcomes(stack, x)
        return [words[0], words[1] ^ torch.nn.functional.one_hot(torch.tensor(0), words[1].shape[-1]).int(), potential]

    monkeypatch.setattr(SpikingJellyStack, "outcomes", differing)
    with pytest.raises(UserError, match="other spikes than ours from layer 1 on"):
        check_spikes("spikingjelly", network, noise)


def test_analog_networks_have_no_spikes_to_compare(noise):
    network = TasNet(TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))).eval()
    assert check_spikes("bf16", network, noise) is None
    for backend in ("dense", "spikingjelly"):
        with pytest.raises(UserError, match=f"'{backend}' is for spiking networks"):
            check_spikes(backend, network, noise)


@pytest.mark.parametrize(("neuron", "schedule"), [("few-spikes", "layer-by-layer"), ("augmented", "pipelined")])
def test_spikes_that_are_worth_more_than_one_are_counted_as_spikes(noise, neuron, schedule):
    """The rate by hand, from the trains of every layer; the dense execution fires the same."""
    torch.manual_seed(0)
    network = TasNet(TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))).eval()
    with torch.no_grad():
        seen = network.stack_input(network.encode(torch.from_numpy(noise)[None]))
        network.stack.convert(seen, Dynamics(4, 0.5, schedule, neuron=neuron), 99.0, True)
        runs = []
        simulate(network.stack.spiking_layers(), seen, network.stack.sources, lambda run: runs.append(run.outcome))
    trains = [spikes.trains() for spikes in runs[:-1]]
    rate = sum(float((train != 0).sum()) for train in trains) / sum(train.numel() for train in trains)
    check = check_spikes("dense", network, noise)
    assert check.firing_rate == pytest.approx(rate) and 0 < rate < 1 and check.same is True
