"""Card of a model file, which says what it is: JSON in the header of a safetensors file, read without loading torch."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from separator.errors import UserError
from separator.models.format.header import Header, read_header
from separator.models.format.legacy import OLDEST, present_card
from separator.models.format.text import all_printable, shown
from separator.models.format.typed import check_type, made_of
from separator.version import __version__

FORMAT = 3  # of metadata and tensors; a file with a higher one was written by a later version
KEY = "separator"  # of our JSON in the safetensors metadata
SHIPPED = Path(__file__).parent / "shipped"
DEFAULT_MODEL = "medium-snn"
DEFAULT_LIVE_MODEL = "small-causal-snn"
MOST_GAIN = 1e9
# What a network for images is for: telling classes apart (cross entropy), or giving back what it sees (mean square error).
Goal = Literal["classify", "reconstruct"]
# Of the scores, those that the program itself goes by.
KNOWN_SCORES: dict[str, Any] = {"epochs": int, "hours": float, "history": list[dict[str, float]], "goal": Goal}


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
        """Kind of the network, analog or spiking."""
        return "ann" if self.conversion is None else "snn"

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz of what the network separates."""
        return int(self.config["sample_rate"])

    @property
    def causal(self) -> bool:
        """True where the network sees no frame that is to come."""
        return bool(self.config.get("causal", False))

    @property
    def n_src(self) -> int:
        """Talkers that it separates."""
        return int(self.config["n_src"])

    @property
    def window(self) -> int | None:
        """Time window N_s of a spiking network."""
        return None if self.conversion is None else int(self.conversion["window"])

    @property
    def goal(self) -> Goal:
        """Goal that a network for images learned.

        Raises:
            UserError: the card does not say.
        """
        if "goal" not in self.scores:
            raise UserError(f"the card of {self.name} does not say what the network was trained to do; train it anew")
        goal: Goal = self.scores["goal"]
        return goal

    def to_metadata(self) -> dict[str, str]:
        """Metadata of a safetensors file."""
        return {KEY: json.dumps(asdict(self))}


def read_card(path: Path) -> ModelCard:
    """Card of a model file, from its header alone; its texts are printable, see `separator.models.format.text`.

    Raises:
        UserError: the file is missing, damaged, not a model of this program, or of a later version of it.
    """
    return card_of(read_header(path), path)


def card_of(header: Header, path: Path) -> ModelCard:
    """Card in the header of `path`; see `read_card`."""
    try:
        text = header.metadata[KEY]
        values = all_printable(json.loads(text))
        found = values["format"]
        check_type("format", found, int)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is a safetensors file, but not a model of this program") from error
    if found > FORMAT:
        version = shown(values.get("version"))
        raise UserError(f"{path} was written by version {version} in format {found}; update this program")
    if found < OLDEST:
        raise UserError(f"{path} is in format {found}, which this version no longer reads; get it again or train it anew")
    try:
        card = made_of(ModelCard, present_card(values, found))
        _check(card)
    except ValueError as error:
        raise UserError(f"{path} has damaged metadata ({shown(str(error))}); get it again") from error
    return card


def _check(card: ModelCard) -> None:
    """Refuse what a card's properties, and those who list models or train one further, cannot use."""
    if card.conversion is not None:
        check_type("window", card.conversion.get("window"), int)
    if card.architecture == "tasnet":
        for name in ("sample_rate", "n_src"):
            check_type(name, card.config.get(name), int)
    if card.gain is not None and not 0 < card.gain <= MOST_GAIN:
        raise ValueError(f"gain is above 0 and at most {MOST_GAIN:g}, not {card.gain:g}")
    for name in KNOWN_SCORES.keys() & card.scores.keys():
        check_type(name, card.scores[name], KNOWN_SCORES[name])


def split_steps(text: str) -> tuple[str, int | None]:
    """Model and time steps of `MODEL@WINDOW`, of which the second part may be missing."""
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
