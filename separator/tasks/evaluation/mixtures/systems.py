"""Systems that can be scored: models, estimate files on disk, and the unprocessed mixture."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from separator.corpora.mixtures import Mixture
from separator.errors import UserError
from separator.models.shifted import ShiftedStream
from separator.tasks.evaluation.mixtures.operations import activity_rows
from separator.tasks.evaluation.mixtures.scoring import read_signal
from separator.tasks.fingerprints import files_fingerprint

if TYPE_CHECKING:
    from separator.models import SeparationModel

UNPROCESSED = "mixture"
Estimates = NDArray[np.float32] | tuple[Path, ...] | None  # as a ScoringJob takes them


class System(Protocol):
    """One row of the table."""

    @property
    def name(self) -> str:
        """Name of the system in the table."""

    def fingerprint(self, condition: str, mixture: Mixture) -> str:
        """Changes when the estimates of a mixture may have changed, so that scores of former ones are not kept.

        Raises:
            UserError: there is nothing to score.
        """

    def estimate(self, condition: str, mixture: Mixture, count: bool) -> tuple[Estimates, list[dict[str, object]]]:
        """Estimates of a mixture, and rows of operations where `count` asks for them and the system has any."""


@dataclass(frozen=True)
class Unprocessed:
    """The mixture itself in each estimate's place: what any system must beat."""

    name: str = UNPROCESSED

    def fingerprint(self, condition: str, mixture: Mixture) -> str:
        """Nothing but the mixture counts."""
        return ""

    def estimate(self, condition: str, mixture: Mixture, count: bool) -> tuple[Estimates, list[dict[str, object]]]:
        """No estimates: the mixture stands for them."""
        return None, []


@dataclass(frozen=True)
class EstimateFiles:
    """Sound files made elsewhere: `ID_s1.wav` as `separate` writes them, or `s1/ID.wav` as in a set of mixtures.

    They lie in `folder/CONDITION`, or in `folder` where there is no such folder.
    """

    name: str
    folder: Path

    def fingerprint(self, condition: str, mixture: Mixture) -> str:
        """Names, sizes and times of the files.

        Raises:
            UserError: a file is missing.
        """
        return files_fingerprint(self.files(condition, mixture))

    def estimate(self, condition: str, mixture: Mixture, count: bool) -> tuple[Estimates, list[dict[str, object]]]:
        """The files of a mixture."""
        return self.files(condition, mixture), []

    def files(self, condition: str, mixture: Mixture) -> tuple[Path, ...]:
        """Estimate files of a mixture, in whatever order of the talkers.

        Raises:
            UserError: a file is missing.
        """
        folder = self.folder / condition if (self.folder / condition).is_dir() else self.folder
        numbers = range(1, len(mixture.sources) + 1)
        beside = tuple(folder / f"{mixture.id}_s{number}.wav" for number in numbers)
        apart = tuple(folder / f"s{number}" / f"{mixture.id}.wav" for number in numbers)
        for paths in (beside, apart):
            if all(path.is_file() for path in paths):
                return paths
        raise UserError(
            f"no estimates of {mixture.id} by {self.name}: neither {beside[0]} nor {apart[0]} is there with all sources"
        )


@dataclass(frozen=True)
class ModelSystem:
    """A network fed whole mixtures."""

    name: str
    model: "SeparationModel"
    device: str = "cpu"
    shifts: int = 1  # delays of the mixture that estimates are averaged over

    def fingerprint(self, condition: str, mixture: Mixture) -> str:
        """SHA-256 of all that the network is made of."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        shifts = "" if self.shifts == 1 else f" {self.shifts} shifts"
        digest = hashlib.sha256(f"{self.model.card.config} {self.model.card.conversion}{shifts}".encode())
        for name, tensor in sorted(self.model.network.state_dict().items()):
            digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        return digest.hexdigest()

    def estimate(self, condition: str, mixture: Mixture, count: bool) -> tuple[Estimates, list[dict[str, object]]]:
        """Separate a mixture, shape (n_src, T); count the operations of a spiking network.

        Raises:
            UserError: the mixture cannot be read or has another sample rate than the model.
        """
        samples, rate = read_signal(mixture.mixture)
        if rate != self.model.card.sample_rate:
            expected = self.model.card.sample_rate
            raise UserError(f"{mixture.mixture} has {rate} Hz, {self.name} works at {expected} Hz: take mixtures of that rate")
        wave = torch.from_numpy(samples).to(self.device)[None]
        if not (count and self.model.card.kind == "snn"):
            return self._run(wave), []
        from separator.snn.observe.activity import record_activity

        with record_activity(self.model.network) as activity:
            return self._run(wave), activity_rows(activity)

    def spikes(self) -> dict[str, int]:
        """Of a spiking network, the time steps until its result is there, and the bits that a spike takes; else nothing."""
        stack = self.model.network.stack
        if self.model.card.kind != "snn" or stack.latency is None:
            return {}
        return {"latency_steps": stack.latency, "bits_per_spike": stack.spiking_layers()[0].neuron.bits}

    def _run(self, wave: torch.Tensor) -> NDArray[np.float32]:
        network = self.model.network
        with torch.no_grad():
            if self.shifts == 1:
                estimates = network(wave)
            else:  # of whole mixtures, too, so that operations are counted alike
                estimates = ShiftedStream(network, self.shifts, lambda copies, last: network(copies)).push(wave, last=True)
        samples: NDArray[np.float32] = estimates[0].float().cpu().numpy()
        return samples


def analog_twins(systems: Sequence[System]) -> dict[str, str]:
    """Of each spiking network the analog one that was listed last before it, which it is taken to be converted from."""
    twins: dict[str, str] = {}
    analog: str | None = None
    for system in systems:
        if not isinstance(system, ModelSystem):
            continue
        if system.model.card.kind == "ann":
            analog = system.name
        elif analog is not None:
            twins[system.name] = analog
    return twins
