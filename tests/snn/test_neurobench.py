"""Operations as NeuroBench counts them (Yik et al. 2025), on layers that hold the same weights and see the same spikes."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from separator.snn.layers.analog import layers_of
from separator.snn.observe.activity import record_activity
from separator.snn.stack import reference
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import CausalConv2d
from tests.snn.nets import STACKS, converted, spike_trains

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations in what it imports
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import TorchModel

SAMPLES = 4


def enumerated(layer):
    """The maps of a layer, and whether each is the first."""
    return [(position == 0, own) for position, own in enumerate(layer.maps)]


class Flat(nn.Module):
    """All positions in one dimension; the shape is kept for `Unflat`."""

    def forward(self, x):
        self.shapes.append(x.shape)
        return x.reshape(len(x), x.shape[1], -1)


class Unflat(nn.Module):
    def forward(self, x):
        return x.reshape(self.shapes.pop())


class Together(nn.Module):
    """Layers that see the same spikes, and whose sums come together."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, spikes):
        return sum(layer(spikes) for layer in self.layers)


class Plain(nn.Module):
    """The layers that spikes drive, as torch's own with the same weights; they see the reference's spikes step by step."""

    def __init__(self, layers):
        super().__init__()
        self.spiking = layers
        self.layers = nn.ModuleList(
            Together(self.layer(own, layer.bias if first else torch.zeros_like(layer.bias)) for first, own in enumerated(layer))
            for layer in layers[1:]
        )

    @staticmethod
    def layer(own, bias):
        # In 64 bits, as NeuroBench adds up counts in the type of the layer: in 32 bits they are rounded beyond 2^24.
        (apply, weight), bias = own, bias.double()
        weight = weight.double()
        before, behind = nn.Flatten() if apply.flatten else nn.Identity(), nn.Identity()
        if apply.kind is nn.Linear:
            layer = nn.Linear(weight.shape[1], weight.shape[0])
        elif apply.kind is nn.Identity:  # a convolution of each channel by itself, of one position
            layer, weight = nn.Conv1d(len(weight), len(weight), 1, groups=len(weight)), weight[..., None]
            before, behind = Flat(), Unflat()
            before.shapes = behind.shapes = []
        else:
            kind = CausalConv2d if apply.padding[-1][0] > apply.padding[-1][1] else apply.kind
            zeros, inputs = tuple(sum(pair) // 2 for pair in apply.padding), weight.shape[1] * apply.groups
            layer = kind(inputs, len(weight), tuple(weight.shape[2:]), apply.stride, zeros, apply.dilation, apply.groups)
        layer.weight, layer.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        return nn.Sequential(before, layer, behind)

    def forward(self, x):
        """Free aggregate membrane potential of the last layer."""
        potential = 0
        for steps in zip(*spike_trains(self.spiking, x), strict=True):
            for layer, spikes in zip(self.layers, steps, strict=True):
                current = layer(torch.from_numpy(np.ascontiguousarray(spikes)).double())
            potential = potential + current
        return potential


def neurobench(network, x):
    """Operations per sample by NeuroBench."""
    loader = DataLoader(TensorDataset(x, torch.zeros(len(x))), batch_size=len(x) // 2)
    benchmark = Benchmark(TorchModel(network), loader, [], [], [[], [SynapticOperations]])
    return benchmark.run(quiet=True)["SynapticOperations"]


def ours(stack, x):
    network = nn.Sequential(stack)
    with record_activity(network) as activity:
        network(x)
    return activity


def image_layers(average):
    """A network for images, its second convolution behind average pooling where that is asked for."""
    pool = [nn.AvgPool2d(2)] if average else []
    return [
        *[nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), *pool, nn.Conv2d(4, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU()],
        *[nn.Dropout(), nn.Conv2d(6, 4, 3, 1, (0, 1), groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 if average else 64, 5)],
    ]


def image_stack(average):
    torch.manual_seed(1)
    return Stack(layers_of(image_layers(average))).eval()


BUILDS = STACKS | {
    "images": (lambda seed: image_stack(False), (2, 12, 8)),
    "averaged": (lambda seed: image_stack(True), (2, 12, 8)),
}


def network_and_input(kind, schedule="pipelined", bits=None):
    build, shape = BUILDS[kind]
    torch.manual_seed(0)
    x = torch.randn(SAMPLES, *shape)
    return converted(build(0), x, 5, 0.5, schedule=schedule, weight_bits=bits), x


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
@pytest.mark.parametrize("kind", sorted(BUILDS))
def test_synaptic_operations_are_neurobenchs_where_no_weight_is_zero(kind, schedule):
    stack, x = network_and_input(kind, schedule)
    layers = stack.spiking_layers()
    assert all(bool((layer.weight != 0).all()) for layer in layers[1:])
    plain, activity = Plain(layers), ours(stack, x)
    assert (plain(x).numpy() == reference.simulate(layers, x)).all()  # the same network
    theirs = neurobench(plain, x)
    assert theirs["Effective_ACs"] == activity.synaptic_operations / SAMPLES == activity.effective_operations / SAMPLES > 0
    assert theirs["Effective_MACs"] == 0
    # Dense is every input of every step, as if all neurons fired all the time; it is our MACs for each of them, but for
    # averages, where the analog network has one input in place of four neurons.
    pairs = list(zip(layers[1:], activity.layers[1:], strict=True))
    every = sum(row.macs * layer.apply_affine.averaged for layer, row in pairs)
    # An identity multiplies nothing in the analog network, and is a layer of weights of one here.
    every += sum(row.neurons for layer, row in pairs if layer.maps[-1].is_identity)
    assert theirs["Dense"] == 5 * every / SAMPLES


@pytest.mark.parametrize("kind", sorted(BUILDS))
def test_neurobench_leaves_out_synapses_whose_weight_is_zero(kind):
    stack, x = network_and_input(kind, bits=3)
    activity = ours(stack, x)
    theirs = neurobench(Plain(stack.spiking_layers()), x)
    assert theirs["Effective_ACs"] == activity.effective_operations / SAMPLES < activity.synaptic_operations / SAMPLES


@pytest.mark.parametrize("kind", sorted(BUILDS))
def test_multiply_accumulates_are_neurobenchs_dense(kind):
    build, shape = BUILDS[kind]
    stack, x = build(0), torch.randn(SAMPLES, *shape)
    theirs = neurobench(nn.Sequential(stack), x)
    macs = sum(layer.macs for layer in ours(stack, x).layers)
    assert theirs["Dense"] == macs / SAMPLES
    assert theirs["Effective_ACs"] == 0
    assert theirs["Effective_MACs"] < theirs["Dense"]  # inputs that ReLU made zero are left out


def test_what_neurobench_counts_otherwise():
    """What the docstring of `separator.snn.observe.activity` says of it, for whoever compares figures."""
    layer = nn.Linear(6, 3)
    nn.init.ones_(layer.weight)
    analog, binary = torch.tensor([[0.5, 0, 0, 2, 0, 1]] * SAMPLES), torch.tensor([[1.0, 0, 0, 1, 0, 1]] * SAMPLES)
    assert neurobench(nn.Sequential(layer), analog) == {"Effective_MACs": 3 * 3, "Effective_ACs": 0, "Dense": 6 * 3}
    assert neurobench(nn.Sequential(layer), binary) == {"Effective_MACs": 0, "Effective_ACs": 3 * 3, "Dense": 6 * 3}
    averages = nn.Sequential(nn.AvgPool1d(2), nn.Linear(3, 3))  # of spikes, which reach the layer as real numbers
    assert neurobench(averages, binary)["Effective_ACs"] == 0 < neurobench(averages, binary)["Effective_MACs"]
