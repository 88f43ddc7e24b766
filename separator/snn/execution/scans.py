"""Neurons on currents that are known: a kernel for those that there is one for, else the model's own steps."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module

import torch
from torch import Tensor

from separator.snn.execution.chosen import DENSE, chosen_execution
from separator.snn.neurons.double_threshold import MOST, NEVER, Augmented, Course, DoubleThreshold, Membrane, PathIndependent
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.neurons.leaky import PARTS, Leaky
from separator.snn.neurons.neuron import Neuron, Numbers, State
from separator.snn.spikes.augmented import AugmentedSpikes
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.signed import SignedSpikes
from separator.snn.spikes.trains import Spikes

# From the model, currents (steps, rows, C, neurons) or one for all steps, its numbers (C,), the number of steps and a state
# (rows, C, neurons), to its spikes and the state after them.
Scan = Callable[[Neuron, Tensor, Numbers, int, State], tuple[Spikes, State]]


def run_neurons(neuron: Neuron, currents: Sequence[Tensor] | Tensor, numbers: Numbers, state: State) -> tuple[Spikes, State]:
    """Spikes fired on the currents of each step, and the state after them; see `Neuron.run`.

    Args:
        neuron: the model.
        currents: of at most a window, (B, C, ...) each.
        numbers: of the neurons, (C,), int32.
        state: before the first one; the initial one if None.
    """
    first = currents[0]
    kernel = SCANS.get(type(neuron)) if first.device.type == "cpu" and chosen_execution() != DENSE else None
    if kernel is None or not has_kernels():
        shape = (-1, *[1] * (first.dim() - 2))
        return neuron.run(currents, {name: x.to(first.dtype).view(shape) for name, x in numbers.items()}, state)
    steady = all(current is first for current in currents)
    known = first[None] if steady else currents if isinstance(currents, Tensor) else torch.stack(list(currents))
    spikes, after = kernel(neuron, _laid_out(known, 1), numbers, len(currents), _each(state, lambda x: _laid_out(x, 0)))
    return spikes.each(lambda part: _as_it_was(part, first)), _each(after, lambda part: _as_it_was(part, first))


def _each(state: State, change: Callable[[Tensor], Tensor]) -> State:
    return None if state is None else type(state)(*map(change, state))


def _laid_out(x: Tensor, before: int) -> Tensor:
    """Rows, channels, and neurons with the same numbers. Shape: (B, C, ...) -> (B, C, positions), or (1, C, B) of (B, C).

    Args:
        x: with so many dimensions before these.
        before: how many.
    """
    if x.dim() - before == 2:
        return x.transpose(-1, -2).unsqueeze(before).contiguous()
    return x.flatten(before + 2).contiguous()


def _as_it_was(x: Tensor, like: Tensor) -> Tensor:
    """Shape: as `_laid_out` makes it -> as `like`, (B, C, ...)."""
    return x[0].t() if like.dim() == 2 else x.view_as(like)


@cache
def has_kernels() -> bool:
    """True if there is something to compile kernels with."""
    try:
        import_module("separator.snn.execution.kernels.scan")
    except ImportError:  # a machine without numba
        return False
    return True


def _leaky(neuron: Neuron, currents: Tensor, numbers: Numbers, steps: int, state: Membrane | None) -> tuple[Spikes, State]:
    from separator.snn.execution.kernels.scan import fire_leaky

    shape, strict = currents.shape[1:], isinstance(neuron, Leaky)
    v = numbers["initial_potential"].view(-1, 1).expand(shape) if state is None else state.v
    v = _taken(v, shape, torch.int32)
    words = torch.zeros(shape, dtype=torch.int32)
    kept, delayed = (neuron.kept, neuron.delayed) if isinstance(neuron, Leaky) else (PARTS, False)
    _in_rows(fire_leaky, currents, (v,), numbers, (int(strict), kept, int(delayed), steps), (words,), ("threshold",))
    return BinarySpikes(steps, words), Membrane(v)


def _signed(neuron: Neuron, currents: Tensor, numbers: Numbers, steps: int, state: Membrane | None) -> tuple[Spikes, State]:
    from separator.snn.execution.kernels.scan import fire_signed

    shape = currents.shape[1:]
    v = _taken(None if state is None else state.v, shape, torch.int32)
    up, down = torch.zeros(shape, dtype=torch.int32), torch.zeros(shape, dtype=torch.int32)
    _in_rows(fire_signed, currents, (v,), numbers, (steps,), (up, down))
    return SignedSpikes(BinarySpikes(steps, up), BinarySpikes(steps, down)), Membrane(v)


def _augmented(neuron: Neuron, currents: Tensor, numbers: Numbers, steps: int, state: Membrane | None) -> tuple[Spikes, State]:
    from separator.snn.execution.kernels.scan import fire_augmented

    if max(map(abs, map(float, currents.aminmax()))) >= MOST:  # which beside a potential are more than 32 bits hold
        wide = {name: x.double().view(-1, 1) for name, x in numbers.items()}
        return neuron.run(list(currents.double().expand(steps, *currents.shape[1:])), wide, state)
    v = _taken(None if state is None else state.v, currents.shape[1:], torch.int32)
    coefficients = torch.empty(steps, *v.shape, dtype=torch.int8)
    _in_rows(
        fire_augmented, currents.to(torch.int32), (v,), numbers, (float(neuron.largest), float(MOST), steps), (coefficients,)
    )
    return AugmentedSpikes(steps, coefficients.unbind()), Membrane(v)


def _path_independent(
    neuron: Neuron, currents: Tensor, numbers: Numbers, steps: int, state: Course | None
) -> tuple[Spikes, State]:
    from separator.snn.execution.kernels.scan import fire_path_independent

    shape = currents.shape[1:]
    charges = _taken(None if state is None else state.charge, shape, torch.int64)
    fired = _taken(None if state is None else state.fired, shape, torch.int32)
    coefficients = torch.empty(steps, *shape, dtype=torch.int8)
    others = (float(neuron.largest), NEVER, steps)
    _in_rows(fire_path_independent, currents, (charges, fired), numbers, others, (coefficients,))
    return AugmentedSpikes(steps, coefficients.unbind()), Course(charges, fired)


def _taken(part: Tensor | None, shape: torch.Size, kind: torch.dtype) -> Tensor:
    """A part of a state, in memory of its own."""
    return torch.zeros(shape, dtype=kind) if part is None else part.to(kind).clone().contiguous()


def _in_rows(
    kernel: Callable[..., None],
    currents: Tensor,
    state: Sequence[Tensor],
    numbers: Numbers,
    others: Sequence[float],
    outcome: Sequence[Tensor],
    names: Sequence[str] = ("threshold", "negative_threshold", "initial_potential", "negative_initial_potential"),
) -> None:
    from separator.snn.execution.kernels.threads import in_threads

    arrays = [x.contiguous().numpy() for x in (currents, *state, *(numbers[name] for name in names))]
    given = (*arrays, *others, *(x.numpy() for x in outcome))
    in_threads(partial(kernel, *given), currents.shape[1] * currents.shape[2], torch.get_num_threads())


SCANS: dict[type[Neuron], Scan] = {
    IntegrateAndFire: _leaky,
    Leaky: _leaky,
    DoubleThreshold: _signed,
    Augmented: _augmented,
    PathIndependent: _path_independent,
}
