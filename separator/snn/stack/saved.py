"""Spiking stacks of any network in files: integers in safetensors, how the neurons run in its metadata."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from separator.atomic import atomic_path
from separator.errors import UserError
from separator.snn.layers.dynamics import Dynamics
from separator.snn.stack.converting import changing, wholly_spiking
from separator.snn.stack.stack import Stack

FORMAT = "spiking stack 1"


def save_stack(stack: Stack, path: str | Path) -> None:
    """Write a wholly spiking stack, the file whole or not at all.

    Raises:
        UserError: a layer is not spiking, layers run in different ways, or the file cannot be written.
    """
    spiking = wholly_spiking(stack)
    dynamics = spiking[0].dynamics
    if any(layer.dynamics != dynamics for layer in spiking):
        raise UserError("layers of the stack run in different ways; only stacks that run in one way are saved")
    metadata = {"format": FORMAT, "dynamics": json.dumps(asdict(dynamics)), "readout": stack.readout}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stack.state_dict().items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))  # not `save_file`, where a full disk is no OSError


@torch.no_grad()
def load_stack(stack: Stack, path: str | Path, x: Tensor) -> None:
    """Make an analog stack the spiking one of a file that `save_stack` has written of a stack of the same layers.

    Its own weights do not matter. What goes wrong leaves it as it was.

    Args:
        stack: of new layers, such as those that the saved stack was made of.
        path: the file.
        x: an input of the stack, (B, ...), whose sizes poolings and flattened layers are absorbed by.

    Raises:
        UserError: there is no such file, it is no saved stack, or one of other layers.
    """
    if stack.converted or not stack.has_analog:
        raise UserError("a saved stack is loaded into one whose layers are all analog")
    try:
        with safe_open(path, "pt") as file:
            metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise UserError(f"{path} holds no saved stack")
        dynamics, readout = Dynamics(**json.loads(metadata["dynamics"])), metadata["readout"]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no saved stack that this version can read ({type(error).__name__})") from error
    try:
        with changing(stack):
            stack(x[:1])
            stack.set_readout(readout)
            stack.restore(len(stack.layers), dynamics, tensors)
            unknown = sorted(set(tensors) - set(stack.state_dict()))
            if unknown:
                raise UserError(f"it has '{unknown[0]}' too")
    except (UserError, KeyError) as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path} holds a stack of other layers: {lacks}") from error
    stack.to(x.device)
