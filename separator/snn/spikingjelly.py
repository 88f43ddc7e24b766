"""A pipelined spiking stack as a network of SpikingJelly's neurons (Fang et al. 2023): the same weights and spikes."""

from typing import Any

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.spikes import Spikes
from separator.snn.spiking import SpikingStage, per_channel
from separator.snn.stack import Stack


class SpikingJellyStack(nn.Module):
    """Simulates all time steps of a layer at once, as SpikingJelly's multi-step mode does. Shapes: as of `Stack`.

    Numbers are in units of activation, in 32-bit floating point; they lie on the grid of the stack's integers, so that sums are
    exact here as well.

    Args:
        stack: wholly spiking and pipelined.

    Raises:
        UserError: the stack is of another kind, or SpikingJelly is not installed.
    """

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        try:
            from spikingjelly.activation_based import neuron
        except ImportError as error:
            raise UserError("SpikingJelly is not installed; `pip install spikingjelly` does it") from error
        stages = stack.spiking_stages()
        if len(stages) < len(stack.stages) or any(stage.dynamics.schedule != "pipelined" for stage in stages):
            raise UserError("SpikingJelly runs pipelined spiking stacks only")
        self.read, self.dynamics, self.first = stack.read, stages[0].dynamics, stages[0]
        self.layers = nn.ModuleList(_Layer(stage) for stage in stages[1:])
        self.starts = [stage.start * stage.step for stage in stages[:-1]]
        self.nodes = nn.ModuleList()
        for stage in stages[:-1]:
            if bool((stage.unit == stage.unit[0]).all()):
                node = neuron.IFNode(float(stage.unit[0]), v_reset=None, step_mode="m")
            else:  # a threshold for each channel
                channels = 1 - stage.weight.dim()  # which dimension they are, counted from the last one
                node = neuron.ActivationAwareIFNode(stage.unit, channel_dim=channels, v_reset=None, step_mode="m")
            self.nodes.append(node)

    def forward(self, x: Tensor) -> Tensor:
        """Activation of the last stage from its membrane potential."""
        return self.read(self._potential(x))

    @torch.no_grad()
    def outcomes(self, x: Tensor) -> list[Tensor]:
        """Packed spike trains of each stage and the readout's potential, as `separator.snn.stack.outcomes` has them."""
        seen: list[Tensor] = []
        hooks = [
            node.register_forward_hook(lambda _, __, trains: seen.append(Spikes.pack(trains).words)) for node in self.nodes
        ]
        try:
            seen.append(self._potential(x))
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def _potential(self, x: Tensor) -> Tensor:
        charge = self.first.charge(x)
        currents = charge.new_zeros(self.dynamics.window, *charge.shape)
        currents[0] = charge * per_channel(self.first.step, charge)
        nodes: Any = self.nodes
        for node, start, layer in zip(nodes, self.starts, self.layers, strict=True):
            node.reset()
            node.v = per_channel(start, currents[0]).expand_as(currents[0])
            currents = layer(node(currents).flatten(0, 1)).unflatten(0, (self.dynamics.window, -1))
        return currents.sum(0)


class _Layer(nn.Module):
    """What a time step's spikes go through, constant current included."""

    def __init__(self, stage: SpikingStage) -> None:
        super().__init__()
        weight, bias = stage.analog_numbers()
        self.affine = stage.apply_affine.module(weight, bias).requires_grad_(False)
        self.shortcut = stage.analog_shortcut()

    def forward(self, spikes: Tensor) -> Tensor:
        """Shape: (N_s B, C_in, ...) -> (N_s B, C_out, ...)."""
        sums: Tensor = self.affine(spikes)
        return sums if self.shortcut is None else sums + self.shortcut.apply(spikes, self.shortcut.weight, None)
