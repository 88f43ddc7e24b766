"""Layers on kernels from packed spikes to packed spikes: event-driven on the CPU, on the tensor cores of a GPU.

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
from numpy.typing import NDArray
from torch import Tensor

from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire, Membrane
from separator.snn.neurons.neuron import Neuron, Numbers
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.trains import Spikes
from separator.snn.synapses.affine import AffineMap

if TYPE_CHECKING:
    from separator.snn.execution.kernels.events import EventLayer

# Packed trains that a layer fires on packed trains, given where its outputs look, their sizes, the window, and potentials to
# start from and to leave, (B, *sizes, C_out), int32, or None for the initial ones: (B, C_in, H, W) -> (B, C_out, *sizes), the
# latter stored channels last; the former had better be.
Kernel = Callable[[Geometry, Tensor, Sequence[int], int, Tensor | None], Tensor]


class EventDriven:
    """The execution of a layer by a kernel.

    Args:
        kernel: of the layer.
        apply: the affine map.
        taps: sizes of its kernel.
        initial: initial potentials, (C_out,), int32, if the kernel takes and leaves potentials; else None.
        less: quanta that the kernel's potentials are less than the model's.
    """

    takes = BinarySpikes

    def __init__(
        self, kernel: Kernel, apply: AffineMap, taps: tuple[int, ...], initial: Tensor | None = None, less: int = 0
    ) -> None:
        self.kernel, self.apply, self.taps, self.initial, self.less = kernel, apply, taps, initial, less
        self.geometry, self.missing = geometry_of(apply, taps), (1,) * (2 - len(taps))
        self._known_sizes: dict[torch.Size, tuple[int, ...]] = {}  # of the last shape: a stream's pieces are of one size

    @property
    def carries(self) -> bool:
        """True if it takes and gives states."""
        return self.initial is not None

    def padded_as(self, apply: AffineMap) -> "EventDriven":
        """The same weights under a map that pads otherwise."""
        return EventDriven(self.kernel, apply, self.taps, self.initial, self.less)

    def __call__(
        self, spikes: Spikes, state: Membrane | None = None, carry: bool = False
    ) -> tuple[BinarySpikes, Membrane | None]:
        """Spikes fired on the incoming ones, and the state after them if it is to `carry` it."""
        assert isinstance(spikes, BinarySpikes)
        words, missing = self.apply.flattened(spikes.words), self.missing
        sizes = self._sizes(words.shape)
        incoming = words.view(*words.shape[:2], *missing, *words.shape[2:]) if missing else words
        potentials = self._potentials(state, (len(words), *sizes)) if carry else None
        fired = self.kernel(self.geometry, incoming, sizes, spikes.window, potentials)
        left = None if potentials is None else Membrane(potentials.flatten(0, len(missing)).movedim(-1, 1).add_(self.less))
        if missing:
            fired = fired.view(*fired.shape[:2], *fired.shape[2 + len(missing) :])
        return BinarySpikes(spikes.window, words=fired), left

    def _sizes(self, shape: torch.Size) -> tuple[int, ...]:
        """Sizes of the output's dimensions of position, missing ones included, from the shape of the input."""
        if shape not in self._known_sizes:
            self._known_sizes = {shape: (*self.missing, *self.apply.outputs(shape[2:], self.taps))}
        return self._known_sizes[shape]

    def _potentials(self, state: Membrane | None, sizes: Sequence[int]) -> Tensor:
        """Potentials to start from, in memory of their own. Shape: (B, *sizes, C_out)."""
        assert self.initial is not None
        if state is None:
            return self.initial.expand(*sizes, -1).clone(memory_format=torch.contiguous_format)
        return (state.v.to(torch.int32) - self.less).movedim(1, -1).reshape(*sizes, -1).contiguous()


def event_driven(
    apply: AffineMap, weight: Tensor, bias: Tensor, neuron: Neuron, numbers: Numbers, at_once: bool = False
) -> EventDriven | None:
    """The execution of a layer by a kernel, as `SpikingLayer` has it; None if there is no kernel for it.

    There are kernels for ungrouped layers of integrate-and-fire neurons, or such as fire what these do: on the CPU where there
    is numba, of up to MOST_ROWS weights to an output, and, of pipelined layers, on GPUs with 8-bit tensor cores where there is
    Triton.
    """
    make = MAKERS.get(weight.device.type)
    fired = neuron.as_integrate_and_fire(numbers)
    if make is None or apply.groups != 1 or fired is None:
        return None
    taps = tuple(weight.shape[2:])
    image = weight.reshape(*weight.shape[:2], *geometry_of(apply, taps).kernel)
    threshold, initial = (fired[name].to(torch.int32) for name in IntegrateAndFire.names)
    kernel = make(image.to(torch.int32), bias.to(torch.int32), threshold, initial, at_once)
    if kernel is None:
        return None
    less = int((numbers["initial_potential"] - fired["initial_potential"]).max())
    return EventDriven(kernel, apply, taps, initial if getattr(kernel, "func", None) is _fire_events else None, less)


def geometry_of(apply: AffineMap, taps: tuple[int, ...]) -> Geometry:
    """Geometry of the two-dimensional convolution that the map is, with dimensions of one position added in front."""
    missing = 2 - len(taps)
    ones = (1,) * missing
    before = (0,) * missing + tuple(zeros for zeros, _ in apply.padding)
    return Geometry((*ones, *taps), (*ones, *apply.stride), before, (*ones, *apply.dilation))  # type: ignore[arg-type]


def _events(weight: Tensor, bias: Tensor, threshold: Tensor, initial: Tensor, at_once: bool) -> Kernel | None:
    try:
        from separator.snn.execution.kernels.events import MOST_ROWS, event_layer, fire_events
    except ImportError:  # a machine without numba
        return None
    if weight[0].numel() > MOST_ROWS:
        return None
    layer = event_layer(weight.numpy(), bias.numpy(), threshold.numpy(), initial.numpy(), at_once)
    return partial(_fire_events, layer, fire_events)


def _fire_events(
    layer: "EventLayer",
    fire: Callable[..., NDArray[np.uint32]],
    geometry: Geometry,
    words: Tensor,
    sizes: Sequence[int],
    window: int,
    potentials: Tensor | None,
) -> Tensor:
    carried = None if potentials is None else potentials.numpy()
    incoming = words.numpy().transpose(0, 2, 3, 1).view(np.uint32)
    fired = fire(incoming, layer, geometry, sizes, window, torch.get_num_threads(), carried)
    return torch.from_numpy(fired.view(np.int32).transpose(0, 3, 1, 2))


def _tensor_cores(weight: Tensor, bias: Tensor, threshold: Tensor, initial: Tensor, at_once: bool) -> Kernel | None:
    if at_once:
        return None
    try:
        from separator.snn.execution.kernels.tensor_cores import MOST_INPUTS, exact_on, fire_layer, tensor_core_layer
    except ImportError:  # a machine without Triton
        return None
    if weight[0].numel() >= MOST_INPUTS or not exact_on(weight.device):
        return None
    return partial(_fire_tensor_cores, partial(fire_layer, tensor_core_layer(weight, bias, threshold, initial)))


def _fire_tensor_cores(
    kernel: Callable[[Geometry, Tensor, Sequence[int], int], Tensor],
    geometry: Geometry,
    words: Tensor,
    sizes: Sequence[int],
    window: int,
    potentials: Tensor | None,
) -> Tensor:
    assert potentials is None  # which it does not take
    return kernel(geometry, words.movedim(1, -1).contiguous(), sizes, window).movedim(-1, 1)


MAKERS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, bool], Kernel | None]] = {"cpu": _events, "cuda": _tensor_cores}
