"""A wholly spiking stack over its time steps."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from separator.snn.coding.inputs import SpikeCoding
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.shapes import per_channel
from separator.snn.layers.spiking import Charges, SpikingLayer
from separator.snn.neurons.neuron import State
from separator.snn.spikes.trains import LONGEST, Spikes, joined
from separator.snn.stack.graph import INPUT, Sources, forget_unseen, in_layer, seen_by

Handed = Spikes | Tensor


class LayerRun(NamedTuple):
    """One layer over a window of a simulation, for observers."""

    position: int  # of the layer in the stack
    layer: SpikingLayer
    incoming: Handed  # the analog input (B, ...) of a layer that encodes
    outcome: Handed  # the membrane potential (B, ...) of the readout
    beside: Spikes | None = None  # what its shortcut sees, if that is something else
    first: int = 0  # time step that the window begins with
    padding: tuple[int, int] = (0, 0)  # positions at the begin and at the end of the incoming, along time, that pad the input


Observer = Callable[[LayerRun], None]


def presented(dynamics: Dynamics, x: Tensor, first: int, steps: int) -> Handed:
    """Input as the first layer sees it, at `steps` steps from step `first` on. Shape: (B, ...)."""
    coding = dynamics.input_coding
    return coding.present(x, dynamics.window, first, steps) if isinstance(coding, SpikeCoding) else x


def joined_handed(pieces: Sequence[Handed]) -> Handed:
    """Outputs of several layers, channel behind channel."""
    spikes = [piece for piece in pieces if isinstance(piece, Spikes)]
    return pieces[0] if len(pieces) == 1 else joined(spikes, 1)


def incoming_of(maps: Sources, handed: dict[int, Handed]) -> tuple[Handed, Spikes | None]:
    """Input of a layer, and that of its shortcut if it is something else."""
    first, second = seen_by(maps, handed)
    beside = None if second is None else joined_handed(second)
    assert not isinstance(beside, Tensor)
    return joined_handed(first), beside


@torch.no_grad()
def fire(
    layers: Sequence[SpikingLayer],
    x: Tensor,
    sources: Sequence[Sources],
    keep: Iterable[int],
    observe: Observer | None = None,
) -> dict[int, Spikes]:
    """Spikes of some of the first layers of a stack over a window. Shape: (B, ...) -> (B, ...).

    Args:
        layers: the first ones.
        x: input of the stack.
        sources: of all layers of the stack.
        keep: positions of the layers whose spikes are asked for.
        observe: is told of each layer.
    """
    if not len(x):
        fired = fire(layers, _one_item(x), sources, keep, _told_of_none(observe))
        return {i: spikes.each(_no_items) for i, spikes in fired.items()}
    handed: dict[int, Handed] = {INPUT: presented(layers[0].dynamics, x, 0, layers[0].window)}
    kept: dict[int, Spikes] = {}
    asked = set(keep)
    for i, layer in enumerate(layers):
        incoming, beside = incoming_of(sources[i], handed)
        outcome = run_layer(i, layer, incoming, observe, beside)
        assert isinstance(outcome, Spikes)
        handed[i] = outcome
        if i in asked:
            kept[i] = outcome
        forget_unseen(handed, sources, i + 1)
    return kept


@torch.no_grad()
def simulate(
    layers: Sequence[SpikingLayer],
    x: Tensor,
    sources: Sequence[Sources] | None = None,
    observe: Observer | None = None,
) -> Tensor:
    """Outcome of the last layer: its free aggregate membrane potential, or what its counts stand for. Shape: (B, ...).

    One layer after the other runs over a whole window, under either schedule: what a layer fires at a step depends on the
    layers before it only, so that time need not run on all of them at once. Runs of more than 32 steps are chains of windows.
    """
    if not len(x):
        return _no_items(simulate(layers, _one_item(x), sources, _told_of_none(observe)))
    sources = [((i - 1,),) for i in range(len(layers))] if sources is None else sources
    if layers[0].window > LONGEST:
        return _chained(layers, x, sources, observe)
    handed: dict[int, Handed] = {INPUT: presented(layers[0].dynamics, x, 0, layers[0].window)}
    for i, layer in enumerate(layers):
        incoming, beside = incoming_of(sources[i], handed)
        handed[i] = run_layer(i, layer, incoming, observe, beside)
        forget_unseen(handed, sources, i + 1)
    last = handed[len(layers) - 1]
    return last if isinstance(last, Tensor) else layers[-1].activation(last)


def _one_item(x: Tensor) -> Tensor:
    """An item of zeros in place of none, which executions and kernels are not made for: it says what shapes come out."""
    return x.new_zeros(1, *x.shape[1:])


def _no_items(handed: Tensor) -> Tensor:
    return handed[:0]


def _told_of_none(observe: Observer | None) -> Observer | None:
    """An observer that is told of runs without their items."""

    def empty(handed: Handed) -> Handed:
        return _no_items(handed) if isinstance(handed, Tensor) else handed.each(_no_items)

    def tell(run: LayerRun) -> None:
        assert observe is not None
        beside = None if run.beside is None else run.beside.each(_no_items)
        observe(run._replace(incoming=empty(run.incoming), outcome=empty(run.outcome), beside=beside))

    return None if observe is None else tell


def run_layer(
    position: int,
    layer: SpikingLayer,
    incoming: Handed,
    observe: Observer | None,
    beside: Spikes | None = None,
    padding: tuple[int, int] = (0, 0),
) -> Handed:
    """Outcome of a layer, from its input over the whole window. Shapes: (B, ...) -> (B, ...).

    Raises:
        UserError: the input has a shape that the layer does not take; the message names it.
    """
    _check_sizes(position, layer, incoming, beside)
    outcome = layer.run(incoming, beside)
    if observe is not None:
        observe(LayerRun(position, layer, incoming, outcome, beside, padding=padding))
    return outcome


def _check_sizes(position: int, layer: SpikingLayer, incoming: Handed, beside: Spikes | None) -> None:
    with in_layer(position):
        layer.check_sizes(incoming.shape, incoming.shape if beside is None else beside.shape)


def _chained(layers: Sequence[SpikingLayer], x: Tensor, sources: Sequence[Sources], observe: Observer | None) -> Tensor:
    """The same where the run is longer than a window: window after window, each on all layers, states carried on."""
    states: list[State] = [None] * len(layers)
    charges: Charges = {}
    total: Tensor | None = None
    for first, steps in windows_of(layers[0].window):
        handed: dict[int, Handed] = {INPUT: presented(layers[0].dynamics, x, first, steps)}
        for i, layer in enumerate(layers):
            incoming, beside = incoming_of(sources[i], handed)
            handed[i], states[i] = continued(i, layer, incoming, beside, states[i], first, steps, charges)
            if observe is not None:
                observe(LayerRun(i, layer, incoming, handed[i], beside, first))
            forget_unseen(handed, sources, i + 1)
        last = handed[len(layers) - 1]
        part = (last if isinstance(last, Tensor) else last.values).double()
        total = part if total is None else total + part  # whole numbers, of quanta or of spikes, far fewer than 2^53
    assert total is not None
    if not isinstance(last, Tensor):
        total *= per_channel(layers[-1].scale.double(), total)
    return total.float()


def windows_of(steps: int) -> Iterator[tuple[int, int]]:
    """First step and length of each of the windows that a run of so many steps is a chain of."""
    return ((first, min(LONGEST, steps - first)) for first in range(0, steps, LONGEST))


def continued(
    position: int,
    layer: SpikingLayer,
    incoming: Handed,
    beside: Spikes | None,
    state: State,
    first: int,
    steps: int,
    charges: Charges | None = None,
) -> tuple[Handed, State]:
    """Outcome of a layer in one window of a run, and its state after it. Shapes: (B, ...) -> (B, ...).

    Charges by an analog input, which is the same in all windows, are kept for the next one where they are given.

    Raises:
        UserError: as `run_layer`.
    """
    _check_sizes(position, layer, incoming, beside)
    if isinstance(incoming, Tensor):
        return layer.advance_encoding(incoming, first, steps, state, charges)
    if layer.role == "readout":
        return layer.exact_potential(incoming, beside), None
    return layer.advance(incoming, beside, state)
