"""Decisions, events and likeness to the analog network at each time step of a run, summed over a batch."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from separator.errors import UserError
from separator.snn.spikes.trains import LONGEST, Spikes
from separator.snn.stack.simulation import LayerRun, simulate
from separator.snn.stack.stack import Stack


@dataclass(frozen=True)
class Steps:
    """Sums over items, for each time step of a run. Shapes: (T,)."""

    right: NDArray[np.int64]  # items whose class has the highest sum of spikes of the last layer; its potential if it has none
    right_by_potential: NDArray[np.int64]  # the same by the free potential, all current that has come to the last layer
    events: NDArray[np.int64]  # non-zero spikes of all layers up to here, whatever they are worth; the input has none
    likeness: NDArray[np.float64]  # cosines between these, or potentials, and the analog network's outputs (Eq. 14)
    items: int
    analog_right: int  # items that the analog network has right
    suppressed_right: int  # the same where it has ReLU in place of LeakyReLU (section III-E)

    def __add__(self, other: Self) -> "Steps":
        return Steps(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Steps)))


def check_course(stack: Stack) -> None:
    """Refuse networks that have no course.

    Raises:
        UserError: the network is not spiking, or waits for all of its input.
    """
    layers = stack.spiking_layers()
    if len(layers) < len(stack.layers):
        raise UserError("an analog network has no time steps; give spiking ones, and the analog one as --init")
    if layers[0].dynamics.schedule != "pipelined":
        raise UserError("layers wait for all of their input, so that steps show nothing; convert with the schedule pipelined")


@torch.no_grad()
def course_of(stack: Stack, x: Tensor, labels: Tensor, outputs: Tensor, suppressed: Tensor) -> Steps:
    """Course of a run on a batch.

    Args:
        stack: wholly spiking, see `check_course`.
        x: its input, (B, ...).
        labels: classes, (B,).
        outputs: of the analog network, (B, classes).
        suppressed: of the same without negative activations.
    """
    layers = stack.spiking_layers()
    steps, last = layers[0].window, len(layers) - 1
    events = np.zeros(steps, np.int64)
    outputs, suppressed, labels = outputs.cpu(), suppressed.cpu(), labels.cpu()
    counts = torch.zeros(steps, *outputs.shape, dtype=torch.float64)
    potentials = torch.zeros_like(counts)

    def observe(run: LayerRun) -> None:
        window = run.outcome.window if isinstance(run.outcome, Spikes) else min(LONGEST, steps - run.first)
        here = slice(run.first, run.first + window)
        if isinstance(run.outcome, Spikes):
            events[here] += run.outcome.events_by_step().cpu().numpy()
        if run.position == last:
            layer = run.layer
            assert isinstance(run.incoming, Spikes)
            potentials[here] = (layer.currents(run.incoming).double() * layer.quantum.double()).cpu()
            fired = run.outcome.trains().double() * layer.scale.double() if isinstance(run.outcome, Spikes) else None
            counts[here] = potentials[here] if fired is None else fired.cpu()

    simulate(layers, x, stack.sources, observe)
    counts, potentials = counts.cumsum_(0), potentials.cumsum_(0)  # multiples of a power of two, far below 2^53 of them
    likeness = torch.nn.functional.cosine_similarity(counts, outputs.double()[None], dim=2).sum(1)
    return Steps(
        _right(counts, labels),
        _right(potentials, labels),
        np.cumsum(events),
        likeness.numpy(),
        len(labels),
        *(int(_right(of[None], labels)[0]) for of in (outputs, suppressed)),
    )


def _right(values: Tensor, labels: Tensor) -> NDArray[np.int64]:
    """Items of each step whose class has the highest value. Shapes: (T, B, classes), (B,) -> (T,)."""
    right: NDArray[np.int64] = (_first_largest(values) == labels.numpy()).sum(1)
    return right


def _first_largest(values: Tensor) -> NDArray[np.int64]:
    """The first of the highest, on any machine."""
    chosen: NDArray[np.int64] = values.numpy().argmax(-1)
    return chosen
