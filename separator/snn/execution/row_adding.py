"""Layers of neurons with two thresholds: rows of weights are added for the spikes that there are, whatever they are worth.

What average pooling before a layer sums is summed first, and weights are read two inputs at a time, so that it pays even where
most neurons fire: on two cores with AVX2, 2.2 million time steps of net4 of `recipes/double-threshold` took 113 s. Convolutions
that see more than a fifth of their neurons fire are the exception, up to 1.5 times slower so than as products in floats.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from separator.snn.execution.event_driven import geometry_of
from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.execution.scans import SCANS, has_kernels, run_neurons
from separator.snn.integers.products import multiplies_integers
from separator.snn.neurons.neuron import Neuron, Numbers, State
from separator.snn.spikes.augmented import LARGEST, AugmentedSpikes
from separator.snn.spikes.signed import SignedSpikes
from separator.snn.spikes.trains import Spikes
from separator.snn.synapses.absorb import Pooled, pooled_apart
from separator.snn.synapses.affine import AffineMap

if TYPE_CHECKING:
    from separator.snn.execution.kernels.pairs import PairedWeights

MOST_WEIGHT = 2**15 - 1  # as 16 bits hold it
MOST_SUMMED = MOST_WEIGHT // LARGEST  # inputs whose sum they hold
CHANNELS = 128  # of a part of the inputs of a linear layer
LARGE = 2.0**30  # sums up to which 32-bit integers have room for a potential beside them


Two = tuple[int, int]


class Layout(NamedTuple):
    """A map for inputs of one shape, as a convolution of images."""

    summed: Two  # neighbouring inputs that are summed first
    geometry: Geometry  # behind these sums
    sizes: tuple[int, ...]  # of the outputs' dimensions of position
    weights: "PairedWeights"


class RowAdding:
    """A population laid out for the addition of rows.

    Args: as of `executions.Population`; but for
        paired: its weights laid out, by the inputs that are summed and the taps, as far as they are there.
    """

    carries = True

    def __init__(
        self,
        apply: AffineMap,
        weight: Tensor,
        bias: Tensor,
        neuron: Neuron,
        numbers: Numbers,
        paired: "dict[tuple[Two, Two], PairedWeights] | None" = None,
    ) -> None:
        self.apply, self.weight, self.bias, self.neuron, self.numbers = apply, weight, bias, neuron, numbers
        self._paired: dict[tuple[Two, Two], PairedWeights] = {} if paired is None else paired
        self._layouts: dict[torch.Size, Layout] = {}

    def padded_as(self, apply: AffineMap) -> "RowAdding":
        """The same synapses under a map that pads otherwise."""
        return RowAdding(apply, self.weight, self.bias, self.neuron, self.numbers, self._paired)

    def __call__(self, spikes: Spikes, state: State = None, carry: bool = False) -> tuple[Spikes, State]:
        """Spikes fired on the incoming ones, and the state after them."""
        return run_neurons(self.neuron, self.currents(trains_of(spikes)), self.numbers, state)

    def currents(self, trains: Tensor) -> Tensor:
        """Currents of each step. Shape: (N_s, B, C_in, ...), int8 -> (N_s, B, C_out, ...), int32."""
        from separator.snn.execution.kernels.pairs import currents_of

        shape = trains.shape[2:]
        if shape not in self._layouts:
            self._layouts[shape] = self._laid_out(shape)
        summed, geometry, sizes, weights = self._layouts[shape]
        places = shape[1:] or geometry.kernel  # linear layers without any see channels side by side
        images = trains.reshape(*trains.shape[:2], -1, *_two(places)).contiguous().numpy()
        currents = currents_of(images, weights, geometry, summed, _two(sizes), torch.get_num_threads())
        return torch.from_numpy(currents).view(*currents.shape[:3], *sizes)

    def _laid_out(self, shape: torch.Size) -> Layout:
        """The map for inputs of a shape, (C_in, ...)."""
        apart = pooled_apart(self.apply, self.weight, shape)
        if apart is None or prod(apart.size) > MOST_SUMMED:
            apart = Pooled((1,) * (len(shape) - 1), self.apply, self.weight)
        size, apply, weight = apart
        places = [length // n for length, n in zip(shape[1:], size, strict=True)] or [_parts(shape[0])]
        if apply.kind is nn.Linear:  # which sees all places at once
            taps, geometry, sizes = places, Geometry(kernel=_two(places)), []
        else:
            taps = list(weight.shape[2:])
            geometry, sizes = geometry_of(apply, tuple(taps)), apply.outputs(places, taps)
        return Layout(_two(size), geometry, tuple(sizes), self._pairs(weight, _two(size), _two(taps)))

    def _pairs(self, weight: Tensor, size: Two, taps: Two) -> "PairedWeights":
        from separator.snn.execution.kernels.pairs import paired_weights

        if (size, taps) not in self._paired:
            images = weight.to(torch.int32).reshape(len(weight), -1, *taps)
            self._paired[size, taps] = paired_weights(images.numpy(), self.bias.to(torch.int32).numpy())
        return self._paired[size, taps]


def _two(sizes: Sequence[int]) -> Two:
    """Sizes with ones in front."""
    rows, columns = (1, 1, *sizes)[-2:]
    return rows, columns


def _parts(channels: int) -> int:
    """Into how many parts channels are best divided, so that the weights of each stay in the first-level cache."""
    wanted = -(-channels // CHANNELS)
    return next((n for n in range(wanted, 4 * wanted) if channels % n == 0), 1)


def trains_of(spikes: Spikes) -> Tensor:
    """Spikes of each step as bytes. Shape: (N_s, B, ...), int8."""
    if isinstance(spikes, AugmentedSpikes):
        return spikes.bytes()
    if not isinstance(spikes, SignedSpikes):
        return spikes.trains().to(torch.int8)
    from separator.snn.execution.kernels.scan import unpack_signed
    from separator.snn.execution.kernels.threads import in_threads

    up, down = (part.words.flatten(1).contiguous() for part in (spikes.up, spikes.down))
    trains = torch.empty(spikes.window, *up.shape, dtype=torch.int8)
    in_threads(partial(unpack_signed, up.numpy(), down.numpy(), trains.numpy()), len(up), torch.get_num_threads())
    return trains.view(spikes.window, *spikes.shape)


def row_adding(apply: AffineMap, weight: Tensor, bias: Tensor, neuron: Neuron, numbers: Numbers) -> RowAdding | None:
    """The execution of a layer; None of maps in groups, other neurons, sums beyond 32 bits, weights beyond 16, other machines.

    And none of convolutions by weights of 8 bits where products of these have instructions of their own.
    """
    if weight.device.type != "cpu" or type(neuron) not in SCANS or not has_kernels():
        return None
    if apply.kind is nn.Identity or apply.groups != 1 or float(weight.abs().max()) > MOST_WEIGHT:
        return None
    if apply.kind is not nn.Linear and weight.dtype == torch.int8 and multiplies_integers("cpu"):
        return None
    most = float(weight.flatten(1).abs().sum(1, dtype=torch.float64).max())
    if most * neuron.largest + float(bias.abs().max()) >= LARGE:
        return None
    return RowAdding(apply, weight, bias, neuron, numbers)
