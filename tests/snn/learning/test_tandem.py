import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.signal import Signal
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.tandem import TandemLayer
from separator.snn.stack.stack import Stack
from tests.snn.nets import STACKS, conv1d_stack, converted, fire, linear_stack


def tandem_of(initial_potential=0.5, window=8, learn_threshold=False):
    x = torch.randn(4, 3, 11)
    spiking = converted(conv1d_stack(0), x, window, initial_potential)
    analog = conv1d_stack(0).layers[1]
    first, second = spiking.layers[0], spiking.layers[1]
    tandem = TandemLayer(analog, "fire", second.scale, Dynamics(window, initial_potential), learn_threshold)
    spikes = fire([first], x)
    return tandem, Signal(first.activation(spikes), spikes, first.scale), second


@pytest.mark.parametrize("learn_threshold", [False, True])
def test_forward_is_the_spiking_layer(learn_threshold):
    tandem, signal, spiking = tandem_of(learn_threshold=learn_threshold)
    output = tandem(signal)
    fired = spiking.fire(signal.spikes)
    assert torch.equal(output.spikes.words, fired.words)
    assert torch.equal(output.activation.detach(), spiking.activation(fired))
    assert torch.equal(output.scale, spiking.scale)


def test_gradient_is_the_analog_twins():
    tandem, signal, _ = tandem_of()
    twin = copy.deepcopy(tandem.layer)
    direction = torch.randn(4, 5, 11)
    (tandem(signal).activation * direction).sum().backward()
    (twin(signal.activation) * direction).sum().backward()
    for ours, theirs in zip(tandem.layer.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)
        assert theirs.grad.abs().sum() > 0
    assert tandem.gain.grad is None


def test_gradient_of_a_learned_threshold_is_that_of_a_learned_step():
    """Esser et al. 2020, Eq. 3, neuron by neuron in exact arithmetic."""
    tandem, signal, _ = tandem_of(window=4, learn_threshold=True)
    captured = []
    tandem.layer.norm.register_forward_hook(lambda module, inputs, output: captured.append(output) or output.retain_grad())
    output = tandem(signal)
    output.activation.sum().backward()
    (z,) = captured
    counts = output.spikes.counts
    thresholds = [Fraction(value) for value in tandem.threshold.tolist()]
    step_gradients, below, inside, above = [Fraction(0)] * 5, 0, 0, 0
    for sample in range(4):
        for channel in range(5):
            numbers = (x[sample, channel].tolist() for x in (z, counts, z.grad))
            for value, count, gradient in zip(*numbers, strict=True):
                level = Fraction(value) / thresholds[channel]
                if 0 < level < 4:
                    assert gradient == pytest.approx(1, abs=1e-6)
                    step_gradients[channel] += int(count) - level
                    inside += 1
                else:
                    assert gradient == 0
                    step_gradients[channel] += int(count)
                    below, above = below + (level <= 0), above + (level >= 4)
    assert min(below, inside, above) > 0
    # With respect to the logarithm of the threshold: times the threshold.
    expected = [float(gradient * threshold) for gradient, threshold in zip(step_gradients, thresholds, strict=True)]
    assert tandem.gain.grad.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_masked_gradient_is_the_twins_where_a_neuron_does_not_fire_at_every_step():
    tandem, signal, _ = tandem_of(window=4)
    masked = TandemLayer(tandem.layer, "fire", tandem.threshold, Dynamics(4, 0.5), mask_gradient=True)
    z = tandem.layer.preactivation(signal.activation).detach()
    inside = (z > 0) & (z < 4 * tandem.threshold.view(-1, 1))
    assert 0 < inside.float().mean() < (z > 0).float().mean()
    twin = copy.deepcopy(tandem.layer)
    (twin.preactivation(signal.activation) * inside).sum().backward()
    output = masked(signal)
    output.activation.sum().backward()
    assert torch.equal(output.activation, tandem(signal).activation)
    for ours, theirs in zip(masked.layer.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def leaky_tandem_of(neuron, learn_threshold, window=4, slope=0.25):
    """A layer whose spikes have both signs, behind one that fires such; its threshold is so low that some fire all they can."""
    options = {"boundary": 2} if neuron == "augmented" else {}
    dynamics = Dynamics(window, 0.5, "layer-by-layer", neuron=neuron, neuron_options=options)
    stack, x = conv1d_stack(0), torch.randn(4, 3, 11)
    for layer in stack.layers[:-1]:
        layer.activation = nn.LeakyReLU(slope)
    analog = stack.layers[1]
    stack.convert(x, dynamics, 99.0, True)
    first, second = stack.layers[0], stack.layers[1]
    tandem = TandemLayer(analog, "fire", 0.05 * second.scale, dynamics, learn_threshold)
    spikes = fire([first], x)
    return tandem, Signal(first.activation(spikes), spikes, first.scale)


@pytest.mark.parametrize(("neuron", "most"), [("double-threshold", 4), ("augmented", 8)])
def test_gradient_of_spikes_of_either_sign_is_the_slopes_up_to_the_most_they_come_to(neuron, most):
    """Neuron by neuron in exact arithmetic: no gradient beyond the least and the largest sum, the slope below zero."""
    tandem, signal = leaky_tandem_of(neuron, True)
    captured = []
    tandem.layer.norm.register_forward_hook(lambda module, inputs, output: captured.append(output) or output.retain_grad())
    output = tandem(signal)
    output.activation.sum().backward()
    sums, thresholds = output.spikes.values, [Fraction(value) for value in tandem.threshold.tolist()]
    assert int(sums.min()) == -most and int(sums.max()) == most
    expected, seen = [Fraction(0)] * 5, {"below": 0, "negative": 0, "positive": 0, "above": 0}
    for sample in range(4):
        for channel in range(5):
            numbers = (x[sample, channel].tolist() for x in (captured[0], sums, captured[0].grad))
            for value, count, gradient in zip(*numbers, strict=True):
                level = Fraction(value) / thresholds[channel] * (Fraction(1, 4) if value < 0 else 1)
                where = "below" if level < -most else "negative" if level < 0 else "positive" if level < most else "above"
                assert gradient == pytest.approx({"negative": 0.25, "positive": 1.0}.get(where, 0.0), rel=1e-4)
                expected[channel] += count - (level if where in ("negative", "positive") else 0)
                seen[where] += 1
    assert min(seen.values()) > 0
    by_hand = [float(gradient * threshold) for gradient, threshold in zip(expected, thresholds, strict=True)]
    assert tandem.gain.grad.tolist() == pytest.approx(by_hand, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
def test_gradient_as_published_is_that_of_a_leaky_twin(neuron):
    tandem, signal = leaky_tandem_of(neuron, False)
    twin = copy.deepcopy(tandem.layer)
    assert isinstance(twin.activation, nn.LeakyReLU)
    direction = torch.randn(4, 5, 11)
    (tandem(signal).activation * direction).sum().backward()
    (twin(signal.activation) * direction).sum().backward()
    for ours, theirs in zip(tandem.layer.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
        assert theirs.grad.abs().sum() > 0


@pytest.mark.parametrize(("neuron", "options", "passes"), [("augmented", {}, True), ("augmented", {"negative": 0}, False)])
def test_twins_without_activation_are_what_spikes_can_stand_for(neuron, options, passes):
    """Below zero, neurons with a negative threshold pass gradients, and those without pass none."""
    tandem, signal, _ = tandem_of()
    tandem.layer.activation = None
    dynamics = Dynamics(8, 0.5, neuron=neuron, neuron_options=options)
    signed = TandemLayer(tandem.layer, "fire", tandem.threshold, dynamics)
    captured = []
    tandem.layer.norm.register_forward_hook(lambda module, inputs, output: captured.append(output) or output.retain_grad())
    for layer in (signed, tandem):
        captured.clear()
        layer(signal).activation.sum().backward()
        (z,) = captured
        assert torch.equal(z.grad[z > 0], torch.ones_like(z[z > 0]))
        below = z.grad[z < 0]
        assert below.numel() and torch.equal(below, torch.full_like(below, float(passes and layer is signed)))


def test_batch_statistics_do_not_move():
    tandem, signal, _ = tandem_of()
    before = copy.deepcopy(tandem.layer.norm.state_dict())
    tandem.train()
    tandem(signal)
    assert all(torch.equal(before[name], value) for name, value in tandem.layer.norm.state_dict().items())


def test_readout_is_the_membrane_potential():
    x = torch.randn(2, 3, 11)
    spiking = converted(conv1d_stack(0), x, 8, 0.5)
    analog = conv1d_stack(0).layers[-1]
    last = spiking.layers[-2]
    spikes = fire(spiking.spiking_layers()[:-1], x)
    tandem = TandemLayer(analog, "readout", torch.ones(1), Dynamics(8, 0.5))
    readout = spiking.layers[-1]
    potential = sum(readout.current(step) for step in spikes.steps()) * per_channel(readout.quantum, x)
    output = tandem(Signal(last.activation(spikes), spikes, last.scale))
    assert torch.equal(output.activation.detach(), potential)
    assert torch.allclose(analog.preactivation(last.activation(spikes)), potential, atol=1e-4)  # Eq. 9


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
@pytest.mark.parametrize("bits", [None, 4])
def test_a_stack_all_in_tandem_computes_what_the_spiking_one_does(name, schedule, bits):
    make, shape = STACKS[name]
    x = torch.randn(4, *shape)
    stack = converted(make(0), x, 4, 0.5, channelwise=True, schedule=schedule, weight_bits=bits)
    expected = stack(x)
    before = copy.deepcopy(stack.state_dict())
    stack.unfreeze(learn_thresholds=True)
    assert torch.equal(stack(x), expected)
    stack.freeze()
    assert torch.equal(stack(x), expected)
    assert all(torch.equal(before[key], value) for key, value in stack.state_dict().items())


def test_a_stack_all_in_tandem_learns():
    x, target = torch.randn(16, 3, 11), torch.rand(16, 5, 11)
    stack = converted(conv1d_stack(0), x, 4, 0.5, channelwise=True, schedule="layer-by-layer")
    before = (stack(x) - target).square().mean()
    stack.unfreeze(learn_thresholds=True)
    optimiser = torch.optim.Adam([p for p in stack.parameters() if p.requires_grad], 1e-2)
    for _ in range(60):
        loss = (stack(x) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    stack.freeze()
    after = (stack(x) - target).square().mean()
    assert after < 0.8 * before


def normalised_by_batch(layer, sums):
    """Batch norm as Ioffe and Szegedy (2015) print it, in 64 bits."""
    values = sums.detach().double()
    dimensions = [d for d in range(values.dim()) if d != 1]
    mean = values.mean(dimensions, keepdim=True)
    variance = (values - mean).square().mean(dimensions, keepdim=True)
    gain, bias = (per_channel(x.detach().double(), values) for x in (layer.norm.weight, layer.norm.bias))
    return (values - mean) / (variance + layer.norm.eps).sqrt() * gain + bias


@pytest.mark.parametrize("name", ["linear", "conv1d"])
def test_spikes_of_a_batch_are_those_of_the_twin_that_its_own_statistics_normalise(name):
    """Where neurons wait for all of their input, counts are rounded levels of the twin's preactivation, exactly."""
    make, shape = STACKS[name]
    x = torch.randn(32, *shape)
    stack = make(1)
    stack.put_in_tandem(x, Dynamics(4, 0.5, "layer-by-layer"), batch_statistics=True)
    stack.train()
    seen = []
    for layer in stack.layers:
        layer.layer.affine.register_forward_hook(lambda module, inputs, sums: seen.append(sums))
        layer.register_forward_hook(lambda module, inputs, signal: seen.append(signal))
    stack(x)
    for layer, sums, signal in zip(stack.layers, seen[::2], seen[1::2], strict=True):
        z = normalised_by_batch(layer.layer, sums)
        if layer.role == "readout":
            assert torch.allclose(signal.activation.double(), z, atol=1e-4)
        else:
            level = z / layer.threshold.double() + 0.5
            tie = (level - level.round()).abs() < 1e-3  # decided by a rounding error
            assert tie.float().mean() < 0.02
            assert torch.equal(signal.spikes.counts[~tie].double(), level.floor().clamp(0, 4)[~tie])


def test_statistics_of_batches_are_learned_and_taken_in_evaluation():
    torch.manual_seed(0)
    x = torch.randn(64, 3, 11)
    stack = conv1d_stack(0)
    stack.put_in_tandem(x, Dynamics(8, 0.5), batch_statistics=True)
    plain = conv1d_stack(0)
    plain.put_in_tandem(x, Dynamics(8, 0.5))
    stack.train()
    assert not torch.allclose(stack(x), plain.train()(x), atol=0.1)
    for _ in range(70):
        stack(x)
    norm = stack.layers[0].layer.norm
    sums = stack.layers[0].layer.affine(x).detach()
    assert torch.allclose(norm.running_mean, sums.mean((0, 2)), atol=1e-3)
    assert torch.allclose(norm.running_var, sums.transpose(0, 1).flatten(1).var(1), rtol=1e-2)
    stack.eval()
    plain.load_state_dict(stack.state_dict())
    assert torch.equal(stack(x), plain.train()(x))
    assert torch.equal(stack(x), plain(x))  # and evaluation moved nothing


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("channelwise", [False, True])
def test_an_analog_stack_in_tandem_is_the_converted_one(name, channelwise):
    make, shape = STACKS[name]
    x = torch.randn(4, *shape)
    expected = converted(make(0), x, 8, 0.5, channelwise)
    stack = make(0).train()
    before = copy.deepcopy(stack.state_dict())
    stack.put_in_tandem(x, Dynamics(8, 0.5), channelwise=channelwise, learn_thresholds=True)
    assert stack.training and stack.dynamics == Dynamics(8, 0.5)
    assert [layer.gain.requires_grad for layer in stack.layers] == [True] * (len(stack.layers) - 1) + [False]
    assert torch.equal(stack(x), expected(x))
    after = {name.replace(".layer.", "."): value for name, value in stack.state_dict().items()}
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    stack.freeze()
    assert all(torch.equal(value, stack.state_dict()[name]) for name, value in expected.state_dict().items())


@pytest.mark.parametrize(("rule", "rate"), [("least-squares", None), ("rate", 0.1)])
def test_thresholds_in_tandem_are_those_of_a_rule(rule, rate):
    x = torch.randn(16, 3, 11)
    stack, expected = conv1d_stack(0), conv1d_stack(0)
    stack.couple(x, Dynamics(8, 0.5), "tandem", LearningOptions(), threshold=rule, rate=rate)
    expected.convert(x, Dynamics(8, 0.5), rule=rule, rate=rate)
    stack.freeze()
    assert all(torch.equal(value, stack.state_dict()[name]) for name, value in expected.state_dict().items())
    with pytest.raises(UserError, match="convert first, then learn"):
        conv1d_stack(0).couple(x, Dynamics(8), "tandem", LearningOptions(), threshold="balanced")


def test_thresholds_of_a_new_stack_are_percentiles_of_activations_normalised_by_batch():
    torch.manual_seed(0)
    stack = Stack([AnalogLayer(nn.Linear(6, 40), nn.BatchNorm1d(40)), AnalogLayer(nn.Linear(40, 5), nn.BatchNorm1d(5))])
    x = 3 + torch.randn(50, 6)
    activations = normalised_by_batch(stack.layers[0], stack.layers[0].affine(x)).relu().numpy()
    stack.put_in_tandem(x, Dynamics(8), 90.0, batch_statistics=True)
    expected = np.percentile(activations, 90, method="inverted_cdf") / 8
    assert float(stack.layers[0].threshold) == pytest.approx(expected, rel=1e-5)


def test_a_new_stack_learns_all_at_once():
    torch.manual_seed(0)
    x, labels = torch.randn(64, 6), torch.arange(64) % 5
    stack = linear_stack(0, (6, 16, 16, 5))
    stack.put_in_tandem(x, Dynamics(8), batch_statistics=True)
    optimiser = torch.optim.Adam(stack.parameters(), 1e-2)
    stack.train()
    for _ in range(80):
        loss = nn.functional.cross_entropy(stack(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    stack.eval()
    stack.freeze()
    assert (stack(x).argmax(1) == labels).float().mean() > 0.5  # chance is 0.2
