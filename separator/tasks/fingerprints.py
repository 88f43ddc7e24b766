"""Digests that tell whether files have changed, or are others."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from separator.models.card import find_model, split_steps


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


def model_fingerprint(model: str) -> str:
    """Start of the SHA-256 of a model's file, given by a shipped name or a path.

    Raises:
        UserError: there is no such model.
    """
    return hashlib.sha256(find_model(split_steps(model)[0]).read_bytes()).hexdigest()[:16]
