"""Activity of a network: density of analog activations, spikes, synaptic operations, MACs.

A synaptic operation is the addition of one weight to one membrane potential, caused by one spike that arrives there. A spike is
whatever a neuron emits at a step that is not zero: one of -1 counts as one of 1 does, and so does one with a coefficient, whose
synaptic operation multiplies the weight by that small whole number. A MAC (multiply-accumulate) is one input times one weight
in the analog network; a transposed convolution multiplies each input by all of its kernel, what it crops included. Of both, all
synapses of the architecture count, whatever their weight: zeros that pad an input have none, biases and the neurons' own
updates are no synaptic operations, and average pooling before a layer is a part of its synapses, so that every spike reaches
the neurons behind the pooling directly.

NeuroBench (Yik et al. 2025) counts likewise in linear layers and convolutions, but leaves out synapses whose weight is zero:
its `Effective_ACs` are `effective_operations` here, and `synaptic_operations` where no weight is zero. Its `Dense` is of every
time step: of an analog network it is `macs`, of a spiking one that times the time window, and times the inputs of an average.
It differs where average pooling stands as a layer of its own, whose outputs are no spikes to it; in the first layer, where
inputs that happen to be 0 and 1 are spikes to it, and inputs of zero are left out of `Effective_MACs`; and beyond 2^24
operations of one layer in one call, where its sums are rounded, being in the type of the layer.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Schedule
from separator.snn.layers.signal import Signal
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.learning.tandem import TandemLayer
from separator.snn.spikes.trains import Spikes
from separator.snn.stack.simulation import LayerRun, Observer
from separator.snn.stack.stack import Stack
from separator.snn.synapses.affine import Affine, AffineMap, affine_map

_TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
_Multiplying = Affine | nn.Conv3d | _TRANSPOSED  # kinds of modules whose MACs are counted outside of the stack


@dataclass
class LayerActivity:
    """Activity of one layer of a stack while it was observed, summed over the batch."""

    name: str
    spikes: int = 0  # fired by its neurons, whatever they are worth
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
    """Activity of a network while it was observed."""

    layers: list[LayerActivity] = field(default_factory=list)  # of the stack, front to back
    float_macs: dict[str, int] = field(default_factory=dict)  # multiply-accumulates on analog input, by module
    schedule: Schedule | None = None  # None for an analog network
    latency: int | None = None  # time steps from the first charge to the result
    encodes: bool = True  # whether the first layer has analog input, which it multiplies in a spiking network, too

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
        """MACs that the analog network spends on the layers that spikes drive: all of the stack but one that encodes."""
        return sum(layer.macs for layer in self.layers[int(self.encodes) :])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        `macs` are those of the analog network in the layers that spikes drive, `float_macs` those that remain.
        """
        fields = ("name", "spikes", "synaptic_operations", "effective_operations", "macs")
        return {
            "window": self.layers[0].window,
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
        ones = x.new_ones(1, *x.shape[1:], dtype=torch.float64)
        kept = F.pad(apply.padded(ones), [-zeros for zeros in apply.edges])
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
    by_input: Tensor = counts.expand(1, *x.shape[1:])
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
    own = f"{name}." if name else ""  # the network may be the stack itself
    activity = Activity([LayerActivity(f"layers.{i}") for i in range(len(stack.layers))], latency=stack.latency)
    if stack.dynamics is not None:
        activity.schedule, activity.encodes = stack.dynamics.schedule, stack.dynamics.first_role == "encode"
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if isinstance(module, _Multiplying) and not path.startswith(own):
                handle = module.register_forward_hook(partial(_count_float, activity, path))
                hooks.callback(handle.remove)
        count_run: Observer = partial(_count_spiking, activity, {})
        for i, layer in enumerate(stack.layers):
            if isinstance(layer, AnalogLayer):
                for part in layer.with_shortcut():
                    count = _count_macs if part is layer.shortcut else _count_analog
                    apply = part.map_of_affine or affine_map(part.affine)
                    handle = part.affine.register_forward_hook(partial(count, activity, i, apply))
                    hooks.callback(handle.remove)
            elif isinstance(layer, TandemLayer):
                hooks.callback(layer.register_forward_hook(partial(_tell_run, count_run, i)).remove)
        before = stack.observer
        stack.observer = count_run if before is None else partial(_tell_both, before, count_run)
        hooks.callback(setattr, stack, "observer", before)
        yield activity


def _tell_both(first: Observer, second: Observer, run: LayerRun) -> None:
    first(run)
    second(run)


def _tell_run(
    observe: Observer, position: int, layer: TandemLayer, inputs: tuple[Signal, Signal | None], output: Signal
) -> None:
    """Tell what the spiking layer of one in tandem has done."""
    if output.trains is not None or (layer.role != "readout" and output.spikes is None):
        return  # it learns through time, in floating point
    signal, beside = inputs
    with torch.no_grad():
        spiking = layer.spiking(signal.scale, beside=None if beside is None else beside.scale)
    incoming = signal.activation if signal.spikes is None else signal.spikes
    outcome = output.activation.detach() if output.spikes is None else output.spikes
    observe(LayerRun(position, spiking, incoming, outcome, None if beside is None else beside.spikes))


def _macs(apply: AffineMap, weight: Tensor, x: Tensor) -> int:
    return len(x) * int(fan_out(apply, apply.synapses(weight), x).sum()) // apply.averaged


def _count_float(activity: Activity, path: str, module: _Multiplying, inputs: tuple[Tensor], output: Tensor) -> None:
    activity.float_macs[path] = activity.float_macs.get(path, 0) + _float_macs(module, inputs[0], output)


def _float_macs(module: _Multiplying, x: Tensor, output: Tensor) -> int:
    """MACs of a module outside of the stack, which need not be one that can be converted."""
    if isinstance(module, nn.Linear):
        return _macs(affine_map(module), module.weight, x.flatten(0, -2))
    if isinstance(module, _TRANSPOSED):
        return x.numel() * module.weight[0].numel()
    if module.padding_mode != "zeros":  # what pads is input once more
        return output.numel() * module.weight[0].numel()
    if isinstance(module, nn.Conv3d):
        ones, taps = (x.new_ones(1, 1, *sizes, dtype=torch.float64) for sizes in (x.shape[-3:], module.kernel_size))
        seen = F.conv3d(ones, taps, None, module.stride, module.padding, module.dilation).sum()
        return int(seen) * x.shape[:-3].numel() * module.out_channels // module.groups
    return _macs(affine_map(module), module.weight, x)


def _count_macs(
    activity: Activity, position: int, apply: AffineMap, module: Affine, inputs: tuple[Tensor], output: Tensor
) -> None:
    _add_macs(activity, position, _macs(apply, module.weight, inputs[0]))


def _count_analog(
    activity: Activity, position: int, apply: AffineMap, module: Affine, inputs: tuple[Tensor], output: Tensor
) -> None:
    _count_macs(activity, position, apply, module, inputs, output)
    activity.layers[position].neurons += output.numel()


def _add_macs(activity: Activity, position: int, macs: int) -> None:
    """Count MACs of a layer of the stack; those of one with analog input remain in a spiking network."""
    activity.layers[position].macs += macs
    if position == 0 and activity.encodes:
        activity.float_macs["charge"] = activity.float_macs.get("charge", 0) + macs


@dataclass(frozen=True)
class _FanOut:
    """Synapses that leave each neuron of the layers before, (1, ...), by incoming map."""

    total: list[Tensor]
    effective: list[Tensor]  # those whose weight is not zero
    macs: int  # of the analog layer on one input: the identity multiplies nothing, nor does what pads the input

    @classmethod
    def of(cls, layer: SpikingLayer, seen: Sequence[Tensor], padding: tuple[int, int]) -> "_FanOut":
        total, effective, macs = [], [], 0
        for own, incoming in zip(layer.maps, seen, strict=True):
            synapses = own.apply.synapses(own.weight)
            counts = fan_out(own.apply, synapses, incoming)
            total.append(counts)
            effective.append(fan_out(own.apply, synapses & (own.weight != 0), incoming))
            if not own.is_identity:
                before, after = padding
                macs += int(counts[..., before : counts.shape[-1] - after].sum()) // own.apply.averaged
        return cls(total, effective, macs)


# By place of the layer, its map, the shapes of what comes in, and how much of that is padding.
_Synapses = dict[tuple[int, AffineMap, tuple[torch.Size, ...], tuple[int, int]], _FanOut]


def _count_spiking(activity: Activity, known: _Synapses, run: LayerRun) -> None:
    layer, counted = run.layer, activity.layers[run.position]
    incoming = _events(run.incoming)
    seen = [incoming, *[incoming if run.beside is None else _events(run.beside)] * (len(layer.maps) - 1)]
    key = run.position, layer.apply_affine, tuple(x.shape[1:] for x in seen), run.padding
    if key not in known:
        known[key] = _FanOut.of(layer, seen, run.padding)
    synapses = known[key]
    counted.window = layer.window
    if run.first == 0:  # of a run that is a chain of windows, once
        _add_macs(activity, run.position, len(incoming) * synapses.macs)
        counted.neurons += _events(run.outcome).numel()
    if layer.role != "encode":
        for x, total, effective in zip(seen, synapses.total, synapses.effective, strict=True):
            spikes = x.sum(0, dtype=torch.float64)
            counted.synaptic_operations += int((spikes * total[0]).sum())
            counted.effective_operations += int((spikes * effective[0]).sum())
    if isinstance(run.outcome, Spikes):
        counted.spikes += int(run.outcome.events.sum(dtype=torch.float64))


def _events(handed: Spikes | Tensor) -> Tensor:
    return handed.events if isinstance(handed, Spikes) else handed
