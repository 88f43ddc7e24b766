"""Range of the numbers of a spiking layer: kernels rely on it, and look at none of it themselves.

Conversion makes no others; see `SpikingLayer.in_integers`. They are held against it where they come from a file.
"""

from math import log2

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.integers.quanta import BLOCK, EXACT, FEWEST_BITS, LONG, TINIEST, magnitudes, weight_quantum
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics, Role
from separator.snn.layers.rounding import INPUT_QUANTUM, LARGEST, REGISTER, integer_type
from separator.snn.layers.spiking import SpikingLayer


def layer_types(role: Role, dynamics: Dynamics) -> dict[str, torch.dtype]:
    """Types of the tensors of a layer, by name; its shortcut, if it has one, is the identity."""
    weights = (torch.float32,) * 2 if role == "encode" else (integer_type(dynamics.weight_bits), torch.int32)
    types = dict(zip(("weight", "bias"), weights, strict=True)) | dict.fromkeys(dynamics.model.names, torch.int32)
    return types | {"quantum": torch.float32, "shortcut": torch.int32}


def check_layer(layer: SpikingLayer, analog: AnalogLayer | None = None) -> None:
    """Refuse a layer that no conversion makes.

    Args:
        layer: the layer.
        analog: what it stands for, if the shapes of its synapses shall be held against it as well. Where layers before it are
            absorbed they depend on what it sees, and are taken as they are.

    Raises:
        UserError: a tensor is of another type or shape, or a number out of its range; the message names it.
    """
    _check_shapes(layer, analog)
    mantissa, _ = torch.frexp(layer.quantum)
    if not bool(((mantissa == 0.5) & (layer.quantum >= TINIEST) & (layer.quantum <= LARGEST)).all()):
        raise UserError(f"a quantum is a power of two from {TINIEST:g} to {LARGEST:g}")
    if int(layer.threshold.min()) < 1:
        raise UserError(f"a threshold is at least 1 quantum, not {int(layer.threshold.min())}")
    bits = layer.dynamics.weight_bits
    if layer.role == "encode":
        _check_encoding(layer.weight, layer.bias, layer.dynamics.encoder_bits)
    elif bits is not None and _largest(layer.weight) >= 2 ** (bits - 1):
        raise UserError(f"a weight does not fit in {bits} bits")
    _check_potentials(layer)
    if layer.role != "readout":
        layer.neuron.check(layer.numbers, layer.quantum, layer.dynamics.initial_potential)


def _check_potentials(layer: SpikingLayer) -> None:
    largest, kept = layer.largest_potential(), layer.dynamics.in_integers
    steady = layer.role == "encode" and layer.dynamics.charged_steps < layer.window
    limit = 2 * REGISTER if layer.neuron.saturates or (steady and kept) else EXACT
    if largest <= limit:
        return
    if layer.role == "encode" or layer.neuron.saturates or not _may_have_long_sums(layer):
        raise UserError(f"potentials can exceed 2^{round(log2(limit))} quanta, up to which they are exact")
    numbers = [x for name, x in layer.named_buffers() if name != "quantum"]
    if largest > LONG or max(_largest(x) for x in numbers) > EXACT:
        raise UserError("potentials can exceed 2^40 quanta, or a number 2^24, up to which long sums are exact")


def _may_have_long_sums(layer: SpikingLayer) -> bool:
    """True if neurons have so many inputs over a window that a conversion makes their sums long, but for its rounding."""
    most = 2 ** (min(layer.dynamics.weight_bits or FEWEST_BITS, FEWEST_BITS) - 1) - 1
    learned = [layer.weight, *(own.weight for own in layer.maps[1:] if not own.is_identity)]
    sums = torch.stack([magnitudes(weight) for weight in learned]).sum(0) * layer.dynamics.exact_spikes
    largest = torch.stack([weight.flatten(1).abs().amax(1) for weight in learned]).amax(0)
    return bool((sums * most * (1 + 2.0**-6) >= largest.double() * (EXACT / 2)).any())


def _check_shapes(layer: SpikingLayer, analog: AnalogLayer | None) -> None:
    outputs = (len(layer.weight),)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("bias", *layer.neuron.names, "quantum"), outputs)
    if analog is not None and not analog.before:
        shapes["weight"] = tuple(analog.affine.weight.shape)
    if analog is not None and isinstance(analog.shortcut, nn.Identity):
        shapes["shortcut"] = (*outputs, 1)
    for name, shape in shapes.items():
        if (found := tuple(getattr(layer, name).shape)) != shape:
            raise UserError(f"{name} has the shape {found}, not {shape}")
    types = layer_types(layer.role, layer.dynamics)
    for name, values in layer.named_buffers():
        if name != "shortcut" and values.dtype != types[name]:
            raise UserError(f"{name} is of {values.dtype}, not {types[name]}")


def _largest(values: Tensor) -> int:
    """Largest magnitude."""
    low, high = values.aminmax()
    return max(-int(low), int(high))


def _check_encoding(weight: Tensor, bias: Tensor, bits: int) -> None:
    """Refuse weights and biases that are too large, or not whole numbers of steps, those of weights of so many bits."""
    for name, values in {"weight": weight, "bias": bias}.items():
        low, high = values.aminmax()
        if not (float(low) > -LARGEST and float(high) < LARGEST):  # nor NaN, which compares with nothing
            raise UserError(f"a {name} is not below {LARGEST:g}")
    scale, rows = weight_quantum(weight, bits), weight.flatten(1)
    block = max(1, BLOCK // rows.shape[1])
    for part, steps in zip(torch.split(rows, block), torch.split(scale, block), strict=True):
        if not _whole(part.double() / steps[:, None]):
            raise UserError(f"a weight is no whole number of steps that {bits} bits count")
    if not _whole(bias.double() / (scale * INPUT_QUANTUM)):
        raise UserError("a bias is no whole number of steps")


def _whole(x: Tensor) -> bool:
    return torch.equal(x, x.round())
