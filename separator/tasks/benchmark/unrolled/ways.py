"""Ways for a network to learn from a batch, whose memory and time are measured side by side."""

from typing import NamedTuple

from separator.errors import UserError

# As an analog network; through time by automatic differentiation, which keeps all that was computed; from spike bits, by the
# times since spikes; with derivatives of the potential, of which each eighth step's is kept and the others computed anew; in
# tandem, where spikes go forward and gradients go back through analog twins, as in progressive tandem learning.
WAYS = {
    "analog": "analog",
    "unrolled": "unrolled",
    "bits": "from spike bits",
    "blocks": "potentials in blocks",
    "tandem": "in tandem",
}


class Trained(NamedTuple):
    """Parts of `WAY:NETWORK@STEPS`; an analog network has no steps."""

    way: str
    network: str
    steps: int | None


def parse_trained(system: str) -> Trained:
    """Take a system's name apart.

    Raises:
        UserError: there is no such way.
    """
    way, colon, rest = system.partition(":")
    network, at, steps = rest.partition("@")
    if not colon or way not in WAYS or (at and not steps.isdecimal()):
        raise UserError(f"learning through time is measured of {', '.join(f'{name}:NETWORK@STEPS' for name in WAYS)}")
    return Trained(way, network, int(steps) if at else None)


def is_trained(system: str) -> bool:
    """True of names that `parse_trained` takes."""
    return system.partition(":")[0] in WAYS
