"""Feed-forward networks for images, written as the papers write them: `c16s1-c32s2-c32s1-c64s2-800-10`."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from separator.snn.layers.analog import layers_of
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import affine_map

# What the last layer's outputs, or once it spikes its membrane potentials, go through.
Output = Literal["none", "sigmoid"]

# The networks of Wu et al. 2021: sections 5.1 and 6.3.1. Where the paper gives a network by its name alone, what it leaves open
# is chosen here: kernels of 3, and hidden layers of 512 units in VGG, as is usual for small pictures. Where others take maxima,
# VGG takes averages; AlexNet for small pictures has strides of 2, as their network for digits has. (Averages let four neurons
# reach what one input of the analog layer behind them reaches, and so make more synaptic operations.) The networks for
# ImageNet-12, also given by name alone, are those of Krizhevsky et al. 2012 (in one piece) and of Simonyan and
# Zisserman 2015 for pictures of 224: theirs are the filters, kernels, strides, units and dropout. Averages of 2 x 2 stand in
# place of their maxima (overlapping ones of 3 x 3 in AlexNet), batch normalisation in place of AlexNet's local one, and the
# first layer is padded by half its kernel, so that 56 positions are left, which averages divide.
VGG = {
    11: "c64-a2-c128-a2-c256-c256-a2-c512-c512-a2-c512-c512-a2",
    13: "c64-c64-a2-c128-c128-a2-c256-c256-a2-c512-c512-a2-c512-c512-a2",
    16: "c64-c64-a2-c128-c128-a2-c256-c256-c256-a2-c512-c512-c512-a2-c512-c512-c512-a2",
}
# The networks of Yu et al. (double thresholds and augmented spikes), Table I, which have neither bias nor normalisation. What
# the paper leaves open is chosen here: pooling averages, kernels of 5 are not padded and those of 3 are, and VGG16, given by
# its name alone, has the classifier of Simonyan and Zisserman 2015. In networks for CIFAR-10 dropout is behind every activation
# that no pooling follows, as the paper says; its shares, and all dropout of the others, are ours.
DOUBLE_THRESHOLD = {
    1: "d15-1200-d40-1200-d40-10",
    2: "c12k5p0-a2-d20-c64k5p0-a2-d20-10",
    3: "d15-6400-d40-10",
    4: "c32k5p0-a2-d20-c64k5p0-a2-d20-1024-d50-10",
    5: "c128-d20-c128-a2-c256-d20-c256-a2-c512-d20-c512-a2-1024-d50-10",
    6: "c64-d20-c64-a2-c128-d20-c128-a2-c256-d20-c256-d20-c256-a2-c512-d20-c512-d20-c512-a2-c512-d20-c512-d20-c512-a2"
    "-4096-d50-4096-d50-10",
}
NETWORKS = {
    "mnist-autoencoder": "128-64-32-64-128-784",
    "mnist-cnn": "c16s1-c32s2-c32s1-c64s2-800-10",
    "cifar10-alexnet": "c96-c256s2-c384s2-c384-c256s2-d50-2048-d50-2048-10",
    **{f"cifar10-vgg{depth}": f"{layers}-d50-512-d50-512-10" for depth, layers in VGG.items()},
    "imagenet-alexnet": "c96k11s4-a2-c256k5-a2-c384-c384-c256-a2-d50-4096-d50-4096-1000",
    "imagenet-vgg16": f"{VGG[16]}-d50-4096-d50-4096-1000",
    **{f"double-threshold-net{number}": layers for number, layers in DOUBLE_THRESHOLD.items()},
}

SIZES = ("filters", "kernel", "stride", "pool", "units")
_TOKEN = re.compile(
    r"c(?P<filters>\d{1,7})(k(?P<kernel>\d{1,7}))?(s(?P<stride>\d{1,7}))?(p(?P<padding>\d{1,7}))?"
    r"|a(?P<pool>\d{1,7})|d(?P<drop>\d{1,3})|(?P<units>\d{1,7})",
    re.ASCII,
)


@dataclass(frozen=True)
class FeedForwardConfig:
    """A network and the pictures that it sees."""

    layers: str  # one of `NETWORKS`, or layers as in its values
    channels: int = 1  # of a picture
    height: int = 28
    width: int = 28
    output: Output = "none"
    norm: bool = True  # batch normalisation behind every affine layer, the last one too
    levels: int | None = None  # of activations, clipped and rounded while the network is analog; None for ReLU
    bias: bool = True  # of affine layers that no normalisation follows
    slope: float = 0.0  # of activations below zero, as in LeakyReLU; 0 for ReLU

    def __post_init__(self) -> None:
        if not 0 <= self.slope < 1:
            raise ValueError(f"the slope below zero is from 0 to below 1, not {self.slope}")
        if self.slope and self.levels is not None:
            raise ValueError("activations with levels are zero below zero; leave out slope or levels")
        if min(self.channels, self.height, self.width) < 1:
            raise ValueError("channels, height and width must be at least 1")
        with torch.device("meta"):
            _ = FeedForward(self)  # says what is wrong with the layers

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metadata."""
        return asdict(self)


class FeedForward(nn.Module):
    """Convolutions, then linear layers, each with batch normalisation and ReLU or LeakyReLU; the last one has no activation.

    Args:
        config: which.

    Raises:
        ValueError: the layers cannot be read, or do not fit the pictures.
    """

    def __init__(self, config: FeedForwardConfig) -> None:
        super().__init__()
        self.config = config
        self.stack = Stack(layers_of(modules_of(config)), readout="potential")

    def forward(self, pictures: Tensor) -> Tensor:
        """Outputs, of the sigmoid if there is one. Shape: (B, C, H, W) -> (B, units of the last layer)."""
        outputs: Tensor = self.stack(pictures)
        return outputs.sigmoid() if self.config.output == "sigmoid" else outputs


def modules_of(config: FeedForwardConfig) -> list[nn.Module]:
    """The layers one by one, flattening where the first linear one comes.

    `cN` is a convolution of N filters, `cNkKsSpP` of kernel K (3) with a stride of S (1), padded by P (half the kernel); `aN`
    the mean of N x N positions; `dN` dropout of N %; `N` a linear layer of N units.

    Raises:
        ValueError: see `FeedForward`.
    """
    texts = NETWORKS.get(config.layers, config.layers).split("-")
    affine_at = [i for i, text in enumerate(texts) if text[:1] not in ("a", "d")]
    layers: list[nn.Module] = []
    bias = config.bias and not config.norm
    shape: tuple[int, ...] = (config.channels, config.height, config.width)
    for i, text in enumerate(texts):
        token = _TOKEN.fullmatch(text)
        if token is None or any(number is not None and int(number) == 0 for number in token.group(*SIZES)):
            raise ValueError(f"'{text}' in '{config.layers}' is no layer; layers are as in {NETWORKS['mnist-cnn']}, or a2, d50")
        if token["units"] is None and len(shape) == 1 and token["drop"] is None:
            raise ValueError(f"'{text}' in '{config.layers}' comes after a linear layer")
        if token["filters"]:
            convolution = _convolution(shape[0], token, bias)
            layers.append(convolution)
            shape = (convolution.out_channels, *_positions(convolution, shape[1:]))
        elif token["pool"]:
            pool = int(token["pool"])
            if any(n % pool for n in shape[1:]):
                raise ValueError(f"'{text}' in '{config.layers}' does not divide {shape[1]} x {shape[2]} positions")
            layers.append(nn.AvgPool2d(pool))
            shape = (shape[0], *(n // pool for n in shape[1:]))
        elif token["drop"]:
            layers.append(nn.Dropout(int(token["drop"]) / 100))
        else:
            if len(shape) > 1:
                layers.append(nn.Flatten())
            layers.append(nn.Linear(math.prod(shape), int(token["units"]), bias))
            shape = (int(token["units"]),)
        if min(shape) < 1:
            raise ValueError(f"'{text}' in '{config.layers}' leaves nothing of a picture")
        if i in affine_at:
            if config.norm:
                layers.append(nn.BatchNorm1d(shape[0]) if len(shape) == 1 else nn.BatchNorm2d(shape[0]))
            if i != affine_at[-1]:
                layers.append(_activation(config))
    if len(shape) > 1:
        raise ValueError(f"'{config.layers}' ends without a linear layer")
    return layers


def _convolution(channels: int, token: re.Match[str], bias: bool) -> nn.Conv2d:
    kernel, stride = int(token["kernel"] or 3), int(token["stride"] or 1)
    padding = kernel // 2 if token["padding"] is None else int(token["padding"])
    return nn.Conv2d(channels, int(token["filters"]), kernel, stride, padding, bias=bias)


def _positions(convolution: nn.Conv2d, seen: Sequence[int]) -> list[int]:
    """Rows and columns of its output, from those of its input; below 1 where the kernel is larger than that."""
    return affine_map(convolution).outputs(seen, convolution.kernel_size)


def _activation(config: FeedForwardConfig) -> nn.Module:
    if config.levels is not None:
        return QuantisedReLU(config.levels)
    return nn.LeakyReLU(config.slope) if config.slope else nn.ReLU()
