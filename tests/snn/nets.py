"""Small networks for the tests of this folder."""

from itertools import pairwise

import torch
from torch import nn

from separator.snn import reference
from separator.snn.affine import CausalConv2d
from separator.snn.spiking import Dynamics, Schedule
from separator.snn.stack import Stack
from separator.snn.stage import Stage


def randomised(stage: Stage) -> Stage:
    """Batch norm with statistics, gain and bias that are not the trivial ones."""
    for norm in (part.norm for part in stage.with_shortcut() if part.norm is not None):
        with torch.no_grad():
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.5)
    return stage


def linear_stack(seed: int = 0, widths: tuple[int, ...] = (6, 8, 7, 5)) -> Stack:
    torch.manual_seed(seed)
    return Stack([randomised(Stage(nn.Linear(a, b), nn.BatchNorm1d(b))) for a, b in pairwise(widths)]).eval()


def conv1d_stack(seed: int = 0, channels: int = 5) -> Stack:
    torch.manual_seed(seed)
    stages = [Stage(nn.Conv1d(3, channels, 1, bias=False), nn.BatchNorm1d(channels))]
    for d in (1, 2, 4):
        stages.append(Stage(nn.Conv1d(channels, channels, 3, padding=d, dilation=d, bias=False), nn.BatchNorm1d(channels)))
    return Stack([randomised(stage) for stage in stages]).eval()


def conv2d_stack(seed: int = 0, channels: int = 4) -> Stack:
    torch.manual_seed(seed)
    stages = [
        Stage(CausalConv2d(2, channels, 3, padding=1), nn.BatchNorm2d(channels)),
        Stage(nn.Conv2d(channels, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels)),
        Stage(nn.Conv2d(channels, 3, (1, 3), dilation=(1, 2), padding=(0, 2))),
    ]
    return Stack([randomised(stage) for stage in stages]).eval()


def skipping_linear_stack(seed: int = 0) -> Stack:
    """Linear layers, the middle one with the identity beside it."""
    torch.manual_seed(seed)
    widths = [(6, 8, None), (8, 8, nn.Identity()), (8, 5, None)]
    return Stack([randomised(Stage(nn.Linear(a, b), nn.BatchNorm1d(b), shortcut=skip)) for a, b, skip in widths]).eval()


def skipping_conv1d_stack(seed: int = 0, channels: int = 5) -> Stack:
    """The separator's chain: each layer behind the first adds its input."""
    torch.manual_seed(seed)
    stages = [Stage(nn.Conv1d(3, channels, 1, bias=False), nn.BatchNorm1d(channels))]
    for d in (1, 2, 4):
        layer = nn.Conv1d(channels, channels, 3, padding=d, dilation=d, bias=False)
        stages.append(Stage(layer, nn.BatchNorm1d(channels), shortcut=nn.Identity()))
    return Stack([randomised(stage) for stage in stages]).eval()


def skipping_conv2d_stack(seed: int = 0, channels: int = 4) -> Stack:
    """A layer that looks back beside the identity, and a strided one beside a shortcut with weights of its own."""
    torch.manual_seed(seed)
    shortcut = Stage(nn.Conv2d(channels, 6, 1, stride=2, bias=False), nn.BatchNorm2d(6), rectified=False)
    stages = [
        Stage(nn.Conv2d(2, channels, 3, padding=1), nn.BatchNorm2d(channels)),
        Stage(CausalConv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), shortcut=nn.Identity()),
        Stage(nn.Conv2d(channels, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), shortcut=shortcut),
        Stage(nn.Conv2d(6, 3, (1, 3), dilation=(1, 2), padding=(0, 2))),
    ]
    return Stack([randomised(stage) for stage in stages]).eval()


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
    start: float,
    channelwise: bool = False,
    schedule: Schedule = "pipelined",
    weight_bits: int | None = None,
) -> Stack:
    """Convert in place without tuning, thresholds from the analog activations on `x`."""
    stack.convert(x, Dynamics(window, start, schedule, weight_bits), 99.0, channelwise)
    return stack


def spike_trains(stages, x):
    """Spikes of all stages that fire, by the reference. Shapes: (N_s, B, ...)."""
    trains = [reference.fire(stages[0], reference.at_once(reference.first_charge(stages[0], x), stages[0].window))]
    for stage in stages[1:-1]:
        currents = reference.currents(stage, trains[-1])
        if stage.dynamics.schedule == "layer-by-layer":
            currents = reference.at_once(currents.sum(0), stage.window)
        trains.append(reference.fire(stage, currents))
    return trains
