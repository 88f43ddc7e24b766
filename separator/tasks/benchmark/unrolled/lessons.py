"""Networks with random weights, and a batch for each to learn from or infer: pictures of 32 x 32, or mixtures of noise."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from separator.errors import UserError
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.tasnet import TasNet
from separator.tasks.benchmark.training.recipes import RECIPES, network_sizes
from separator.tasks.problems.separation_loss import pit_loss

SHAPE = (3, 32, 32)
CALIBRATION = 2  # items that thresholds are taken from


class Lesson(NamedTuple):
    """What a network learns from, or infers."""

    network: FeedForward | TasNet
    seen: Tensor  # input of the network's stack that thresholds are taken from, (CALIBRATION, ...)
    items: Tensor  # input of the network: pictures (B, 3, 32, 32), or mixtures (B, T)
    loss: Callable[[Tensor], Tensor]  # of what the network makes of them all


def make_lesson(name: str, batch: int, seconds: float, device: str = "cpu") -> Lesson:
    """A network by name, and so many items: mixtures of so many seconds if it is one of `RECIPES`, else pictures.

    All of it is on the device, and drawn on the CPU, so that it is the same on each.

    Raises:
        UserError: there is no such network.
    """
    network = make_network(name).to(device)
    if isinstance(network, TasNet):
        config = network.config
        sources = (0.1 * torch.randn(batch, config.n_src, round(seconds * config.sample_rate))).to(device)
        mixtures, pit = sources.sum(1), pit_loss()
        with torch.no_grad():
            seen = network.stack_input(network.encode(mixtures[:CALIBRATION]))
        return Lesson(network, seen, mixtures, lambda estimates: pit(estimates, sources))
    pictures, labels = torch.rand(batch, *SHAPE).to(device), torch.arange(batch, device=device) % 10
    return Lesson(network, pictures[:CALIBRATION], pictures, lambda logits: F.cross_entropy(logits, labels))


def make_network(name: str) -> FeedForward | TasNet:
    """One of `RECIPES`, or a network for ten classes of pictures without biases and batch norm, by name or layers.

    Raises:
        UserError: there is none.
    """
    if name in RECIPES:
        return TasNet(network_sizes(name))
    try:
        return FeedForward(FeedForwardConfig(name, *SHAPE, norm=False, bias=False))
    except ValueError as error:
        raise UserError(f"no network {name} can be made: {error}; those of mixtures are {', '.join(RECIPES)}") from error


def count_neurons(name: str, seconds: float) -> int:
    """Neurons of a network that fire, of one picture or of a mixture of so many seconds.

    Raises:
        UserError: there is no such network.
    """
    with torch.device("meta"):
        network, seen = make_network(name).eval(), []
        for layer in list(network.stack.layers)[:-1]:
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output[0].numel()))
        if isinstance(network, TasNet):
            frames = network.config.frames(round(seconds * network.config.sample_rate))
            network.stack(torch.empty(1, network.config.filters, 1, frames))
        else:
            network(torch.empty(1, *SHAPE))
    return sum(seen)
