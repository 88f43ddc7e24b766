from copy import deepcopy

import pytest
import torch
from torch import nn

from separator.snn.conversion.penalty import ActivityPenalty, density
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import Activity, LayerActivity, fan_out, record_activity
from separator.snn.synapses.affine import affine_map
from tests.snn.nets import conv1d_stack, conv2d_stack, converted, fire, linear_stack, spike_trains


class Network(nn.Module):
    """A stack with something before and after it."""

    def __init__(self, stack):
        super().__init__()
        self.before, self.stack = nn.Linear(11, 11, bias=False), stack
        self.after = nn.Linear(11, 2)

    def forward(self, x):
        return self.after(self.stack(self.before(x)))


def brute_force_fan_out(convolution, length):
    """Count, for each input frame, the (output channel, output frame, tap) triples that read it."""
    (kernel,), (d,), (p,), (s,) = convolution.kernel_size, convolution.dilation, convolution.padding, convolution.stride
    frames = (length + 2 * p - d * (kernel - 1) - 1) // s + 1
    counts = [0] * length
    for out in range(frames):
        for tap in range(kernel):
            position = out * s + tap * d - p
            if 0 <= position < length:
                counts[position] += convolution.out_channels
    return counts


def test_fan_out_is_exact_at_the_borders():
    for d, p, s in ((1, 1, 1), (4, 4, 1), (3, 0, 1), (2, 2, 3)):
        convolution = nn.Conv1d(2, 5, 3, dilation=d, padding=p, stride=s)
        synapses = fan_out(affine_map(convolution), convolution.weight != 0, torch.randn(2, 2, 17))
        assert synapses[0, 0].tolist() == synapses[0, 1].tolist() == brute_force_fan_out(convolution, 17)


def test_fan_out_with_groups():
    convolution = nn.Conv1d(4, 6, 3, padding=1, groups=2)
    synapses = fan_out(affine_map(convolution), convolution.weight != 0, torch.randn(2, 4, 9))
    assert synapses.shape == (1, 4, 9)
    assert synapses[0, 0].tolist() == [count / 2 for count in brute_force_fan_out(convolution, 9)]


def test_synaptic_operations_of_a_spiking_network():
    x = torch.randn(3, 3, 11)
    network = Network(converted(conv1d_stack(0), x, 6, 0.5)).eval()
    with torch.inference_mode(), record_activity(network) as activity:
        network(x)
    layers = network.stack.spiking_layers()
    signal = network.before(x)
    convolutions = [layer.affine for layer in conv1d_stack(0).layers]
    for i, layer in enumerate(activity.layers):
        fan = torch.tensor(brute_force_fan_out(convolutions[i], 11)).float()
        if i:  # every spike of the layer before reaches its synapses
            trains = fire(layers[:i], signal).trains()
            assert layer.synaptic_operations == int((trains.sum((0, 1, 2)) * fan).sum())
        if i < len(layers) - 1:
            trains = fire(layers[: i + 1], signal).trains()
            assert layer.spikes == int(trains.sum())
            assert layer.rate == float(trains.double().mean())
        assert layer.macs == 3 * convolutions[i].in_channels * int(fan.sum())
        assert layer.neurons == 3 * 5 * 11
    assert activity.synaptic_operations == sum(layer.synaptic_operations for layer in activity.layers)
    assert activity.float_macs == {"before": 3 * 3 * 11 * 11, "charge": activity.layers[0].macs, "after": 3 * 5 * 11 * 2}


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_a_spike_counts_once_whatever_its_sign_and_coefficient(neuron, schedule):
    stack, x = linear_stack(widths=(6, 5, 3, 7)), torch.randn(16, 6)
    for layer in stack.layers[:-1]:
        layer.activation = nn.LeakyReLU(0.5)
    stack.convert(x, Dynamics(5, 0.5, schedule, neuron=neuron), 99.0)
    with record_activity(nn.Sequential(stack)) as activity:
        stack(x)
    trains = spike_trains(stack.spiking_layers(), x)
    events = [int((train != 0).sum()) for train in trains]
    assert all((train < 0).any() for train in trains)
    assert all((abs(train) > 1).any() != (neuron == "double-threshold") for train in trains)
    assert [layer.spikes for layer in activity.layers] == [*events, 0]
    assert [layer.synaptic_operations for layer in activity.layers] == [0, 3 * events[0], 7 * events[1]]


def test_analog_and_spiking_networks_count_the_same_macs():
    x = torch.randn(2, 2, 6, 5)
    for build, data in ((conv2d_stack, x), (linear_stack, torch.randn(2, 6))):
        analog, spiking = build(0), converted(build(0), data, 4, 0.0)
        counts = []
        for stack in (analog, spiking):
            holder = nn.Sequential(stack)
            with record_activity(holder) as activity:
                holder(data)
            counts.append([layer.macs for layer in activity.layers])
            assert activity.macs == sum(counts[0][1:])
            assert activity.float_macs == {"charge": counts[0][0]}
        assert counts[0] == counts[1]


@pytest.mark.parametrize("coding", [None, "charge", "poisson"])
def test_a_stack_may_be_recorded_by_itself(coding):
    stack, x = linear_stack(0), torch.randn(2, 6)
    if coding is not None:
        stack.convert(x, Dynamics(8, coding=coding))
    recorded = []
    for network in (stack, nn.Sequential(stack)):
        with record_activity(network) as activity:
            network(x)
        recorded.append(activity)
    assert recorded[0] == recorded[1]


def test_spikes_of_the_input_replace_macs_of_the_first_layer():
    stack, x = linear_stack(widths=(6, 5, 3, 7)), torch.randn(2, 6)
    stack.convert(x, Dynamics(8, coding="poisson"))
    with record_activity(nn.Sequential(stack)) as activity:
        stack(x)
    assert activity.macs == sum(layer.macs for layer in activity.layers) == 2 * (6 * 5 + 5 * 3 + 3 * 7)
    assert activity.float_macs == {}
    assert activity.layers[0].synaptic_operations > 0
    values = activity.to_dict()
    assert values["synaptic_operations_per_mac"] == activity.synaptic_operations / activity.macs


@pytest.mark.parametrize(
    ("module", "sizes"),
    [
        (nn.Conv1d(4, 6, 5, padding=2, padding_mode="replicate", groups=2), (7,)),
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, padding_mode="reflect"), (6, 5)),
        (nn.Conv2d(4, 6, (3, 2), padding="same", padding_mode="circular", dilation=2), (6, 5)),
        (nn.Conv2d(4, 6, 3, padding=1), (6, 5)),
        (nn.Conv3d(4, 6, (3, 2, 1), stride=(1, 2, 1), padding=(1, 1, 0), dilation=(2, 1, 1), groups=2), (5, 6, 3)),
        (nn.Conv3d(4, 6, 3, padding="same"), (3, 4, 2)),
        (nn.Conv3d(4, 6, 3, padding=1, padding_mode="circular"), (3, 4, 2)),
        (nn.ConvTranspose1d(4, 6, 5, stride=3, groups=2), (7,)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2, output_padding=1), (4, 5)),
        (nn.ConvTranspose3d(4, 6, 2), (2, 3, 4)),
    ],
)
def test_macs_outside_of_the_stack_are_those_of_any_convolution(module, sizes):
    """Of ones times ones, each product adds one to the sum of the outputs."""
    network = nn.ModuleDict({"front": module, "stack": linear_stack()})
    nn.init.ones_(module.weight)
    nn.init.zeros_(module.bias)
    with torch.inference_mode(), record_activity(network) as activity:
        total = module(torch.ones(2, 4, *sizes)).double().sum()
    assert activity.float_macs == {"front": int(total)}


def test_nothing_is_recorded_after_the_block():
    x = torch.randn(1, 3, 11)
    network = Network(converted(conv1d_stack(0), x, 4, 0.0))
    with record_activity(network) as activity:
        network(x)
    recorded = deepcopy(activity)
    network(x)
    assert activity == recorded
    assert activity.spikes > 0


def test_density_does_not_depend_on_scale():
    a = torch.rand(4, 5)
    assert torch.isclose(density(a), density(100 * a))
    assert torch.isclose(density(torch.ones(7)), torch.tensor(1.0))
    one = torch.zeros(8)
    one[3] = 2.0
    assert torch.isclose(density(one), torch.tensor(1 / 8))


def test_activity_of_analog_layers_is_their_mean_density():
    stack = linear_stack(0)
    activity = ActivityPenalty(stack)
    x = torch.randn(4, 6)
    stack(x)
    expected, signal = [], x
    value = activity.pop()
    for layer in stack.layers:
        signal = layer(signal)
        expected.append(density(signal))
    activity.pop()
    assert torch.isclose(value, torch.stack(expected).mean())


def test_activity_of_layers_in_tandem_is_their_firing_rate():
    x = torch.randn(4, 3, 11)
    stack = converted(conv1d_stack(0), x, 4, 0.5)
    with record_activity(stack) as recorded:
        stack(x)
    stack.unfreeze(learn_thresholds=False)
    activity = ActivityPenalty(stack)
    stack(x)
    rates = [layer.rate for layer in recorded.layers[:-1]]
    value = activity.pop()
    assert value.item() == pytest.approx(sum(rates) / len(rates))
    value.backward()
    assert stack.layers[0].layer.affine.weight.grad.abs().sum() > 0


def test_plain_values():
    first = LayerActivity("layers.0", spikes=60, neurons=10, window=8, macs=1000)
    last = LayerActivity("layers.1", spikes=30, neurons=15, window=8, synaptic_operations=300, macs=500)
    values = Activity([first, last], {"encoder": 70, "mask": 30}).to_dict()
    assert (values["window"], values["spikes"], values["synaptic_operations"]) == (8, 90, 300)
    # Spikes drive the last layer only; the first is charged with analog values.
    assert (values["macs"], values["synaptic_operations_per_mac"], values["float_macs"]) == (500, 0.6, 100)
    assert [layer["firing_rate"] for layer in values["layers"]] == [60 / 80, 30 / 120]
