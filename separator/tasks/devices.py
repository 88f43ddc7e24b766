"""Devices that networks run on, and the precision in which they learn there."""

import os
from typing import Literal

import torch

from separator.errors import UserError


def resolve_device(name: str) -> str:
    """Name a device that is there; `auto` is a GPU if there is one.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
        if torch.device(name).type == "meta":
            raise NotImplementedError("a device without memory")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"no device {name!r} here; take cpu, cuda or auto") from error
    return name


def native_precision(accelerator: str) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's precision for training: bfloat16 where the hardware multiplies it, which is found out, else 32 bits.

    Args:
        accelerator: Lightning's name for it; `auto` for a GPU if there is one.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if native else "32-true"


# A forked child, such as multiprocessing's on Linux, has the threads of OpenMP in name only and would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
