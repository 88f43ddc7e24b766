import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.segments import blocks_of
from separator.snn.learning.stdb.bits import Trace
from separator.snn.learning.stdb.layer import StdbLayer
from separator.snn.learning.stdb.neurons import by_times
from separator.snn.learning.stdb.options import StdbOptions, time_table
from separator.snn.stack.stack import Stack
from tests.snn import nets
from tests.snn.learning.stdb import drawn, unrolled

EXACT = {"rtol": 0.0, "atol": 1e-12}


def linear_stack():
    """Linear layers, the second one fed by two."""
    layers = [AnalogLayer(nn.Linear(a, b, bias=False)) for a, b in ((6, 8), (8, 7), (15, 9))]
    layers.append(AnalogLayer(nn.Linear(9, 4, bias=False), activation=None))
    return Stack(layers, "potential", [((-1,),), ((0,),), ((1, 0),), ((2,),)])


def residual_stack(drop=0.0):
    """Convolutions: average pooling, dropout, the identity and a shortcut with weights from elsewhere."""

    def convolution(a, b, **options):
        return nn.Conv2d(a, b, 3, padding=1, bias=False, **options)

    layers = [
        AnalogLayer(convolution(2, 4)),
        AnalogLayer(convolution(4, 4), before=[nn.AvgPool2d(2), nn.Dropout(drop)], shortcut=None),
        AnalogLayer(convolution(4, 4), before=[nn.Dropout(drop)], shortcut=nn.Identity()),
        AnalogLayer(convolution(4, 6, stride=2), shortcut=AnalogLayer(nn.Conv2d(4, 6, 1, 2, bias=False), activation=None)),
        AnalogLayer(nn.Linear(24, 4, bias=False), before=[nn.Flatten()], activation=None),
    ]
    return Stack(layers, "potential", [((-1,),), ((0,),), ((1,), (1,)), ((2,), (1,)), ((3,),)])


def learning(stack, x, options, dynamics, seed=3, **more):
    """The stack put through time in float64 with lively thresholds, and a direction for its readings."""
    torch.manual_seed(seed)
    stack.couple(x, dynamics, "stdb", LearningOptions(stdb=options, **more), 100.0)
    return stack.double().train()


def twin(stack, x, ends, masks=None):
    """Readings, and what they depend on, of the same network unrolled: thresholds, leak, weights, input."""
    layers, window = list(stack.layers), stack.layers[0].dynamics.window
    leaves = {
        "weights": [layer.layer.affine.weight.detach().clone().requires_grad_() for layer in layers],
        "beside": [
            layer.layer.shortcut.affine.weight.detach().clone().requires_grad_()
            if isinstance(layer.layer.shortcut, AnalogLayer)
            else None
            for layer in layers
        ],
        "gains": [layer.gain.detach().clone().requires_grad_() for layer in layers],
        "leak": (layers[0].free_leak.detach().clone() * 256).round().div(256).requires_grad_(),
        "x": x.detach().clone().requires_grad_(),
    }
    bases = [layer.base_threshold for layer in layers]
    thresholds = [base * gain.exp() for base, gain in zip(bases, leaves["gains"], strict=True)]
    units = [1 / window] + [torch.cat([bases[j] for j in own[0]]).mean() for own in stack.sources[1:]]

    def channels(values, like):
        return values.view(-1, *[1] * (like.dim() - 2))

    def neurons(i, current):
        layer, threshold = layers[i], channels(thresholds[i] / units[i], current)
        start = (threshold * layer.dynamics.initial_potential).expand_as(current)
        start = start if layer.dynamics.model.delayed else start / leaves["leak"]  # before it is leaked
        return unrolled.Neurons(threshold, leaves["leak"], layer.options, layer.dynamics.model, start)

    def synapses(i):
        analog, own = layers[i].layer, stack.sources[i]

        def worth(handed, of):
            values = [handed[j] if j < 0 else handed[j] * channels(thresholds[j] / units[i], handed[j]) for j in of]
            return torch.cat(values, 1)

        def apply(handed):
            seen = worth(handed, own[0])
            inner = seen
            for place, module in enumerate(analog.before):
                inner = inner * masks[i][place] if isinstance(module, nn.Dropout) else module(inner)
            weight = leaves["weights"][i]
            if isinstance(analog.affine, nn.Linear):
                current = F.linear(inner, weight)
            else:
                current = F.conv2d(inner, weight, stride=analog.affine.stride, padding=1)
            if analog.shortcut is None:
                return current
            other = worth(handed, own[1])
            return current + (other if leaves["beside"][i] is None else F.conv2d(other, leaves["beside"][i], stride=2))

        return apply

    coding = layers[0].dynamics.input_coding
    if hasattr(coding, "present"):
        inputs = list(coding.present(x.detach(), window, 0, window).trains().double())
    else:
        inputs = [leaves["x"] * float(coding.share(t, window)) * window for t in range(window)]
    found = unrolled.run(neurons, [synapses(i) for i in range(len(layers))], inputs, ends)
    worth = 1 if layers[-1].options.loss_of_spikes else units[-1] * window
    return [r * worth / end for r, end in zip(found, ends, strict=True)], leaves


def compare(stack, x, masks=None, segment=None):
    """Readings and gradients of a stack against the unrolled network; gives back the largest gradient of each layer."""
    x = x.double().requires_grad_()
    seed = torch.random.get_rng_state()
    readings = stack.readings(x)
    torch.random.set_rng_state(seed)
    window = stack.layers[0].dynamics.window
    ends = [window] if segment is None else sorted({*range(segment, window, segment), window})
    expected, leaves = twin(stack, x, ends, masks(stack, x) if masks else None)
    assert len(readings) == len(expected) == len(ends)
    for mine, its in zip(readings, expected, strict=True):
        assert torch.allclose(mine, its, **EXACT)
    directions = torch.randn(len(ends), *expected[0].shape, dtype=torch.float64)
    for found in (readings, expected):
        (torch.stack(found) * directions).sum().backward()
    pairs = [(layer.layer.affine.weight.grad, w.grad) for layer, w in zip(stack.layers, leaves["weights"], strict=True)]
    pairs += [
        (layer.layer.shortcut.affine.weight.grad, w.grad)
        for layer, w in zip(stack.layers, leaves["beside"], strict=True)
        if w is not None
    ]
    if stack.layers[0].gain.requires_grad:
        pairs += [(layer.gain.grad, g.grad) for layer, g in zip(stack.layers[:-1], leaves["gains"], strict=False)]
    if stack.layers[0].learns_leak:
        pairs.append((stack.layers[0].free_leak.grad, leaves["leak"].grad))
    if leaves["x"].grad is not None:
        pairs.append((x.grad, leaves["x"].grad))
    # Where a spike is handed on behind the end of its segment, nothing goes back to it.
    pairs = [(mine, torch.zeros_like(mine) if its is None else its) for mine, its in pairs if mine is not None]
    for mine, its in pairs:
        assert torch.allclose(mine, its, rtol=1e-12, atol=1e-12 * max(1.0, float(its.abs().max())))
    return [float(its.abs().max()) for _, its in pairs]


OPTIONS = [
    StdbOptions(alpha=0.7, beta=0.1),
    StdbOptions(alpha=0.7, beta=0.1, own_spike=False),
    StdbOptions(alpha=0.7, beta=0.1, through_reset=False, over_threshold=True),
    StdbOptions(alpha=0.7, beta=0.1, loss_of_spikes=True),
    StdbOptions("linear", alpha=0.5),
    StdbOptions("exponential", alpha=0.5, beta=0.7),
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("delayed", [0, 1])
@pytest.mark.parametrize("leak", [1.0, 0.9])
def test_gradients_from_bits_are_those_of_the_unrolled_network(options, delayed, leak):
    torch.manual_seed(0)
    x = torch.randn(5, 6)
    dynamics = Dynamics(21, coding="constant", neuron="leaky", neuron_options={"leak": leak, "delayed": delayed})
    stack = learning(linear_stack(), x, options, dynamics)
    assert min(compare(stack, x)) > 1e-3


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    st.sampled_from(OPTIONS),
    st.booleans(),
    st.sampled_from([None, 1, 5, 8, 9, 12]),
    st.sampled_from([0.0, 0.25]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_segments_thresholds_and_leaks(options, delayed, segment, start, thresholds, leaks, channelwise, seed):
    torch.manual_seed(seed)
    x = torch.randn(3, 6)
    neuron = {"leak": 0.95, "delayed": int(delayed)}
    dynamics = Dynamics(19, start, coding="constant", neuron="leaky", neuron_options=neuron)
    more = LearningOptions(thresholds, stdb=options, learn_leak=leaks, segment=segment)
    stack = linear_stack()
    stack.couple(x, dynamics, "stdb", more, 100.0, channelwise)
    stack.double().train()
    with torch.no_grad():
        for layer in stack.layers:
            layer.gain.uniform_(-0.5, 0.1 if thresholds else -0.4)
            if not thresholds and not channelwise:
                layer.gain.zero_()
    compare(stack, x, segment=segment)


def masks_of(stack, x):
    """Masks of dropout in the order in which a run draws them, layer by layer."""
    size, masks = x.shape[-1], []
    shapes = {1: (len(x), 4, size // 2, size // 2), 2: (len(x), 4, size // 2, size // 2)}
    torch.manual_seed(11)
    if hasattr(stack.layers[0].dynamics.input_coding, "present"):
        torch.randint(2**31 - 1, ())  # the seed of the input's spikes comes first
    for i, layer in enumerate(stack.layers):
        masks.append({})
        for place, module in enumerate(layer.layer.before):
            if isinstance(module, nn.Dropout):
                masks[i][place] = module(torch.ones(shapes[i], dtype=torch.float64))
    return masks


@pytest.mark.parametrize("coding", ["constant", "test-drawn"])
@pytest.mark.parametrize(("drop", "learns"), [(0.0, True), (0.4, True), (0.4, False)])
def test_residual_networks_with_dropout_held_over_all_steps(coding, drop, learns):
    torch.manual_seed(0)
    x = torch.rand(3, 2, 8, 8) - 0.3
    neuron = {"leak": 0.98, "delayed": 0}
    dynamics = Dynamics(13, coding=coding, neuron="leaky", neuron_options=neuron)
    stack = residual_stack(drop)
    stack(x)
    stack = learning(stack, x, StdbOptions(alpha=0.5, beta=0.05), dynamics, learn_thresholds=learns)
    torch.manual_seed(11)
    gradients = compare(stack, x, masks_of)
    assert min(gradients) > 1e-4


def test_truncation_changes_gradients_and_no_spike():
    x = torch.randn(5, 6)
    found = {}
    for segment in (None, 20, 7):
        torch.manual_seed(1)
        stack = learning(linear_stack(), x, StdbOptions(beta=0.1), Dynamics(20, coding="constant"), segment=segment)
        reading = stack.readings(x.double())[-1]
        reading.sum().backward()
        found[segment] = reading.detach(), stack.layers[0].layer.affine.weight.grad
    for segment in (20, 7):
        assert torch.equal(found[segment][0], found[None][0])
    assert torch.equal(found[20][1], found[None][1])
    assert not torch.allclose(found[7][1], found[None][1], rtol=0.1)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("segment", [None, 5])
def test_layers_by_themselves_are_the_stack_as_a_whole(options, segment):
    """A layer that runs alone hands on dense spikes: the way of a conversion, layer by layer."""
    torch.manual_seed(0)
    x = torch.rand(3, 2, 8, 8)
    dynamics = Dynamics(11, coding="constant", neuron="leaky", neuron_options={"leak": 0.9, "delayed": 1})
    stack = residual_stack()
    stack(x)
    stack = learning(stack, x, options, dynamics, segment=segment, learn_thresholds=True, learn_leak=True)
    alone = copy.deepcopy(stack)
    for layer in alone.layers:
        layer.free_leak = alone.layers[0].free_leak
    readings, others = stack.readings(x.double()), alone._layer_by_layer(x.double())
    assert len(readings) == (1 if segment is None else 3)
    for mine, its in zip(readings, others, strict=True):
        assert torch.allclose(mine, its, **EXACT)
    direction = torch.randn(len(readings), *readings[0].shape, dtype=torch.float64)
    for found in (readings, others):
        (torch.stack(found) * direction).sum().backward()
    theirs = dict(alone.named_parameters())
    compared = 0
    for name, parameter in stack.named_parameters():
        if parameter.grad is not None and not name.endswith("free_leak"):
            assert torch.allclose(parameter.grad, theirs[name].grad, rtol=1e-9, atol=1e-11)
            compared += 1
    assert compared >= 9
    assert torch.allclose(stack.layers[0].free_leak.grad, alone.layers[0].free_leak.grad, rtol=1e-9)


def test_products_in_mixed_precision_and_neurons_in_full():
    """Thresholds are far from what rounding changes in most neurons, so that gradients point the same way."""
    x, found = torch.rand(6, 2, 8, 8), {}
    for mixed in (False, True):
        torch.manual_seed(0)
        stack = residual_stack()
        stack(x)
        stack.couple(x, Dynamics(10, coding="constant"), "stdb", LearningOptions(stdb=StdbOptions(), segment=5), 100.0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            readings = torch.stack(stack.train().readings(x))
        assert readings.dtype == torch.float32
        readings.square().sum().backward()
        found[mixed] = torch.cat([layer.layer.affine.weight.grad.flatten() for layer in stack.layers])
        assert found[mixed].dtype == torch.float32
    assert not torch.equal(found[True], found[False])
    assert F.cosine_similarity(found[True], found[False], 0) > 0.95


def test_spikes_of_the_input_are_drawn_anew_for_each_batch_and_as_the_seed_says():
    x = torch.rand(4, 6)
    stack = learning(linear_stack(), x, StdbOptions(), Dynamics(9, coding="poisson"))
    seen = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        seen.append(stack(x.double()).detach())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("neuron", "options"), [("integrate-and-fire", {}), ("leaky", {"leak": 1.0}), ("leaky", {"leak": 1.0, "delayed": 1})]
)
def test_numbers_of_few_bits_make_the_very_same_integers(neuron, options):
    torch.manual_seed(4)
    dynamics = Dynamics(64, 0.25, coding="test-drawn", neuron=neuron, neuron_options=options)
    stack = linear_stack()
    for layer in stack.layers:
        layer.affine.weight.data = torch.randint(-12, 13, layer.affine.weight.shape) * 2.0**-5
    x = torch.rand(20, 6)
    for i, layer in enumerate(list(stack.layers)):
        role = "readout" if i == 3 else "fire"
        stack.layers[i] = StdbLayer(layer, role, torch.tensor([2.0**-6]), dynamics, StdbOptions())
    learned = stack.train()(x).detach()
    assert learned.unique().numel() > 20
    evaluated = stack.eval()(x)
    assert torch.equal(learned, evaluated)
    stack.freeze()
    assert torch.equal(stack(x), evaluated)


def test_a_learned_leak_is_a_whole_number_of_256ths_and_the_frozen_neurons():
    torch.manual_seed(0)
    x = torch.rand(60, 6)
    dynamics = Dynamics(24, coding="constant", neuron="leaky", neuron_options={"leak": 0.9})
    stack = linear_stack()
    stack.couple(x, dynamics, "stdb", LearningOptions(True, learn_leak=True, stdb=StdbOptions()), 100.0)
    leaks = {id(layer.free_leak) for layer in stack.layers}
    assert len(leaks) == 1
    optimiser = torch.optim.Adam(stack.parameters(), 3e-3)
    for _ in range(5):
        optimiser.zero_grad()
        F.cross_entropy(stack.train()(x), torch.arange(60) % 4).backward()
        optimiser.step()
    leak = stack.layers[0].leak.item()
    assert leak * 256 == round(leak * 256) != round(0.9 * 256)
    assert (stack.eval()(x).argmax(1) == stack.train()(x).argmax(1)).float().mean() > 0.9
    stack.freeze()
    assert stack.dynamics.neuron_options["leak"] == leak
    assert all(layer.dynamics == stack.dynamics for layer in stack.layers)


def test_a_network_learns():
    torch.manual_seed(0)
    x = torch.randn(48, 6)
    labels = (x[:, 0] > 0) + 2 * (x[:, 1] > x[:, 2])
    layers = [AnalogLayer(nn.Linear(6, 40, bias=False)), AnalogLayer(nn.Linear(40, 40, bias=False))]
    stack = Stack([*layers, AnalogLayer(nn.Linear(40, 4, bias=False), activation=None)], "potential")
    stack.couple(x, Dynamics(16, coding="constant"), "stdb", LearningOptions(segment=8), 99.0)
    optimiser = torch.optim.Adam(stack.parameters(), 5e-3)
    for _ in range(30):
        loss = sum(F.cross_entropy(reading, labels) for reading in stack.train().readings(x))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(stack.parameters(), 5.0)
        optimiser.step()
    stack.eval()
    stack.freeze()
    assert (stack(x).argmax(1) == labels).float().mean() > 0.8  # chance is 0.25


@pytest.mark.parametrize(("options", "each"), [(StdbOptions(), 0), (StdbOptions("linear"), 4)])
def test_one_bit_for_each_neuron_and_step_is_kept_and_no_more(options, each):
    """And of derivatives of the potential, the potential before each block of 8 steps, in `each` bytes."""
    x, steps, kept = torch.rand(3, 2, 8, 8), 80, []
    stack = residual_stack()
    stack(x)
    stack.couple(x, Dynamics(steps, coding="constant"), "stdb", LearningOptions(stdb=options), 100.0)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda tensor: tensor):
        reading = stack.train().readings(x)[-1]
    (run,) = (node for node in nodes_of(reading) if hasattr(node, "walk"))
    neurons = 3 * (4 * 64 + 2 * 4 * 16 + 6 * 4)
    assert sum(byte.nbytes for trace in run.walk.traces.values() for byte in trace.bytes) == neurons * steps / 8
    assert sum(u.nbytes for trace in run.walk.traces.values() for u in trace.potentials) == each * neurons * steps / 8
    assert sum(kept) < 5 * neurons  # input, weight and charge of the first layer, whatever the number of steps


def nodes_of(tensor):
    """Nodes of the graph behind a tensor."""
    found, waiting = [], [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None:
            found.append(node)
            waiting += [following for following, _ in node.next_functions]
    return found


def test_the_table_holds_long_times():
    table = time_table(StdbOptions(), 250, torch.zeros(1, dtype=torch.float64))
    assert len(table) == 251 and float(table[250]) == 0
    for dt in (0, 1, 103, 104, 249):
        assert float(table[dt]) == pytest.approx(0.3 * math.exp(-0.01 * dt), rel=1e-14)
    assert float(time_table(StdbOptions(), 250, torch.zeros(1))[249]) == pytest.approx(0.3 * math.exp(-2.49), rel=1e-6)


@pytest.mark.parametrize("fires_at", [[0], [7], [8], [], [0, 90, 91]])
def test_derivatives_of_a_run_are_those_of_the_times_since_spikes(fires_at):
    """Block by block, as the way back sees them, against times counted one by one."""
    options, steps = StdbOptions(), 250
    spikes = torch.zeros(steps, 1, dtype=torch.float64)
    spikes[fires_at] = 1
    trace = Trace(steps)
    blocks = list(blocks_of(steps, [11, steps], 8))
    for first, count, _ in blocks:
        trace.add(first, spikes[first : first + count], torch.zeros(1))
    found = [
        by_times(options, trace.spikes(number, count, torch.float64), trace.ages(number), steps)
        for number, (_, count, _) in enumerate(blocks)
    ]
    for t, derivative in enumerate(torch.cat(found)[:, 0].tolist()):
        since = [t - fired for fired in fires_at if fired <= t]
        expected = 0.3 * math.exp(-0.01 * min(since)) if since else 0.0
        assert derivative == pytest.approx(expected, rel=1e-13, abs=0)


def test_what_cannot_be_is_refused():
    x = torch.randn(3, 6)
    with pytest.raises(UserError, match="no derivative 'step'; take one of stdb, linear, exponential"):
        StdbOptions("step")
    with pytest.raises(UserError, match="alpha is a number of at least 0, not -1"):
        StdbOptions(alpha=-1.0)
    with pytest.raises(UserError, match="spikes of 0 or 1 learn by stdb, not 'augmented'"):
        linear_stack().couple(x, Dynamics(8, neuron="augmented"), "stdb", LearningOptions())
    with pytest.raises(UserError, match="schedule 'pipelined'"):
        linear_stack().couple(x, Dynamics(8, schedule="layer-by-layer"), "stdb", LearningOptions())
    with pytest.raises(UserError, match="at least 1 step long, not 0"):
        linear_stack().couple(x, Dynamics(8), "stdb", LearningOptions(segment=0))
    with pytest.raises(UserError, match="'integrate-and-fire' does not take the options"):
        linear_stack().couple(x, Dynamics(8), "stdb", LearningOptions(learn_leak=True))
    with pytest.raises(UserError, match="without batch norm"):
        nets.linear_stack(0).couple(x, Dynamics(8), "stdb", LearningOptions(batch_statistics=True))


assert drawn  # registers what the tests name
