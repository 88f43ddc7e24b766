"""Protocols of a problem: what training, conversion, sweeps and evaluation ask of it, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from separator.models.card import ModelCard
from separator.models.files import Network


class Batches(Protocol):
    """Batches that can be gone through again; each time they have the same content in the same order."""

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Score:
    """Measure that results are given in."""

    title: str  # with its scale, such as accuracy (%)
    decimals: int
    higher: bool = True  # is better

    @property
    def column(self) -> str:
        """Its name in a table, without the scale."""
        return "_".join(self.title.partition(" (")[0].split())


class Objective(Protocol):
    """Task of a network with a batch."""

    @property
    def score(self) -> Score:
        """Score that `measure` gives beside the loss."""

    def inputs(self, batch: Any) -> Tensor:
        """Part of a batch that the network gets, (B, ...)."""

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Loss, which is minimised, a scalar; the batch may be on another device than the network."""

    def measure(self, network: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Loss and score of one pass, scalars; gradients go through the loss only."""

    def upstream(self, network: nn.Module) -> Sequence[nn.Module]:
        """Modules whose output reaches the network's stack."""

    def seconds(self, batch: Any) -> float:
        """Seconds of sound in a batch; 0 where there is none."""


class Data(Protocol):
    """Data that a network learns from and is looked at on."""

    def train(self, epoch: int) -> Batches:
        """Batches of an epoch of training, other ones in each."""

    @property
    def epoch_seconds(self) -> float:
        """Seconds of sound in an epoch of training; 0 where there is none."""

    def layer(self, layer: int) -> Batches:
        """Batches of a layer of a conversion, counted on through the passes."""

    def calibration(self, batches: int) -> Iterable[Any]:
        """So many batches like those of training, the same ones each time."""

    def dev(self) -> Mapping[str, Batches]:
        """Held-out batches, by name; networks are chosen by the first, `dev`."""

    def watched(self) -> Mapping[str, Batches]:
        """Batches that conversions are scored on after each epoch beside the dev batches; nothing is chosen by it."""

    def counted(self) -> Iterable[Any]:
        """A few batches that operations are counted on."""


@dataclass(frozen=True)
class Findings:
    """Facts that a card states of a network that has learned, beside its sizes."""

    scores: Mapping[str, Any] = field(default_factory=dict)
    gain: float | None = None  # of the output; see `ModelCard`
    training_data: str = ""  # where the settings do not say


class Problem(Protocol):
    """Something to be learned: a frozen dataclass of its settings, each of which is a group of options of the commands."""

    name: ClassVar[str]  # as in the registry
    # Values of other groups of settings that are usual here, where they are not the usual ones.
    defaults: ClassVar[Mapping[str, Mapping[str, Any]]]
    # Settings, by dotted name, of the machine alone: a run goes on under others. And those that only matter for scores:
    # networks trained under others are the same.
    of_the_machine: ClassVar[tuple[str, ...]]
    of_the_scores: ClassVar[tuple[str, ...]]
    # Of these, those that tell which items the result is of.
    of_the_result: ClassVar[tuple[str, ...]]
    in_segments: ClassVar[bool]  # whether the objective tells a loss at the end of each segment that a network learns in
    has_sound: ClassVar[bool]  # whether batches are of sound, the hours of which are counted

    @property
    def unshared(self) -> str:
        """Why several devices cannot share an epoch; empty if they can."""

    @property
    def data(self) -> Any:
        """Settings of the data to learn from, a dataclass."""

    @property
    def network(self) -> Any:
        """Sizes of new networks, a dataclass."""

    @property
    def objective(self) -> Objective:
        """Task of the networks."""

    @staticmethod
    def usual_network() -> Any:
        """Sizes where none are given."""

    def new_network(self) -> Network:
        """A network that has learned nothing."""

    def of_model(self, network: Network, card: ModelCard) -> Self:
        """The same problem for a model's network.

        Raises:
            UserError: it is a network of another problem.
        """

    def open(self, network: Network, seed: int, device: str | torch.device = "cpu", first_epoch: int = 0) -> Data:
        """The data for a network.

        Args:
            network: that shall learn.
            seed: of order and variation.
            device: where batches come to lie, if it is for the data to say.
            first_epoch: epochs that the network has learned already.

        Raises:
            UserError: the data cannot be read, or the network does not fit them.
        """

    def describe(self, network: Network) -> str:
        """The size of a network in one line."""

    def findings(self, network: Network, data: Any) -> Findings:
        """Facts that a card states of a network, which is in evaluation mode."""

    def result(self, network: Network, card: ModelCard, data: Any) -> float:
        """The score that sweeps compare models by."""


def device_of(network: nn.Module) -> torch.device:
    """Device that a network is on."""
    tensor = next(network.parameters(), None)
    return next(network.buffers()).device if tensor is None else tensor.device


def parameters_text(network: nn.Module) -> str:
    """Number of parameters, for people."""
    return f"{sum(p.numel() for p in network.parameters()):,} parameters"
