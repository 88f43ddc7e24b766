"""Input codings: what the neurons of the first layer get of an analog input, step by step."""

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import ClassVar

from torch import Tensor

from separator.snn.spikes.trains import Spikes


class CurrentCoding(ABC):
    """The first layer's neurons get the analog pre-activation in shares, rounded to their quanta once a share."""

    at_once: ClassVar[bool] = False  # whether all of it comes at the first step
    steady: ClassVar[bool] = False  # whether it is the same at every step

    @abstractmethod
    def share(self, t: int, window: int) -> Fraction:
        """Share of the charge that comes at step t; those of all N_s steps sum up to 1."""


class SpikeCoding(ABC):
    """The input itself is made spikes, which reach the first layer through synapses like those of all others."""

    @abstractmethod
    def scale(self, window: int) -> float:
        """Amount of the input that a spike stands for: the sum of the spikes of a train times it comes to the input."""

    @abstractmethod
    def present(self, x: Tensor, window: int, first: int, steps: int) -> Spikes:
        """Spikes of `steps` steps from step `first` on, of a run of N_s. Shape: (B, ...)."""

    def drawn_anew(self, seed: int) -> "SpikeCoding":
        """The same coding with other random numbers, for learning; itself where nothing is random."""
        return self


InputCoding = CurrentCoding | SpikeCoding


class Charge(CurrentCoding):
    """All of it at the first step (Wu et al. 2021, section 3.4)."""

    at_once = True

    def share(self, t: int, window: int) -> Fraction:
        """1 at the first step, then 0."""
        return Fraction(int(t == 0))


class Constant(CurrentCoding):
    """The same current at every step."""

    steady = True

    def share(self, t: int, window: int) -> Fraction:
        """1 / N_s."""
        return Fraction(1, window)
