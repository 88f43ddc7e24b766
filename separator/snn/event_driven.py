"""Pipelined stages on kernels from packed spikes to packed spikes: event-driven on the CPU, on the tensor cores of a GPU."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from separator.snn.affine import AffineMap
from separator.snn.kernels.geometry import Geometry
from separator.snn.neuron import IFParameters
from separator.snn.spikes import Spikes

if TYPE_CHECKING:
    from separator.snn.kernels.events import EventLayer

# Packed trains that a layer fires on packed trains, given output sizes and the window: (B, H, W, C_in) -> (B, *sizes, C_out).
Kernel = Callable[[Tensor, Sequence[int], int], Tensor]


def event_driven(apply: AffineMap, weight: Tensor, bias: Tensor, neurons: IFParameters) -> Callable[[Spikes], Spikes] | None:
    """The execution of a pipelined stage by a kernel, as `SpikingStage` has it; None if there is no kernel for it.

    There are kernels for ungrouped layers: on the CPU where there is numba, of up to MOST_ROWS weights to an output, and on
    GPUs with 8-bit tensor cores where there is Triton.
    """
    make = MAKERS.get(weight.device.type)
    if make is None or apply.groups != 1:
        return None
    missing = 4 - weight.dim()  # dimensions of position that an image has and this layer's input has not
    padded = (*weight.shape[:2], *[1] * missing, *weight.shape[2:])
    stride, dilation = ((1,) * missing + spans for spans in (apply.stride, apply.dilation))
    before = (0,) * missing + tuple(zeros for zeros, _ in apply.padding)
    geometry = Geometry(padded[2:], stride, before, dilation)  # type: ignore[arg-type]
    kernel = make(geometry, *(x.to(torch.int32) for x in (weight.reshape(padded), bias, *neurons)))
    return None if kernel is None else partial(_fire, kernel, apply, weight.shape[2:])


def _fire(kernel: Kernel, apply: AffineMap, taps: tuple[int, ...], spikes: Spikes) -> Spikes:
    words = spikes.words.movedim(1, -1)  # (B, ..., C_in); contiguous for images stored channels last
    missing = (1,) * (2 - len(taps))
    incoming = words.contiguous().view(len(words), *missing, *words.shape[1:])
    fired = kernel(incoming, (*missing, *apply.outputs(words.shape[1:-1], taps)), spikes.window)
    return Spikes(spikes.window, words=fired.flatten(0, len(missing)).movedim(-1, 1))


def _events(geometry: Geometry, weight: Tensor, bias: Tensor, threshold: Tensor, start: Tensor) -> Kernel | None:
    try:
        from separator.snn.kernels.events import MOST_ROWS, event_layer
    except ImportError:  # a machine without numba
        return None
    if weight[0].numel() > MOST_ROWS:
        return None
    return partial(_fire_events, event_layer(geometry, *(x.numpy() for x in (weight, bias, threshold, start))))


def _fire_events(layer: "EventLayer", words: Tensor, sizes: Sequence[int], window: int) -> Tensor:
    from separator.snn.kernels.events import fire_events

    fired = fire_events(words.numpy().view(np.uint32), layer, sizes, window, torch.get_num_threads())
    return torch.from_numpy(fired.view(np.int32))


def _tensor_cores(geometry: Geometry, weight: Tensor, bias: Tensor, threshold: Tensor, start: Tensor) -> Kernel | None:
    try:
        from separator.snn.kernels.tensor_cores import MOST_INPUTS, exact_on, fire_layer, tensor_core_layer
    except ImportError:  # a machine without Triton
        return None
    if weight[0].numel() >= MOST_INPUTS or not exact_on(weight.device):
        return None
    return partial(fire_layer, tensor_core_layer(geometry, weight, bias, threshold, start))


MAKERS: dict[str, Callable[[Geometry, Tensor, Tensor, Tensor, Tensor], Kernel | None]] = {"cpu": _events, "cuda": _tensor_cores}
