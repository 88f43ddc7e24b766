"""Spiking layers in units of activation: the analog layer that one converts from, and the same layer for another window."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.fan_in import Masked
from separator.snn.layers.shapes import per_input, per_output
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.synapses.incoming import IncomingMap


def analog_numbers(layer: SpikingLayer) -> tuple[Tensor, Tensor]:
    """Weight and bias in units of activation."""
    if layer.role == "encode":
        return layer.weight, layer.bias
    return layer.weight * per_output(layer.quantum, layer.weight), layer.bias * layer.quantum


def analog_shortcut(layer: SpikingLayer) -> IncomingMap | None:
    """The second map with its weights in units of activation; None if there is none."""
    return next((other.times(per_output(layer.quantum, other.weight)) for other in layer.maps[1:]), None)


def analog_twin(layer: SpikingLayer, scale: Tensor | None, beside: Tensor | None = None) -> AnalogLayer:
    """The analog layer that a spiking one converts from.

    Args:
        layer: the spiking layer.
        scale: activation that an incoming spike stands for; None if the input is analog.
        beside: the same of the spikes that the shortcut sees; None if they are the same.
    """
    weight, bias = analog_numbers(layer)
    if scale is not None:
        weight, bias = weight / per_input(scale, weight), bias * layer.window
    before = [nn.Flatten()] if layer.apply_affine.flatten else []
    shortcut: nn.Identity | AnalogLayer | None = None
    second = analog_shortcut(layer)
    if second is not None and scale is not None:
        weights = second.weight / per_input(scale if beside is None else beside, second.weight)
        shortcut = nn.Identity()
        if not second.is_identity:
            affine = second.apply.module(weights, torch.zeros_like(bias))
            shortcut = AnalogLayer(affine, activation=None, map_of_affine=second.apply)
    affine = layer.apply_affine.module(weight, bias)
    synapses = layer.apply_affine.synapses(weight)
    if not bool(synapses.all()):  # what lies in gaps between taps is no synapse, and none is to be learned there
        parametrize.register_parametrization(affine, "weight", Masked(synapses))
    activation = None if layer.role == "readout" else layer.stands_for
    return AnalogLayer(affine, before=before, activation=activation, shortcut=shortcut, map_of_affine=layer.apply_affine)


def with_window(layer: SpikingLayer, window: int, drawn: bool = False) -> SpikingLayer:
    """The same layer for another time window: thresholds are the same upper bounds over other sums of spikes.

    Args:
        layer: a spiking layer.
        window: time steps.
        drawn: whether it sees spikes that are drawn from the input, worth what the time steps say and not the neurons.

    Raises:
        UserError: the neurons take no such window.
    """
    dynamics = replace(layer.dynamics, window=window)
    weight, bias = analog_numbers(layer)
    ratio = layer.dynamics.limits[1] / dynamics.limits[1]
    if layer.role != "encode":
        steps = layer.window / window
        weight, bias = weight * (steps if drawn else ratio), bias * steps
    second = analog_shortcut(layer)
    shortcut = None if second is None else second.times(ratio)
    return SpikingLayer.in_integers(
        layer.apply_affine, layer.role, weight, bias, layer.scale * ratio, dynamics, shortcut, layer.stands_for
    )
