"""Where networks run."""

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
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"no device {name!r} here; take cpu, cuda or auto") from error
    return name
