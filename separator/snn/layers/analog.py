"""Layers: what one layer is before it is converted."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.synapses.absorb import absorbed_map, absorbed_names, is_absorbed
from separator.snn.synapses.affine import Affine, AffineMap, affine_map

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class AnalogLayer(nn.Module):
    """One analog layer: affine map, batch normalisation, ReLU (Wu et al. 2021, Eq. 7 and section 5.1).

    With a shortcut its neurons have a second incoming map, from the same input, which is added behind the batch normalisation:
    a = ReLU(norm(affine(x)) + shortcut(x)), as in residual networks (He et al. 2016).

    Args:
        affine: linear layer or convolution.
        norm: batch normalisation of its output, or None.
        before: layers without neurons that its input goes through first; see `separator.snn.synapses.absorb`.
        rectified: whether it has a ReLU; the last layer of a stack may have none.
        quantiser: clips and rounds activations, in place of the ReLU.
        shortcut: the second map: the identity, or a layer without ReLU; None for none.

    Raises:
        ValueError: a layer before cannot be absorbed into the affine one, or the shortcut has a ReLU or a shortcut of its own.
    """

    seen: torch.Size | None = None  # shape of what it last saw, (C, ...), if there are layers before

    def __init__(
        self,
        affine: Affine,
        norm: Norm | None = None,
        before: Sequence[nn.Module] = (),
        rectified: bool = True,
        quantiser: QuantisedReLU | None = None,
        shortcut: "nn.Identity | AnalogLayer | None" = None,
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(*before)
        self.affine = affine
        self.norm = norm
        self.rectified = rectified
        self.quantiser = quantiser
        self.shortcut = shortcut
        if isinstance(shortcut, AnalogLayer) and (shortcut.rectified or shortcut.shortcut is not None):
            raise ValueError("a shortcut is the identity, or a layer with neither ReLU nor shortcut")
        if before:
            absorbed_map(list(before), affine_map(affine))

    def forward(self, x: Tensor) -> Tensor:
        """Activation a = ReLU(norm(affine(before(x)))). Shape: as the affine layer's."""
        z: Tensor = self.preactivation(x)
        if self.quantiser is not None:
            z = self.quantiser(z)
        return z.relu() if self.rectified else z

    def preactivation(self, x: Tensor) -> Tensor:
        """What the ReLU sees."""
        return self.joined(self.sums(x), x)

    def joined(self, sums: Tensor, x: Tensor) -> Tensor:
        """What the ReLU sees, from the affine layer's output and the layer's input."""
        z = self.normalised(sums)
        return z if self.shortcut is None else z + self.shortcut(x)

    def sums(self, x: Tensor) -> Tensor:
        """What batch norm sees, the affine layer's output."""
        if self.before:
            self.seen = x.shape[1:]
        sums: Tensor = self.affine(self.before(x))
        return sums

    @property
    def synapses(self) -> AffineMap:
        """The map from its input to its neurons, without the numbers."""
        return absorbed_map(list(self.before), affine_map(self.affine))

    def with_shortcut(self) -> "list[AnalogLayer]":
        """The layer, and its shortcut if that is a layer."""
        return [self, *([self.shortcut] if isinstance(self.shortcut, AnalogLayer) else [])]

    @property
    def shortcut_synapses(self) -> AffineMap | None:
        """The second map from its input to its neurons, without the numbers."""
        if self.shortcut is None:
            return None
        return self.shortcut.synapses if isinstance(self.shortcut, AnalogLayer) else AffineMap(nn.Identity)

    def normalised(self, z: Tensor) -> Tensor:
        """The affine layer's output behind batch norm."""
        return z if self.norm is None else self.norm(z)


def keep_statistics(network: nn.Module) -> None:
    """Have batch normalisation keep its statistics until `network.train()` is next called; its gain and bias go on learning."""
    for module in network.modules():
        if isinstance(module, Norm):
            module.eval()


# What to put in place of layers that cannot be converted.
INSTEAD: dict[type[nn.Module], str] = {
    nn.MaxPool1d: "pool averages, or stride the convolution before it",
    nn.MaxPool2d: "pool averages, or stride the convolution before it",
    nn.LayerNorm: "normalise batches",
    nn.GroupNorm: "normalise batches",
    nn.Tanh: "rectify",
    nn.Sigmoid: "rectify; behind the last layer it may stay, outside of the stack",
    nn.GELU: "rectify",
    nn.LeakyReLU: "rectify",
    nn.Sequential: "give its layers one by one",
}


def layers_of(modules: Iterable[nn.Module]) -> list[AnalogLayer]:
    """Group a flat run of layers into layers: layers without neurons, affine layer, batch norm or none, ReLU.

    The last layer may do without a ReLU, as output layers of classifiers do.

    Raises:
        ValueError: a layer is of another kind, or the order is another; the message names it and says what to do.
    """
    layers: list[AnalogLayer] = []
    before: list[nn.Module] = []
    affine: Affine | None = None
    norm: Norm | None = None
    for position, module in enumerate(modules):
        if isinstance(module, nn.ReLU | QuantisedReLU) and affine is not None:
            quantiser = module if isinstance(module, QuantisedReLU) else None
            layers.append(AnalogLayer(affine, norm, before, quantiser=quantiser))
            before, affine, norm = [], None, None
        elif is_absorbed(module) and affine is None:
            before.append(module)
        elif isinstance(module, Affine) and affine is None:
            affine = module
        elif isinstance(module, Norm) and affine is not None and norm is None:
            norm = module
        else:
            raise ValueError(f"layer {position} ({module}) cannot be converted: {_reason(module, affine)}")
    if affine is not None:
        layers.append(AnalogLayer(affine, norm, before, rectified=False))
    elif before:
        raise ValueError(f"behind the last layer there is {before[0]}, which no affine layer follows; leave it out")
    return layers


def _reason(layer: nn.Module, affine: Affine | None) -> str:
    instead = INSTEAD.get(type(layer))
    if instead is not None:
        return instead
    if affine is not None and (isinstance(layer, Affine) or is_absorbed(layer)):
        return f"between it and {affine} there is no ReLU; if that is a function in forward(), make it a module nn.ReLU"
    return (
        "a layer is Linear, Conv1d or Conv2d, BatchNorm or none, then ReLU; before it may stand "
        f"{absorbed_names()}, and what register_absorbed has been told of"
    )
