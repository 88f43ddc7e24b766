"""Names of the systems that are measured: `BACKEND:NAME@WINDOW`."""

from typing import TYPE_CHECKING, NamedTuple

from separator.errors import UserError
from separator.models.card import split_steps

if TYPE_CHECKING:
    from separator.snn.layers.dynamics import Schedule

ASTEROID = "asteroid-convtasnet"  # not a model of ours: Asteroid's Conv-TasNet with random weights, for comparison
# Networks of the published size, and the schedule of their spikes; None for an analog one.
RANDOM_NETWORKS: "dict[str, Schedule | None]" = {
    "paper-ann": None,
    "paper-snn": "layer-by-layer",
    "paper-snn-pipelined": "pipelined",
}
BACKENDS = ("bf16", "dense", "spikingjelly")  # beside our own fastest execution, which has no name here


class SystemName(NamedTuple):
    """Parts of `BACKEND:NAME@WINDOW`, of which the first and the last may be missing."""

    backend: str  # one of BACKENDS, or "" for our fastest execution
    name: str  # of a shipped model, a model file or a network with random weights
    steps: int | None  # time steps


def parse_system(system: str) -> SystemName:
    """Take a system's name apart.

    Raises:
        UserError: nothing runs a network as its first part says.
    """
    *backend, rest = system.split(":", 1)
    if backend and backend[0] not in BACKENDS:
        raise UserError(f"nothing runs a network as '{backend[0]}'; take {', '.join(BACKENDS)}")
    return SystemName(backend[0] if backend else "", *split_steps(rest))
