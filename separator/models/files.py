"""Model files: weights and thresholds in safetensors, everything else in its metadata (see `separator.models.card`)."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from separator.atomic import atomic_path
from separator.errors import UserError
from separator.models.card import ModelCard, find_model, read_card
from separator.models.streaming import TasNetStream
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.spiking import Dynamics


@dataclass(frozen=True)
class SeparationModel:
    """A network ready to separate, and what is known about it."""

    network: TasNet  # in evaluation mode; (B, T) -> (B, n_src, T) at `card.sample_rate`
    card: ModelCard

    def stream(self) -> TasNetStream:
        """Run the network on a mixture that comes piece by piece."""
        return TasNetStream(self.network)


def load_model(name_or_path: str | Path, device: str | torch.device = "cpu", time_steps: int | None = None) -> SeparationModel:
    """Load a shipped model by name, or a model file.

    Args:
        name_or_path: such as "small-snn", or a path.
        device: where the network shall run.
        time_steps: simulate a spiking model with another time window than its own.

    Raises:
        UserError: no such model; a damaged, foreign or newer file; a time window that the model cannot have.
    """
    path = find_model(name_or_path)
    card = read_card(path)
    if card.architecture != "tasnet":
        raise UserError(f"{path} has the architecture '{card.architecture}', which this version does not know; update it")
    try:
        tensors = load_file(path)
        network = build(card, tensors)
        network.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} does not hold the network that it describes ({reason}); get it again") from error
    if time_steps is not None:
        card = _with_time_steps(network, card, time_steps)
    return SeparationModel(network.to(device).eval().requires_grad_(False), card)


def build(card: ModelCard, tensors: dict[str, Tensor]) -> TasNet:
    """The network that `card` describes, spiking stages shaped by `tensors`.

    Raises:
        KeyError, TypeError, ValueError, UserError: the card is damaged.
    """
    network = TasNet(TasNetConfig(**card.config))
    if card.conversion is not None:
        network.stack.readout = card.conversion["readout"]
        numbers = {name: card.conversion[name] for name in ("window", "start", "schedule")}
        dynamics = Dynamics(**numbers, weight_bits=card.conversion.get("weight_bits"))
        network.stack.restore(len(network.stack.stages), dynamics, tensors, "stack.")
    return network


def save_model(path: str | Path, network: TasNet, card: ModelCard) -> None:
    """Write a model file, whole or not at all.

    Raises:
        UserError: the file cannot be written.
        ValueError: the network is converted in part only, or its card says another kind.
    """
    converted = network.stack.converted
    if converted not in (0, len(network.stack.stages)) or (converted > 0) != (card.kind == "snn"):
        raise ValueError(f"a network with {converted} spiking stages is not what its card says ({card.kind})")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, card.to_metadata())


def _with_time_steps(network: TasNet, card: ModelCard, time_steps: int) -> ModelCard:
    if card.conversion is None:
        raise UserError(f"{card.name} is an analog network and has no time steps; leave --time-steps out")
    network.stack.set_window(time_steps)
    return replace(card, conversion=card.conversion | {"window": time_steps})
