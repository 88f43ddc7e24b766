"""Readouts: what the last layer gives to what comes behind the stack."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from separator.snn.registry import Registry


class Readout(ABC):
    """A way to read the last layer."""

    fires: ClassVar[bool] = False  # whether its neurons fire, and counts are read, not free potentials

    @abstractmethod
    def read(self, activation: Tensor) -> Tensor:
        """Output, from the activation that potential or counts stand for, in its units. Shape: (B, ...)."""


class Potential(Readout):
    """The free aggregate membrane potential as it is (Wu et al. 2021, Eq. 9)."""

    def read(self, activation: Tensor) -> Tensor:
        """As it is."""
        return activation


class Rectified(Potential):
    """The same, rectified as the analog network's activation is."""

    def read(self, activation: Tensor) -> Tensor:
        """Not below 0."""
        return activation.relu()


class Counts(Potential):
    """Spike counts times thresholds: rates, as far as the last layer is concerned."""

    fires = True


READOUTS: Registry[Readout] = Registry("readout", {"potential": Potential(), "rectified": Rectified(), "counts": Counts()})
