"""Limits of a neuromorphic chip, given once, and the check of a finished network on them (Wu et al. 2021, section 4.3)."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.ranges import MOST, check_numbers
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.dynamics import LEAST_BITS, MOST_BITS
from separator.snn.layers.fan_in import fan_in
from separator.snn.observe.activity import record_activity
from separator.snn.stack.converting import wholly_spiking
from separator.snn.stack.stack import Stack


@dataclass(frozen=True)
class HardwareProfile:
    """Limits of a chip; None for no limit.

    Raises:
        UserError: no network could keep to one.
    """

    weight_bits: int | None = None  # of synaptic weights, signed integers in steps that each neuron has of its own
    fan_in: int | None = None  # incoming connections of a neuron
    window: int | None = None  # time steps
    neurons: int | None = None  # of a layer

    def __post_init__(self) -> None:
        check_numbers(self, weight_bits=(LEAST_BITS, MOST), fan_in=(1, MOST), window=(1, MOST), neurons=(1, MOST))

    def constrained(self, settings: ConversionSettings) -> ConversionSettings:
        """Settings under which a conversion keeps to weights and connections that fit.

        Raises:
            UserError: the time window is too long.
        """
        if self.window is not None and settings.window > self.window:
            raise UserError(f"the hardware takes {self.window} time steps, not {settings.window}; lower the window")
        bits = None if self.weight_bits is None else min(self.weight_bits, MOST_BITS)
        encoder_bits = settings.encoder_bits if bits is None else min(settings.encoder_bits, bits)
        return replace(
            settings,
            weight_bits=_tighter(settings.weight_bits, bits),
            encoder_bits=encoder_bits,
            fan_in=_tighter(settings.fan_in, self.fan_in),
        )

    def check_sizes(self, network: nn.Module, x: Tensor) -> list[int]:
        """Neurons of each layer of the network's stack, analog or spiking, on an input (1, ...).

        Raises:
            UserError: a layer has too many.
        """
        with torch.no_grad(), record_activity(network) as activity:
            network.eval()(x)
        sizes = [layer.neurons for layer in activity.layers]
        largest = max(sizes)
        if self.neurons is not None and largest > self.neurons:
            where = sizes.index(largest)
            raise UserError(f"layer {where} has {largest} neurons; the hardware takes {self.neurons} of a layer")
        return sizes

    def verify(self, network: nn.Module, stack: Stack, x: Tensor) -> list[dict[str, Any]]:
        """Room that a wholly spiking network takes up, by layer, counted on its integers.

        Args:
            network: which.
            stack: its stack.
            x: an input of the network, (1, ...), for the sizes of layers.

        Raises:
            UserError: there are layers that are not spiking; it does not fit; the message names the layer and the limit.
        """
        rows = []
        for index, (layer, neurons) in enumerate(zip(wholly_spiking(stack), self.check_sizes(network, x), strict=True)):
            row = {
                "weight_bits": max(needed_bits(own.weight) for own in layer.maps),
                "fan_in": fan_in(*(own.weight for own in layer.maps)),
                "window": layer.window,
                "neurons": neurons,
            }
            for name, limit in asdict(self).items():
                if limit is not None and row[name] > limit:
                    raise UserError(f"layer {index} does not fit the hardware: {name} is {row[name]}, not at most {limit}")
            rows.append({"layer": index, **row})
        return rows


def needed_bits(weight: Tensor) -> int:
    """Bits of the signed integers that weights are in steps of a power of two, one for each neuron. Shape: (C_out, ...)."""
    mantissas, exponents = torch.frexp(weight.double().flatten(1))
    whole = (mantissas * 2.0**53).long()  # weight = whole * 2^(exponent - 53)
    nonzero = whole != 0
    lowest = exponents - 53 + torch.where(nonzero, _trailing_zeros(whole), 0)  # exponent of the lowest bit that is set
    step = torch.where(nonzero, lowest, torch.iinfo(torch.int32).max).amin(1, keepdim=True)
    magnitudes = torch.where(nonzero, whole.abs().double() * torch.exp2((exponents - 53 - step).double()), 0.0)
    return int(torch.frexp(magnitudes.max())[1]) + 1


def _trailing_zeros(whole: Tensor) -> Tensor:
    return torch.frexp((whole & -whole).double())[1] - 1


def _tighter(one: int | None, other: int | None) -> int | None:
    limits = [limit for limit in (one, other) if limit is not None]
    return min(limits) if limits else None
