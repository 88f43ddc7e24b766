"""Separation of talkers as a problem to be learned."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.files import Network
from separator.models.format.cost import HIGHEST_RATE, LOWEST_RATE
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.problems.levels import output_gain
from separator.tasks.problems.mixture_data import DataSettings, MixtureData
from separator.tasks.problems.protocol import Findings, device_of, parameters_text
from separator.tasks.problems.separation_loss import SeparationObjective


@dataclass(frozen=True)
class Speech:
    """Two talkers or more in a mixture, each to be given back by itself."""

    data: DataSettings
    network: TasNetConfig = field(default_factory=TasNetConfig)

    name: ClassVar[str] = "speech"
    defaults: ClassVar[dict[str, dict[str, Any]]] = {}
    of_the_machine: ClassVar[tuple[str, ...]] = ("data.workers", "data.cache", "data.mixing")
    of_the_scores: ClassVar[tuple[str, ...]] = ()
    of_the_result: ClassVar[tuple[str, ...]] = ()
    in_segments: ClassVar[bool] = False
    has_sound: ClassVar[bool] = True

    @property
    def unshared(self) -> str:
        """A device that makes its mixtures has them for itself."""
        return "mixtures are made on the device by one alone (--data.mixing)" if self.data.mixing == "device" else ""

    @property
    def objective(self) -> SeparationObjective:
        """Negative SI-SDR, permutation invariant."""
        return SeparationObjective(self.network.n_src, self.network.sample_rate)

    @staticmethod
    def usual_network() -> TasNetConfig:
        """Sizes where none are given."""
        return TasNetConfig()

    def new_network(self) -> TasNet:
        """A network of these sizes.

        Raises:
            UserError: it is for a sample rate that no model file may have.
        """
        rate = self.network.sample_rate
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise UserError(f"network.sample_rate is {LOWEST_RATE} to {HIGHEST_RATE} Hz, not {rate}")
        return TasNet(self.network)

    def of_model(self, network: Network, card: ModelCard) -> "Speech":
        """The same problem for a model's network.

        Raises:
            UserError: it does not separate.
        """
        if not isinstance(network, TasNet):
            raise UserError(f"{card.name} is no network that separates talkers ({card.architecture}); give one, or --problem")
        return replace(self, network=network.config)

    def open(self, network: Network, seed: int, device: str | torch.device = "cpu", first_epoch: int = 0) -> MixtureData:
        """Mixtures, which are read or made once they are wanted; batches lie on the CPU, but for those made on the device."""
        return MixtureData(self.data, self.network, seed, first_epoch, device)

    def describe(self, network: Network) -> str:
        """Size and receptive field."""
        seconds = self.network.receptive_field / self.network.sample_rate
        return f"{parameters_text(network)}, receptive field {seconds:.2f} s"

    def findings(self, network: Network, data: MixtureData) -> Findings:
        """The gain that brings its output to the level of the dev mixtures, and what it has learned from."""
        gain = output_gain(network, data.dev_loader(), self.network.n_src, str(device_of(network)))
        return Findings(gain=gain, training_data=data.origin)

    @torch.no_grad()
    def result(self, network: Network, card: ModelCard, data: MixtureData) -> float:
        """SI-SDRi in dB, the mean over the dev mixtures."""
        network.eval()
        scores = [(len(batch), float(self.objective.measure(network, batch)[1])) for batch in data.dev_loader()]
        return sum(size * score for size, score in scores) / sum(size for size, _ in scores)
