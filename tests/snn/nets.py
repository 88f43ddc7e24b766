"""Small networks for the tests of this folder."""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Schedule
from separator.snn.stack import reference, simulation
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import CausalConv2d


def randomised(layer: AnalogLayer) -> AnalogLayer:
    """Batch norm with statistics, gain and bias that are not the trivial ones."""
    for norm in (part.norm for part in layer.with_shortcut() if part.norm is not None):
        with torch.no_grad():
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.5)
    return layer


def linear_stack(seed: int = 0, widths: tuple[int, ...] = (6, 8, 7, 5)) -> Stack:
    torch.manual_seed(seed)
    return Stack([randomised(AnalogLayer(nn.Linear(a, b), nn.BatchNorm1d(b))) for a, b in pairwise(widths)]).eval()


def conv1d_stack(seed: int = 0, channels: int = 5) -> Stack:
    torch.manual_seed(seed)
    layers = [AnalogLayer(nn.Conv1d(3, channels, 1, bias=False), nn.BatchNorm1d(channels))]
    for d in (1, 2, 4):
        layers.append(
            AnalogLayer(nn.Conv1d(channels, channels, 3, padding=d, dilation=d, bias=False), nn.BatchNorm1d(channels))
        )
    return Stack([randomised(layer) for layer in layers]).eval()


def conv2d_stack(seed: int = 0, channels: int = 4) -> Stack:
    torch.manual_seed(seed)
    layers = [
        AnalogLayer(CausalConv2d(2, channels, 3, padding=1), nn.BatchNorm2d(channels)),
        AnalogLayer(nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels)),
        AnalogLayer(nn.Conv2d(channels, 3, (1, 3), dilation=(1, 2), padding=(0, 2))),
    ]
    return Stack([randomised(layer) for layer in layers]).eval()


def skipping_linear_stack(seed: int = 0) -> Stack:
    """Linear layers, the middle one with the identity beside it."""
    torch.manual_seed(seed)
    widths = [(6, 8, None), (8, 8, nn.Identity()), (8, 5, None)]
    return Stack([randomised(AnalogLayer(nn.Linear(a, b), nn.BatchNorm1d(b), shortcut=skip)) for a, b, skip in widths]).eval()


def skipping_conv1d_stack(seed: int = 0, channels: int = 5) -> Stack:
    """The separator's chain: each layer behind the first adds its input."""
    torch.manual_seed(seed)
    layers = [AnalogLayer(nn.Conv1d(3, channels, 1, bias=False), nn.BatchNorm1d(channels))]
    for d in (1, 2, 4):
        layer = nn.Conv1d(channels, channels, 3, padding=d, dilation=d, bias=False)
        layers.append(AnalogLayer(layer, nn.BatchNorm1d(channels), shortcut=nn.Identity()))
    return Stack([randomised(layer) for layer in layers]).eval()


def skipping_conv2d_stack(seed: int = 0, channels: int = 4) -> Stack:
    """A layer that looks back beside the identity, and a strided one beside a shortcut with weights of its own."""
    torch.manual_seed(seed)
    shortcut = AnalogLayer(nn.Conv2d(channels, 6, 1, stride=2, bias=False), nn.BatchNorm2d(6), activation=None)
    layers = [
        AnalogLayer(nn.Conv2d(2, channels, 3, padding=1), nn.BatchNorm2d(channels)),
        AnalogLayer(CausalConv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), shortcut=nn.Identity()),
        AnalogLayer(nn.Conv2d(channels, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), shortcut=shortcut),
        AnalogLayer(nn.Conv2d(6, 3, (1, 3), dilation=(1, 2), padding=(0, 2))),
    ]
    return Stack([randomised(layer) for layer in layers]).eval()


STACKS = {
    "skipping-linear": (skipping_linear_stack, (6,)),
    "skipping-conv1d": (skipping_conv1d_stack, (3, 11)),
    "skipping-conv2d": (skipping_conv2d_stack, (2, 6, 5)),
    "linear": (linear_stack, (6,)),
    "conv1d": (conv1d_stack, (3, 11)),
    "conv2d": (conv2d_stack, (2, 6, 5)),
}


def converted(
    stack: Stack,
    x: torch.Tensor,
    window: int,
    initial_potential: float,
    channelwise: bool = False,
    schedule: Schedule = "pipelined",
    weight_bits: int | None = None,
) -> Stack:
    """Convert in place without tuning, thresholds from the analog activations on `x`."""
    stack.convert(x, Dynamics(window, initial_potential, schedule, weight_bits), 99.0, channelwise)
    return stack


def if_numbers(threshold: torch.Tensor, initial_potential: torch.Tensor) -> dict[str, torch.Tensor]:
    """Numbers of integrate-and-fire neurons."""
    return {"threshold": threshold, "initial_potential": initial_potential}


def fire(layers, x):
    """Spikes of the last of some layers in a row."""
    row = [((i - 1,),) for i in range(len(layers) + 1)]
    return simulation.fire(layers, x, row, [len(layers) - 1])[len(layers) - 1]


def spike_trains(layers, x):
    """Spikes of all layers that fire, by the reference. Shapes: (N_s, B, ...)."""
    return reference.trains(layers, x)[:-1]


def check_fires_as_defined(stack, x, executions):
    """Every layer fires, and the output is, what the reference says, by each execution; returns the reference's trains."""
    layers = stack.spiking_layers()
    expected = reference.trains(layers, x, stack.sources)
    assert all(train.any() for train in expected)
    for name in executions:
        trains = [[] for _ in layers]
        with execution(name):
            outcome = simulation.simulate(
                layers, x, stack.sources, lambda run, trains=trains: trains[run.position].append(run.outcome)
            )
        for train, own, layer in zip(expected, trains, layers, strict=True):
            if layer.role != "readout":
                assert np.array_equal(torch.cat([spikes.trains() for spikes in own]).numpy(), train)
        unit = layers[-1].quantum if layers[-1].role == "readout" else layers[-1].scale
        total = torch.from_numpy(expected[-1].sum(0)).double()
        assert torch.equal(outcome, (total * unit.double().view(-1, *[1] * (outcome.dim() - 2))).float())
    return expected
