"""Result of a spiking stack, in plain integer arithmetic: the definition that every execution equals to the bit.

Slow on purpose: 64-bit integers for what is bounded by 2^24 quanta, 2^40 where sums are long; fractions for the first charge.
Spikes have time in front, (N_s, B, ...).
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from separator.snn.coding.inputs import CurrentCoding, SpikeCoding
from separator.snn.layers.rounding import INPUT_LIMIT, INPUT_QUANTUM, charge_ceiling
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.neurons.double_threshold import MOST, NEVER, Augmented, DoubleThreshold, PathIndependent
from separator.snn.neurons.few_spikes import FewSpikes
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.neurons.leaky import PARTS, Leaky
from separator.snn.neurons.neuron import Neuron
from separator.snn.spikes.trains import LONGEST
from separator.snn.stack.graph import INPUT, Sources
from separator.snn.synapses.affine import AffineMap
from separator.snn.synapses.incoming import IncomingMap

Integers = NDArray[Any]  # int64, or Python's fractions as objects


def affine(apply: AffineMap, x: Integers, weight: Integers) -> Integers:
    """Weighted sums of the map, tap by tap. Shapes: (B, C_in, ...), (C_out, C_in / groups, ...) -> (B, C_out, ...)."""
    if apply.kind is nn.Identity:
        return x * _per_channel(weight[:, 0], x)
    x = x.reshape(len(x), -1) if apply.flatten else x
    taps = weight.shape[2:]
    groups = apply.groups
    padded = np.pad(x, [(0, 0), (0, 0), *apply.padding])
    sizes = apply.outputs(x.shape[2:], taps)
    inputs, outputs = padded.shape[1] // groups, len(weight) // groups
    sums = np.zeros((len(x), len(weight), *sizes), weight.dtype)
    for tap in np.ndindex(*taps):
        starts = [i * d for i, d in zip(tap, apply.dilation, strict=True)]
        seen = padded[
            (
                slice(None),
                slice(None),
                *(slice(b, b + s * (n - 1) + 1, s) for b, s, n in zip(starts, apply.stride, sizes, strict=True)),
            )
        ]
        for g in range(groups):
            rows = weight[(slice(g * outputs, (g + 1) * outputs), slice(None), *tap)]
            products = np.tensordot(rows, seen[:, g * inputs : (g + 1) * inputs], (1, 1))
            sums[:, g * outputs : (g + 1) * outputs] += np.moveaxis(products, 0, 1)
    return sums


def first_currents(layer: SpikingLayer, x: Tensor) -> Integers:
    """Currents of the neurons of an encoding layer in their quanta, each rounded half to even once. Shape: (N_s, B, ...)."""
    steps = np.clip(_each(round, _fractions(x) / Fraction(INPUT_QUANTUM)), -int(INPUT_LIMIT), int(INPUT_LIMIT))
    read = steps * Fraction(INPUT_QUANTUM)
    weight, bias, quantum = map(_fractions, (layer.weight, layer.bias, layer.quantum))
    exact: Any = (affine(layer.apply_affine, read, weight) + _per_channel(bias, read)) / _per_channel(quantum, read)
    ceiling = _per_channel(_integers(charge_ceiling(layer.neuron, layer.numbers, layer.dynamics)), read)
    coding = layer.dynamics.input_coding
    assert isinstance(coding, CurrentCoding)
    shares = [coding.share(t, layer.window) for t in range(layer.window)]
    rounded = {share: np.clip(_each(round, exact * share).astype(np.int64), -ceiling, ceiling) for share in set(shares)}
    return np.stack([rounded[share] for share in shares])


def first_charge(layer: SpikingLayer, x: Tensor) -> Integers:
    """Current of the first time step. Shape: (B, ...) -> (B, ...)."""
    charge: Integers = first_currents(layer, x)[0]
    return charge


def fire(layer: SpikingLayer, currents: Integers) -> Integers:
    """Spikes of the layer's neurons, step by step, in 64-bit integers. Shape: (N_s, B, ...) -> (N_s, B, ...)."""
    own = DEFINITIONS.get(type(layer.neuron))
    if own is not None:
        return own(layer, currents)
    state, spikes = None, []
    numbers = {name: torch.from_numpy(_per_channel(_integers(x), currents[0])) for name, x in layer.numbers.items()}
    for current in torch.from_numpy(currents):
        state = layer.neuron.initial_state(numbers, current) if state is None else state
        fired, state = layer.neuron.step(current, state, numbers)
        spikes.append(fired.numpy().astype(np.int64))
    return np.stack(spikes)


def _integrate_and_fire(layer: SpikingLayer, currents: Integers) -> Integers:
    """At each time step charge, compare, reset by subtraction."""
    threshold, initial = (_per_channel(_integers(x), currents[0]) for x in (layer.threshold, layer.initial_potential))
    v = np.broadcast_to(initial, currents[0].shape)
    spikes = np.empty_like(currents)
    for t, current in enumerate(currents):
        v = v + current
        spikes[t] = v >= threshold
        v = v - spikes[t] * threshold
    return spikes


def _leaky(layer: SpikingLayer, currents: Integers) -> Integers:
    """At each time step leak, take the threshold of the last spike, charge, compare (Rathi et al. 2020, Eq. 2 and 3)."""
    neuron = layer.neuron
    assert isinstance(neuron, Leaky)
    threshold, initial = (_per_channel(_integers(x), currents[0]) for x in (layer.threshold, layer.initial_potential))
    left = initial * neuron.kept // PARTS if neuron.delayed else initial
    above, spikes = np.zeros_like(currents[0]), np.empty_like(currents)
    for t, current in enumerate(currents):
        u, before = left - above * threshold + current, above
        above = (u > threshold).astype(np.int64)
        left, spikes[t] = u * neuron.kept // PARTS, before if neuron.delayed else above
    return spikes


def _few_spikes(layer: SpikingLayer, currents: Integers) -> Integers:
    """At each time step charge, compare with half of what was compared with before, reset by subtraction."""
    threshold, initial = (_per_channel(_integers(x), currents[0]) for x in (layer.threshold, layer.initial_potential))
    v = np.broadcast_to(initial, currents[0].shape)
    spikes = np.empty_like(currents)
    for t, current in enumerate(currents):
        v, worth = v + current, 2 ** (len(currents) - 1 - t)
        spikes[t] = worth * (v >= worth * threshold)
        v = v - spikes[t] * threshold
    return spikes


def _double_threshold(layer: SpikingLayer, currents: Integers) -> Integers:
    """At each time step charge, fire so many thresholds as there are, of either sign, and subtract them; see Yu et al. 2020."""
    neuron, numbers = layer.neuron, {name: _per_channel(_integers(x), currents[0]) for name, x in layer.numbers.items()}
    v, spikes = np.zeros_like(currents[0]), np.empty_like(currents)
    for t, current in enumerate(currents):
        v = np.clip(v + current, -MOST, MOST) if neuron.saturates else v + current
        spikes[t] = np.clip(_thresholds_in(v, numbers), -neuron.largest, neuron.largest)
        v = v - spikes[t] * np.where(spikes[t] > 0, numbers["threshold"], numbers["negative_threshold"])
    return spikes


def _path_independent(layer: SpikingLayer, currents: Integers) -> Integers:
    """At each time step as many spikes as are missing to the thresholds in all that has come."""
    numbers = {name: _per_channel(_integers(x), currents[0]) for name, x in layer.numbers.items()}
    due, spikes, most = _thresholds_in(np.cumsum(currents, 0), numbers), np.empty_like(currents), layer.neuron.largest
    for t in range(len(currents)):
        spikes[t] = np.clip(due[t] - spikes[:t].sum(0), -most, most)
    return spikes


def _thresholds_in(v: Integers, numbers: Mapping[str, Integers]) -> Integers:
    """Whole thresholds in potentials, of either sign."""
    up = (v + numbers["initial_potential"]) // numbers["threshold"]
    negative = numbers["negative_threshold"]
    down = (numbers["negative_initial_potential"] - v) // negative * (negative != NEVER)
    whole: Integers = np.maximum(up, 0) - np.maximum(down, 0)
    return whole


def at_once(charge: Integers, window: int) -> Integers:
    """Currents of neurons that get all of their charge at the first time step. Shape: (B, ...) -> (N_s, B, ...)."""
    currents = np.zeros((window, *charge.shape), np.int64)
    currents[0] = charge
    return currents


def currents(layer: SpikingLayer, spikes: Integers, beside: Integers | None = None) -> Integers:
    """Synaptic and constant current of each time step. Shape: (N_s, B, ...) -> (N_s, B, ...).

    Args:
        layer: the layer.
        spikes: the incoming ones.
        beside: those that its shortcut sees, if they are others.
    """
    main, *others = layer.maps
    sums = _over_time(main, spikes)
    for other in others:
        sums = sums + _over_time(other, spikes if beside is None else beside)
    return sums + _per_channel(_integers(layer.bias), sums[0])


def _over_time(own: IncomingMap, spikes: Integers) -> Integers:
    return np.stack([affine(own.apply, step, _integers(own.weight)) for step in spikes])


def trains(layers: Sequence[SpikingLayer], x: Tensor, sources: Sequence[Sources] | None = None) -> list[Integers]:
    """Spikes of each layer, of a readout its currents. Shapes: (N_s, B, ...).

    Args:
        layers: of a wholly spiking stack.
        x: its input.
        sources: what each layer sees; None for the layer before.
    """
    dynamics = layers[0].dynamics
    coding = dynamics.input_coding
    handed: dict[int, Integers] = {}
    if isinstance(coding, SpikeCoding):
        starts = range(0, dynamics.window, LONGEST)
        pieces = [coding.present(x, dynamics.window, start, min(LONGEST, dynamics.window - start)).trains() for start in starts]
        handed[INPUT] = torch.cat(pieces).numpy().astype(np.int64)
    for i, layer in enumerate(layers):
        if layer.role == "encode":
            handed[i] = fire(layer, first_currents(layer, x))
            continue
        maps = ((i - 1,),) if sources is None else sources[i]
        incoming = currents(layer, *(np.concatenate([handed[j] for j in own], 2) for own in maps))
        if layer.role == "readout":
            handed[i] = incoming
            continue
        if dynamics.schedule == "layer-by-layer":
            incoming = at_once(incoming.sum(0), layer.window)
        handed[i] = fire(layer, incoming)
    return [handed[i] for i in range(len(layers))]


def simulate(layers: Sequence[SpikingLayer], x: Tensor, sources: Sequence[Sources] | None = None) -> Integers:
    """Free aggregate membrane potential of the last layer in its quanta, or the sums of its spikes. Shape: (B, ...).

    Args: as of `trains`.
    """
    last: Integers = trains(layers, x, sources)[-1].sum(0)
    return last


def _each(function: Callable[[Any], Any], x: Integers) -> Integers:
    result: Integers = np.frompyfunc(function, 1, 1)(x)
    return result


def _fractions(x: Tensor | Integers) -> Integers:
    return _each(Fraction, np.asarray(x, np.float64))


def _integers(x: Tensor) -> Integers:
    return np.asarray(x.cpu(), np.int64)


def _per_channel(values: Integers, like: Integers) -> Integers:
    return values.reshape(-1, *[1] * (like.ndim - 2))


# What is said here of neuron models; others are what their `step` says.
DEFINITIONS: dict[type[Neuron], Callable[[SpikingLayer, Integers], Integers]] = {
    IntegrateAndFire: _integrate_and_fire,
    Leaky: _leaky,
    DoubleThreshold: _double_threshold,
    Augmented: _double_threshold,
    PathIndependent: _path_independent,
    FewSpikes: _few_spikes,
}
