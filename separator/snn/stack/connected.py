"""Layers that are connected: which sees which, in what role, and what their spikes stand for."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.coding.inputs import SpikeCoding
from separator.snn.coding.readouts import READOUTS
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.signal import Signal, joined_signals
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.learning.tandem import TandemLayer
from separator.snn.spikes.trains import Spikes
from separator.snn.stack.graph import INPUT, Sources, check_graph, in_a_row, is_apart, seen_by
from separator.snn.stack.simulation import presented


def role_of(index: int, layers: int, dynamics: Dynamics, readout: str) -> Role:
    """Role of a layer of a stack of so many in the spiking network."""
    if index == 0:
        return dynamics.first_role
    return "readout" if index == layers - 1 and not READOUTS.pick(readout).fires else "fire"


class ConnectedLayers(nn.Module):
    """Layers in an order in which they can run, analog ones or others in their place; see `Stack`."""

    def __init__(
        self, layers: Sequence[AnalogLayer], readout: str = "rectified", sources: Sequence[Sources] | None = None
    ) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            if not isinstance(layer, AnalogLayer | SpikingLayer | TandemLayer):
                raise ValueError(f"layer {i} is a plain {type(layer).__name__}; group the modules by layers_of first")
        if len(layers) < 2:
            raise ValueError("a stack has at least two layers: one that encodes and one that is read out")
        self.sources = in_a_row(layers) if sources is None else list(sources)
        check_graph(layers, self.sources)
        self.layers = nn.ModuleList(layers)
        self.set_readout(readout)

    @property
    def converted(self) -> int:
        """Number of layers that are spiking."""
        return sum(isinstance(layer, SpikingLayer) for layer in self.layers)

    @property
    def has_analog(self) -> bool:
        """Whether there are layers that are neither spiking nor learn as such."""
        return any(isinstance(layer, AnalogLayer) for layer in self.layers)

    @property
    def dynamics(self) -> Dynamics | None:
        """Dynamics of the neurons, None while all layers are analog."""
        first = self.layers[0]
        return first.dynamics if isinstance(first, SpikingLayer | TandemLayer) else None

    @property
    def latency(self) -> int | None:
        """Time steps from the first charge, or spike of the input, to the result; None while there are analog layers."""
        if self.dynamics is None or self.converted < len(self.layers):
            return None
        waits = 1 if self.dynamics.schedule == "pipelined" else self._longest_path(self.dynamics.first_role)
        return self.dynamics.window * waits

    def _longest_path(self, first_role: Role) -> int:
        """Trains, one after the other, on the longest way to the readout: those of layers, and of an input coded by spikes."""
        depths = {INPUT: int(first_role == "fire")}
        for i, maps in enumerate(self.sources):
            depths[i] = 1 + max(depths[j] for own in maps for j in own)
        return depths[len(self.sources) - 1] - (0 if READOUTS.pick(self.readout).fires else 1)

    def role(self, index: int, dynamics: Dynamics) -> Role:
        """Role of a layer in the spiking network."""
        return role_of(index, len(self.layers), dynamics, self.readout)

    def spiking_layers(self) -> list[SpikingLayer]:
        """The spiking layers at the front."""
        return [layer for layer in self.layers if isinstance(layer, SpikingLayer)]

    def incoming(self, signals: Mapping[int, Signal], index: int) -> tuple[Signal, Signal | None]:
        """Signal that a layer sees, and the one that its shortcut sees if that is something else."""
        first, second = seen_by(self.sources[index], signals)
        return joined_signals(first), None if second is None else joined_signals(second)

    def input_signal(self, x: Tensor) -> Signal:
        """Signal that the first layer sees: the input, as spikes too where it is coded by them."""
        dynamics = self.dynamics
        if dynamics is None or not isinstance(dynamics.input_coding, SpikeCoding):
            return Signal(x)
        spikes, scale = presented(dynamics, x, 0, dynamics.window), self.input_scale(dynamics, x)
        assert isinstance(spikes, Spikes) and scale is not None
        return Signal(spikes.values * scale, spikes, scale)

    @staticmethod
    def input_scale(dynamics: Dynamics, like: Tensor) -> Tensor | None:
        """Amount of the input that a spike stands for where it is coded by spikes, (1,); else None."""
        coding = dynamics.input_coding
        return torch.full((1,), coding.scale(dynamics.window), device=like.device) if isinstance(coding, SpikeCoding) else None

    def set_readout(self, readout: str) -> None:
        """Choose how the last layer is read; where that has no activation, its potential is not rectified all the same.

        Raises:
            UserError: there is no such readout, or the last layer spikes and does not do what is read.
        """
        last = self.layers[-1]
        fires, role = READOUTS.pick(readout).fires, getattr(last, "role", None)
        if role is not None and fires != (role != "readout"):
            does = "has no counts" if fires else "fires"
            raise UserError(f"the last layer {does}; convert the stack to be read by '{readout}'")
        has_activation = not isinstance(last, AnalogLayer) or last.activation is not None
        self.readout = "potential" if readout == "rectified" and not has_activation else readout

    def read(self, activation: Tensor) -> Tensor:
        """Output for what comes behind the stack, from what the last layer's potential or counts stand for."""
        return READOUTS.pick(self.readout).read(activation)

    def scales(
        self, index: int, like: Tensor, dynamics: Dynamics | None = None, layers: Sequence[nn.Module] | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Values of the spikes that a layer behind spiking ones sees, and of those that its shortcut sees if these are others.

        Shapes: (1,) or (C,), on the device of `like`; None where it sees analog input.

        Args:
            index: of the layer.
            like: for the device.
            dynamics: how the neurons run, where the first layer is analog still.
            layers: those before it, spiking; None for the stack's own.
        """
        layers = list(self.layers) if layers is None else layers
        dynamics = self.dynamics if dynamics is None else dynamics
        if index == 0:
            return None if dynamics is None else self.input_scale(dynamics, like), None
        maps = self.sources[index]
        return _scale_of(layers, maps[0]), _scale_of(layers, maps[1]) if is_apart(maps) else None


def _scale_of(layers: Sequence[nn.Module], own: Sequence[int]) -> Tensor:
    seen = [layers[i] for i in own]
    return torch.cat([layer.scale for layer in seen if isinstance(layer, SpikingLayer)])
