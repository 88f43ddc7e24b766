"""What tells whether files have changed since, or are others."""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from separator.models.card import find_model, split_steps
from separator.resume import facts_of


def files_fingerprint(paths: Iterable[Path]) -> str:
    """SHA-256 of names, sizes and modification times."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def network_fingerprint(network: nn.Module) -> str:
    """SHA-256 of all names, shapes and values of a network, shortened."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def origin_of(run: Any, free: Collection[str]) -> dict[str, Any]:
    """What a conversion depends on beside its settings: all else of a run, and the content of the model's file.

    Args:
        run: a dataclass with the field `model`, a shipped name or a file.
        free: fields that may differ where the conversion is gone on with.
    """
    content = hashlib.sha256(find_model(split_steps(run.model)[0]).read_bytes()).hexdigest()[:16]
    return facts_of(run, [*free, "model"]) | {"model": content}
