"""Task of a network that separates: negative SI-SDR of the best permutation, and how much it gains on the mixture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from separator.tasks.problems.protocol import Score, device_of

if TYPE_CHECKING:
    from asteroid.losses import PITLossWrapper


def mixture_and_sources(batch: Tensor, n_src: int) -> tuple[Tensor, Tensor]:
    """Mixtures and what to find in them, of a batch of rows that add up to the mixtures.

    Args:
        batch: sources, (B, n_src, T), or sources and noise, (B, n_src + 1, T).
        n_src: talkers.

    Returns:
        Mixtures (B, T) and sources (B, n_src, T).
    """
    return batch.sum(1), batch[:, :n_src]


def pit_loss() -> "PITLossWrapper":
    """Negative SI-SDR in dB of the best permutation, zero mean; call with (B, C, T) estimates and sources."""
    from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr

    return PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")


def improvement(loss: Tensor, mixture: Tensor, sources: Tensor) -> Tensor:
    """SI-SDRi in dB of a PIT loss (scalar) over the unprocessed mixture as every estimate. Shapes: (B, T), (B, C, T)."""
    from asteroid.losses import pairwise_neg_sisdr

    unprocessed = pairwise_neg_sisdr(mixture[:, None].expand_as(sources), sources)  # (B, C, C), all estimates alike
    gain: Tensor = unprocessed.mean() - loss
    return gain


@dataclass(frozen=True)
class SeparationObjective:
    """Find the talkers of mixtures; batches are sources, or sources and noise, as `mixture_and_sources` takes them."""

    n_src: int = 2
    sample_rate: int = 8000  # Hz
    score: ClassVar[Score] = Score("SI-SDRi (dB)", 2)

    def inputs(self, batch: Tensor) -> Tensor:
        """Mixtures, (B, T)."""
        return mixture_and_sources(batch, self.n_src)[0]

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        """Negative SI-SDR in dB."""
        return self._loss(network, batch)[0]

    def measure(self, network: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Negative SI-SDR, and SI-SDRi, in dB."""
        loss, mixture, sources = self._loss(network, batch)
        return loss, improvement(loss.detach(), mixture, sources)

    def upstream(self, network: nn.Module) -> Sequence[nn.Module]:
        """The encoder, and the normalisation of what it gives."""
        return [network.get_submodule("encoder"), network.get_submodule("norm")]

    def seconds(self, batch: Tensor) -> float:
        """Seconds of the mixtures."""
        return batch[:, 0].numel() / self.sample_rate

    def _loss(self, network: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mixture, sources = mixture_and_sources(batch.to(device_of(network)), self.n_src)
        estimates = network(mixture).float()
        with torch.autocast(estimates.device.type, enabled=False):  # bfloat16 tells losses apart in steps of 1/16 dB
            loss: Tensor = self._pit(estimates, sources)
        return loss, mixture, sources

    @cached_property
    def _pit(self) -> "PITLossWrapper":
        return pit_loss()
