"""How active a network is: density of analog activations, spikes, synaptic operations, MACs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from separator.snn.affine import Affine, AffineMap, affine_map
from separator.snn.spikes import Spikes
from separator.snn.spiking import Schedule, per_channel
from separator.snn.stack import Stack, StageRun
from separator.snn.stage import Stage
from separator.snn.tandem import Signal, TandemStage


@dataclass
class LayerActivity:
    """What one layer of a stack did while it was observed, summed over the batch."""

    name: str
    spikes: int = 0  # fired by its neurons
    neurons: int = 0  # neurons simulated, frames and batch included
    window: int = 0  # time steps N_s; 0 for an analog layer
    synaptic_operations: int = 0  # additions that incoming spikes cause; 0 where the input is analog
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
    def macs(self) -> int:
        """MACs that the analog network spends on the layers that spikes drive here: all of the stack but the first."""
        return sum(layer.macs for layer in self.layers[1:])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.

        `macs` are those of the analog network in the layers that spikes drive, `float_macs` those that remain.
        """
        fields = ("name", "spikes", "synaptic_operations", "macs")
        return {
            "time_steps": self.layers[0].window,
            "schedule": self.schedule,
            "latency_steps": self.latency,
            "spikes": self.spikes,
            "synaptic_operations": self.synaptic_operations,
            "macs": self.macs,
            "synaptic_operations_per_mac": self.synaptic_operations / self.macs if self.macs else None,
            "float_macs": sum(self.float_macs.values()),
            "layers": [
                {field: getattr(layer, field) for field in fields} | {"firing_rate": layer.rate} for layer in self.layers
            ],
        }


def fan_out(apply: AffineMap, weight: Tensor, x: Tensor) -> Tensor:
    """Synapses that leave each input element, borders exact. Shape: (B, ...) -> (1, ...), float64.

    Nothing but the gradient of the sum of all outputs of the map with weights of one.
    """
    with torch.inference_mode(False), torch.enable_grad():  # whatever mode the observed network runs in
        alike = weight.dim() > 2 and weight.shape[1] == x.shape[1]  # without groups, all input channels fan out alike
        channels = 1 if alike else x.shape[1]
        probe = torch.zeros_like(x[:1, :channels], dtype=torch.float64).requires_grad_()
        outputs = apply(probe, torch.ones_like(weight[:, :channels] if alike else weight, dtype=torch.float64), None)
        (synapses,) = torch.autograd.grad(outputs.sum(), probe)
    return synapses.expand_as(x[:1])


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
    activity = Activity([LayerActivity(f"stages.{i}") for i in range(len(stack.stages))], latency=stack.latency)
    if stack.dynamics is not None:
        activity.schedule = stack.dynamics.schedule
    with ExitStack() as hooks:
        for path, module in network.named_modules():
            if isinstance(module, Affine) and not path.startswith(f"{name}."):
                handle = module.register_forward_hook(partial(_count_float, activity, path))
                hooks.callback(handle.remove)
        for i, stage in enumerate(stack.stages):
            if isinstance(stage, Stage):
                handle = stage.affine.register_forward_hook(partial(_count_analog, activity.layers[i]))
                hooks.callback(handle.remove)
        stack.observer = partial(_count_spiking, activity, {})
        hooks.callback(setattr, stack, "observer", None)
        yield activity


def _macs(apply: AffineMap, weight: Tensor, x: Tensor) -> int:
    return len(x) * int(fan_out(apply, weight, x).sum()) // apply.averaged


def _count_float(activity: Activity, path: str, module: Affine, inputs: tuple[Tensor], output: Tensor) -> None:
    apply, x = affine_map(module), inputs[0]
    if isinstance(module, nn.Linear):
        x = x.flatten(0, -2)
    activity.float_macs[path] = activity.float_macs.get(path, 0) + _macs(apply, module.weight, x)


def _count_analog(layer: LayerActivity, module: Affine, inputs: tuple[Tensor], output: Tensor) -> None:
    layer.macs += _macs(affine_map(module), module.weight, inputs[0])
    layer.neurons += output.numel()


def _count_spiking(activity: Activity, synapses: dict[tuple[AffineMap, torch.Size], Tensor], run: StageRun) -> None:
    stage, layer = run.stage, activity.layers[run.position]
    incoming = run.incoming if isinstance(run.incoming, Tensor) else run.incoming.counts
    key = stage.apply_affine, incoming.shape[1:]
    if key not in synapses:
        synapses[key] = fan_out(stage.apply_affine, stage.weight, incoming)
    macs = len(incoming) * int(synapses[key].sum()) // stage.apply_affine.averaged
    layer.window = stage.window
    layer.macs += macs
    if stage.role == "encode":
        activity.float_macs["charge"] = activity.float_macs.get("charge", 0) + macs
    else:
        layer.synaptic_operations += int((incoming.sum(0, dtype=torch.float64) * synapses[key][0]).sum())
    if isinstance(run.outcome, Spikes):
        layer.spikes += int(run.outcome.counts.sum(dtype=torch.float64))
        layer.neurons += run.outcome.counts.numel()
    else:
        layer.neurons += run.outcome.numel()


def density(activation: Tensor) -> Tensor:
    """Density (mean a)^2 / mean a^2 of an activation, a scalar; 0 for an activation that is zero everywhere."""
    return activation.mean() ** 2 / (activation.square().mean() + 1e-12)


class ActivityPenalty:
    """How active the stages of a stack are that have an activation: a scalar between 0 and 1, the mean over them.

    Of a stage in tandem that is its firing rate, which synaptic operations are proportional to. Of an analog one it is the
    density of its activation (after Hoyer 2004), which does not change when the stage is scaled, as the spike counts of a
    converted network do not (thresholds follow the activations): a penalty cannot be met by shrinking activations.
    """

    def __init__(self, stack: Stack) -> None:
        self.measured: list[Tensor] = []
        for stage in stack.stages:
            if isinstance(stage, TandemStage):
                if stage.role != "readout":
                    stage.register_forward_hook(self._rate)
            elif isinstance(stage, Stage):
                stage.register_forward_hook(lambda module, inputs, output: self.measured.append(density(output)))

    def _rate(self, stage: TandemStage, inputs: tuple[Signal], output: Signal) -> None:
        thresholds = per_channel(stage.threshold, output.activation)
        self.measured.append((output.activation / thresholds).mean() / stage.dynamics.window)

    def pop(self) -> Tensor:
        """Mean over the stages since the last call."""
        measured, self.measured = self.measured, []
        return sum(measured[1:], measured[0]) / len(measured)
