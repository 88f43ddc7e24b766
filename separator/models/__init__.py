"""Networks that separate, and the files they are kept in."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from separator.models.card import DEFAULT_LIVE_MODEL, DEFAULT_MODEL, ModelCard, list_models

if TYPE_CHECKING:
    from separator.models.files import SeparationModel, load_model, save_model

__all__ = ["DEFAULT_LIVE_MODEL", "DEFAULT_MODEL", "ModelCard", "SeparationModel", "list_models", "load_model", "save_model"]


def __getattr__(name: str) -> Any:
    # What needs torch is imported with its first use: listing models does not.
    if name in __all__:
        return getattr(import_module("separator.models.files"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
