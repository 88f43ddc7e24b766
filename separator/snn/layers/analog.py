"""Analog layers: what a layer is before it is converted."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.synapses.absorb import absorbed_map, absorbed_names, is_absorbed
from separator.snn.synapses.affine import Affine, AffineMap, affine_map, applied

Norm = nn.BatchNorm1d | nn.BatchNorm2d
RELU = nn.ReLU()
ACTIVATIONS: list[type[nn.Module]] = [
    nn.ReLU,
    QuantisedReLU,
    nn.LeakyReLU,
]  # that layers may have; not all neurons stand for all


class AnalogLayer(nn.Module):
    """One analog layer: affine map, batch normalisation, activation (Wu et al. 2021, Eq. 7 and section 5.1).

    With a shortcut its neurons have a second incoming map, from the same input or from another one, which is added behind the
    batch normalisation: a = ReLU(norm(affine(x)) + shortcut(y)), as in residual networks (He et al. 2016).

    Args:
        affine: linear layer or convolution.
        norm: batch normalisation of its output, or None.
        before: layers without neurons that its input goes through first; see `separator.snn.synapses.absorb`.
        activation: elementwise function that spike counts stand for, such as ReLU; the last layer of a stack may have none.
        shortcut: the second map: the identity, or a layer without activation; None for none.
        map_of_affine: the map that the affine layer stands for, with layers before it absorbed already, if it is not its own.

    Raises:
        ValueError: a layer before cannot be absorbed into the affine one, or the shortcut is another module, or has an
            activation, or a shortcut.
    """

    seen: torch.Size | None = None  # shape of what it last saw, (C, ...), if there are layers before

    def __init__(
        self,
        affine: Affine,
        norm: Norm | None = None,
        before: Sequence[nn.Module] = (),
        activation: nn.Module | None = RELU,
        shortcut: "nn.Identity | AnalogLayer | None" = None,
        map_of_affine: AffineMap | None = None,
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(*before)
        self.affine = affine
        self.norm = norm
        self.activation = activation
        self.map_of_affine = map_of_affine
        self.shortcut = shortcut
        plain = shortcut.activation is shortcut.shortcut is None if isinstance(shortcut, AnalogLayer) else None
        if not (plain or shortcut is None or type(shortcut) is nn.Identity):
            raise ValueError(
                "a shortcut is nn.Identity, or an AnalogLayer with neither activation nor shortcut, not "
                f"{type(shortcut).__name__}{'' if plain is None else ' with either'}"
            )
        for layer in before:
            if not is_absorbed(layer):
                raise ValueError(f"{layer} cannot stand before {affine}: {_reason(layer, None)}")
        if before:
            absorbed_map(list(before), affine_map(affine))

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Activation a = f(norm(affine(before(x))) + shortcut(beside)), where the shortcut sees x if nothing else.

        Shape: as the affine layer's.
        """
        return self.activated(self.preactivation(x, beside))

    def activated(self, z: Tensor) -> Tensor:
        """The activation, from what it sees."""
        return activated(z, self.activation)

    def preactivation(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Input of the activation."""
        return self.joined(self.sums(x), x if beside is None else beside)

    def joined(self, sums: Tensor, beside: Tensor) -> Tensor:
        """Input of the activation, from the affine layer's output and the shortcut's input."""
        z = self.normalised(sums)
        return z if self.shortcut is None else z + self.shortcut(beside)

    def sums(self, x: Tensor) -> Tensor:
        """Input of batch norm, the affine layer's output."""
        self.look_at(x)
        return self.behind(self.before(x))

    def look_at(self, x: Tensor) -> None:
        """Take note of the shape of an input, which absorbing the layers before depends on."""
        if self.before:
            self.seen = x.shape[1:]

    def behind(self, seen: Tensor) -> Tensor:
        """The affine layer's output, from its own input."""
        return applied(self.affine, seen)

    @property
    def synapses(self) -> AffineMap:
        """The map from its input to its neurons, without the numbers."""
        return self.map_of_affine or absorbed_map(list(self.before), affine_map(self.affine))

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


def activated(z: Tensor, activation: nn.Module | None) -> Tensor:
    """An activation of what it sees, which is that itself if there is none."""
    a: Tensor = z if activation is None else activation(z)
    return a


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
    place = 0  # of the affine layer
    for position, module in enumerate(modules):
        if isinstance(module, tuple(ACTIVATIONS)) and affine is not None:
            layers.append(_layer_at(place, affine, norm, before, module))
            before, affine, norm = [], None, None
        elif is_absorbed(module) and affine is None:
            before.append(module)
        elif isinstance(module, Affine) and affine is None:
            affine, place = module, position
        elif isinstance(module, Norm) and affine is not None and norm is None:
            norm = module
        else:
            raise ValueError(f"layer {position} ({module}) cannot be converted: {_reason(module, affine)}")
    if affine is not None:
        layers.append(_layer_at(place, affine, norm, before, None))
    elif before:
        raise ValueError(f"behind the last layer there is {before[0]}, which no affine layer follows; leave it out")
    return layers


def _layer_at(
    position: int, affine: Affine, norm: Norm | None, before: Sequence[nn.Module], activation: nn.Module | None
) -> AnalogLayer:
    """A layer whose affine map stands at a position, which errors name."""
    try:
        return AnalogLayer(affine, norm, before, activation)
    except ValueError as error:
        raise ValueError(f"layer {position} ({affine}) cannot be converted: {error}") from error


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
