"""Processor and versions of libraries, which times depend on beside the program."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from separator.version import __version__

LIBRARIES = ("torch", "numba", "spikingjelly", "asteroid")


def machine() -> str:
    """The processor and the versions, in one line."""
    versions = {name: _version(name) for name in LIBRARIES}
    installed = [f"{name} {number}" for name, number in versions.items() if number]
    return ", ".join([_processor(), f"separator {__version__}", f"Python {platform.python_version()}", *installed])


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
