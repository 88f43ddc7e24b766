import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from separator.snn.event_driven import in_steps
from separator.snn.neuron import IFParameters, if_step, integrate_and_fire, start_state
from separator.snn.spikes import Spikes
from separator.snn.spiking import Dynamics, SpikingStage
from separator.snn.stack import Stack, fire, simulate
from separator.snn.stage import Stage
from tests.snn.nets import STACKS, conv1d_stack, converted, linear_stack

SCHEDULES = ("pipelined", "layer-by-layer")


def make(kind, seed, window, start, channelwise=False, batch=3, schedule="pipelined"):
    build, shape = STACKS[kind]
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed + 1))
    return converted(build(seed), x, window, start, channelwise, schedule), x


def step_by_step(stages, x):
    """Pipelined, all stages at each time step, one membrane potential per neuron."""
    *firing, last = stages
    charge = firing[0].charge(x)
    states = [None] * len(firing)
    potential = 0
    for t in range(last.window):
        spikes = None
        for i, stage in enumerate(firing):
            current = stage.current(spikes) if i else charge * (t == 0)
            neurons = stage.neurons(current)
            spikes, states[i] = if_step(current, states[i] or start_state(neurons, current), neurons)
        potential = potential + last.current(spikes)
    return potential


def layer_by_layer(stages, x):
    """Each stage charged with all of its input at once, then firing step by step."""
    trains = None
    for stage in stages[:-1]:
        charge = stage.charge(x) if trains is None else sum(stage.current(spikes) for spikes in trains)
        currents = torch.stack([charge * (t == 0) for t in range(stage.window)])
        trains = integrate_and_fire(currents, stage.neurons(charge))
    return sum(stages[-1].current(spikes) for spikes in trains)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(STACKS)),
    st.integers(0, 10**6),
    st.integers(1, 32),
    st.sampled_from([0.0, 0.5]),
    st.booleans(),
    st.sampled_from(SCHEDULES),
)
def test_every_execution_gives_the_same_bits(kind, seed, window, start, channelwise, schedule):
    stack, x = make(kind, seed, window, start, channelwise, schedule=schedule)
    stages = stack.spiking_stages()
    potential = simulate(stages, x)
    assert torch.equal((step_by_step if schedule == "pipelined" else layer_by_layer)(stages, x), potential)
    double = copy.deepcopy(stages)
    for stage in double:
        stage.double()
    charge = stages[0].charge(x)
    for one in range(len(x)):  # in double precision, and one by one, but for the float charge before the first spike
        double[0].charge = lambda _, one=one: charge[one : one + 1].double()
        assert torch.equal(simulate(double, x[one : one + 1].double()).float(), potential[one : one + 1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_event_driven_layers_fire_what_dense_ones_do(data):
    """Random layers of every kind and geometry, against all steps folded into the batch of a dense layer."""
    kind = data.draw(st.sampled_from(["linear", "conv1d", "conv2d"]))
    small = st.integers(1, 3)
    inputs, outputs, window = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 70)), data.draw(st.integers(1, 32))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    if kind == "linear":
        layer, shape = nn.Linear(inputs, outputs), ()
    elif kind == "conv1d":
        options = {"stride": data.draw(small), "padding": data.draw(st.integers(0, 4)), "dilation": data.draw(small)}
        layer, shape = nn.Conv1d(inputs, outputs, data.draw(small), **options), (data.draw(st.integers(7, 40)),)
    else:
        options = {name: (data.draw(small), data.draw(small)) for name in ("stride", "dilation", "kernel_size")}
        options["padding"] = (data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4)))
        layer, shape = nn.Conv2d(inputs, outputs, **options), (data.draw(st.integers(7, 9)), data.draw(st.integers(7, 20)))
    dynamics = Dynamics(window, data.draw(st.sampled_from([0.0, 0.5])))
    threshold = torch.rand(outputs) + 0.1 if data.draw(st.booleans()) else torch.full((1,), 0.5)
    stage = SpikingStage.convert(Stage(layer), "fire", torch.ones(1), threshold, dynamics)
    rate = data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    trains = (torch.rand(window, 2, inputs, *shape) < rate).float()
    currents = torch.stack([stage.current(spikes) for spikes in trains])
    expected = integrate_and_fire(currents, stage.neurons(currents[0]))
    fired = stage.fire(Spikes.pack(trains))
    assert stage._event_driven is not None
    assert torch.equal(fired.trains(), expected)
    assert torch.equal(fired.counts, expected.sum(0))
    grouped = copy.deepcopy(stage)
    grouped._event_driven = None
    assert torch.equal(grouped.fire(Spikes.pack(trains)).trains(), expected)


def test_a_stack_that_has_run_can_be_pickled():
    stack, x = make("conv1d", 2, 8, 0.5)
    expected = stack(x)
    assert torch.equal(pickle.loads(pickle.dumps(stack))(x), expected)


def python_potential(stack, charge):
    """The spiking network neuron by neuron in rational arithmetic, by Eq. 3-5 and 9; linear layers only."""
    exact = [[Fraction(float(v)) for v in row] for row in charge]
    *firing, last = stack.spiking_stages()
    potentials = []
    for sample in exact:
        v = [[Fraction(float(s)) for s in stage.start.expand(len(stage.bias))] for stage in firing]
        potential = [Fraction(0)] * len(last.bias)
        for t in range(last.window):
            spikes = None
            for i, stage in enumerate(firing):
                threshold = [Fraction(float(th)) for th in stage.threshold.expand(len(stage.bias))]
                for n in range(len(stage.bias)):
                    if i == 0:
                        v[i][n] += sample[n] if t == 0 else 0
                    else:
                        row = stage.weight[n]
                        v[i][n] += Fraction(float(stage.bias[n])) + sum(
                            Fraction(float(w)) for w, s in zip(row, spikes, strict=True) if s
                        )
                fired = [int(v[i][n] >= threshold[n]) for n in range(len(stage.bias))]
                v[i] = [v[i][n] - threshold[n] * s for n, s in enumerate(fired)]
                spikes = fired
            for n, row in enumerate(last.weight):
                potential[n] += Fraction(float(last.bias[n])) + sum(
                    Fraction(float(w)) for w, s in zip(row, spikes, strict=True) if s
                )
        potentials.append([float(p) for p in potential])
    return torch.tensor(potentials)


@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize("window", [1, 4, 32])
def test_simulation_equals_rational_arithmetic(window, start):
    stack, x = make("linear", 3, window, start)
    assert torch.equal(simulate(stack.spiking_stages(), x), python_potential(stack, stack.stages[0].charge(x)))


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_counts_of_waiting_layers_are_clipped_floors_of_the_whole_potential(kind):
    stack, x = make(kind, 5, 6, 0.5, channelwise=True, schedule="layer-by-layer")
    incoming = None
    for stage in stack.spiking_stages()[:-1]:
        if incoming is None:
            spikes, potential = stage.encode(x), stage.charge(x).double()
        else:
            spikes = stage.fire(incoming)
            potential = sum(stage.current(step).double() for step in incoming.steps())
        threshold, start = (value.double() for value in stage.neurons(potential))
        expected = ((potential + start) / threshold).floor().clamp(0, 6)
        assert torch.equal(spikes.counts.double(), expected)
        assert torch.equal(spikes.trains(), spikes.trains().sort(0, descending=True).values)
        incoming = spikes


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_long_windows_approach_the_analog_network(kind):
    build, shape = STACKS[kind]
    x = torch.randn(4, *shape)
    analog = build(0)
    expected = analog(x).detach()
    errors = {}
    for window in (4, 32):
        stack = converted(build(0), x, window, 0.5)
        errors[window] = float((stack(x) - expected).norm() / expected.norm())
    assert errors[32] < 0.15
    assert errors[32] < errors[4]


def test_another_window_is_the_conversion_for_that_window():
    x = torch.randn(4, 3, 11)
    stack = converted(conv1d_stack(1), x, 8, 0.5)
    direct = converted(conv1d_stack(1), x, 32, 0.5)
    stack.set_window(32)
    assert stack.window == 32
    for ours, theirs in zip(stack.stages, direct.stages, strict=True):
        for name, value in theirs.state_dict().items():
            if ours.role == "readout" and name in ("threshold", "start"):
                continue  # it never fires
            assert torch.allclose(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    assert torch.allclose(stack(x), direct(x), atol=0.3)


def test_half_converted_stack_takes_a_given_prefix():
    x = torch.randn(2, 6)
    whole = converted(linear_stack(2), x, 8, 0.0)
    half = linear_stack(2)
    half.stages[0] = whole.stages[0]
    spikes = fire([whole.stages[0]], x)
    plain = half(x)
    with half.given_prefix(spikes):
        assert torch.equal(half(torch.full_like(x, np.nan)), plain)
    assert torch.equal(half(x), plain)


@pytest.mark.parametrize("kind", sorted(STACKS))
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits_are_integers_in_units_of_their_neurons_step(kind, bits):
    build, shape = STACKS[kind]
    x = torch.randn(4, *shape)
    stack = converted(build(0), x, 8, 0.5, weight_bits=bits)
    for stage in stack.spiking_stages()[1:]:
        neurons = IFParameters(stage.threshold, stage.start)
        weight, *_ = in_steps(stage.weight, stage.bias, neurons, 8)
        assert np.abs(weight).max() <= 2 ** (bits - 1) - 1
        assert np.abs(weight).max() > 2 ** (bits - 2) - 1  # a finer step would not have fitted
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    stack.set_window(16)
    stack.set_window(8)
    assert all(torch.equal(before[name], value) for name, value in stack.state_dict().items() if "weight" in name)


def test_restored_stack_equals_the_saved_one():
    x = torch.randn(2, 3, 11)
    saved = converted(conv1d_stack(4), x, 5, 0.5, channelwise=True)
    fresh = conv1d_stack(9)
    fresh.restore(len(saved.stages), Dynamics(5), saved.state_dict())
    fresh.load_state_dict(saved.state_dict())
    assert torch.equal(fresh(x), saved(x))


def test_stack_needs_an_encoder_and_a_readout():
    with pytest.raises(ValueError, match="two stages"):
        Stack([Stage(nn.Linear(2, 2))])
