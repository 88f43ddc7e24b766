"""Operations counted one by one, in loops over neurons and synapses."""

from itertools import product
from math import prod

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

from separator.snn.layers.analog import layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.snn.stack.stack import Stack
from tests.snn.nets import converted, linear_stack, spike_trains

BATCH = 2


def synapses(layer, shape):
    """Synapses of a linear layer or convolution: input (channel, ...), output, and place of the weight."""
    if isinstance(layer, nn.Linear):
        for i, (out, place) in enumerate(product(range(layer.out_features), np.ndindex(*shape))):
            yield place, (out,), (out, i % prod(shape))
        return
    channels, *sizes = shape
    inputs, outputs = channels // layer.groups, layer.out_channels // layer.groups
    geometry = list(zip(sizes, layer.kernel_size, layer.stride, layer.padding, layer.dilation, strict=True))
    reach = [range((n + 2 * p - d * (k - 1) - 1) // s + 1) for n, k, s, p, d in geometry]
    for out, position in product(range(layer.out_channels), product(*reach)):
        for c, tap in product(range(inputs), np.ndindex(*layer.kernel_size)):
            place = [q * s + t * d - p for q, t, (_, _, s, p, d) in zip(position, tap, geometry, strict=True)]
            if all(0 <= at < n for at, n in zip(place, sizes, strict=True)):
                yield (out // outputs * inputs + c, *place), (out, *position), (out, c, *tap)


def absorbed(layer, shape, pool):
    """Synapses of pooling by averages and a layer as one: each of an average's inputs has one; `shape` is of the averages."""
    for (channel, *place), output, (out, c, *tap) in synapses(layer, shape):
        for offset in np.ndindex(*[pool] * len(place)):
            source = (channel, *(at * pool + o for at, o in zip(place, offset, strict=True)))
            if isinstance(layer, nn.Linear):
                weight = out, np.ravel_multi_index(source, (shape[0], *(n * pool for n in shape[1:])))
            else:
                steps = layer.dilation if pool > 1 else [1] * len(tap)  # taps of the kernel that the layer has
                weight = out, c, *(t * d * pool + o for t, d, o in zip(tap, steps, offset, strict=True))
            yield source, output, weight


@st.composite
def fronts(draw):
    """What comes before a layer, the layer, how many it averages by dimension, and the shape of the averages."""
    small = st.integers(1, 3)
    dimensions = draw(st.integers(1, 2))
    pool = draw(small)
    channels = 2
    sizes = tuple(draw(st.integers(3, 5)) for _ in range(dimensions))  # of the averages
    average = [(nn.AvgPool1d, nn.AvgPool2d)[dimensions - 1](pool)] if pool > 1 else []
    if draw(st.booleans()):
        layer = nn.Linear(channels * prod(sizes), draw(small))
        return [*average, nn.Flatten()], layer, pool, (channels, *sizes)
    kernel = tuple(draw(small) for _ in sizes)
    dilation = tuple(draw(st.integers(1, 2)) if k < 3 else 1 for k in kernel)
    stride, padding = (tuple(draw(some) for _ in sizes) for some in (small, st.integers(0, 2)))
    groups = draw(st.integers(1, 2))
    kind = (nn.Conv1d, nn.Conv2d)[dimensions - 1]
    layer = kind(channels, 2 * draw(st.integers(1, 2)), kernel, stride, padding, dilation, groups)
    return average, layer, pool, (channels, *sizes)


GAPS = [nn.AvgPool2d(2)], nn.Conv2d(2, 2, (2, 1), dilation=(2, 1), padding=1), 2, (2, 4, 3)  # that pooling leaves in a kernel


@example(GAPS, 0, None, "pipelined")
@given(fronts(), st.integers(0, 1000), st.sampled_from([None, 2]), st.sampled_from(["pipelined", "layer-by-layer"]))
def test_operations_are_those_of_every_synapse(front, seed, bits, schedule):
    before, layer, pool, shape = front
    torch.manual_seed(seed)
    layer.reset_parameters()
    shown = (BATCH, 1, *(n * pool for n in shape[1:]))
    first = (nn.Conv1d, nn.Conv2d)[len(shown) - 3](1, shape[0], 1)
    nn.init.uniform_(first.weight, 0.5, 1)  # some neuron fires
    nn.init.zeros_(first.bias)
    flatten = [] if isinstance(layer, nn.Linear) else [nn.Flatten()]
    x = torch.rand(shown)
    outputs = nn.Sequential(*before, layer)(first(x)).flatten(1).shape[1]
    nn.init.constant_(layer.bias, 2.0)  # and some behind it
    last = nn.Linear(outputs, 3)
    stack = Stack(layers_of([first, nn.ReLU(), *before, layer, nn.ReLU(), *flatten, last])).eval()
    network = nn.Sequential(stack)

    with record_activity(network) as analog:
        network(x)
    stack.convert(x, Dynamics(3, 0.5, schedule, bits), 99.0)
    with record_activity(network) as activity:
        network(x)

    layers = stack.spiking_layers()
    maps, shape_of = [absorbed(layer, shape, pool), synapses(last, (outputs,))], [None, (shape[0], *shown[2:]), (outputs,)]
    for i, (train, pairs) in enumerate(zip(spike_trains(layers, x), maps, strict=True), 1):
        spikes = train.sum((0, 1)).reshape(shape_of[i])
        weight = layers[i].weight.numpy()
        operations = effective = 0
        for source, _, place in pairs:
            operations += int(spikes[source])
            effective += int(spikes[source]) * bool(weight[place])
        assert activity.layers[i].synaptic_operations == operations
        assert activity.layers[i].effective_operations == effective
        assert activity.layers[i - 1].spikes == spikes.sum() > 0
    wanted = [synapses(first, shown[1:]), synapses(layer, shape), synapses(last, (outputs,))]
    macs = [BATCH * sum(1 for _ in pairs) for pairs in wanted]
    assert [layer.macs for layer in activity.layers] == [layer.macs for layer in analog.layers] == macs


def test_layers_that_see_as_many_inputs_may_have_other_outputs():
    stack = linear_stack(widths=(6, 5, 3, 5, 7))
    x = torch.randn(16, 6)
    converted(stack, x, 4, 0.5)
    with record_activity(nn.Sequential(stack)) as activity:
        stack(x)
    assert [layer.macs for layer in activity.layers] == [16 * pairs for pairs in (6 * 5, 5 * 3, 3 * 5, 5 * 7)]
    spikes = [layer.spikes for layer in activity.layers]
    assert [layer.synaptic_operations for layer in activity.layers] == [0, 3 * spikes[0], 5 * spikes[1], 7 * spikes[2]]
    assert min(spikes[:3]) > 0
