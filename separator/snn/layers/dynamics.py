"""Settings that the neurons of a stack run by."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from separator.errors import UserError
from separator.ranges import is_number, is_whole
from separator.snn.coding.inputs import CurrentCoding, InputCoding, SpikeCoding
from separator.snn.coding.registry import coding_of
from separator.snn.neurons.neuron import Neuron
from separator.snn.neurons.registry import neuron_of
from separator.snn.spikes.trains import LONGEST

# What a layer does in the spiking network: one that encodes gets analog input, one that is read out never fires.
Role = Literal["encode", "fire", "readout"]

# When a layer fires: while its input arrives (as published; the result is there after N_s steps), or once all of its input is
# in (no spike comes too early, so that counts are exact; the result is there after N_s steps per layer, and as many for an
# input of spikes).
Schedule = Literal["pipelined", "layer-by-layer"]

# Time steps of a run, at most: the potentials of 32 steps are below 2^23 quanta, so that those of so many are below 2^31.
MOST_STEPS = 2**8 * LONGEST
LEAST_BITS, MOST_BITS = 2, 16  # of weights as signed integers
COMMON = 16  # coefficients of augmented spikes, at most, that most neurons' spikes have


@dataclass(frozen=True)
class Dynamics:
    """Settings that the neurons of a stack run by."""

    window: int  # time steps N_s; beyond 32, windows are chained, states carried from one to the next
    initial_potential: float = 0.0  # in thresholds
    schedule: Schedule = "pipelined"
    weight_bits: int | None = None  # of weights as signed integers; None for as many as sums stay exact with
    encoder_bits: int = 16  # of the weights of the layer that encodes
    neuron: str = "integrate-and-fire"  # see `separator.snn.neurons.registry`
    neuron_options: dict[str, float] = field(default_factory=dict)
    coding: str = "charge"  # of the input; see `separator.snn.coding.registry`
    coding_options: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_whole(self.window):
            raise UserError(f"a time window is a whole number of steps, not {self.window}")
        if not 1 <= self.window <= MOST_STEPS:
            raise UserError(f"the time window is 1 to {MOST_STEPS} steps, not {self.window}")
        if self.schedule not in get_args(Schedule):
            raise UserError(f"there is no schedule '{self.schedule}'; take one of {', '.join(get_args(Schedule))}")
        if self.window > LONGEST and self.schedule != "pipelined":
            raise UserError(f"layers that wait for all of their input run for at most {LONGEST} steps, not {self.window}")
        if not (is_number(self.initial_potential) and 0 <= self.initial_potential < 1):
            raise UserError(f"the initial potential is 0 to below 1 threshold, not {self.initial_potential}")
        if self.weight_bits is not None and not (is_whole(self.weight_bits) and LEAST_BITS <= self.weight_bits <= MOST_BITS):
            raise UserError(f"weights have {LEAST_BITS} to {MOST_BITS} bits, not {self.weight_bits}")
        if not (is_whole(self.encoder_bits) and LEAST_BITS <= self.encoder_bits <= MOST_BITS):
            raise UserError(f"weights of the encoding layer have {LEAST_BITS} to {MOST_BITS} bits, not {self.encoder_bits}")
        coding = self.input_coding
        charged_once = not isinstance(coding, CurrentCoding) or coding.at_once
        if self.model.waits and not (self.schedule == "layer-by-layer" and charged_once):
            raise UserError(
                f"neurons of the model '{self.neuron}' fire once all of their input is in; give the schedule layer-by-layer"
                + ("" if charged_once else " and the coding charge")
            )

    @property
    def model(self) -> Neuron:
        """The neuron model."""
        return neuron_of(self.neuron, self.neuron_options).of_window(self.window)

    @property
    def input_coding(self) -> InputCoding:
        """Coding in which the first layer gets its input."""
        return coding_of(self.coding, self.coding_options)

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest sum of the spikes of a train."""
        return self.model.limits(self.window)

    @property
    def first_role(self) -> Role:
        """Role of the first layer."""
        return "fire" if isinstance(self.input_coding, SpikeCoding) else "encode"

    @property
    def exact_spikes(self) -> int:
        """Spikes of every neuron together whose currents float32 holds exactly.

        Those of a window, by what they are worth; where potentials saturate, in place of that bound, those of one step up to a
        coefficient of 16: what is more is rare, and added up in 64 bits.
        """
        return min(self.model.largest, COMMON) if self.model.saturates else self.model.limits(min(self.window, LONGEST))[1]

    @property
    def in_integers(self) -> bool:
        """True if potentials are kept as 32-bit integers: those of many windows, or that saturate, are not exact otherwise."""
        return self.window > LONGEST or self.model.saturates

    @property
    def charged_steps(self) -> int:
        """Steps that a neuron may fire on what it is charged with at one of them, as its input is coded."""
        coding = self.input_coding
        return 1 if isinstance(coding, CurrentCoding) and coding.steady else self.window
