"""What the numbers of a spiking stage can be: kernels rely on it, and look at none of it themselves.

Conversion (see `separator.snn.grid` and `SpikingStage.in_integers`) makes no others. They are held against it where they come
from a file.
"""

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.grid import EXACT, TINIEST, weight_step
from separator.snn.spiking import INPUT_STEP, LARGEST, Dynamics, Role, SpikingStage, integer_type
from separator.snn.stage import Stage

BLOCK = 2**22  # weights that are looked at at a time


def stage_types(role: Role, dynamics: Dynamics) -> dict[str, torch.dtype]:
    """Types of the tensors of a stage, by name; its shortcut, if it has one, is the identity."""
    weights = (torch.float32,) * 2 if role == "encode" else (integer_type(dynamics.weight_bits), torch.int32)
    names = ("weight", "bias", "threshold", "start", "step", "shortcut")
    return dict(zip(names, (*weights, torch.int32, torch.int32, torch.float32, torch.int32), strict=True))


def check_stage(stage: SpikingStage, analog: Stage | None = None) -> None:
    """Refuse a stage that no conversion makes.

    Args:
        stage: the stage.
        analog: what it stands for, if the shapes of its synapses shall be held against it as well. Where layers before it are
            absorbed they depend on what it sees, and are taken as they are.

    Raises:
        UserError: a tensor is of another type or shape, or a number out of its range; the message names it.
    """
    _check_shapes(stage, analog)
    mantissa, _ = torch.frexp(stage.step)
    if not bool(((mantissa == 0.5) & (stage.step >= TINIEST) & (stage.step <= LARGEST)).all()):
        raise UserError(f"a step is a power of two from {TINIEST:g} to {LARGEST:g}")
    if int(stage.threshold.min()) < 1:
        raise UserError(f"a threshold is at least 1 step, not {int(stage.threshold.min())}")
    bits, sums = stage.dynamics.weight_bits, torch.zeros(len(stage.weight), dtype=torch.float64)
    if stage.role == "encode":
        _check_encoding(stage.weight, stage.bias, stage.dynamics.encoder_bits)
    else:
        parts = [stage.weight, stage.bias, *([] if stage.shortcut is None else [stage.shortcut])]
        sums = sum((_magnitudes(part) for part in parts), sums)
        if bits is not None and _largest(stage.weight) >= 2 ** (bits - 1):
            raise UserError(f"a weight does not fit in {bits} bits")
    # The charge of the first stage is clipped to a little over as many thresholds as there are steps; a readout never fires.
    thresholds = {"encode": stage.window + 2, "fire": 2, "readout": 0}[stage.role]
    if float((stage.window * sums + thresholds * stage.threshold.double()).max()) > EXACT:
        raise UserError("potentials can exceed 2^24 steps, up to which they are exact")
    _check_start(stage)


def _check_start(stage: SpikingStage) -> None:
    """Refuse start potentials that are not the part of the threshold that they shall be, rounded."""
    start, threshold = stage.start.double(), stage.threshold.double()
    if not bool(((start >= 0) & (start <= threshold)).all()):
        raise UserError("a start potential is from 0 to the threshold")
    # One threshold for all neurons has start potentials that are rounded to the largest step of all.
    rounded = stage.step.double().max() / stage.step.double() / 2 + 1
    if stage.role != "readout" and not bool(((start - threshold * stage.dynamics.start).abs() <= rounded).all()):
        raise UserError(f"a start potential is not {stage.dynamics.start:g} thresholds")


def _check_shapes(stage: SpikingStage, analog: Stage | None) -> None:
    outputs = (len(stage.weight),)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("bias", "threshold", "start", "step"), outputs)
    if analog is not None and not analog.before:
        shapes["weight"] = tuple(analog.affine.weight.shape)
    if analog is not None and isinstance(analog.shortcut, nn.Identity):
        shapes["shortcut"] = (*outputs, 1)
    for name, shape in shapes.items():
        if (found := tuple(getattr(stage, name).shape)) != shape:
            raise UserError(f"{name} has the shape {found}, not {shape}")
    types = stage_types(stage.role, stage.dynamics)
    for name, values in stage.named_buffers():
        if name != "shortcut" and values.dtype != types[name]:
            raise UserError(f"{name} is of {values.dtype}, not {types[name]}")


def _largest(values: Tensor) -> int:
    """Largest magnitude."""
    low, high = values.aminmax()
    return max(-int(low), int(high))


def _magnitudes(weight: Tensor) -> Tensor:
    """Sum of the magnitudes of each output's numbers. Shape: (C_out, ...) -> (C_out,), float64."""
    rows = weight.reshape(len(weight), -1)
    parts = torch.split(rows, max(1, BLOCK // rows.shape[1]))
    return torch.cat([part.double().abs().sum(1) for part in parts])


def _check_encoding(weight: Tensor, bias: Tensor, bits: int) -> None:
    """Refuse weights and biases that are too large, or not whole numbers of steps, those of weights of so many bits."""
    for name, values in {"weight": weight, "bias": bias}.items():
        low, high = values.aminmax()
        if not (float(low) > -LARGEST and float(high) < LARGEST):  # nor NaN, which compares with nothing
            raise UserError(f"a {name} is not below {LARGEST:g}")
    unit, rows = weight_step(weight, bits), weight.flatten(1)
    block = max(1, BLOCK // rows.shape[1])
    for part, steps in zip(torch.split(rows, block), torch.split(unit, block), strict=True):
        if not _whole(part.double() / steps[:, None]):
            raise UserError(f"a weight is no whole number of steps that {bits} bits count")
    if not _whole(bias.double() / (unit * INPUT_STEP)):
        raise UserError("a bias is no whole number of steps")


def _whole(x: Tensor) -> bool:
    return torch.equal(x, x.round())
