"""Feed-forward networks for images, written as the papers write them: `c16s1-c32s2-c32s1-c64s2-800-10`."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from separator.models.residual import BasicBlock
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.stack.graph import INPUT, Sources
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
    3: "6400-d50-10",
    4: "c32k5p0-a2-d20-c64k5p0-a2-d20-1024-d50-10",
    5: "c128-d20-c128-a2-c256-d20-c256-a2-c512-d20-c512-a2-1024-d50-10",
    6: "c64-d20-c64-a2-c128-d20-c128-a2-c256-d20-c256-d20-c256-a2-c512-d20-c512-d20-c512-a2-c512-d20-c512-d20-c512-a2"
    "-4096-d50-4096-d50-10",
}
# The networks of Rathi et al. 2020 (hybrid conversion), which have neither bias nor normalisation, as their program has them:
# average pooling, dropout of 20 % behind convolutions that no pooling follows and of 50 % in the classifier. VGG5-w16 is VGG5
# at a quarter of its width, ours, for CPUs. Residual networks begin with three convolutions (section 4.2); ResNet8, which their
# program does not have, is ours: one block each of 64 and 128 filters, a quarter of these in ResNet8-w16. Of ResNet34 they tell
# the layers in front of the classifier; that it sees the mean of what is left of a picture of 224 is ours, and the number of
# blocks is their program's.
HYBRID = {
    "vgg5": "c64-a2-c128-d20-c128-a2-4096-d50-4096-d50-10",
    "vgg5-w16": "c16-a2-c32-d20-c32-a2-1024-d50-1024-d50-10",
    "vgg9": "c64-a2-c128-d20-c256-a2-c256-d20-c512-a2-c512-a2-c512-d20-4096-d50-4096-d50-10",
    "vgg11": "c64-a2-c128-d20-c256-a2-c512-d20-c512-a2-c512-a2-c512-d20-c512-d20-4096-d50-4096-d50-100",
    "vgg16": "c64-d20-c64-a2-c128-d20-c128-a2-c256-d20-c256-d20-c256-a2-c512-d20-c512-d20-c512-a2-c512-d20-c512-d20-c512-d20"
    "-4096-d50-4096-d50-10",
}


def _residual(counts: Sequence[int], width: int = 64) -> str:
    """Three convolutions, then so many blocks of each width, which doubles; where it has, the first block has a stride of 2."""
    blocks = [f"b{width << n}{'s2' if n > 0 and i == 0 else ''}d20" for n, count in enumerate(counts) for i in range(count)]
    return "-".join([f"c{width}-d20-c{width}-d20-c{width}-a2", *blocks])


HYBRID |= {
    "resnet8": f"{_residual((1, 1))}-10",
    "resnet8-w16": f"{_residual((1, 1), 16)}-10",
    "resnet20": f"{_residual((2, 2, 2, 2))}-10",
    "resnet34": f"{_residual((3, 4, 5, 3))}-a14-1000",
}
NETWORKS = {
    "mnist-autoencoder": "128-64-32-64-128-784",
    "mnist-cnn": "c16s1-c32s2-c32s1-c64s2-800-10",
    "cifar10-alexnet": "c96-c256s2-c384s2-c384-c256s2-d50-2048-d50-2048-10",
    **{f"cifar10-vgg{depth}": f"{layers}-d50-512-d50-512-10" for depth, layers in VGG.items()},
    "imagenet-alexnet": "c96k11s4-a2-c256k5-a2-c384-c384-c256-a2-d50-4096-d50-4096-1000",
    "imagenet-vgg16": f"{VGG[16]}-d50-4096-d50-4096-1000",
    **{f"double-threshold-net{number}": layers for number, layers in DOUBLE_THRESHOLD.items()},
    **{f"hybrid-{name}": layers for name, layers in HYBRID.items()},
}

SIZES = ("filters", "kernel", "stride", "pool", "units", "block", "block_stride")
_TOKEN = re.compile(
    r"c(?P<filters>\d{1,7})(k(?P<kernel>\d{1,7}))?(s(?P<stride>\d{1,7}))?(p(?P<padding>\d{1,7}))?"
    r"|b(?P<block>\d{1,7})(s(?P<block_stride>\d{1,7}))?(d(?P<block_drop>\d{1,2}))?"
    r"|a(?P<pool>\d{1,7})|d(?P<drop>\d{1,3})|(?P<units>\d{1,7})",
    re.ASCII,
)


@dataclass(frozen=True)
class FeedForwardConfig:
    """A network and the pictures that it sees."""

    layers: str  # a network by name, such as cifar10-vgg11, or its layers, such as c16s1-c32s2-a2-800-10
    channels: int = 1  # of a picture
    height: int = 28  # pixels
    width: int = 28  # pixels
    output: Output = "none"  # what the last layer's outputs go through
    norm: bool = True  # batch normalisation behind every affine layer, the last one too
    levels: int | None = None  # of activations, clipped and rounded while the network is analog; None for ReLU
    bias: bool = True  # of affine layers that no normalisation follows
    slope: float = 0.0  # of activations below zero, as in LeakyReLU; 0 for ReLU
    mean: float = 0.0  # that is taken from each pixel, between 0 and 1
    std: float = 1.0  # that it is then divided by

    def __post_init__(self) -> None:
        if not 0 <= self.slope < 1:
            raise ValueError(f"the slope below zero is from 0 to below 1, not {self.slope}")
        if self.slope and self.levels is not None:
            raise ValueError("activations with levels are zero below zero; leave out slope or levels")
        if min(self.channels, self.height, self.width) < 1:
            raise ValueError("channels, height and width must be at least 1")
        if not abs(self.mean) < math.inf or not 0 < self.std < math.inf:
            raise ValueError(f"pixels have a finite mean and a standard deviation above 0, not {self.mean} and {self.std}")
        with torch.device("meta"):
            _ = FeedForward(self)  # says what is wrong with the layers

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for metadata."""
        return asdict(self)


class FeedForward(nn.Module):
    """Convolutions and basic blocks, then linear layers, each with batch normalisation and ReLU or LeakyReLU.

    The last layer has no activation.

    Args:
        config: which.

    Raises:
        ValueError: the layers cannot be read, or do not fit the pictures.
    """

    def __init__(self, config: FeedForwardConfig) -> None:
        super().__init__()
        self.config = config
        layers, sources = graph_of(modules_of(config))
        self.stack = Stack(layers, "potential", sources)
        self.stack.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pictures: Tensor) -> Tensor:
        """Outputs, of the sigmoid if there is one. Shape: (B, C, H, W) -> (B, units of the last layer)."""
        return self._output(self.stack(self.seen(pictures)))

    def over_segments(self, pictures: Tensor) -> list[Tensor]:
        """Outputs at the end of each segment that the stack learns in, as if the run were like the steps so far.

        One where it learns in none, or does not learn. Shape: (B, C, H, W) -> (B, units of the last layer) each.
        """
        if self.stack.segments == 1:
            return [self(pictures)]
        return [self._output(reading) for reading in self.stack.readings(self.seen(pictures))]

    def _output(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid() if self.config.output == "sigmoid" else outputs

    def seen(self, pictures: Tensor) -> Tensor:
        """Pictures as the stack sees them. Shape: (B, C, H, W) -> (B, C, H, W)."""
        if (self.config.mean, self.config.std) == (0.0, 1.0):
            return pictures
        return (pictures - self.config.mean) / self.config.std


def graph_of(modules: Sequence[nn.Module]) -> tuple[list[AnalogLayer], list[Sources]]:
    """Layers of a flat run of modules and blocks, and which of them each sees."""
    layers: list[AnalogLayer] = []
    sources: list[Sources] = []
    run: list[nn.Module] = []
    for module in [*modules, None]:
        if module is not None and not isinstance(module, BasicBlock):
            run.append(module)
            continue
        for layer in layers_of(run):
            sources.append(((len(layers) - 1 if layers else INPUT,),))
            layers.append(layer)
        run = []
        if module is not None:
            before = len(layers) - 1
            sources += [((before,),), ((before + 1,), (before,))]
            layers += [module.first, module.second]
    return layers, sources


def modules_of(config: FeedForwardConfig) -> list[nn.Module]:
    """The layers one by one, flattening where the first linear one comes.

    `cN` is a convolution of N filters, `cNkKsSpP` of kernel K (3) with a stride of S (1), padded by P (half the kernel); `bN` a
    basic block of N filters, `bNsSdP` with a stride of S (1) and dropout of P % (0) between its convolutions; `aN` the mean of
    N x N positions; `dN` dropout of N %; `N` a linear layer of N units.

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
        elif token["block"]:
            if not layers or isinstance(layers[-1], nn.Dropout):
                raise ValueError(f"'{text}' in '{config.layers}' comes first, or behind dropout, which blocks have in between")
            block = _block(shape[0], token, layers, config)
            layers.append(block)
            first = block.first.affine
            assert isinstance(first, nn.Conv2d)
            shape = (first.out_channels, *_positions(first, shape[1:]))
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
        if i in affine_at and not token["block"]:
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


def _block(channels: int, token: re.Match[str], layers: list[nn.Module], config: FeedForwardConfig) -> BasicBlock:
    """A block, which takes over average pooling in front of it."""
    pool = 1
    if isinstance(layers[-1], nn.AvgPool2d):
        pool = int(layers.pop().kernel_size)  # type: ignore[arg-type]
    stride, drop = int(token["block_stride"] or 1), int(token["block_drop"] or 0) / 100
    bias = config.bias and not config.norm
    return BasicBlock(channels, int(token["block"]), stride, drop, pool, bias, config.norm, lambda: _activation(config))


def _positions(convolution: nn.Conv2d, seen: Sequence[int]) -> list[int]:
    """Rows and columns of its output, from those of its input; below 1 where the kernel is larger than that."""
    return affine_map(convolution).outputs(seen, convolution.kernel_size)


def _activation(config: FeedForwardConfig) -> nn.Module:
    if config.levels is not None:
        return QuantisedReLU(config.levels)
    return nn.LeakyReLU(config.slope) if config.slope else nn.ReLU()
