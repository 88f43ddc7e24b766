import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.twins import analog_twin
from separator.snn.observe.activity import record_activity
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.stack import reference
from separator.snn.stack.prefix import Prefix, fingerprint
from separator.snn.stack.simulation import simulate
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import affine_map
from tests.snn.machines import machine
from tests.snn.nets import STACKS, check_fires_as_defined, conv1d_stack, converted, fire, linear_stack

SCHEDULES = ("pipelined", "layer-by-layer")
DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]


def make(kind, seed, window, start, channelwise=False, batch=3, schedule="pipelined", bits=None):
    build, shape = STACKS[kind]
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed + 1))
    return converted(build(seed), x, window, start, channelwise, schedule, bits), x


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(STACKS)),
    st.integers(0, 10**6),
    st.integers(1, 32),
    st.sampled_from([0.0, 0.3, 0.5]),
    st.booleans(),
    st.sampled_from(SCHEDULES),
    st.sampled_from([None, 16, 8, 3]),
)
def test_every_execution_equals_the_reference(kind, seed, window, start, channelwise, schedule, bits):
    try:
        stack, x = make(kind, seed, window, start, channelwise, schedule=schedule, bits=bits)
    except ValueError:  # a module that is never active has no thresholds
        reject()
    layers = stack.spiking_layers()
    expected = reference.simulate(layers, x)
    *_, readout = layers
    in_quanta = torch.from_numpy(expected).double() * per_channel(readout.quantum, x).double()
    assert torch.equal(simulate(layers, x).double(), in_quanta)
    for one in range(len(x)):
        assert torch.equal(simulate(layers, x[one : one + 1])[0].double(), in_quanta[one])
    with execution("dense"):
        assert torch.equal(simulate(layers, x).double(), in_quanta)
    for device in DEVICES:
        there = copy.deepcopy(stack).to(device).spiking_layers()
        with torch.autocast(device, torch.bfloat16):
            assert torch.equal(simulate(there, x.to(device)).double().cpu(), in_quanta)


@pytest.mark.parametrize("multiplies", [True, False])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", sorted(STACKS))
def test_instructions_for_8_bits_change_nothing(kind, schedule, multiplies):
    """Sums are 32-bit integers where there are such instructions, and floating-point numbers where there are none."""
    with machine(multiplies):
        stack, x = make(kind, 4, 8, 0.5, schedule=schedule, bits=8)
        layers = stack.spiking_layers()
        assert [layer.sums._products is not None for layer in layers[1:]] == [multiplies] * (len(layers) - 1)
        check_fires_as_defined(stack, x, ["fastest", "event-driven", "dense"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_event_driven_layers_fire_what_dense_ones_do(data):
    """Random modules of every kind and geometry, against all steps folded into the batch of a dense module."""
    kind = data.draw(st.sampled_from(["linear", "conv1d", "conv2d"]))
    small = st.integers(1, 3)
    inputs, outputs, window = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 70)), data.draw(st.integers(1, 32))
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    if kind == "linear":
        module, shape = nn.Linear(inputs, outputs), ()
    elif kind == "conv1d":
        options = {"stride": data.draw(small), "padding": data.draw(st.integers(0, 4)), "dilation": data.draw(small)}
        module, shape = nn.Conv1d(inputs, outputs, data.draw(small), **options), (data.draw(st.integers(7, 40)),)
    else:
        options = {name: (data.draw(small), data.draw(small)) for name in ("stride", "dilation", "kernel_size")}
        options["padding"] = (data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4)))
        module, shape = nn.Conv2d(inputs, outputs, **options), (data.draw(st.integers(7, 9)), data.draw(st.integers(7, 20)))
    dynamics = Dynamics(window, data.draw(st.sampled_from([0.0, 0.5])))
    threshold = torch.rand(outputs) + 0.1 if data.draw(st.booleans()) else torch.full((1,), 0.5)
    layer = SpikingLayer.convert(AnalogLayer(module), "fire", torch.ones(1), threshold, dynamics)
    rate = data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    trains = (torch.rand(window, 2, inputs, *shape) < rate).float()
    currents = torch.stack([layer.current(spikes) for spikes in trains])
    expected = layer.neuron.run(currents, layer.neurons(currents[0]))[0].trains()
    fired = layer.fire(BinarySpikes.pack(trains))
    assert layer.compiled_for("event-driven", False) is not None
    assert torch.equal(fired.trains(), expected)
    assert torch.equal(fired.counts, expected.sum(0).to(torch.int8))
    with execution("dense"):
        assert torch.equal(layer.fire(BinarySpikes.pack(trains)).trains(), expected)


def test_a_stack_that_has_run_can_be_pickled():
    stack, x = make("conv1d", 2, 8, 0.5)
    expected = stack(x)
    assert torch.equal(pickle.loads(pickle.dumps(stack))(x), expected)


def test_charges_that_tie_are_decided_alike():
    """Inputs and weights of few bits, so that half of the charges lie on or half way between steps."""
    module = nn.Linear(3, 4)
    module.weight.data = torch.randint(-8, 9, (4, 3)) * 2.0**-3
    module.bias.data = torch.randint(-8, 9, (4,)) * 2.0**-3
    layer = SpikingLayer.convert(AnalogLayer(module), "encode", torch.ones(1), torch.tensor([2.0**19]), Dynamics(4))
    assert float(layer.quantum[0]) == 2.0**-1
    x = torch.randint(-40, 41, (500, 3)) * 2.0**-1
    charge = layer.charge(x)
    exact = x.double() @ module.weight.double().T + module.bias.double()
    assert ((exact / layer.quantum) % 1 == 0.5).float().mean() > 0.1
    assert np.array_equal(charge.numpy(), reference.first_charge(layer, x))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", ["same", "valid", 3])
def test_reference_applies_maps_as_torch_does(groups, padding):
    module = nn.Conv1d(4, 6, 3, padding=padding, dilation=2, groups=groups, bias=False)
    weight = torch.randint(-9, 10, module.weight.shape)
    x = torch.randint(0, 9, (2, 4, 13))
    ours = reference.affine(affine_map(module), x.numpy(), weight.numpy())
    theirs = affine_map(module)(x.float(), weight.float(), None)
    assert np.array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_counts_of_waiting_layers_are_clipped_floors_of_the_whole_potential(kind):
    stack, x = make(kind, 5, 6, 0.5, channelwise=True, schedule="layer-by-layer")
    incoming = None
    for layer in stack.spiking_layers()[:-1]:
        if incoming is None:
            spikes, potential = layer.encode(x), layer.charge(x).double()
        else:
            spikes = layer.fire(incoming)
            potential = sum(layer.current(step).double() for step in incoming.steps())
        threshold, start = (value.double() for value in layer.neurons(potential).values())
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
    assert stack.dynamics == Dynamics(32, 0.5)
    for i, (ours, theirs) in enumerate(zip(stack.layers, direct.layers, strict=True)):
        scale = direct.layers[i - 1].scale if i else None
        for mine, other in zip(analog_twin(ours, scale).parameters(), analog_twin(theirs, scale).parameters(), strict=True):
            assert torch.allclose(mine, other, rtol=1e-3, atol=1e-3)
        if ours.role != "readout":  # it never fires
            assert torch.allclose(ours.scale, theirs.scale, rtol=1e-3)
            assert torch.allclose(
                ours.initial_potential / ours.threshold, theirs.initial_potential / theirs.threshold, rtol=1e-3
            )
    assert torch.allclose(stack(x), direct(x), atol=0.3)


def test_half_converted_stack_takes_a_given_prefix():
    x = torch.randn(2, 6)
    whole = converted(linear_stack(2), x, 8, 0.0)
    half = linear_stack(2)
    half.layers[0] = whole.layers[0]
    spikes = {0: fire([whole.layers[0]], x)}
    plain = half(x)
    other = half(x + 1)
    half.layers[0].encode = None  # cannot be called
    with half.given_prefix(Prefix(fingerprint(x), spikes)):
        assert torch.equal(half(x), plain)
        with pytest.raises(TypeError):
            half(x + 1)
        del half.layers[0].encode
        assert torch.equal(half(x + 1), other)


@pytest.mark.parametrize("kind", sorted(STACKS))
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits_are_integers_in_units_of_their_neurons_step(kind, bits):
    build, shape = STACKS[kind]
    x = torch.randn(4, *shape)
    stack = converted(build(0), x, 8, 0.5, weight_bits=bits)
    for layer in stack.spiking_layers()[1:]:
        assert layer.weight.dtype == torch.int8
        learned = [own.weight.flatten(1) for own in layer.maps if not own.is_identity]
        largest = torch.cat(learned, 1).abs().amax(1)
        assert largest.max() <= 2 ** (bits - 1) - 1
        assert largest.min() > 2 ** (bits - 2) - 1  # a finer step would not have fitted
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    stack.set_window(16)
    stack.set_window(8)
    assert all(torch.equal(before[name], value) for name, value in stack.state_dict().items() if "weight" in name)


def test_restored_stack_equals_the_saved_one():
    x = torch.randn(2, 3, 11)
    saved = converted(conv1d_stack(4), x, 5, 0.5, channelwise=True)
    fresh = conv1d_stack(9)
    fresh.restore(len(saved.layers), Dynamics(5, 0.5), saved.state_dict())
    fresh.load_state_dict(saved.state_dict())
    assert torch.equal(fresh(x), saved(x))
    other = converted(conv1d_stack(9), x, 5, 0.5, channelwise=True)
    assert not torch.equal(other(x), saved(x))
    other.restore(len(saved.layers), Dynamics(5, 0.5), saved.state_dict())  # layers that are spiking already
    assert torch.equal(other(x), saved(x))


@pytest.mark.parametrize(("schedule", "latency"), [("pipelined", 8), ("layer-by-layer", 24)])
def test_latency_counts_what_waits(schedule, latency):
    """By hand, for three firing modules: one window in all, or one after the other."""
    stack, x = make("conv1d", 0, 8, 0.5, schedule=schedule)
    assert stack.latency == latency
    assert conv1d_stack().latency is None
    spikes_in = conv1d_stack()
    spikes_in.convert(x, Dynamics(8, 0.5, schedule, coding="poisson"))
    assert spikes_in.latency == latency + (8 if schedule == "layer-by-layer" else 0)  # the first one waits for its input
    with record_activity(stack) as activity:
        stack(x)
    assert (activity.schedule, activity.latency) == (schedule, latency)


def test_stack_needs_an_encoder_and_a_readout():
    with pytest.raises(ValueError, match="two layers"):
        Stack([AnalogLayer(nn.Linear(2, 2))])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e30])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_numbers_that_no_integer_holds_are_refused_by_layer(name, value):
    stack = converted(conv1d_stack(0), torch.randn(2, 3, 11), 4, 0.5, weight_bits=8)
    stack.unfreeze()
    getattr(stack.layers[2].layer.affine, name).data.flatten()[0] = value
    with pytest.raises(UserError, match=f"layer 2: a {name} of .* cannot be made an integer"):
        stack.freeze()
    with pytest.raises(UserError, match=f"layer 2: a {name}"):
        stack(torch.randn(2, 3, 11))


def test_thresholds_that_no_integer_holds_are_refused_by_layer():
    stack = conv1d_stack(0)
    with torch.no_grad():
        stack.layers[0].norm.bias.fill_(1e25)
    with pytest.raises(UserError, match="layer 0: a bias of"):
        converted(stack, torch.randn(2, 3, 11), 4, 0.5)
    assert stack.converted == 0


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_calibration_sees_its_input_once(kind):
    """Batch norm that goes by the batch takes note of it then."""
    build, shape = STACKS[kind]
    stack, calls = build(0), []
    for layer in stack.layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
    stack.put_in_tandem(torch.randn(4, *shape), Dynamics(4), batch_statistics=True)
    assert len(calls) == len(stack.layers)


def test_plain_modules_are_no_layers_of_a_stack():
    with pytest.raises(ValueError, match="layer 1 is a plain ReLU; group the modules by layers_of first"):
        Stack([AnalogLayer(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 2)])
    with pytest.raises(ValueError, match="layer 1 is a plain Tanh"):
        Stack([AnalogLayer(nn.Linear(2, 2)), nn.Tanh()])
    with pytest.raises(ValueError, match="layer 0 is a plain Linear"):
        Stack([nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)])
