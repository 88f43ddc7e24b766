"""Separate talkers with spiking neural networks.

`Separator` is the way in; the rooms below it are `tasks` (what a person asks for), `models` and `snn`
(networks and their conversion), `corpora`, `metrics` and `audio` (the functional core).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from separator.version import __version__

__all__ = ["Separator", "__version__"]

if TYPE_CHECKING:
    from separator.tasks.separation.files import Separator


def __getattr__(name: str) -> Any:
    # torch is imported with the first use, so that `separate --help` answers at once.
    if name == "Separator":
        return import_module("separator.tasks.separation.files").Separator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
