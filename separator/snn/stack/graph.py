"""Connections between layers: a stack is a directed graph whose layers stand in an order in which they can run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer

INPUT = -1  # in the place of a layer: the input of the stack

# Of each incoming map of a layer, the layers that it sees, channel behind channel. The second map is the shortcut's.
Sources = tuple[tuple[int, ...], ...]
Handed = TypeVar("Handed")


@contextmanager
def in_layer(position: int) -> Iterator[None]:
    """Name the layer in errors that arise within."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"layer {position}: {error}") from error


def in_a_row(layers: Sequence[AnalogLayer]) -> list[Sources]:
    """Every layer, and the shortcut beside it, sees the layer before."""
    return [((i - 1,),) * _maps(layer) for i, layer in enumerate(layers)]


def _maps(layer: nn.Module) -> int:
    """Number of a layer's incoming maps."""
    return 1 if getattr(layer, "shortcut", None) is None else 2


def check_graph(layers: Sequence[AnalogLayer], sources: Sequence[Sources]) -> None:
    """Refuse sources that layers cannot have.

    Raises:
        ValueError: the message names the layer.
    """
    if len(sources) != len(layers):
        raise ValueError(f"there are {len(layers)} layers, and sources of {len(sources)}")
    for i, (layer, maps) in enumerate(zip(layers, sources, strict=True)):
        expected = _maps(layer)
        if len(maps) != expected or not all(maps):
            raise ValueError(
                f"layer {i} has {expected} incoming maps, and sources of {len(maps)}: each sees at least one layer"
            )
        if i == 0 and maps != ((INPUT,),):
            raise ValueError("the first layer sees the input of the stack, and has no shortcut")
        if i > 0 and not all(0 <= source < i for own in maps for source in own):
            raise ValueError(f"layer {i} sees layers from 0 to {i - 1}, not {maps}: only the first sees the input of the stack")
    seen = {source for maps in sources for own in maps for source in own}
    unseen = [i for i in range(len(layers) - 1) if i not in seen]
    if unseen:
        raise ValueError(f"no layer sees layer {unseen[0]}")


def is_row(sources: Sequence[Sources]) -> bool:
    """True if every layer sees the one before only."""
    return all(source == i - 1 for i, maps in enumerate(sources) for own in maps for source in own)


def is_apart(maps: Sources) -> bool:
    """True if a shortcut sees other layers than the map beside it."""
    return len(maps) > 1 and maps[1] != maps[0]


def frontier(sources: Sequence[Sources], done: int) -> list[int]:
    """Layers that later ones see, of the first `done`."""
    return sorted({source for maps in sources[done:] for own in maps for source in own if 0 <= source < done})


def forget_unseen(handed: dict[int, Handed], sources: Sequence[Sources], done: int) -> None:
    """Drop what the first `done` layers handed on and no later one sees, but for the readout's."""
    for i in set(handed) - set(frontier(sources, done)) - {len(sources) - 1}:
        del handed[i]


def seen_by(maps: Sources, handed: Mapping[int, Handed]) -> tuple[list[Handed], list[Handed] | None]:
    """Inputs of a layer's maps: those of the first one, and those of the shortcut where it sees others."""
    first = [handed[i] for i in maps[0]]
    return first, [handed[i] for i in maps[1]] if is_apart(maps) else None


def is_bypassed(sources: Sequence[Sources], index: int) -> bool:
    """True if a layer is in a block that a shortcut goes past, from a layer before it to itself or to one behind it."""
    return any(index <= i and min(maps[1]) < index for i, maps in enumerate(sources) if len(maps) > 1)


def adds_the_one_before(sources: Sequence[Sources], index: int) -> bool:
    """True if both maps of a layer see the layer before it, and nothing else."""
    return sources[index] == ((index - 1,),) * 2
