import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based import surrogate as theirs
from torch import nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.signal import Signal
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.surrogate import SURROGATES, Surrogate, SurrogateLayer
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.stack.stack import Stack, outcomes
from tests.snn.nets import STACKS, linear_stack

# The smooth steps, from 0 to 1, that the surrogates are derivatives of, for u in widths.
STEPS = {
    "rectangular": lambda u: (u + 0.5).clamp(0, 1),
    "triangular": lambda u: torch.where(u < 0, (1 + u.clamp(-1, 0)) ** 2 / 2, 1 - (1 - u.clamp(0, 1)) ** 2 / 2),
    "sigmoid": lambda u: 1 / (1 + (-u).exp()),
    "arctan": lambda u: (torch.pi * u).atan() / torch.pi + 0.5,
}
# SpikingJelly's, which count width the other way round, from a width in units of the potential.
THEIRS = {
    "rectangular": lambda width: theirs.Rect(1 / width),
    "triangular": lambda width: theirs.PiecewiseQuadratic(1 / width),
    "sigmoid": lambda width: theirs.Sigmoid(1 / width),
    "arctan": lambda width: theirs.ATan(2 / width),
}


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("width", [0.5, 1.0, 3.0])
def test_surrogates_are_derivatives_of_smooth_steps(name, width):
    u, h = torch.linspace(-4, 4, 1600, dtype=torch.float64) + 1e-3, 1e-6
    slope = (STEPS[name]((u + h) / width) - STEPS[name]((u - h) / width)) / (2 * h)
    assert torch.allclose(SURROGATES[name](u, width), slope, atol=1e-4)
    ends = STEPS[name](torch.tensor([-1e4, 1e4], dtype=torch.float64))
    assert torch.allclose(ends, torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-3)


@given(st.sampled_from(sorted(SURROGATES)), st.floats(0.1, 3), st.floats(0.1, 4), st.integers(0, 10**6))
def test_spikes_are_steps_with_the_derivative_of_another(name, threshold, width, seed):
    v = 2 * threshold * torch.randn(200, generator=torch.Generator().manual_seed(seed))
    v[:3] = torch.tensor([threshold, threshold, 0.0])
    v.requires_grad_(True)
    spikes = Surrogate(name, width).fires(v, torch.tensor(threshold))
    assert torch.equal(spikes, (v.detach() >= torch.tensor(threshold)).float())
    spikes.sum().backward()
    u = v.detach().clone().requires_grad_(True)
    THEIRS[name](width * threshold)(u - threshold).sum().backward()
    assert torch.allclose(v.grad, u.grad, rtol=1e-3, atol=1e-4)


class InSpikingJelly(nn.Module):
    """Three modules through time, of SpikingJelly's neurons; batch norm over batch and time."""

    def __init__(self, stack, window, start, name, width):
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer.layer) for layer in stack.layers)
        self.thresholds = [float(layer.threshold) for layer in stack.layers[:-1]]
        self.window, self.initial_potential = window, start
        self.nodes = [
            neuron.IFNode(v_threshold=t, surrogate_function=THEIRS[name](width * t), v_reset=None, step_mode="m")
            for t in self.thresholds
        ]

    def forward(self, x):
        charge = self.layers[0].norm(self.layers[0].affine(x))
        currents = torch.cat([charge[None], torch.zeros(self.window - 1, *charge.shape)])
        for layer, node, threshold in zip(self.layers[1:], self.nodes, self.thresholds, strict=True):
            first = torch.zeros_like(currents)
            first[0] = self.initial_potential * threshold
            spikes = node(currents + first)
            activation = spikes.flatten(0, 1) * threshold * self.window
            currents = layer.norm(layer.affine(activation)).unflatten(0, (self.window, -1)) / self.window
        return currents.sum(0)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("initial_potential", [0.0, 0.5])
def test_learning_through_time_is_spikingjellys(name, initial_potential):
    torch.manual_seed(3)
    x, direction = torch.randn(12, 6), torch.randn(12, 5)
    stack = linear_stack(0)
    stack.put_through_time(x, Dynamics(5, initial_potential), Surrogate(name, 0.7), batch_statistics=True)
    other = InSpikingJelly(stack, 5, initial_potential, name, 0.7)
    stack.set_readout("potential")
    for network in (stack.train(), other.train()):
        (network(x) * direction).sum().backward()
    gradients = 0.0
    for ours, other_layer in zip(stack.layers, other.layers, strict=True):
        for mine, its in zip(ours.layer.parameters(), other_layer.parameters(), strict=True):
            assert torch.allclose(mine.grad, its.grad, rtol=1e-3, atol=1e-3)
            gradients += float(its.grad.abs().sum())
        for mine, its in zip(ours.layer.buffers(), other_layer.buffers(), strict=True):
            assert torch.allclose(mine, its, atol=1e-5)
    assert gradients > 1


def through_time(stack, x):
    """Spike counts of each firing layer as they are simulated in floating point, and the readout's potential.

    With the running statistics of batch norm, and read as it is.
    """
    seen = []
    for layer in stack.layers:
        layer.batch_statistics = False
    stack.train()
    hooks = [layer.register_forward_hook(lambda module, inputs, signal: seen.append(signal)) for layer in stack.layers]
    stack(x)
    for hook in hooks:
        hook.remove()
    return [signal.activation if signal.trains is None else signal.trains.sum(0) for signal in seen]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 8, 16]), st.sampled_from([0.0, 0.25, 0.5]), st.booleans())
def test_numbers_of_few_bits_make_the_very_same_integers(seed, window, initial_potential, convolutions):
    draw = torch.Generator().manual_seed(seed)

    def few_bits(shape, step):
        return torch.randint(-12, 13, shape, generator=draw) * step

    if convolutions:
        modules, shape = [nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4, 5)], (2, 3, 3)
        before = [[], [], [nn.Flatten()]]
    else:
        modules, shape, before = [nn.Linear(6, 8), nn.Linear(8, 7), nn.Linear(7, 5)], (6,), [[], [], []]
    for module in modules:
        for parameter in module.parameters():
            parameter.data = few_bits(parameter.shape, 2.0**-5)
    stack = Stack(
        [AnalogLayer(module, before=absorbed) for module, absorbed in zip(modules, before, strict=True)], "potential"
    ).eval()
    for i, (threshold, role) in enumerate(zip((0.25, 0.5, 1.0), ("encode", "fire", "readout"), strict=True)):
        dynamics = Dynamics(window, initial_potential)
        stack.layers[i] = SurrogateLayer(stack.layers[i], role, torch.tensor([threshold]), dynamics, Surrogate())
    x = few_bits((20, *shape), 2.0**-4)
    *counts, potential = through_time(stack, x)
    stack.freeze()
    *words, exact = outcomes(stack, x)
    for ours, integers in zip(counts, words, strict=True):
        assert torch.equal(ours, BinarySpikes(window, integers).counts.float())
    assert torch.equal(potential, exact)


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("initial_potential", [0.0, 0.5])
def test_trained_numbers_make_integers_that_fire_alike(name, initial_potential):
    """Charges are rounded to 2^-14 of the input and 16 bits of the weights, later numbers to 2^-23 of the potential: a count
    differs where a potential comes that near to the threshold, or a count before it differed, some in 1,000 at the most."""
    make, shape = STACKS[name]
    torch.manual_seed(0)
    x, target = torch.randn(200, *shape), None
    stack = make(0)
    stack.put_through_time(x, Dynamics(8, initial_potential), Surrogate("arctan"), batch_statistics=True)
    optimiser = torch.optim.Adam(stack.parameters(), 3e-3)
    stack.train()
    for _ in range(3):
        output = stack(x)
        target = torch.randn_like(output) if target is None else target
        loss = (output - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    evaluated = stack.eval()(x)
    *counts, potential = through_time(stack, x)
    assert 0.02 < torch.cat([c.flatten() for c in counts]).mean() / 8 < 0.6
    stack.freeze()
    assert torch.equal(stack(x), evaluated)
    *words, exact = outcomes(stack, x)
    for ours, integers in zip(counts, words, strict=True):
        differences = (ours - BinarySpikes(8, integers).counts).abs()
        assert (differences > 0).float().mean() < 0.005
        assert differences.max() <= 1
    apart = (potential - exact).abs() > 1e-3 * potential.std()
    assert apart.float().mean() < 0.02
    assert (potential.argmax(1) == exact.argmax(1)).float().mean() > 0.99


def test_long_windows_approach_the_analog_network():
    """Currents are those of the analog network, spread over the window: what is between them is the spikes' rounding alone."""
    x = torch.randn(50, 6)
    expected = linear_stack(0)(x).detach()
    errors = {}
    for window in (4, 32):
        stack = linear_stack(0)
        stack.put_through_time(x, Dynamics(window, 0.5), Surrogate(), percentile=100.0)
        stack.train()
        errors[window] = float((stack(x).detach() - expected).norm() / expected.norm())
    assert errors[32] < 0.1
    assert errors[32] < errors[4]


@pytest.mark.parametrize("segment", [None, 7, 4])
def test_segments_are_those_of_states_detached_by_hand(segment):
    torch.manual_seed(0)
    steps, x = 40, torch.randn(6, 5, dtype=torch.float64)
    stack = Stack([AnalogLayer(nn.Linear(5, 8)), AnalogLayer(nn.Linear(8, 3), activation=None)], "potential")
    options = LearningOptions(surrogate=Surrogate("arctan", 1.5), segment=segment)
    stack.couple(x.float(), Dynamics(steps, coding="constant"), "surrogate", options)
    readings = stack.double().train().readings(x)
    first, last = (copy.deepcopy(layer.layer) for layer in stack.layers)
    threshold, ends = stack.layers[0].threshold.detach(), [*range(segment or steps, steps, segment or steps), steps]
    v, total, expected = torch.zeros(6, 8, dtype=torch.float64), torch.zeros(6, 3, dtype=torch.float64), []
    for t in range(steps):
        if t in ends:
            v, total = v.detach(), total.detach()
        v = v + first.affine(x) / steps
        spikes = THEIRS["arctan"](1.5 * threshold)(v - threshold)
        v = v - spikes * threshold
        total = total + last.affine(spikes * threshold * steps) / steps
        if t + 1 in ends:
            expected.append(total * steps / (t + 1))
    assert len(readings) == len(expected) == stack.segments
    directions = torch.randn(len(ends), 6, 3, dtype=torch.float64)
    for found in (readings, expected):
        (torch.stack(list(found)) * directions).sum().backward()
    for mine, its in zip(readings, expected, strict=True):
        assert torch.allclose(mine, its, rtol=1e-9)
    for layer, its in zip(stack.layers, (first, last), strict=True):
        assert torch.allclose(layer.layer.affine.weight.grad, its.affine.weight.grad, rtol=1e-6)
    evaluated = stack.eval()(x.float().double())
    stack.freeze()
    assert torch.equal(stack(x), evaluated)  # in more steps than a word has bits


def test_activation_is_count_times_threshold():
    x = torch.randn(3, 6)
    stack = linear_stack(0)
    stack.put_through_time(x, Dynamics(8), Surrogate(), channelwise=True)
    stack.train()
    signals = []
    stack.layers[1].register_forward_hook(lambda module, inputs, signal: signals.append(signal))
    stack(x)
    (signal,) = signals
    expected = signal.trains.sum(0) * per_channel(stack.layers[1].threshold, x)
    assert signal.trains.shape == (8, 3, 7) and torch.equal(signal.activation, expected)


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="no surrogate 'step'; take rectangular, triangular, sigmoid, arctan"):
        Surrogate("step")
    with pytest.raises(UserError, match="above 0 thresholds, not -1"):
        Surrogate("arctan", -1)
    with pytest.raises(UserError, match="needs the schedule 'pipelined'"):
        linear_stack(0).put_through_time(torch.randn(3, 6), Dynamics(8, schedule="layer-by-layer"), Surrogate())


def test_neurons_with_two_thresholds_learn_by_those_that_they_fire_by():
    """In floating point, a layer fires what the integers of the same numbers fire, negative threshold included."""
    torch.manual_seed(0)
    layer = AnalogLayer(nn.Linear(6, 40), activation=nn.LeakyReLU(0.25))
    x = torch.randn(20, 6)
    learning = SurrogateLayer(layer, "encode", torch.full((1,), 0.125), Dynamics(8, neuron="double-threshold"), Surrogate())
    sums = learning.train()(Signal(x)).trains.sum(0).detach()
    spiking = learning.spiking(None).run(x).values
    assert (sums != spiking).float().mean() < 0.01  # but where a sum is rounded across a threshold
    assert (sums < 0).any() and (sums > 0).any()


@pytest.mark.parametrize("initial_potential", [0.0, 0.5])
def test_neurons_whose_negative_threshold_is_none_learn_as_those_without(initial_potential):
    """Gradients of many layers and steps, far above 1."""
    gradients = []
    for model in ("integrate-and-fire", "double-threshold"):
        torch.manual_seed(0)
        stack = Stack([AnalogLayer(nn.Linear(32, 32)) for _ in range(4)])
        x = torch.rand(16, 32) * 4
        stack.put_through_time(x, Dynamics(16, initial_potential, neuron=model), Surrogate("sigmoid", 0.5))
        (1e4 * stack.train()(x).square().sum()).backward()
        gradients.append([layer.layer.affine.weight.grad for layer in stack.layers])
    for mine, expected in zip(*gradients, strict=True):
        assert expected.abs().max() > 1 and torch.allclose(mine, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("options", [{}, {"boundary": 1}])
def test_coefficients_do_not_learn_through_time(options):
    layer = AnalogLayer(nn.Linear(2, 3), activation=nn.LeakyReLU(0.25))
    dynamics = Dynamics(4, neuron="augmented", neuron_options=options)
    with pytest.raises(UserError, match="take the learning rule 'tandem'"):
        SurrogateLayer(layer, "fire", torch.ones(1), dynamics, Surrogate())
