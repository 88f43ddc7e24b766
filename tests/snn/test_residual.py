"""Networks whose layers see others than the one before: residual blocks, branches, concatenations."""

import copy

import pytest
import torch
from torch import nn

from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.observe.activity import record_activity
from separator.snn.stack import reference
from separator.snn.stack.graph import INPUT
from separator.snn.stack.stack import Stack, outcomes
from separator.snn.stack.streaming import StackStream
from tests.snn.nets import linear_stack, randomised

SOURCES = [
    ((INPUT,),),
    ((0,),),
    ((1,), (0,)),  # projected and strided beside a strided block
    ((2,),),
    ((3,), (2,)),  # the identity beside a block
    ((3, 4),),  # of a branch and what it led to, channel behind channel
    ((5,),),
]


def convolution(c_in, c_out, kernel, stride=1, shortcut=None):
    layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return AnalogLayer(layer, nn.BatchNorm2d(c_out), shortcut=shortcut)


def residual_stack(seed=0):
    """A small ResNet."""
    torch.manual_seed(seed)
    projection = AnalogLayer(nn.Conv2d(4, 6, 1, 2, bias=False), nn.BatchNorm2d(6), activation=None)
    layers = [
        convolution(2, 4, 3),
        convolution(4, 6, 3, 2),
        convolution(6, 6, 3, shortcut=projection),
        convolution(6, 6, 3),
        convolution(6, 6, 3, shortcut=nn.Identity()),
        convolution(12, 5, 1),
        AnalogLayer(nn.Linear(20, 3), before=[nn.AvgPool2d(2), nn.Flatten()], activation=None),
    ]
    return Stack([randomised(layer) for layer in layers], "potential", SOURCES).eval()


def in_plain_torch(stack, x):
    """The analog network written out, as its picture shows it."""
    a, b, c, d, e, f, g = stack.layers
    stem = a(x)
    first = (c.norm(c.affine(b(stem))) + c.shortcut(stem)).relu()
    inner = d(first)
    second = (e.norm(e.affine(inner)) + first).relu()
    return g.affine(nn.functional.avg_pool2d(f(torch.cat([inner, second], 1)), 2).flatten(1))


def images(n=3, seed=1):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def assert_exact(stack, x):
    layers = stack.spiking_layers()
    expected = reference.simulate(layers, x, stack.sources)
    quanta = torch.from_numpy(expected).double() * layers[-1].quantum.double()
    trains = reference.trains(layers, x, stack.sources)
    for name in ("fastest", "dense", "event-driven"):
        with execution(name):
            *words, potential = outcomes(stack, x)
            one = outcomes(stack, x[1:2])
        assert torch.equal(potential.double(), quanta)
        assert all(torch.equal(a[1:2], b) for a, b in zip((*words, potential), one, strict=True))
        for own, theirs in zip(words, trains, strict=False):
            bits = sum(torch.from_numpy(step).to(torch.int64) << t for t, step in enumerate(theirs))
            assert torch.equal(own, bits.to(torch.int32))
    return trains


def test_the_analog_network_is_the_picture():
    stack, x = residual_stack(), images()
    torch.testing.assert_close(stack(x), in_plain_torch(stack, x))


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
@pytest.mark.parametrize(("window", "bits"), [(4, 8), (12, None), (32, 4)])
@pytest.mark.parametrize("channelwise", [False, True])
def test_every_execution_equals_the_definition(schedule, window, bits, channelwise):
    stack, x = residual_stack(), images()
    stack(x)
    stack.convert(x, Dynamics(window, 0.5, schedule, bits), channelwise=channelwise)
    assert_exact(stack, x)
    assert stack.latency == window * (1 if schedule == "pipelined" else 6)


def test_kernels_serve_shortcuts_from_elsewhere_where_strides_agree():
    stack, x = residual_stack(), images()
    stack(x)
    stack.convert(x, Dynamics(8, 0.5))
    served = [
        layer.compiled_for("event-driven", len(maps) > 1) is not None for layer, maps in zip(stack.layers, SOURCES, strict=True)
    ]
    assert served[1:] == [True, False, True, True, True, True]


def test_spikes_of_many_steps_are_the_analog_network():
    stack, x = residual_stack(), images(8)
    analog = stack(x)
    stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), 100.0, channelwise=True)
    assert (stack(x) - analog).abs().max() < 0.05 * analog.abs().max()


def test_a_chain_of_windows_is_one_long_run():
    stack, x = residual_stack(), images(2)
    stack(x)
    stack.convert(x, Dynamics(70, 0.5))
    layers = stack.spiking_layers()
    expected = torch.from_numpy(reference.simulate(layers, x, stack.sources)).double() * layers[-1].quantum.double()
    for name in ("fastest", "dense"):
        with execution(name):
            assert torch.equal(stack(x), expected.float())


def loss(network, batch):
    return (network(batch[0]) - batch[1]).square().mean()


def converted(keep_mb=4000, **changes):
    torch.manual_seed(0)
    stack = residual_stack()
    network = nn.Sequential(stack)
    x = images(12)
    batches = [(x[:6], stack(x[:6]).detach()), (x[6:], stack(x[6:]).detach())]
    settings = ConversionSettings(
        **{
            "window": 4,
            "initial_potential": 0.5,
            "channelwise": True,
            "max_epochs": 2,
            "weight_bits": 8,
            "readout": "potential",
        }
        | {"schedule": "layer-by-layer", "learn_thresholds": True, "lr": 1e-3, "keep_mb": keep_mb}
        | changes
    )
    engine = ProgressiveTandemLearning(
        network, stack, [], loss, lambda layer: batches, batches, settings, log=lambda line: None
    )
    return network, engine, batches


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_progressive_tandem_learning_converts_it_exactly(schedule):
    network, engine, batches = converted(schedule=schedule, passes=2)
    reports = engine.run()
    assert len(reports) == 14 and all(isinstance(layer, SpikingLayer) for layer in network[0].layers)
    assert_exact(network[0], batches[0][0])
    untuned, _, _ = plain = converted(schedule=schedule, max_epochs=0)
    plain[1].run()
    assert sum(float(loss(network, b)) for b in batches) < sum(float(loss(untuned, b)) for b in batches)


def test_trains_that_are_kept_change_nothing():
    """What the frozen layers hand on to later ones, of all of them, is kept or simulated again."""
    kept, again = converted(), converted(keep_mb=0)
    kept[1].run()
    again[1].run()
    assert again[1].prefixes == {}
    for name, value in kept[0].state_dict().items():
        assert torch.equal(value, again[0].state_dict()[name]), name


def test_thawed_and_frozen_again_it_is_the_same():
    stack, x = residual_stack(), images()
    stack(x)
    stack.convert(x, Dynamics(8, 0.5, "layer-by-layer", 8))
    expected = stack(x)
    before = copy.deepcopy(stack.state_dict())
    stack.unfreeze()
    stack.train()(x).sum().backward()
    assert all(p.grad is not None for layer in stack.layers for p in layer.layer.affine.parameters())
    stack.eval()
    stack.freeze()
    assert torch.equal(stack(x), expected)
    assert all(torch.equal(value, before[name]) for name, value in stack.state_dict().items() if value.dtype == torch.int8)


def test_operations_are_counted_map_by_map():
    """By brute force: each spike is let through alone, and what it reaches is counted."""
    stack, x = residual_stack(), images(1)
    stack(x)
    stack.convert(x, Dynamics(6, 0.5))
    with record_activity(stack) as activity:
        stack(x)
    counts = [torch.from_numpy(train.sum(0)).double() for train in reference.trains(stack.spiking_layers(), x, SOURCES)]
    for i, layer in enumerate(stack.layers):
        if i == 0:
            continue
        seen = [torch.cat([counts[j] for j in own], 1) for own in SOURCES[i]]
        expected = 0
        for own, spikes in zip(layer.maps, seen, strict=True):
            ones = torch.ones_like(own.weight, dtype=torch.float64)
            for place in spikes.nonzero():
                alone = torch.zeros_like(spikes)
                alone[tuple(place)] = 1
                expected += int(own.apply(alone, ones, None).sum()) * int(spikes[tuple(place)])
        assert activity.layers[i].synaptic_operations == expected


def test_backpropagation_through_time_learns_it():
    stack, x = residual_stack(), images(6)
    target = stack(x).detach()
    from separator.snn.learning.surrogate import Surrogate

    stack.put_through_time(x, Dynamics(6, 0.5), Surrogate(), channelwise=True)
    optimiser = torch.optim.Adam(stack.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        value = (stack.train()(x) - target).square().mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < 0.7 * losses[0]
    stack.eval().freeze()
    assert_exact(stack, x)


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ([((INPUT,),), ((0,),)], "sources of 2"),
        ([((0,),), ((0,),), ((1,),)], "the first layer sees the input"),
        ([((INPUT,),), ((INPUT,),), ((1,),)], "only the first sees the input"),
        ([((INPUT,),), ((0,),), ((0,),)], "no layer sees layer 1"),
        ([((INPUT,),), ((0,), (0,)), ((1,),)], "layer 1 has 1 incoming maps"),
        ([((INPUT,),), ((2,),), ((1,),)], "layer 1 sees layers from 0 to 0"),
    ],
)
def test_impossible_graphs_are_refused(sources, reason):
    with pytest.raises(ValueError, match=reason):
        Stack(list(linear_stack().layers), sources=sources)


def test_it_is_not_streamed():
    with pytest.raises(ValueError, match="each layer sees the one before"):
        StackStream(residual_stack())
