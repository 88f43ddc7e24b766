"""Numbers of a spiking layer, from units of activation to whole numbers of each neuron's quantum."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from separator.errors import DivergedError, UserError
from separator.snn.integers.quanta import (
    EXACT,
    FEWEST_BITS,
    LONG,
    in_quanta,
    magnitudes,
    potential_bound,
    potential_quantum,
    power_above,
    snap,
    weight_quantum,
)
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.neurons.neuron import Neuron, Numbers
from separator.snn.synapses.incoming import IncomingMap

# The encoding layer reads its input in these quanta, up to so many, and has weights of at most 16 bits. Its sums of up to 2^13
# inputs are then exact in 64-bit floating point, and what rounding errors before it may differ in is rounded away.
INPUT_QUANTUM, INPUT_LIMIT = 2.0**-14, 2.0**24
FEW = 32  # neurons of a layer, such as one for each class, whose weights may be the finer for it
REGISTER = 2.0**30  # quanta that a potential kept as a 32-bit integer comes to, at most
LARGEST = 2.0**64  # weight, current and threshold in units of activation, far from where quanta overflow
COARSEST = 2**8  # times the finest quantum of a layer, where one threshold of less than a quantum is that of all its neurons


class LayerNumbers(NamedTuple):
    """Numbers of a spiking layer; see `SpikingLayer`."""

    weight: Tensor
    bias: Tensor
    neurons: dict[str, Tensor]
    quantum: Tensor
    shortcut: IncomingMap | None


def check_input(x: Tensor, dynamics: Dynamics) -> None:
    """Refuse input of a stack, to be converted on it, that its first layer cannot read as it is.

    Raises:
        UserError: it is larger than what is read, so small that it is lost between two quanta, or no finite number.
    """
    if not x.numel() or not bool(x.any()):
        raise UserError(
            "the input that thresholds are taken from is empty or zero throughout; give some of what the network sees"
        )
    largest, most, least = float(x.detach().abs().max()), INPUT_QUANTUM * INPUT_LIMIT, INPUT_QUANTUM * 2**6
    if not largest < float("inf"):
        raise UserError("the input that thresholds are taken from holds numbers that are NaN or infinite")
    if dynamics.first_role == "encode" and not least <= largest <= most:
        raise UserError(
            f"the input of the stack goes up to {largest:.3g}, and the first layer reads up to {most:g} in steps of 1/16384; "
            f"divide it by {largest:.2g} before the stack, and multiply the first layer's weights by as much"
        )


def integer_type(bits: int | None) -> torch.dtype:
    """Smallest type that holds signed integers of so many bits, at most 16; None for as many as there are."""
    return torch.int32 if bits is None else torch.int16 if bits > 8 else torch.int8


def rounded(
    role: Role,
    weight: Tensor,
    bias: Tensor,
    threshold: Tensor,
    dynamics: Dynamics,
    shortcut: IncomingMap | None,
    activation: nn.Module | None,
) -> LayerNumbers:
    """Numbers in units of activation as a layer has them, rounded to each neuron's quantum.

    Args: as of `SpikingLayer.in_integers`.

    Raises:
        DivergedError: a number is NaN, infinite, or too large for the quantum to be a float.
        UserError: one threshold is shared by neurons whose weights are too different in size.
    """
    beside = weight.new_zeros(len(weight), 1) if shortcut is None else shortcut.weight
    named = {"weight": weight, "shortcut": beside, "bias": bias, "threshold": threshold}
    sizes = torch.stack([values.detach().abs().max().double() for values in named.values()])
    for name, largest in zip(named, sizes.tolist(), strict=True):  # at once, as a GPU is waited for each time
        if not largest < LARGEST:
            raise DivergedError(f"a {name} of {largest:g} cannot be made an integer; the training has diverged")
    if role == "encode":
        quantum = _charge_quantum(threshold, dynamics, activation).expand(len(weight))
        weight, bias = _encoding(weight, bias, dynamics.encoder_bits)
    else:
        joined = torch.cat([weight.flatten(1), beside.flatten(1)], 1)
        fires = threshold if role == "fire" else torch.zeros_like(threshold)  # a readout never does
        learned = weight if shortcut is None or shortcut.is_identity else joined
        # What comes to more at a step is added up in 64 bits, which takes no time to speak of where neurons are few.
        spikes = 1 if dynamics.model.saturates and len(weight) <= FEW else dynamics.exact_spikes
        bound = potential_bound(joined, bias, fires, spikes)
        if dynamics.model.saturates:
            # As many bits as are asked for, since sums of spikes of any size are added in 64 bits where they come to more.
            usual = torch.minimum(potential_quantum(bound), weight_quantum(learned, dynamics.weight_bits or FEWEST_BITS))
            at_once = power_above(2 * dynamics.model.largest * (magnitudes(joined) + bias.abs()) / REGISTER)
            # Layers that wait get all of their charge at one step, and may fire on it at all of them.
            steps = dynamics.window if dynamics.schedule == "layer-by-layer" else 1
            quantum = torch.maximum(torch.maximum(usual, at_once), _register_quantum(fires, dynamics, activation, steps))
        elif has_long_sums(learned, dynamics):
            single = torch.stack([joined.flatten(1).abs().amax(1), bias.abs(), fires.expand_as(bias)]).amax(0)
            quantum = torch.maximum(potential_quantum(bound, LONG), potential_quantum(single))
        else:
            quantum = potential_quantum(bound)
        if dynamics.weight_bits is not None:
            quantum = torch.maximum(quantum, weight_quantum(learned, dynamics.weight_bits))
        weight = in_quanta(weight, quantum).to(integer_type(dynamics.weight_bits))
        bias = in_quanta(bias, quantum).to(torch.int32)
        if shortcut is not None:
            kind = torch.int32 if shortcut.is_identity else weight.dtype
            shortcut = IncomingMap(shortcut.apply, in_quanta(beside, quantum).to(kind))
    if role == "readout":
        threshold = quantum.to(threshold.dtype)
    # One threshold per layer is the same for all neurons, whatever their quanta.
    shared = quantum.amax(0, keepdim=True) if len(threshold) == 1 else quantum
    if role != "readout" and len(threshold) == 1 and bool((threshold < shared) & (quantum.min() * COARSEST < shared)):
        raise UserError(
            f"one threshold of {float(threshold):.3g} for all neurons is too small for the weights of some, which are up to "
            f"{float(quantum.max() / quantum.min()):.0f} times as coarse as those of others; take a threshold for each channel"
        )
    # At least one quantum, since a neuron with threshold 0 would fire for ever on nothing.
    threshold = torch.maximum(snap(threshold, shared), shared.to(threshold.dtype))
    neurons = dynamics.model.in_quanta(threshold, quantum, shared, dynamics.initial_potential, activation)
    return LayerNumbers(weight, bias, neurons, quantum.to(threshold.dtype), shortcut)


def _charge_quantum(threshold: Tensor, dynamics: Dynamics, activation: nn.Module | None) -> Tensor:
    """Quanta in which potentials of a layer that encodes never leave the range that is exact: its charge is clipped."""
    steps, model = dynamics.charged_steps, dynamics.model
    if model.saturates:
        return _register_quantum(threshold, dynamics, activation, steps)
    reach = model.reach(model.in_units(threshold.double(), dynamics.initial_potential, activation), steps)
    if steps < dynamics.window:  # the same charge again and again
        return power_above(dynamics.window * reach / (REGISTER if dynamics.in_integers else EXACT / 2))
    return potential_quantum(reach + threshold.double())


def _register_quantum(threshold: Tensor, dynamics: Dynamics, activation: nn.Module | None, steps: int) -> Tensor:
    """Quanta in which a register that saturates holds twice what spikes of so many steps can tell from more."""
    model = dynamics.model
    numbers = model.in_units(threshold.double(), dynamics.initial_potential, activation)
    return power_above(2 * model.reach(numbers, steps) / REGISTER)


def charge_ceiling(neuron: Neuron, numbers: Numbers, dynamics: Dynamics) -> Tensor:
    """Magnitude that charges of an encoding layer are clipped to: more would change no spike, or not fit. Shape: (C_out,)."""
    steps, threshold = dynamics.charged_steps, numbers["threshold"].double()
    reach = neuron.reach(numbers, steps)
    if neuron.leak == 1:
        return reach
    # Quanta that were once chosen as if nothing leaked leave less room.
    return torch.minimum(reach, torch.maximum(threshold * (steps + 1), EXACT / 2 - threshold))


def has_long_sums(weight: Tensor, dynamics: Dynamics) -> bool:
    """True if neurons have so many inputs over a window that sums stay below 2^24 with weights of too few bits only.

    Too few are fewer than 8, or than were asked for. The weights alone decide, whatever thresholds and constant currents are.
    """
    bits = min(dynamics.weight_bits or FEWEST_BITS, FEWEST_BITS)
    sums = potential_quantum(dynamics.exact_spikes * magnitudes(weight))
    return bool((sums > weight_quantum(weight, bits)).any())


def _encoding(weight: Tensor, bias: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer with analog input: whole numbers of so many bits, times quanta of each neuron."""
    scale = weight_quantum(weight, bits)
    # In 64 bits, since the quanta of a neuron without synapses are so small that their number is no 32-bit float.
    return snap(weight, scale), snap(bias.double(), scale * INPUT_QUANTUM).to(bias.dtype)
