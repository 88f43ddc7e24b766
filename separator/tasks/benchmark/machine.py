"""Processor and versions of libraries, which times depend on beside the program."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from separator.version import __version__

LIBRARIES = ("torch", "numba", "spikingjelly", "asteroid")


def machine(device: str | None = None) -> str:
    """The processor, a GPU if one is asked for, and the versions, in one line.

    Args:
        device: of the GPU, such as `cuda`; None where none is used.
    """
    versions = {name: _version(name) for name in LIBRARIES}
    installed = [f"{name} {number}" for name, number in versions.items() if number]
    processors = [_processor(), *([] if device is None else [_gpu(device)])]
    return ", ".join([*processors, f"separator {__version__}", f"Python {platform.python_version()}", *installed])


def _gpu(device: str) -> str:
    """Its name, as CUDA tells it."""
    import torch

    return torch.cuda.get_device_name(device)


def _processor() -> str:
    """Its name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
