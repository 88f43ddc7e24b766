"""Exporters by name: a wholly spiking stack as a network of another simulator."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from separator.errors import UserError
from separator.snn.export import spikingjelly
from separator.snn.registry import Registry
from separator.snn.stack.stack import Stack


class Exporter(NamedTuple):
    """An exporter of stacks."""

    problem: Callable[[Stack], str | None]  # what of it cannot be; None if nothing
    export: Callable[[Stack], nn.Module]  # the network, of the same input and output


EXPORTERS: Registry[Exporter] = Registry(
    "exporter", {"spikingjelly": Exporter(spikingjelly.problem, spikingjelly.SpikingJellyStack)}
)


def export(stack: Stack, name: str) -> nn.Module:
    """A wholly spiking stack as a network of another simulator.

    Raises:
        UserError: there is no such exporter, or it cannot export the stack; the message says why.
    """
    exporter = EXPORTERS.pick(name)
    if (reason := exporter.problem(stack)) is not None:
        raise UserError(f"{name} does not run {reason}")
    return exporter.export(stack)
