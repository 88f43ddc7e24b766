"""Pipelined layers on kernels from packed spikes to packed spikes: event-driven on the CPU, on the tensor cores of a GPU.

On the CPU there is no choice by firing rate: a dense product of 8-bit integers for every step was slower where it was measured.
For a layer of 512 channels with 3 taps on 4 s of sound, on two cores with AVX-512 VNNI, such products alone took 54 ms with 8
steps and 193 ms with 32. All of a network with ten such layers took at most 0.25 s with 8 steps, at a rate of 0.18, and 0.7 s
with 32, at rates up to 0.4.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.neurons.integrate_and_fire import IFParameters
from separator.snn.spikes.binary import Spikes
from separator.snn.synapses.affine import AffineMap

if TYPE_CHECKING:
    from separator.snn.execution.kernels.events import EventLayer

# Packed trains that a layer fires on packed trains, given where its outputs look, their sizes and the window:
# (B, H, W, C_in) -> (B, *sizes, C_out).
Kernel = Callable[[Geometry, Tensor, Sequence[int], int], Tensor]


class EventDriven:
    """The execution of a pipelined layer by a kernel.

    Args:
        kernel: of the layer.
        apply: the affine map.
        taps: sizes of its kernel.
    """

    def __init__(self, kernel: Kernel, apply: AffineMap, taps: tuple[int, ...]) -> None:
        self.kernel, self.apply, self.taps = kernel, apply, taps

    def padded_as(self, apply: AffineMap) -> "EventDriven":
        """The same weights under a map that pads otherwise."""
        return EventDriven(self.kernel, apply, self.taps)

    def __call__(self, spikes: Spikes) -> Spikes:
        """Spikes fired on the incoming ones."""
        words = self.apply.flattened(spikes.words).movedim(1, -1)  # (B, ..., C_in); contiguous for images stored channels last
        missing = (1,) * (2 - len(self.taps))
        incoming = words.contiguous().view(len(words), *missing, *words.shape[1:])
        sizes = (*missing, *self.apply.outputs(words.shape[1:-1], self.taps))
        fired = self.kernel(geometry_of(self.apply, self.taps), incoming, sizes, spikes.window)
        return Spikes(spikes.window, words=fired.flatten(0, len(missing)).movedim(-1, 1))


def event_driven(apply: AffineMap, weight: Tensor, bias: Tensor, neurons: IFParameters) -> EventDriven | None:
    """The execution of a pipelined layer by a kernel, as `SpikingLayer` has it; None if there is no kernel for it.

    There are kernels for ungrouped layers: on the CPU where there is numba, of up to MOST_ROWS weights to an output, and on
    GPUs with 8-bit tensor cores where there is Triton.
    """
    make = MAKERS.get(weight.device.type)
    if make is None or apply.groups != 1:
        return None
    taps = tuple(weight.shape[2:])
    image = weight.reshape(*weight.shape[:2], *geometry_of(apply, taps).kernel)
    kernel = make(*(x.to(torch.int32) for x in (image, bias, *neurons)))
    return None if kernel is None else EventDriven(kernel, apply, taps)


def geometry_of(apply: AffineMap, taps: tuple[int, ...]) -> Geometry:
    """Of the two-dimensional convolution that the map is, with dimensions of one position added in front."""
    missing = 2 - len(taps)
    ones = (1,) * missing
    before = (0,) * missing + tuple(zeros for zeros, _ in apply.padding)
    return Geometry((*ones, *taps), (*ones, *apply.stride), before, (*ones, *apply.dilation))  # type: ignore[arg-type]


def _events(weight: Tensor, bias: Tensor, threshold: Tensor, initial: Tensor) -> Kernel | None:
    try:
        from separator.snn.execution.kernels.events import MOST_ROWS, event_layer
    except ImportError:  # a machine without numba
        return None
    if weight[0].numel() > MOST_ROWS:
        return None
    return partial(_fire_events, event_layer(*(x.numpy() for x in (weight, bias, threshold, initial))))


def _fire_events(layer: "EventLayer", geometry: Geometry, words: Tensor, sizes: Sequence[int], window: int) -> Tensor:
    from separator.snn.execution.kernels.events import fire_events

    fired = fire_events(words.numpy().view(np.uint32), layer, geometry, sizes, window, torch.get_num_threads())
    return torch.from_numpy(fired.view(np.int32))


def _tensor_cores(weight: Tensor, bias: Tensor, threshold: Tensor, initial: Tensor) -> Kernel | None:
    try:
        from separator.snn.execution.kernels.tensor_cores import MOST_INPUTS, exact_on, fire_layer, tensor_core_layer
    except ImportError:  # a machine without Triton
        return None
    if weight[0].numel() >= MOST_INPUTS or not exact_on(weight.device):
        return None
    return partial(fire_layer, tensor_core_layer(weight, bias, threshold, initial))


MAKERS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Kernel | None]] = {"cpu": _events, "cuda": _tensor_cores}
