"""Ways for a network to learn from a batch, or to infer one, whose memory and time are measured side by side."""

from typing import Literal, NamedTuple

from separator.errors import UserError


class Way(NamedTuple):
    """What a network does with a batch: learn from it (way forward, way back, optimiser), or only infer it."""

    label: str  # in pictures
    rule: str | None  # that a spiking network learns by, see `separator.snn.learning.rules`; None where none does
    derivative: Literal["stdb", "linear"] = "stdb"  # of a spike, where the rule is stdb
    infers: bool = False  # a forward pass without gradients, in evaluation mode
    spikes: bool = True  # in time steps
    most: int | None = None  # of them that it can take; None where any number


# As an analog network; through time by automatic differentiation, which keeps all that was computed; from spike bits, by the
# times since spikes; with derivatives of the potential, of which each eighth step's is kept and the others computed anew; in
# tandem, where spikes go forward and gradients go back through analog twins, as in progressive tandem learning, in one window
# of 32 steps at most. Inference has two ways only: whatever a spiking network has learned by, the same spiking layers run.
WAYS = {
    "analog": Way("analog", None, spikes=False),
    "unrolled": Way("unrolled", "surrogate"),
    "bits": Way("from spike bits", "stdb"),
    "blocks": Way("potentials in blocks", "stdb", "linear"),
    "tandem": Way("in tandem", "tandem", most=32),
    "analog-inference": Way("analog, inference", None, infers=True, spikes=False),
    "spiking-inference": Way("spiking, inference", None, infers=True),
}


class NamedWay(NamedTuple):
    """Parts of `WAY:NETWORK@STEPS`; an analog network has no steps."""

    way: str  # one of `WAYS`
    network: str
    steps: int | None


def parse_way(system: str) -> NamedWay:
    """Take a system's name apart.

    Raises:
        UserError: there is no such way.
    """
    way, colon, rest = system.partition(":")
    network, at, steps = rest.partition("@")
    if not colon or way not in WAYS or (at and not steps.isdecimal()):
        raise UserError(f"learning through time is measured of {', '.join(f'{name}:NETWORK@STEPS' for name in WAYS)}")
    return NamedWay(way, network, int(steps) if at else None)


def names_way(system: str) -> bool:
    """True of names that `parse_way` takes."""
    return system.partition(":")[0] in WAYS
