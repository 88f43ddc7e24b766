"""What a model file says about itself: JSON in the header of a safetensors file, read without loading torch."""

import json
import re
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from separator.errors import UserError
from separator.version import __version__

FORMAT = 2  # of metadata and tensors; a file with a higher one was written by a later version
KEY = "separator"  # of our JSON in the safetensors metadata
SHIPPED = Path(__file__).parent / "shipped"
DEFAULT_MODEL = "small-snn"
DEFAULT_LIVE_MODEL = "small-causal-snn"
MAX_HEADER = 100_000_000  # bytes, as safetensors itself allows


@dataclass(frozen=True)
class ModelCard:
    """Architecture, conversion, provenance and scores of a model."""

    name: str
    config: dict[str, Any]  # sizes of the network, see TasNetConfig or FeedForwardConfig
    conversion: dict[str, Any] | None = None  # window, start, readout, ... of a spiking network; None for an analog one
    description: str = ""  # one line
    training_data: str = ""
    licence: str = ""
    scores: dict[str, Any] = field(default_factory=dict)
    gain: float | None = None  # brings the network's output to the mixture's level, on average; None if it was not measured
    architecture: str = "tasnet"
    version: str = __version__  # of the program that wrote it
    format: int = FORMAT

    @property
    def kind(self) -> Literal["ann", "snn"]:
        """Whether the network is analog or spiking."""
        return "ann" if self.conversion is None else "snn"

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz of what the network separates."""
        return int(self.config["sample_rate"])

    @property
    def causal(self) -> bool:
        """Whether the network sees no frame that is to come."""
        return bool(self.config.get("causal", False))

    @property
    def n_src(self) -> int:
        """Talkers that it separates."""
        return int(self.config["n_src"])

    @property
    def time_steps(self) -> int | None:
        """Time window N_s of a spiking network."""
        return None if self.conversion is None else int(self.conversion["window"])

    def to_metadata(self) -> dict[str, str]:
        """Metadata of a safetensors file."""
        return {KEY: json.dumps(asdict(self))}


def read_card(path: Path) -> ModelCard:
    """Card of a model file, from its header alone.

    Raises:
        UserError: the file is missing, damaged, not a model of this program, or of a later version of it.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, MAX_HEADER):
                raise ValueError("its header is cut short")
            header = json.loads(file.read(length))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        if 8 + length + end != size:
            raise ValueError(f"it has {size} bytes where its header says {8 + length + end}")
    except OSError as error:
        raise UserError(f"cannot read the model {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UserError(f"{path} is not a model file, or a damaged one ({error}); get it again") from error
    try:
        values = json.loads(header["__metadata__"][KEY])
        found = values["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is a safetensors file, but not a model of this program") from error
    if found > FORMAT:
        raise UserError(f"{path} was written by version {values.get('version')} in format {found}; update this program")
    if found < FORMAT:
        raise UserError(f"{path} is in format {found}, which this version no longer reads; get it again or train it anew")
    try:
        card = ModelCard(**values)
        _ = card.time_steps
        if card.architecture == "tasnet":
            _ = card.sample_rate, card.n_src
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} has damaged metadata ({error}); get it again") from error
    return card


def split_steps(text: str) -> tuple[str, int | None]:
    """Model and time steps of `MODEL@STEPS`, of which the second part may be missing."""
    steps = re.fullmatch(r"(.+)@(\d+)", text)
    return (steps[1], int(steps[2])) if steps else (text, None)


def shipped_path(name: str) -> Path:
    """File of a shipped model."""
    return SHIPPED / f"{name}.safetensors"


def list_models() -> list[ModelCard]:
    """Cards of the shipped models, the default one first."""
    cards = [read_card(path) for path in sorted(SHIPPED.glob("*.safetensors"))]
    return sorted(cards, key=lambda card: (card.name != DEFAULT_MODEL, card.name))


def find_model(name_or_path: str | Path) -> Path:
    """File of a shipped model by name, or the file itself.

    Raises:
        UserError: there is no such model; the message lists the shipped ones.
    """
    shipped = shipped_path(str(name_or_path))
    if shipped.parent == SHIPPED and shipped.is_file():
        return shipped
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    names = ", ".join(card.name for card in list_models())
    raise UserError(f"no model '{name_or_path}': give the path of a model file or one of the shipped models ({names})")
