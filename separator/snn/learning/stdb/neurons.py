"""Populations over time, and back: pure functions of blocks of at most 8 steps, with explicit state."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from separator.snn.learning.stdb.bits import Trace, looked_up
from separator.snn.learning.stdb.options import StdbOptions, by_potential, time_table


class Population(NamedTuple):
    """Neurons u_t = leak u_{t-1} + I_t - V o_{t-1}, where o_t is 1 as u_t exceeds V (Eq. 2 and 3).

    The reset is not leaked. An initial potential, a share of V, is what the first current is added to; delayed neurons have it
    before that, so that it leaks once.
    """

    threshold: Tensor  # V, broadcasts against (B, ...)
    leak: Tensor  # lambda, a scalar
    initial_potential: float = 0.0  # in thresholds
    strict: bool = True  # fires above the threshold; else at it, too
    delayed: bool = False  # hands on its spikes a step later, as the authors' code does


class Membrane(NamedTuple):
    """State between two steps. Shapes: (B, ...)."""

    potential: Tensor  # u_t, what a spike takes away still in it
    fired: Tensor  # o_t, 0 or 1


class Later(NamedTuple):
    """Gradients that later steps hand back. Shapes: (B, ...)."""

    potential: Tensor  # to u_{t+1}; to u_t by way of it is that, times leak
    handed: Tensor  # to the spike that is handed on at t+1


class Returned(NamedTuple):
    """Gradients of a block."""

    currents: Tensor  # (K, B, ...)
    threshold: Tensor  # shape of the threshold
    leak: Tensor  # a scalar


def at_rest(like: Tensor) -> Membrane:
    """State before the first step, without the initial potential. Shape: as `like`, (B, ...)."""
    return Membrane(torch.zeros_like(like), torch.zeros_like(like))


def with_initial(currents: Tensor, population: Population) -> Tensor:
    """Currents of the first steps of a run, the first of them with the initial potential. Shape: (K, B, ...)."""
    if not population.initial_potential:
        return currents
    return torch.cat([currents[:1] + population.threshold * _initial_share(population), currents[1:]])


def _initial_share(population: Population) -> float:
    """Initial potential that is left when the first current comes, in thresholds."""
    return population.initial_potential * (float(population.leak) if population.delayed else 1.0)


def advance(currents: Tensor, membrane: Membrane, population: Population) -> tuple[Tensor, Membrane]:
    """Spikes fired at some steps, and the state after them. Shape: (K, B, ...) -> (K, B, ...), 0 or 1."""
    (u, fired), leak, threshold = membrane, float(population.leak), population.threshold
    spikes = torch.empty_like(currents)
    crosses = torch.gt if population.strict else torch.ge
    for t, current in enumerate(currents):
        u = (u * leak).add_(current).addcmul_(fired, threshold, value=-1)
        crosses(u, threshold, out=spikes[t])
        fired = spikes[t]
    return spikes, Membrane(u, fired.clone())


def handed_on(spikes: Tensor, before: Tensor, delayed: bool) -> Tensor:
    """Spikes as the next layers see them, from those fired at some steps and at the step before. Shape: (K, B, ...)."""
    return torch.cat([before[None], spikes[:-1]]) if delayed else spikes


def potentials(currents: Tensor, spikes: Tensor, before: Membrane, population: Population) -> Tensor:
    """Potentials before and after each of some steps, recomputed from what was fired. Shape: (K, B, ...) -> (K + 1, B, ...)."""
    leak, threshold, fired = float(population.leak), population.threshold, before.fired
    course = [before.potential]
    for current, spike in zip(currents, spikes, strict=True):
        course.append((course[-1] * leak).add_(current).addcmul_(fired, threshold, value=-1))
        fired = spike
    return torch.stack(course)


def by_times(options: StdbOptions, spikes: Tensor, ages: Tensor, steps: int) -> Tensor:
    """Derivatives of the spikes of some steps by the time since the last spike. Shape: (K, B, ...).

    From the table for the step before the first, a factor of exp(-beta) a step further on; alpha where a neuron fires.

    Args:
        options: alpha and beta.
        spikes: 0 or 1, (K, B, ...).
        ages: steps since the last spike, as of the step before, (B, ...) or a scalar.
        steps: of the run.
    """
    table = time_table(options, steps, spikes)
    fades = math.exp(-options.beta)
    since = looked_up(table, ages).expand_as(spikes[0])
    alpha, derivatives = spikes.new_tensor(options.alpha), torch.empty_like(spikes)
    for t, fired in enumerate(spikes):
        faded = torch.mul(since, fades, out=derivatives[t])
        since = faded.lerp_(alpha, fired) if options.own_spike else faded.lerp(alpha, fired)  # alpha itself where it is 1
    return derivatives


def go_back(
    gradient: Tensor,
    spikes: Tensor,
    fired_before: Tensor,
    derivatives: Tensor,
    later: Later,
    population: Population,
    through_reset: bool,
    course: Tensor | None = None,
) -> tuple[Returned, Later]:
    """Gradients of a block, step by step backwards, and what it hands back to the steps before it.

    With g_t the gradient to o_t and d_t that to u_t: g_t is what the next layers say, less V d_{t+1} by the reset, and
    d_t = leak d_{t+1} + o'(u_t) g_t.

    Args:
        gradient: to what is handed on, (K, B, ...); is overwritten.
        spikes: that were fired, 0 or 1, (K, B, ...).
        fired_before: the same at the step before, (B, ...).
        derivatives: of spikes, (K, B, ...).
        later: what later steps hand back.
        population: the neurons.
        through_reset: whether a spike passes gradients through its reset.
        course: potentials before and after each step, (K + 1, B, ...), if the leak's gradient is asked for.
    """
    leak, threshold = float(population.leak), population.threshold
    after, handed = later
    thresholds = torch.zeros_like(after)
    for t in range(len(gradient) - 1, -1, -1):
        own, handed = (handed, gradient[t].clone()) if population.delayed else (gradient[t], handed)
        passed = own.addcmul(after, threshold, value=-1) if through_reset else own
        passed = passed * derivatives[t]
        after = torch.add(passed, after, alpha=leak, out=gradient[t])
        thresholds.sub_(passed).addcmul_(after, spikes[t - 1] if t else fired_before, value=-1)
    leaks = (gradient * course[:-1]).sum() if course is not None else torch.zeros_like(population.leak)
    return Returned(gradient, _summed_to(thresholds, threshold), leaks), Later(after.clone(), handed)


def nothing_later(like: Tensor) -> Later:
    """What is handed back where no later step learns. Shape: as `like`, (B, ...)."""
    return Later(torch.zeros_like(like), torch.zeros_like(like))


def initial_gradients(later: Later, population: Population) -> tuple[Tensor, Tensor]:
    """Gradients to threshold and leak by way of the initial potential, given what the first step hands back."""
    threshold = _summed_to(later.potential * _initial_share(population), population.threshold)
    leaked = population.initial_potential if population.delayed else 0.0
    return threshold, (later.potential * population.threshold).sum() * leaked


def returned(
    gradient: Tensor,
    trace: Trace,
    block: int,
    currents: Tensor | None,
    population: Population,
    options: StdbOptions,
    later: Later,
    learn_leak: bool = False,
) -> tuple[Returned, Later]:
    """Gradients of a block of a run from what was kept of it; see `go_back`.

    Args:
        gradient: to what is handed on, (K, B, ...); is overwritten.
        trace: of the run.
        block: which.
        currents: (K, B, ...), where potentials are asked for: by the derivative, or for the leak's gradient.
        population: the neurons.
        options: derivatives.
        later: what later steps hand back.
        learn_leak: whether the leak's gradient is asked for.
    """
    spikes, fired_before = trace.spikes(block, len(gradient), gradient.dtype), trace.fired_before(block, gradient.dtype)
    course = None
    if currents is not None:
        course = potentials(currents, spikes, Membrane(trace.potentials[block], fired_before), population)
    if options.by_time:
        derivatives = by_times(options, spikes, trace.ages(block).to(gradient.device), trace.steps)
    else:
        assert course is not None
        derivatives = by_potential(options, course[1:], population.threshold)
    if options.over_threshold:
        derivatives.div_(population.threshold)
    leaks = course if learn_leak else None
    return go_back(gradient, spikes, fired_before, derivatives, later, population, options.through_reset, leaks)


def _summed_to(values: Tensor, threshold: Tensor) -> Tensor:
    """Sums over all that a threshold is broadcast to. Shape: (B, ...) -> the threshold's."""
    shape = (1,) * (values.dim() - threshold.dim()) + tuple(threshold.shape)
    return values.sum_to_size(shape).view(threshold.shape)
