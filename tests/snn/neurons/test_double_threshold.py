"""Double-threshold neurons against the paper's equations in exact fractions, and stacks of them against the definition."""

from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.ranges import check_layer
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.twins import analog_twin, with_window
from separator.snn.learning.surrogate import Surrogate
from separator.snn.neurons.double_threshold import Augmented, DoubleThreshold, PathIndependent
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.spikes.augmented import AugmentedSpikes
from separator.snn.spikes.signed import SignedSpikes
from separator.snn.stack import reference
from separator.snn.stack.simulation import simulate
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import AffineMap
from tests.snn.nets import check_fires_as_defined

SLOPES = (Fraction(1), Fraction(1, 5), Fraction(1, 10))
courses = st.lists(st.integers(-(2**16), 2**16), min_size=1, max_size=40)


def numbers_of(threshold, slope, initial=0, neuron=None):
    """Whole numbers of one neuron, as tensors."""
    activation = nn.LeakyReLU(float(slope)) if slope < 1 else None
    one, size = torch.ones(1).double(), torch.tensor([threshold]).double()
    return (neuron or Augmented()).in_quanta(size, one, one, initial / threshold, activation)


def published(currents, positive, negative, boundary=None):
    """Eq. 1 to 5 and 15, number by number: spikes of one neuron; without a boundary those of Eq. 2."""
    v, spikes = Fraction(0), []
    for current in currents:
        v += current
        if boundary is None:
            spike = 1 if v >= positive else -1 if v <= negative else 0
            v -= positive if spike == 1 else negative if spike == -1 else 0
        else:
            spike = floor(v / positive) if v >= positive else -floor(v / negative) if v <= negative else 0
            spike = max(-boundary, min(boundary, spike))
            v -= spike * positive if spike >= 1 else -spike * negative if spike <= -1 else 0
        spikes.append(spike)
    return spikes


def fired(neuron, currents, numbers):
    steps = torch.tensor(currents, dtype=torch.int32).view(-1, 1, 1)
    trains, state = [], None
    for first in range(0, len(steps), 32):
        spikes, state = neuron.run(steps[first : first + 32], numbers, state)
        trains += [int(step) for step in spikes.trains().flatten()]
    return trains


@settings(max_examples=60)
@given(courses, st.integers(1, 5000), st.sampled_from(SLOPES))
def test_spikes_are_those_of_the_paper(currents, threshold, slope):
    numbers = numbers_of(threshold, slope)
    negative = -threshold / slope
    assert fired(DoubleThreshold(), currents, numbers) == published(currents, threshold, negative)
    for boundary in (1, 3, 127):
        assert fired(Augmented(boundary), currents, numbers) == published(currents, threshold, negative, boundary)


@settings(max_examples=60)
@given(courses, st.integers(1, 5000), st.sampled_from(SLOPES), st.booleans())
def test_a_boundary_of_one_makes_the_same_spikes(currents, threshold, slope, rounds):
    numbers = numbers_of(threshold, slope, threshold // 2 if rounds else 0)
    assert fired(Augmented(1), currents, numbers) == fired(DoubleThreshold(), currents, numbers)


@settings(max_examples=60)
@given(courses, st.integers(1, 5000), st.sampled_from(SLOPES))
def test_path_independent_spikes_sum_up_to_what_all_of_the_charge_is_worth(currents, threshold, slope):
    trains = fired(PathIndependent(), currents, numbers_of(threshold, slope))
    total, clipped = 0, False
    for charge, spike in zip(np.cumsum(currents), trains, strict=True):
        worth = int(charge) // threshold if charge > 0 else -floor(-int(charge) * slope / threshold)
        spike_due = worth - total
        clipped |= abs(spike_due) > 127
        assert spike == max(-127, min(127, spike_due))
        total += spike
        assert clipped or total == worth


@given(st.integers(-(2**20), 2**20), st.integers(20, 5000), st.integers(1, 400))
def test_a_constant_current_fires_what_division_says(current, threshold, steps):
    """N_t = floor(t x / theta_P), or -floor(t |x| / |theta_N|); with one spike a step at most t of them."""
    numbers = numbers_of(threshold, Fraction(1, 5))
    size = threshold if current > 0 else 5 * threshold
    if abs(current) < 127 * size:
        expected = [abs(current) * t // size * (1 if current > 0 else -1) for t in range(1, steps + 1)]
        assert np.cumsum(fired(Augmented(), [current] * steps, numbers)).tolist() == expected
    if abs(current) < size:
        expected = [min(t, abs(current) * t // size) * (1 if current > 0 else -1) for t in range(1, steps + 1)]
        assert np.cumsum(fired(DoubleThreshold(), [current] * steps, numbers)).tolist() == expected


@given(courses, st.integers(1, 5000))
def test_without_a_negative_threshold_counts_are_the_highest_that_the_charge_has_been(currents, threshold):
    """N_t = max(0, floor(max over tau <= t of C_tau / theta)), for ReLU and coefficients without a boundary in their way."""
    whole = Augmented().in_quanta(*(torch.tensor([x]).double() for x in (threshold, 1, 1)), 0.0, nn.ReLU())
    highest = np.maximum.accumulate(np.cumsum(currents)) // threshold
    trains = fired(Augmented(), currents, whole)
    if max(trains) < 127:
        assert np.cumsum(trains).tolist() == np.maximum(highest, 0).tolist()


@pytest.mark.parametrize("kind", [DoubleThreshold, Augmented, PathIndependent])
@pytest.mark.parametrize("initial", [0, 10, 50, 90])
@pytest.mark.parametrize("slope", SLOPES)
def test_a_charge_at_once_is_settled_as_if_step_by_step(kind, initial, slope):
    neuron, numbers = kind(), numbers_of(100, slope, initial, kind())
    charge = torch.arange(-150_000, 150_000, 37, dtype=torch.int32).view(1, -1)
    window = 7
    run, _ = neuron.run([charge, *[torch.zeros_like(charge)] * (window - 1)], numbers)
    settled = neuron.in_front(neuron.settle(charge, numbers, window), window)
    assert torch.equal(run.trains(), settled.trains()) and torch.equal(run.values, settled.values)
    assert torch.equal(run.events, settled.events)


@pytest.mark.parametrize("boundary", [0, -1, 128, 1.5])
def test_boundaries_that_cannot_be_are_refused(boundary):
    with pytest.raises(UserError, match="coefficients of at most 1 to 127"):
        Augmented(boundary)


@pytest.mark.parametrize("slope", [1e-4, 1.5, -0.2])
def test_slopes_that_no_thresholds_have_are_refused(slope):
    stack = network(slope=0.2)
    stack.layers[1].activation.negative_slope = slope
    with pytest.raises(UserError, match="layer 0: neurons stand for slopes of 0 or"):
        stack.convert(torch.rand(9, 6), Dynamics(8, neuron="augmented"))


@pytest.mark.parametrize(
    ("name", "value"), [("threshold", 0), ("threshold", -3), ("negative_threshold", 0), ("negative_threshold", -7)]
)
def test_thresholds_that_are_none_are_refused(name, value):
    from separator.snn.layers.ranges import check_layer

    stack = network()
    stack.convert(torch.rand(9, 6), Dynamics(8, neuron="double-threshold"))
    getattr(stack.layers[0], name)[0] = value
    with pytest.raises(UserError, match="threshold is"):
        check_layer(stack.layers[0])


def network(slope=0.2, kind="linear"):
    torch.manual_seed(1)
    leaky = nn.LeakyReLU(slope)
    if kind == "linear":
        modules = [nn.Linear(6, 16, bias=False), leaky, nn.Linear(16, 12), leaky, nn.Linear(12, 3)]
    else:
        modules = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), leaky, nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, bias=False), leaky]
        modules += [nn.AvgPool2d(2), nn.Dropout(0.2), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3)]
    stack = Stack(layers_of(modules), "potential").eval()
    stack(torch.rand(1, 1, 14, 14) if kind == "conv" else torch.rand(1, 6))
    return stack


def inputs(kind):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(4, 1, 14, 14, generator=generator) if kind == "conv" else torch.randn(30, 6, generator=generator)


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
@pytest.mark.parametrize(
    ("window", "schedule", "coding", "initial", "bits", "readout"),
    [
        (8, "pipelined", "charge", 0.0, 8, "potential"),
        (32, "pipelined", "constant", 0.5, None, "counts"),
        (8, "layer-by-layer", "charge", 0.5, None, "potential"),
        (40, "pipelined", "constant", 0.0, 8, "counts"),
    ],
)
def test_all_executions_fire_what_the_definition_says(kind, neuron, window, schedule, coding, initial, bits, readout):
    stack, x = network(kind=kind), inputs(kind)
    stack.set_readout(readout)
    stack.convert(x, Dynamics(window, initial, schedule, bits, neuron=neuron, coding=coding), 100.0)
    expected = check_fires_as_defined(stack, x, ("fastest", "dense"))
    assert any((train < 0).any() for train in expected[:-1])


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
def test_rates_come_near_the_analog_network(neuron):
    x = inputs("linear")
    analog = network()(x).detach()
    errors = []
    for window in (16, 256, 2048):
        stack = network()
        stack.set_readout("counts")
        stack.convert(x, Dynamics(window, coding="constant", neuron=neuron), 100.0)
        assert [layer.stands_for.negative_slope if layer.stands_for else None for layer in stack.layers] == [0.2, 0.2, None]
        errors.append(((stack(x) - analog).norm() / analog.norm()).item())
    assert errors[1] < errors[0] / 4 and errors[2] < 0.02


def test_a_path_independent_run_ends_where_its_closed_form_is():
    """Pipelined over any course of input, neurons fire in all what layers that wait for all of their input fire."""
    x = inputs("conv")
    counts = []
    for schedule in ("pipelined", "layer-by-layer"):
        stack = network(kind="conv")
        stack.set_readout("counts")
        stack.convert(x, Dynamics(32, 0.0, schedule, neuron="path-independent", coding="constant"), 100.0)
        counts.append(reference.trains(stack.spiking_layers(), x)[-1].sum(0))
    assert np.array_equal(*counts)


def test_analog_twins_have_the_slopes_that_thresholds_have():
    stack = network(kind="conv")
    stack.convert(inputs("conv"), Dynamics(8, neuron="augmented"))
    twin = analog_twin(stack.layers[1], stack.layers[0].scale)
    assert isinstance(twin, AnalogLayer) and twin.activation.negative_slope == pytest.approx(0.2, rel=1e-5)
    assert type(analog_twin(stack.layers[2], stack.layers[1].scale).activation) is nn.ReLU
    assert analog_twin(stack.layers[3], stack.layers[2].scale).activation is None
    other = with_window(stack.layers[1], 4)
    assert torch.equal(other.negative_threshold, 5 * other.threshold)


def test_bits_tell_all_that_may_be_fired_at_a_step():
    for neuron in (IntegrateAndFire(), DoubleThreshold(), *(Augmented(most) for most in (1, 3, 4, 7, 8, 127))):
        least, most = neuron.limits(1)
        fired = range(least, most + 1)
        assert 2 ** (neuron.bits - 1) < len(fired) <= 2**neuron.bits
    assert [Augmented(most).bits for most in (1, 3, 7, 127)] == [2, 3, 4, 8]


@given(st.lists(st.integers(-127 * 9, 127 * 9), min_size=1, max_size=30), st.integers(9, 32), st.sampled_from([40, 127]))
def test_trains_that_come_first_are_what_their_sum_says(values, window, boundary):
    sums = torch.tensor([v * boundary // 127 for v in values], dtype=torch.int16)
    spikes = AugmentedSpikes.in_front(sums, window, boundary)
    trains = spikes.trains().to(torch.int64)
    assert torch.equal(trains.sum(0), sums.long()) and int(trains.abs().max()) <= boundary
    assert torch.equal(spikes.events.long(), -(-sums.long().abs() // boundary))
    rest = trains.abs()
    assert bool((rest[1:] <= rest[:-1]).all())
    assert torch.equal(AugmentedSpikes.pack(trains).values, sums)


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=32))
def test_signed_trains_are_kept(train):
    spikes = SignedSpikes.pack(torch.tensor(train).view(-1, 1, 1).float())
    assert spikes.trains().flatten().tolist() == train
    assert (int(spikes.values), int(spikes.events)) == (sum(train), sum(map(abs, train)))
    front = SignedSpikes.in_front(spikes.values, len(train))
    assert front.trains().flatten().tolist() == sorted(front.trains().flatten().tolist(), key=lambda s: -abs(s))
    assert torch.equal(front.values, spikes.values)
    both = spikes.alike([front])
    assert [int(piece.values) for piece in both] == [sum(train)] * 2


@pytest.mark.parametrize(("activation", "negative"), [(nn.ReLU(), 1), (nn.LeakyReLU(0.2), 0)])
def test_no_derivative_goes_through_a_negative_threshold_that_there_is_not(activation, negative):
    """In units of activation, where gradients are above 1 as well."""
    neuron = DoubleThreshold(negative)
    numbers = neuron.in_units(torch.full((1,), 0.25), 0.5, activation)
    assert set(numbers) == set(IntegrateAndFire().in_units(torch.ones(1), 0.5))
    assert neuron.initial_below(0.5, activation) == 0 and float(neuron.reach(numbers, 4)) == 1.25
    currents = torch.tensor([[-3.0, 0.3, 0.1], [0.2, 0.2, 9.0]], requires_grad=True)
    state, fired = neuron.initial_state(numbers, currents[0]), []
    for current in currents:
        spikes, state = neuron.step(current, state, numbers, Surrogate("arctan").fires)
        fired.append(spikes)
    assert torch.stack(fired).tolist() == [[0, 1, 0], [0, 1, 1]]
    (1e3 * (torch.stack(fired).sum() + state.v.sum())).backward()
    assert currents.grad.isfinite().all() and currents.grad.any()


def test_negative_thresholds_can_be_taken_away():
    stack, x = network(), inputs("linear")
    stack.convert(x, Dynamics(16, coding="constant", neuron="augmented", neuron_options={"negative": 0}))
    trains = reference.trains(stack.spiking_layers(), x)[:-1]
    assert all((train >= 0).all() and train.any() for train in trains)
    assert all(type(layer.stands_for) is nn.ReLU for layer in stack.layers[:2])


MAP = AffineMap(nn.Linear)
GROUPED = AffineMap(nn.Conv1d, (1,), ((0, 0),), (1,), 2)


def layer_in_integers(role, weight, bias, threshold, dynamics, apply=MAP):
    return SpikingLayer.in_integers(apply, role, weight, bias, torch.tensor(threshold), dynamics)


def check_executions(layers, x):
    """Numbers that a file may hold, and the spikes of the definition by every execution."""
    for layer in layers:
        check_layer(layer)
    expected = reference.trains(layers, x)
    for name in ("fastest", "event-driven", "row-adding", "dense"):
        fired = {}
        with execution(name):
            simulate(layers, x, None, lambda run, fired=fired: fired.update({run.position: run.outcome}))
        assert torch.equal(fired[1].trains(), torch.from_numpy(expected[1]).to(fired[1].trains().dtype)), name


@pytest.mark.parametrize("start", [0.75, 0.99])
@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
def test_a_start_is_below_the_threshold_however_low_that_is(neuron, start):
    dynamics = Dynamics(2, start, "pipelined", 3, 16, neuron)
    first = layer_in_integers("encode", torch.eye(2), torch.zeros(2), [1.0], dynamics)
    second = layer_in_integers("fire", 2 * torch.eye(2), torch.zeros(2), [2.0, 2.0], dynamics)
    assert bool((second.initial_potential < second.threshold).all())
    check_executions([first, second], torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("threshold", [1.0, 1.3, 1.9949748516082764])
def test_a_start_is_exact_in_many_quanta(threshold):
    dynamics = Dynamics(4, 0.3, "pipelined", None, 16, "augmented", {"boundary": 1})
    check_layer(layer_in_integers("encode", torch.eye(2), torch.zeros(2), [threshold], dynamics))


def test_constant_currents_beyond_24_bits_are_not_rounded():
    dynamics = Dynamics(2, 0.0, "pipelined", None, 16, "augmented", {"boundary": 1})
    first = layer_in_integers("encode", torch.eye(2)[:, :, None], torch.zeros(2), [1.0], dynamics, replace(GROUPED, groups=1))
    weight, bias, threshold = torch.tensor([[[3.0]], [[120.0]]]), torch.tensor([2.0**25, 0.0]), [2.0**25 + 4, 100.0]
    second = layer_in_integers("fire", weight, bias, threshold, dynamics, GROUPED)
    assert int(second.bias[0]) > 2**24
    check_executions([first, second], torch.ones(1, 2, 1))


def test_path_independent_neurons_owe_more_than_32_bits_hold():
    numbers = dict.fromkeys(("threshold", "negative_threshold"), torch.ones(1, dtype=torch.int32))
    numbers |= dict.fromkeys(("initial_potential", "negative_initial_potential"), torch.zeros(1, dtype=torch.int32))
    current = torch.full((1, 1), 2**30, dtype=torch.int32)
    neuron = PathIndependent(127)
    state = neuron.initial_state(numbers, current)
    for _ in range(5):
        spikes, state = neuron.step(current, state, numbers)
        assert int(spikes) == 127


@pytest.mark.parametrize(
    ("neuron", "schedule", "coding", "window", "inputs"),
    [
        ("path-independent", "pipelined", "constant", 64, 40),
        ("path-independent", "layer-by-layer", "charge", 32, 40),
        ("augmented", "layer-by-layer", "charge", 32, 40),
        ("augmented", "pipelined", "constant", 64, 40),
        ("double-threshold", "layer-by-layer", "charge", 32, 9000),
        ("double-threshold", "pipelined", "charge", 32, 9000),
    ],
)
def test_without_a_negative_threshold_nothing_is_ever_fired_below_zero(neuron, schedule, coding, window, inputs):
    """However far below zero potentials go: all inputs but one are against the neurons, and the input is strong."""
    layers = [nn.Linear(2, inputs, bias=False), nn.Linear(inputs, 4, bias=False), nn.Linear(4, 2)]
    with torch.no_grad():
        layers[0].weight.fill_(1.0)
        layers[1].weight.fill_(-1.0)
        layers[1].weight[0] = 0.0
        layers[1].weight[0, 0] = 1.0
    first, second, third = layers
    stack = Stack(layers_of([first, nn.ReLU(), second, nn.ReLU(), third]), "potential").eval()
    dynamics = Dynamics(window, 0.0, schedule, neuron=neuron, coding=coding)
    stack.convert(torch.ones(1, 2), dynamics, 100.0, rule="unit" if neuron == "augmented" else "percentile")
    strong = torch.full((1, 2), 127.0)
    (_, spikes, _) = check_fires_as_defined(stack, strong, ("fastest", "dense"))
    assert spikes.min() == 0 and spikes[:, 0, 0].any()


def test_counts_over_many_windows_are_summed_before_they_are_scaled():
    torch.manual_seed(0)
    modules = [nn.Linear(6, 40), nn.LeakyReLU(1.0), nn.Linear(40, 5)]
    x, stack = torch.randn(50, 6), Stack(layers_of(modules), "counts").eval()
    stack.convert(x, Dynamics(96, neuron="augmented", coding="constant"), 100.0)
    check_fires_as_defined(stack, x, ("fastest", "dense"))


@pytest.mark.parametrize("scale", [1.0, 1e9, 1e12])
def test_thresholds_of_any_size_in_units_of_activation_are_thresholds(scale):
    torch.manual_seed(0)
    leaky, first = nn.LeakyReLU(1 / 100), nn.Linear(6, 20, bias=False)
    with torch.no_grad():
        first.weight *= scale
    modules = [first, leaky, nn.Linear(20, 20, bias=False), leaky, nn.Linear(20, 3, bias=False)]
    x, stack = torch.randn(20, 6), Stack(layers_of(modules), "potential").eval()
    stack.convert(x, Dynamics(32, 0.5, neuron="double-threshold"), 100.0)
    for layer in stack.spiking_layers():
        check_layer(layer)
    check_fires_as_defined(stack, -100 * x, ("fastest", "dense"))


@pytest.mark.parametrize(("neuron", "fits"), [("double-threshold", False), ("augmented", False), ("path-independent", True)])
def test_no_more_counts_below_zero_than_a_spike_leaves(neuron, fits):
    model = {"double-threshold": DoubleThreshold, "augmented": Augmented, "path-independent": PathIndependent}[neuron]()
    numbers = numbers_of(100, Fraction(1, 5), 50, model)
    model.check(numbers, torch.ones(1), 0.5)
    numbers["negative_initial_potential"] = torch.tensor([60], dtype=torch.int32)
    with nullcontext() if fits else pytest.raises(UserError, match="what a spike leaves"):
        model.check(numbers, torch.ones(1), 0.5)
