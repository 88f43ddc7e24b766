from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.execution.scans import run_neurons
from separator.snn.layers.analog import layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.surrogate import Surrogate
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.neurons.leaky import MOST_REACH, Leaky
from separator.snn.stack import reference
from separator.snn.stack.stack import Stack
from tests.snn.nets import STACKS, check_fires_as_defined, if_numbers

courses = st.lists(st.integers(-3000, 3000), min_size=1, max_size=80)
KEPT = {1.0: 256, 0.99: 253, 0.5: 128, 0.001: 1, 0.95: 243}


def published(currents, threshold, kept, initial=0, delayed=False):
    """Eq. 2 and 3 as printed, for one neuron, its leaked potential rounded down; and the authors' order of them."""
    u, o, spikes = None, 0, []
    for current in currents:
        fired = o
        leaked = initial if u is None and not delayed else floor(Fraction(kept, 256) * (initial if u is None else u))
        u = leaked + current - threshold * o
        o = int(u > threshold)
        spikes.append(fired if delayed else o)
    return spikes


def fired(neuron, currents, numbers, kind=torch.int32, fused=False):
    steps = torch.tensor(currents).to(kind).view(-1, 1, 1)
    trains, state = [], None
    for first in range(0, len(steps), 32):
        run = run_neurons if fused else type(neuron).run
        arguments = (neuron, steps[first : first + 32], numbers, state)
        spikes, state = run(*arguments)
        trains += [int(step) for step in spikes.trains().flatten()]
    return trains


@settings(max_examples=60)
@given(courses, st.integers(1, 5000), st.sampled_from(sorted(KEPT)), st.booleans(), st.booleans())
def test_spikes_are_those_of_the_paper(currents, threshold, leak, rounds, delayed):
    initial = threshold // 2 if rounds else 0
    numbers = if_numbers(torch.tensor([threshold]).int(), torch.tensor([initial]).int())
    expected = published(currents, threshold, KEPT[leak], initial, delayed)
    neuron = Leaky(leak, delayed)
    assert neuron.kept == KEPT[leak]
    for kind in (torch.int32, torch.float32, torch.float64):
        assert fired(neuron, currents, {name: x.to(kind) for name, x in numbers.items()}, kind) == expected
    assert fired(neuron, currents, numbers, fused=True) == expected


@settings(max_examples=30)
@given(courses, st.integers(1, 5000), st.integers(0, 99))
def test_the_fused_kernel_serves_neurons_that_reach_their_threshold_as_well(currents, threshold, share):
    numbers = if_numbers(torch.tensor([threshold]).int(), torch.tensor([threshold * share // 100]).int())
    neuron = IntegrateAndFire()
    assert fired(neuron, currents, numbers, fused=True) == fired(neuron, currents, numbers)


@settings(max_examples=30)
@given(courses, st.integers(1, 5000), st.sampled_from(sorted(KEPT)))
def test_the_authors_order_is_one_step_later(currents, threshold, leak):
    numbers = if_numbers(torch.tensor([threshold]).int(), torch.tensor([0]).int())
    assert fired(Leaky(leak, 1), currents, numbers) == [0, *fired(Leaky(leak), currents, numbers)][:-1]


@given(st.integers(-(2**30), 2**30), st.integers(1, 256))
def test_leaking_is_exact_near_the_ends_of_32_bits(potential, kept):
    neuron = Leaky(kept / 256)
    for kind in (torch.int32, torch.int64, torch.float64):
        assert int(neuron._leaked(torch.tensor([potential], dtype=kind))) == potential * kept // 256
    small = potential // 2**7  # as float32 holds it
    assert int(neuron._leaked(torch.tensor([float(small)]))) == small * kept // 256


@pytest.mark.parametrize("delayed", [0, 1])
@pytest.mark.parametrize(("leak", "window"), [(1.0, 8), (0.95, 32), (0.9, 8), (0.5, 8), (0.5, 1)])
def test_charges_are_clipped_where_neurons_fire_at_every_step_only(leak, window, delayed):
    numbers = if_numbers(torch.tensor([5000]).int(), torch.tensor([2500]).int())
    neuron = Leaky(leak, delayed)
    reach = int(neuron.reach(numbers, window))
    assert reach % 5000 == 0 and reach < 5000 * MOST_REACH

    def spikes_on(charge):
        return published([charge, *[0] * (window - 1)], 5000, neuron.kept, 2500, delayed)

    most = [0] * delayed + [1] * (window - delayed)
    assert spikes_on(reach) == spikes_on(10 * reach) == most
    assert window == 1 or delayed or spikes_on(reach - 3 * 5000) != most  # which fire at a step less on it
    assert int(Leaky(leak).reach(numbers, window)) == reach


def test_what_leaks_fast_is_clipped_where_integers_end():
    numbers = if_numbers(torch.tensor([1]).int(), torch.tensor([0]).int())
    assert int(Leaky(0.001).reach(numbers, 32)) == int(Leaky(0.5).reach(numbers, 8192 // 16)) == MOST_REACH
    assert int(Leaky(0.001).reach(numbers, 8192)) == 8193


@pytest.mark.parametrize("leak", [0.9, 0.5])
def test_neurons_fire_on_large_charges_as_the_paper_says(leak):
    layers = [nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)]
    nn.init.ones_(layers[0].weight)
    nn.init.ones_(layers[2].weight)
    stack = Stack(layers_of(layers), "potential").eval()
    stack.convert(torch.ones(1, 1), Dynamics(8, neuron="leaky", neuron_options={"leak": leak}), 100.0)
    x = torch.tensor([[1.0], [2.0], [16.0], [64.0], [100.0]])
    threshold, kept = int(stack.layers[0].threshold), stack.layers[0].neuron.kept
    quanta = [round(value / float(stack.layers[0].quantum)) for value in x.flatten().tolist()]
    expected = [published([charge, *[0] * 7], threshold, kept) for charge in quanta]
    assert stack.layers[0].encode(x).trains()[..., 0].T.tolist() == expected
    assert sum(expected[-1]) == 8 > sum(expected[0])
    check_fires_as_defined(stack, x, ("fastest", "dense", "event-driven", "row-adding"))


@pytest.mark.parametrize("leak", [0, -0.5, 1.01, float("nan")])
def test_leaks_that_cannot_be_are_refused(leak):
    with pytest.raises(UserError, match="share of a potential that stays"):
        Leaky(leak)


def network():
    torch.manual_seed(3)
    layers = [nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 3, bias=False), nn.ReLU()]
    return Stack(layers_of([*layers, nn.Flatten(), nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 3)]), "potential").eval()


@pytest.mark.parametrize(("leak", "delayed"), [(1, 0), (0.9, 0), (1, 1), (0.97, 1)])
@pytest.mark.parametrize(
    ("window", "schedule", "coding", "initial", "bits"),
    [
        (8, "pipelined", "charge", 0.5, 8),
        (32, "pipelined", "poisson", 0.0, None),
        (90, "pipelined", "poisson", 0.0, 8),
        (70, "pipelined", "constant", 0.5, None),
        (8, "layer-by-layer", "charge", 0.5, None),
        (8, "layer-by-layer", "poisson", 0.0, None),
        (40, "pipelined", "charge", 0.0, None),
    ],
)
def test_all_executions_fire_what_the_definition_says(leak, delayed, window, schedule, coding, initial, bits):
    stack, x = network(), torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(4)) * 2 - 1
    stack(x)
    options = {"leak": leak, "delayed": delayed}
    stack.convert(x, Dynamics(window, initial, schedule, bits, neuron="leaky", neuron_options=options, coding=coding), 99.0)
    check_fires_as_defined(stack, x, ("fastest", "dense", "event-driven", "row-adding"))


def test_where_nothing_leaks_the_event_driven_kernel_serves():
    served = {}
    for leak in (1, 0.9):
        stack, x = network(), torch.rand(3, 2, 8, 8)
        stack(x)
        stack.convert(x, Dynamics(40, neuron="leaky", neuron_options={"leak": leak}, coding="poisson"))
        served[leak] = [layer.compiled_for("event-driven", False) is not None for layer in stack.layers[1:-1]]
    assert served == {1: [True, True], 0.9: [False, False]}


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_without_a_leak_they_are_integrate_and_fire_neurons_but_for_ties(kind):
    """Thresholds that no sum of weights meets: the same spikes as those that fire where a threshold is reached."""
    torch.manual_seed(0)
    build, shape = STACKS[kind]
    x, stacks = torch.randn(4, *shape), []
    for neuron in ("integrate-and-fire", "leaky"):
        stack = build(0)
        stack.convert(x, Dynamics(16, 0.5, neuron=neuron))
        stacks.append(
            [reference.trains(stack.spiking_layers(), x, stack.sources)[i].sum() for i in range(len(stack.layers) - 1)]
        )
    first, second = np.array(stacks)
    assert (second <= first * 1.001).all() and (second >= first * 0.99).all()


def test_gradients_go_through_the_leak():
    neuron, current = Leaky(0.5), torch.tensor([[0.4]], requires_grad=True)
    numbers = {"threshold": torch.tensor(1.0), "initial_potential": torch.tensor(0.0)}
    state = neuron.initial_state(numbers, current)
    for _ in range(3):
        spikes, state = neuron.step(current, state, numbers, Surrogate().fires)
    assert spikes.item() == 0 and state.v.item() == pytest.approx(0.35)
    state.v.sum().backward()
    # The current three times, halved at each step, less what spikes take, whose derivative is 1 within half a threshold.
    u, by_hand = 0.0, 0.0
    for _ in range(3):
        slope = 1 + by_hand
        u = u + 0.4
        by_hand = 0.5 * slope - (slope if abs(u - 1) <= 0.5 else 0)
        u *= 0.5
    assert current.grad.item() == pytest.approx(by_hand)
