"""Model files: weights and thresholds in safetensors, everything else in its metadata (see `separator.models.card`)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from separator.atomic import atomic_path
from separator.errors import UserError
from separator.models.card import ModelCard, card_of, find_model, split_steps
from separator.models.feedforward import FeedForward
from separator.models.format.cost import TooCostlyError
from separator.models.format.header import read_header
from separator.models.format.legacy import present_names
from separator.models.format.schema import CONFIGS, Schema, schema_of, specs_of
from separator.models.format.text import shown
from separator.models.shifted import ShiftedStream
from separator.models.streaming import TasNetStream
from separator.models.tasnet import TasNet, TasNetConfig

Network = TasNet | FeedForward


@dataclass(frozen=True)
class SeparationModel:
    """A network ready to separate, and what is known about it."""

    network: TasNet  # in evaluation mode; (B, T) -> (B, n_src, T) at `card.sample_rate`
    card: ModelCard

    def stream(self, live: bool = False, shifts: int = 1) -> TasNetStream | ShiftedStream:
        """Run the network on a mixture that comes piece by piece.

        Args:
            live: in small pieces.
            shifts: delays of the mixture that estimates are averaged over.

        Raises:
            UserError: the network does not take so many shifts.
        """
        return TasNetStream(self.network, live) if shifts == 1 else ShiftedStream(self.network, shifts)


def load_model(name_or_path: str | Path, device: str | torch.device = "cpu", window: int | None = None) -> SeparationModel:
    """Load a shipped model by name, or a model file, that separates.

    Args:
        name_or_path: such as "small-snn", or a path; "small-snn@8" for 8 time steps.
        device: where the network shall run.
        window: simulate a spiking model with another time window than its own, or than its name says.

    Raises:
        UserError: no such model, or one that does something else; a damaged, foreign or newer file; a time window that the
            model cannot have.
    """
    network, card = load_network(name_or_path, device, window)
    if not isinstance(network, TasNet):
        raise UserError(f"{name_or_path} holds a network for images ({card.architecture}), not one that separates talkers")
    return SeparationModel(network, card)


def load_network(
    name_or_path: str | Path, device: str | torch.device = "cpu", window: int | None = None
) -> tuple[Network, ModelCard]:
    """A network of any architecture, in evaluation mode, and its card; see `load_model`."""
    whole = Path(name_or_path).is_file()
    name, named_steps = (name_or_path, None) if whole else split_steps(str(name_or_path))
    path = find_model(name)
    header = read_header(path)
    card = card_of(header, path)
    if card.architecture not in CONFIGS:
        raise UserError(
            f"{path} has the architecture '{shown(card.architecture)}', which this version does not know; update it"
        )
    try:
        schema = schema_of(card)
        schema.check_specs(present_names(header.tensors, card.format))
        tensors = present_names(load_file(path), card.format)
        schema.check_specs(specs_of(tensors))  # as read, not only as announced
        schema.check_values(tensors)
        network = build(schema, tensors)
        network.load_state_dict(tensors)
    except TooCostlyError as error:
        raise UserError(f"{path} describes a network that is not run: it asks for {error}; take another model") from error
    except (SafetensorError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, UserError) as error:
        reason = shown((str(error).splitlines() or [type(error).__name__])[0])
        raise UserError(f"{path} does not hold the network that it describes ({reason}); get it again") from error
    window = named_steps if window is None else window
    if window is not None:
        card = _with_window(network, card, window)
    return network.to(device).eval().requires_grad_(False), card


def build(schema: Schema, tensors: Mapping[str, Tensor]) -> Network:
    """The network that `schema` is of, spiking layers made of `tensors`, which have been held against it.

    Raises:
        UserError: numbers of a spiking layer are out of their ranges.
    """
    config = schema.config
    network: Network = TasNet(config) if isinstance(config, TasNetConfig) else FeedForward(config)
    if schema.dynamics is not None and schema.readout is not None:
        network.stack.set_readout(schema.readout)
        network.stack.restore(len(network.stack.layers), schema.dynamics, tensors, "stack.")
    return network


def save_model(path: str | Path, network: Network, card: ModelCard, kept_as: torch.dtype | None = None) -> None:
    """Write a model file, whole or not at all.

    Args:
        path: the file.
        network: analog or wholly spiking.
        card: what is known about it.
        kept_as: type of the floating-point numbers in the file, for analog networks; None for their own.

    Raises:
        UserError: the file cannot be written.
        ValueError: the network is converted in part only, or its card says another kind.
    """
    converted = network.stack.converted
    if converted not in (0, len(network.stack.layers)) or (converted > 0) != (card.kind == "snn"):
        raise ValueError(f"a network with {converted} spiking layers is not what its card says ({card.kind})")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if kept_as is not None:
        tensors = {name: x.to(kept_as) if x.is_floating_point() else x for name, x in tensors.items()}
    with atomic_path(path) as temporary:
        # Not `save_file`: a full disk is no OSError there, and none but the owner may read its files.
        temporary.write_bytes(save(tensors, card.to_metadata()))


def _with_window(network: Network, card: ModelCard, window: int) -> ModelCard:
    if card.conversion is None:
        raise UserError(f"{card.name} is an analog network and has no time steps; give none")
    network.stack.set_window(window)
    return replace(card, conversion=card.conversion | {"window": window})
