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

    It serves ungrouped layers on the CPU.
    """
    if weight.device.type != "cpu" or apply.groups != 1:
        return None
    try:
        from separator.snn.kernels.events import Geometry, event_layer
    except ImportError:  # a machine without numba
        return None
    missing = 4 - weight.dim()  # dimensions of position that an image has and this layer's input has not
    padded = (*weight.shape[:2], *[1] * missing, *weight.shape[2:])
    stride, dilation = ((1,) * missing + spans for spans in (apply.stride, apply.dilation))
    geometry = Geometry(padded[2:], stride, ((0, 0),) * missing + apply.padding, dilation)  # type: ignore[arg-type]
    integers = (x.to(torch.int32).numpy() for x in (weight.reshape(padded), bias, *neurons))
    layer = event_layer(geometry, *integers)
    return partial(_fire, layer, missing)


def _fire(layer: "EventLayer", missing: int, spikes: Spikes) -> Spikes:
    from separator.snn.kernels.events import fire_events

    words = spikes.words.movedim(1, -1)  # (B, ..., C_in); contiguous for images stored channels last
    shape = (words.shape[0], *[1] * missing, *words.shape[1:])
    incoming = words.contiguous().view(shape).numpy().view(np.uint32)
    fired = torch.from_numpy(fire_events(incoming, layer, spikes.window, torch.get_num_threads()).view(np.int32))
    return Spikes(spikes.window, words=fired.flatten(0, missing).movedim(-1, 1))
