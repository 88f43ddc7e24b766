"""Currents by rows of weights against torch's convolutions in 64 bits; neurons that fire many at a time against their model."""

import pytest
import torch
from torch import nn

from separator.snn.execution.chosen import execution
from separator.snn.execution.row_adding import RowAdding, row_adding, trains_of
from separator.snn.execution.scans import run_neurons
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.neurons.double_threshold import MOST, Augmented
from separator.snn.spikes.augmented import AugmentedSpikes
from separator.snn.synapses.absorb import absorbed_map, absorbed_weight
from separator.snn.synapses.affine import AffineMap, affine_map


def spikes_of(*shape, share=0.3, largest=127):
    draw = torch.Generator().manual_seed(len(shape))
    values = torch.randint(-largest, largest + 1, shape, generator=draw)
    return torch.where(torch.rand(shape, generator=draw) < share, values, 0).to(torch.int8)


def numbers_of(channels, slope=0.1):
    one = torch.ones(channels, dtype=torch.float64)
    return Augmented().in_quanta(1000 + torch.arange(channels).double(), one, one, 0.3, nn.LeakyReLU(slope))


def laid_out(apply, weight):
    bias = torch.randint(-900, 900, (len(weight),), dtype=torch.int32)
    made = row_adding(apply, weight, bias, Augmented(), numbers_of(len(weight)))
    assert isinstance(made, RowAdding)
    return made


def check(apply, weight, trains):
    layer = laid_out(apply, weight)
    expected = apply(trains.flatten(0, 1).double(), weight.double(), layer.bias.double())
    assert torch.equal(layer.currents(trains), expected.view(*trains.shape[:2], *expected.shape[1:]).to(torch.int32))


@pytest.mark.parametrize("share", [0.02, 0.4, 1.0])
@pytest.mark.parametrize(
    ("affine", "places"),
    [
        (nn.Conv2d(5, 11, (3, 2)), (7, 9)),
        (nn.Conv2d(4, 70, 3, stride=2, padding=(2, 1), dilation=(1, 2)), (9, 12)),
        (nn.Conv2d(3, 9, (2, 3), stride=(1, 2), padding=4), (3, 35)),
        (nn.Conv2d(2, 3, 5, padding=6, dilation=3), (8, 7)),
        (nn.Conv1d(7, 20, 3, padding=4, dilation=4), (700,)),
        (nn.Conv1d(130, 8, 7, stride=3), (40,)),
        (nn.Linear(1, 1), ()),
        (nn.Linear(37, 10), ()),
        (nn.Linear(600, 129), ()),
    ],
)
def test_currents_are_those_of_the_map(affine, places, share):
    weight = torch.randint(-(2**15) + 1, 2**15, affine.weight.shape, dtype=torch.int32) // (
        1 if affine.weight[0].numel() < 50 else 16
    )
    inputs = affine.weight.shape[1]
    check(affine_map(affine), weight, spikes_of(3, 2, inputs, *places, share=share))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("steps", [1, 20])
def test_what_is_averaged_is_summed_first(size, steps):
    shape = torch.Size((6, 12, 12))
    apply = affine_map(nn.Conv2d(6, 66, 3, padding=1))
    pool, flat = nn.AvgPool2d(size), nn.Flatten()
    weight = torch.randint(-500, 500, (66, 6, 3, 3)) * size**2
    conv = absorbed_weight([pool], apply, weight.double(), shape).round().to(torch.int32)
    check(absorbed_map([pool], apply), conv, spikes_of(steps, 2, *shape))
    after = absorbed_map([pool, flat], AffineMap(nn.Linear))
    lines = torch.randint(-500, 500, (20, 6 * (12 // size) ** 2)) * size**2
    linear = absorbed_weight([pool, flat], AffineMap(nn.Linear), lines.double(), shape).round().to(torch.int32)
    check(after, linear, spikes_of(steps, 2, *shape))


@pytest.mark.parametrize("padding", [(0, 0), (5, 2), (-3, 1)])
def test_another_padding_takes_the_same_weights(padding):
    apply, weight = affine_map(nn.Conv1d(6, 20, 3, padding=1)), torch.randint(-99, 99, (20, 6, 3), dtype=torch.int32)
    trains, layer = spikes_of(4, 2, 6, 50), laid_out(apply, weight)
    layer.currents(trains)
    moved = layer.padded_as(apply.with_time_padding(*padding))
    expected = moved.apply(trains.flatten(0, 1).double(), weight.double(), layer.bias.double())
    assert torch.equal(moved.currents(trains).flatten(0, 1).double(), expected)
    assert moved._paired is layer._paired


def test_more_outputs_than_a_job_has_room_for():
    apply, weight = affine_map(nn.Conv1d(3, 9, 5)), torch.randint(-99, 99, (9, 3, 5), dtype=torch.int32)
    check(apply, weight, spikes_of(3, 1, 3, 1300))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_share_it(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(
            affine_map(nn.Conv2d(4, 12, 3)), torch.randint(-99, 99, (12, 4, 3, 3), dtype=torch.int32), spikes_of(5, 7, 4, 9, 9)
        )
    finally:
        torch.set_num_threads(before)


def test_it_serves_no_sums_or_weights_that_do_not_fit():
    apply, bias = AffineMap(nn.Linear), torch.zeros(2, dtype=torch.int32)
    for weight in (torch.full((2, 3), 2**15), torch.full((2, 300), 2**15 - 1)):
        assert row_adding(apply, weight.to(torch.int32), bias, Augmented(), numbers_of(2)) is None
    grouped = affine_map(nn.Conv1d(4, 4, 3, groups=4))
    assert row_adding(grouped, torch.ones(4, 1, 3, dtype=torch.int32), torch.zeros(4), Augmented(), numbers_of(4)) is None


@pytest.mark.parametrize("boundary", [1, 2, 127])
@pytest.mark.parametrize("places", [(), (1,), (45,), (9, 16)])
@pytest.mark.parametrize("size", [200, 9000, MOST - 1])
def test_neurons_fire_what_their_model_says_however_many_there_are(boundary, places, size):
    """Blocks of 32 and 8 neurons and those left over; none, one and more thresholds; registers that saturate."""
    neuron, numbers = Augmented(boundary), numbers_of(5)
    currents = torch.randint(
        -size, size + 1, (30, 11, 5, *places), generator=torch.Generator().manual_seed(size), dtype=torch.int32
    )
    wide = {name: x.to(torch.int64).view(-1, *[1] * len(places)) for name, x in numbers.items()}
    expected, left = neuron.run(currents.to(torch.int64), wide, None)
    spikes, state = run_neurons(neuron, currents, numbers, None)
    assert torch.equal(spikes.trains(), expected.trains())
    assert torch.equal(state.v.to(torch.int64), left.v)


@pytest.mark.parametrize("size", [MOST, 2**31 - 1, 5 * 10**9])
@pytest.mark.parametrize("kind", [torch.int64, torch.float64])
def test_neurons_fire_what_their_model_says_on_currents_beyond_32_bits(size, kind):
    neuron, numbers, wide = Augmented(), numbers_of(5), {name: x.double().view(-1, 1) for name, x in numbers_of(5).items()}
    currents = torch.tensor([size, size, -3, -size, -size, 7, size] * 5 * 8).view(7, 1, 5, 8).to(kind)
    expected, _ = neuron.run(currents.double(), wide, None)
    first, between = run_neurons(neuron, currents[:3], numbers, None)
    second, _ = run_neurons(neuron, currents[3:], numbers, between)
    assert torch.equal(torch.cat([first.trains(), second.trains()]), expected.trains())
    steady, _ = run_neurons(neuron, [currents[0]] * 7, numbers, None)
    assert torch.equal(steady.trains(), neuron.run([currents[0].double()] * 7, wide, None)[0].trains())


def test_coefficients_are_copied_only_if_they_lie_apart():
    trains = spikes_of(6, 2, 5)
    behind, apart = AugmentedSpikes(6, trains.unbind()), AugmentedSpikes(6, [step.clone() for step in trains])
    turned, back = AugmentedSpikes(6, trains.transpose(1, 2).unbind()), AugmentedSpikes(6, trains.flip(0).unbind())
    assert behind.bytes().data_ptr() == trains.data_ptr()
    mixed = AugmentedSpikes(6, [*trains[:3].unbind(), *trains[2:5].unbind()])
    for spikes, expected in ((behind, trains), (apart, trains), (turned, trains.transpose(1, 2)), (back, trains.flip(0))):
        assert torch.equal(trains_of(spikes), expected)
    assert torch.equal(mixed.bytes(), torch.cat([trains[:3], trains[2:5]]))


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "integrate-and-fire"])
def test_a_layers_currents_of_each_step_do_not_depend_on_the_execution(neuron):
    torch.manual_seed(0)
    dynamics = Dynamics(12, 0.5, neuron=neuron)
    affine = nn.Conv2d(4, 70, 3, padding=1)
    slope = nn.ReLU() if neuron == "integrate-and-fire" else nn.LeakyReLU(0.5)
    layer = SpikingLayer.convert(AnalogLayer(affine, activation=slope), "fire", torch.ones(1), torch.ones(1), dynamics)
    largest = 127 if neuron == "augmented" else 1
    trains = spikes_of(12, 2, 4, 7, 9, largest=largest).float()
    spikes = dynamics.model.spikes.pack(trains.abs() if neuron == "integrate-and-fire" else trains)
    alone = torch.stack([layer.current(step) for step in spikes.steps()]).double()
    assert torch.equal(layer.currents(spikes).double(), alone)
    with execution("dense"):
        assert torch.equal(layer.currents(spikes).double(), alone)
