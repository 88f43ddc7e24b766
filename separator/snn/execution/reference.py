"""What a spiking stack computes, in plain integer arithmetic: the definition that every execution equals to the bit.

Slow on purpose: 64-bit integers for what is bounded by 2^24 steps, fractions for the first charge.
Spikes have time in front, (N_s, B, ...), and are 0 or 1.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from separator.snn.layers.spiking import INPUT_LIMIT, INPUT_QUANTUM, SpikingLayer
from separator.snn.synapses.affine import AffineMap

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


def first_charge(layer: SpikingLayer, x: Tensor) -> Integers:
    """Charge of the neurons of an encoding layer in their steps, rounded half to even once. Shape: (B, ...) -> (B, ...)."""
    steps = np.clip(_each(round, _fractions(x) / Fraction(INPUT_QUANTUM)), -int(INPUT_LIMIT), int(INPUT_LIMIT))
    read = steps * Fraction(INPUT_QUANTUM)
    weight, bias, quantum = map(_fractions, (layer.weight, layer.bias, layer.quantum))
    exact = affine(layer.apply_affine, read, weight) + _per_channel(bias, read)
    whole = _each(round, exact / _per_channel(quantum, read))
    ceiling = _per_channel(_integers(layer.threshold) * (layer.window + 1), read)
    return np.clip(whole.astype(np.int64), -ceiling, ceiling)


def fire(layer: SpikingLayer, currents: Integers) -> Integers:
    """Spikes of the layer's neurons: at each time step charge, compare, reset by subtraction. Shape: (N_s, B, ...)."""
    threshold, initial = (_per_channel(_integers(x), currents[0]) for x in (layer.threshold, layer.initial_potential))
    v = np.broadcast_to(initial, currents[0].shape)
    spikes = np.empty_like(currents)
    for t, current in enumerate(currents):
        v = v + current
        spikes[t] = v >= threshold
        v = v - spikes[t] * threshold
    return spikes


def at_once(charge: Integers, window: int) -> Integers:
    """Currents of neurons that get all of their charge at the first time step. Shape: (B, ...) -> (N_s, B, ...)."""
    currents = np.zeros((window, *charge.shape), np.int64)
    currents[0] = charge
    return currents


def currents(layer: SpikingLayer, spikes: Integers) -> Integers:
    """Synaptic and constant current of each time step. Shape: (N_s, B, ...) -> (N_s, B, ...)."""
    sums = np.stack([sum(affine(own.apply, step, _integers(own.weight)) for own in layer.maps) for step in spikes])
    return sums + _per_channel(_integers(layer.bias), sums[0])


def simulate(layers: Sequence[SpikingLayer], x: Tensor) -> Integers:
    """Free aggregate membrane potential of the last layer, in its steps. Shape: (B, ...) -> (B, ...)."""
    first, *middle, last = layers
    spikes = fire(first, at_once(first_charge(first, x), first.window))
    for layer in middle:
        incoming = currents(layer, spikes)
        if layer.dynamics.schedule == "layer-by-layer":
            incoming = at_once(incoming.sum(0), layer.window)
        spikes = fire(layer, incoming)
    potential: Integers = currents(last, spikes).sum(0)
    return potential


def _each(function: Callable[[Any], Any], x: Integers) -> Integers:
    result: Integers = np.frompyfunc(function, 1, 1)(x)
    return result


def _fractions(x: Tensor | Integers) -> Integers:
    return _each(Fraction, np.asarray(x, np.float64))


def _integers(x: Tensor) -> Integers:
    return np.asarray(x.cpu(), np.int64)


def _per_channel(values: Integers, like: Integers) -> Integers:
    return values.reshape(-1, *[1] * (like.ndim - 2))
