"""How active a network is: density of analog activations, spikes, synaptic operations, MACs.

A synaptic operation is the addition of one weight to one membrane potential, caused by one spike that arrives there; a MAC
(multiply-accumulate) is one input times one weight in the analog network. Of both, all synapses of the architecture count,
whatever their weight: zeros that pad an input have none, biases and the neurons' own updates are no synaptic operations, and
average pooling before a layer is a part of its synapses, so that every spike reaches the neurons behind the pooling directly.

NeuroBench (Yik et al. 2025) counts likewise in linear layers and convolutions, but leaves out synapses whose weight is zero:
its `Effective_ACs` are `effective_operations` here, and `synaptic_operations` where no weight is zero. Its `Dense` is of every
time step: of an analog network it is `macs`, of a spiking one that times the time window, and times the inputs of an average.
It differs where average pooling stands as a layer of its own, whose outputs are no spikes to it; in the first layer, where
inputs that happen to be 0 and 1 are spikes to it, and inputs of zero are left out of `Effective_MACs`; and beyond 2^24
operations of one layer in one call, where its sums are rounded, being in the type of the layer.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.spiking import Schedule, SpikingLayer, per_channel
from separator.snn.learning.tandem import Signal, TandemLayer
from separator.snn.spikes.binary import Spikes
from separator.snn.stack.stack import LayerRun, Stack
from separator.snn.synapses.affine import Affine, AffineMap, affine_map


@dataclass
class LayerActivity:
    """What one layer of a stack did while it was observed, summed over the batch."""

    name: str
    spikes: int = 0  # fired by its neurons
    neurons: int = 0  # neurons simulated, frames and batch included
    window: int = 0  # time steps N_s; 0 for an analog layer
    synaptic_operations: int = 0  # additions that incoming spikes cause; 0 where the input is analog
    effective_operations: int = 0  # those of them whose weight is not zero
    macs: int = 0  # multiply-accumulates of the analog layer on the same input

    @property
    def rate(self) -> float:
        """Mean spikes per neuron and time step."""
        return self.spikes / (self.neurons * self.window) if self.neurons and self.window else 0.0


@dataclass
class Activity:
    """What a network did while it was observed."""

    layers: list[LayerActivity] = field(default_factory=list)  # of the stack, front to back
    float_macs: dict[str, int] = field(default_factory=dict)  # multiply-accumulates on analog input, by module
    schedule: Schedule | None = None  # None for an analog network
    latency: int | None = None  # time steps from the first charge to the result

    @property
    def spikes(self) -> int:
        """Spikes of all layers."""
        return sum(layer.spikes for layer in self.layers)

    @property
    def synaptic_operations(self) -> int:
        """Synaptic operations of all layers."""
        return sum(layer.synaptic_operations for layer in self.layers)

    @property
    def effective_operations(self) -> int:
        """Synaptic operations of all layers whose weight is not zero."""
        return sum(layer.effective_operations for layer in self.layers)

    @property
    def macs(self) -> int:
        """MACs that the analog network spends on the layers that spikes drive here: all of the stack but the first."""
        return sum(layer.macs for layer in self.layers[1:])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        `macs` are those of the analog network in the layers that spikes drive, `float_macs` those that remain.
        """
        fields = ("name", "spikes", "synaptic_operations", "effective_operations", "macs")
        return {
            "time_steps": self.layers[0].window,
            "schedule": self.schedule,
            "latency_steps": self.latency,
            "spikes": self.spikes,
            "synaptic_operations": self.synaptic_operations,
            "effective_operations": self.effective_operations,
            "macs": self.macs,
            "synaptic_operations_per_mac": self.synaptic_operations / self.macs if self.macs else None,
            "float_macs": sum(self.float_macs.values()),
            "layers": [
                {field: getattr(layer, field) for field in fields} | {"firing_rate": layer.rate} for layer in self.layers
            ],
        }


def fan_out(apply: AffineMap, synapses: Tensor, x: Tensor) -> Tensor:
    """Synapses that leave each input element, borders exact.

    Nothing but the gradient of the sum of all outputs of the map with weights of one.

    Args:
        apply: the map.
        synapses: which of its weights are synapses, bool, shaped as the weight.
        x: its input, (B, ...).

    Returns:
        (1, ...), float64.
    """
    if apply.kind is nn.Identity:
        kept = F.pad(apply.padded(torch.ones_like(x[:1], dtype=torch.float64)), [-zeros for zeros in apply.edges])
        return kept * synapses.view(-1, *[1] * (x.dim() - 2))
    by_group = synapses.reshape(apply.groups, -1, *synapses.shape[1:])
    leaving = by_group.sum(1, dtype=torch.float64).flatten(0, 1)  # (C_in, taps)
    if apply.kind is nn.Linear:
        return leaving.view(1, *x.shape[1:])
    if bool((leaving == leaving[:1]).all()):
        leaving = leaving[:1]  # one channel stands for all
    with torch.inference_mode(False), torch.enable_grad():  # whatever mode the observed network runs in
        probe = torch.zeros(1, len(leaving), *x.shape[2:], dtype=torch.float64, device=x.device, requires_grad=True)
        outputs = replace(apply, groups=len(leaving))(probe, leaving[:, None].clone(), None)
        (counts,) = torch.autograd.grad(outputs.sum(), probe)
    by_input: Tensor = counts.expand_as(x[:1])
    return by_input


@contextmanager
def record_activity(network: nn.Module) -> Iterator[Activity]:
    """Count what `network` does within the block, on everything it is fed.

    Raises:
        ValueError: the network has no stack, or more than one.
    """
    stacks = [(name, module) for name, module in network.named_modules() if isinstance(module, Stack)]
    if len(stacks) != 1:
        raise ValueError(f"activity is recorded of networks with one stack; this one has {len(stacks)}")
    name, stack = stacks[0]
    activity = Activity([LayerActivity(f"layers.{i}") for i in range(len(stack.layers))], latency=stack.latency)
    if stack.dynamics is not None:
        activity.schedule = stack.dynamics.schedule
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if isinstance(module, Affine) and not path.startswith(f"{name}."):
                handle = module.register_forward_hook(partial(_count_float, activity, path))
                hooks.callback(handle.remove)
        for i, layer in enumerate(stack.layers):
            if isinstance(layer, AnalogLayer):
                for part in layer.with_shortcut():
                    count = _count_macs if part is layer.shortcut else _count_analog
                    handle = part.affine.register_forward_hook(partial(count, activity.layers[i]))
                    hooks.callback(handle.remove)
        stack.observer = partial(_count_spiking, activity, {})
        hooks.callback(setattr, stack, "observer", None)
        yield activity


def _macs(apply: AffineMap, weight: Tensor, x: Tensor) -> int:
    return len(x) * int(fan_out(apply, apply.synapses(weight), x).sum()) // apply.averaged


def _count_float(activity: Activity, path: str, module: Affine, inputs: tuple[Tensor], output: Tensor) -> None:
    apply, x = affine_map(module), inputs[0]
    if isinstance(module, nn.Linear):
        x = x.flatten(0, -2)
    activity.float_macs[path] = activity.float_macs.get(path, 0) + _macs(apply, module.weight, x)


def _count_macs(layer: LayerActivity, module: Affine, inputs: tuple[Tensor], output: Tensor) -> None:
    layer.macs += _macs(affine_map(module), module.weight, inputs[0])


def _count_analog(layer: LayerActivity, module: Affine, inputs: tuple[Tensor], output: Tensor) -> None:
    _count_macs(layer, module, inputs, output)
    layer.neurons += output.numel()


@dataclass(frozen=True)
class _FanOut:
    """Synapses that leave each neuron of the layer before, (1, ...), of all incoming maps."""

    total: Tensor
    effective: Tensor  # those whose weight is not zero
    macs: int  # of the analog layer on one input: the identity multiplies nothing

    @classmethod
    def of(cls, layer: SpikingLayer, incoming: Tensor) -> "_FanOut":
        shape = incoming[:1]
        total = effective = torch.zeros(shape.shape, dtype=torch.float64, device=incoming.device)
        macs = 0
        for own in layer.maps:
            synapses = own.apply.synapses(own.weight)
            counts = fan_out(own.apply, synapses, incoming)
            total = total + counts
            effective = effective + fan_out(own.apply, synapses & (own.weight != 0), incoming)
            if not own.is_identity:
                macs += int(counts.sum()) // own.apply.averaged
        return cls(total, effective, macs)


# By place of the layer, its map (which a stream changes from block to block) and the shape of what comes in.
_Synapses = dict[tuple[int, AffineMap, torch.Size], _FanOut]


def _count_spiking(activity: Activity, known: _Synapses, run: LayerRun) -> None:
    layer, counted = run.layer, activity.layers[run.position]
    incoming = run.incoming if isinstance(run.incoming, Tensor) else run.incoming.counts
    key = run.position, layer.apply_affine, incoming.shape[1:]
    if key not in known:
        known[key] = _FanOut.of(layer, incoming)
    synapses = known[key]
    macs = len(incoming) * synapses.macs
    counted.window = layer.window
    counted.macs += macs
    if layer.role == "encode":
        activity.float_macs["charge"] = activity.float_macs.get("charge", 0) + macs
    else:
        spikes = incoming.sum(0, dtype=torch.float64)
        counted.synaptic_operations += int((spikes * synapses.total[0]).sum())
        counted.effective_operations += int((spikes * synapses.effective[0]).sum())
    if isinstance(run.outcome, Spikes):
        counted.spikes += int(run.outcome.counts.sum(dtype=torch.float64))
        counted.neurons += run.outcome.counts.numel()
    else:
        counted.neurons += run.outcome.numel()


def check_penalty(weight: float) -> None:
    """Say what no weight of an activity penalty is.

    Raises:
        UserError: it is below 0.
    """
    if weight < 0:
        raise UserError(f"the activity penalty is at least 0, not {weight}")


def density(activation: Tensor) -> Tensor:
    """Density (mean a)^2 / mean a^2 of an activation, a scalar; 0 for an activation that is zero everywhere."""
    return activation.mean() ** 2 / (activation.square().mean() + 1e-12)


class ActivityPenalty:
    """How active the layers of a stack are that have an activation: a scalar between 0 and 1, the mean over them.

    Of a layer in tandem that is its firing rate, which synaptic operations are proportional to. Of an analog one it is the
    density of its activation (after Hoyer 2004), which does not change when the layer is scaled, as the spike counts of a
    converted network do not (thresholds follow the activations): a penalty cannot be met by shrinking activations.

    It is measured from now on, or within a `with` statement.
    """

    def __init__(self, stack: Stack) -> None:
        self.measured: list[Tensor] = []
        self.hooks = []
        for layer in stack.layers:
            if isinstance(layer, TandemLayer):
                if layer.role != "readout":
                    self.hooks.append(layer.register_forward_hook(self._rate))
            elif isinstance(layer, AnalogLayer) and layer.rectified:
                self.hooks.append(layer.register_forward_hook(self._density))

    def __enter__(self) -> "ActivityPenalty":
        return self

    def __exit__(self, *error: object) -> None:
        """Measure no more."""
        for hook in self.hooks:
            hook.remove()

    def _density(self, layer: AnalogLayer, inputs: tuple[Tensor | Signal], output: Tensor) -> None:
        self.measured.append(density(output))

    def _rate(self, layer: TandemLayer, inputs: tuple[Signal], output: Signal) -> None:
        thresholds = per_channel(layer.threshold, output.activation)
        self.measured.append((output.activation / thresholds).mean() / layer.dynamics.window)

    def pop(self) -> Tensor:
        """Mean over the layers since the last call; 0 where there were none."""
        measured, self.measured = self.measured, []
        return torch.stack(measured).mean() if measured else torch.zeros(())
