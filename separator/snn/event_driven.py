"""Spiking stages on the event-driven kernel: their tensors as its arrays."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from separator.snn.affine import AffineMap
from separator.snn.neuron import IFParameters
from separator.snn.spikes import Spikes

if TYPE_CHECKING:
    from separator.snn.kernels.events import EventLayer


def event_driven(apply: AffineMap, weight: Tensor, bias: Tensor, neurons: IFParameters) -> Callable[[Spikes], Spikes] | None:
    """The event-driven execution of a pipelined stage, as `SpikingStage` has it; None if the kernel cannot serve it.

    It serves ungrouped layers on the CPU, of up to MOST_ROWS weights to an output.
    """
    if weight.device.type != "cpu" or apply.groups != 1:
        return None
    try:
        from separator.snn.kernels.events import MOST_ROWS, Geometry, event_layer
    except ImportError:  # a machine without numba
        return None
    if weight[0].numel() > MOST_ROWS:
        return None
    missing = 4 - weight.dim()  # dimensions of position that an image has and this layer's input has not
    padded = (*weight.shape[:2], *[1] * missing, *weight.shape[2:])
    stride, dilation = ((1,) * missing + spans for spans in (apply.stride, apply.dilation))
    before = (0,) * missing + tuple(zeros for zeros, _ in apply.padding)
    geometry = Geometry(padded[2:], stride, before, dilation)  # type: ignore[arg-type]
    integers = (x.to(torch.int32).numpy() for x in (weight.reshape(padded), bias, *neurons))
    layer = event_layer(geometry, *integers)
    return partial(_fire, layer, apply, weight.shape[2:])


def _fire(layer: "EventLayer", apply: AffineMap, taps: tuple[int, ...], spikes: Spikes) -> Spikes:
    from separator.snn.kernels.events import fire_events

    words = spikes.words.movedim(1, -1)  # (B, ..., C_in); contiguous for images stored channels last
    missing = (1,) * (2 - len(taps))
    incoming = words.contiguous().view(len(words), *missing, *words.shape[1:]).numpy().view(np.uint32)
    sizes = (*missing, *apply.outputs(words.shape[1:-1], taps))
    fired = torch.from_numpy(fire_events(incoming, layer, sizes, spikes.window, torch.get_num_threads()).view(np.int32))
    return Spikes(spikes.window, words=fired.flatten(0, len(missing)).movedim(-1, 1))
