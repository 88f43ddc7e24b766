"""Spiking stages on the event-driven kernel: their numbers in grid steps, their tensors as its arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from separator.snn.affine import AffineMap
from separator.snn.grid import EXACT, grid_step, potential_bound
from separator.snn.neuron import IFParameters
from separator.snn.spikes import Spikes


def in_steps(weight: Tensor, bias: Tensor, neurons: IFParameters, window: int) -> list[Tensor] | None:
    """Weight, bias, threshold and start potential as whole multiples of the grid step; None if they are on no grid."""
    numbers = weight, bias, *neurons
    bound = potential_bound(weight, bias, neurons.threshold, window)
    step = grid_step(bound)
    while bound <= step * EXACT * 2:
        whole = [torch.round(x / step) for x in numbers]
        if all(torch.equal(n * step, x) for n, x in zip(whole, numbers, strict=True)):
            return [n.to(torch.int32) for n in whole]
        step /= 2
    return None


def event_driven(
    apply: AffineMap, weight: Tensor, bias: Tensor, neurons: IFParameters, window: int
) -> Callable[[Spikes], Spikes] | None:
    """The event-driven execution of a pipelined stage, as `SpikingStage` has it; None if the kernel cannot serve it.

    It serves ungrouped layers on the CPU, in float32 on a grid, of at most 65,536 inputs to a neuron.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or apply.geometry.get("groups", 1) != 1:
        return None
    if isinstance(apply.geometry.get("padding"), str):
        return None
    integers = in_steps(weight, bias, neurons, window)
    if integers is None:
        return None
    try:
        from separator.snn.kernels.events import MOST_ROWS, Geometry, event_layer, fire_events
    except ImportError:  # a machine without numba
        return None
    dimensions = weight.dim() - 2  # of the positions: 0 for a linear layer
    padded = (weight.shape[0], weight.shape[1], *[1] * (2 - dimensions), *weight.shape[2:])
    if np.prod(padded[1:]) > MOST_ROWS:
        return None
    spans: dict[str, Any] = {"kernel": padded[2:]}
    for name in apply.geometry.keys() & {"stride", "padding", "dilation"}:
        spans[name] = (*[0 if name == "padding" else 1] * (2 - dimensions), *apply.geometry[name])
    outputs = len(weight)
    vectors = [x.expand(outputs).contiguous().numpy() for x in integers[1:]]
    layer = event_layer(Geometry(**spans), integers[0].view(padded).numpy(), *vectors)

    def execute(spikes: Spikes) -> Spikes:
        words = spikes.words.movedim(1, -1)  # (B, ..., C_in); contiguous for images stored channels last
        shape = (words.shape[0], *[1] * (2 - dimensions), *words.shape[1:])
        incoming = words.contiguous().view(shape).numpy().view(np.uint32)
        fired = torch.from_numpy(fire_events(incoming, layer, window, torch.get_num_threads()).view(np.int32))
        return Spikes(window, words=fired.flatten(0, 2 - dimensions).movedim(-1, 1))

    return execute
