"""A stack of stages: analog, spiking, in tandem, or each of these in part while it is being converted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.snn.chains import activations_of, chain_from, is_joined
from separator.snn.incoming import IncomingMap
from separator.snn.neuron import IFParameters
from separator.snn.ranges import check_stage
from separator.snn.spikes import Spikes
from separator.snn.spiking import Dynamics, Role, SpikingStage
from separator.snn.stage import Stage
from separator.snn.surrogate import Surrogate, SurrogateStage
from separator.snn.tandem import Signal, TandemStage
from separator.snn.thresholds import activation_bound, rate_bound

Readout = Literal["potential", "rectified"]


def spiking_role(index: int, stages: int) -> Role:
    """Role of stage `index` of a stack of `stages`."""
    return "encode" if index == 0 else "readout" if index == stages - 1 else "fire"


class StageRun(NamedTuple):
    """One stage over the time window of a simulation, for observers."""

    position: int  # of the stage in the stack
    stage: SpikingStage
    incoming: Spikes | Tensor  # the analog input (B, ...) of the encoding stage
    outcome: Spikes | Tensor  # the membrane potential (B, ...) of the readout


Observer = Callable[[StageRun], None]


class Stack(nn.Module):
    """Ordered stages: spiking ones in front, then ones in tandem, then analog ones.

    The last stage never fires: the network behind it sees its free aggregate membrane potential (section 3.4).

    Args:
        stages: at least two analog stages.
        readout: the membrane potential as it is, or rectified as the analog network's activation is.
    """

    def __init__(self, stages: Sequence[Stage], readout: Readout = "rectified") -> None:
        super().__init__()
        if len(stages) < 2:
            raise ValueError("a stack has at least two stages: one that encodes and one that is read out")
        self.stages = nn.ModuleList(stages)
        self.set_readout(readout)
        self.observer: Observer | None = None
        self._prefix: Spikes | None = None

    @property
    def converted(self) -> int:
        """Number of stages that are spiking."""
        return sum(isinstance(stage, SpikingStage) for stage in self.stages)

    @property
    def dynamics(self) -> Dynamics | None:
        """How the neurons run, None while all stages are analog."""
        first = self.stages[0]
        return first.dynamics if isinstance(first, SpikingStage | TandemStage) else None

    @property
    def latency(self) -> int | None:
        """Time steps from the first charge to the result; None while there are analog stages."""
        if self.dynamics is None or self.converted < len(self.stages):
            return None
        waits = 1 if self.dynamics.schedule == "pipelined" else len(self.stages) - 1
        return self.dynamics.window * waits

    def spiking_stages(self) -> list[SpikingStage]:
        """The spiking stages at the front."""
        return [stage for stage in self.stages if isinstance(stage, SpikingStage)]

    def forward(self, x: Tensor) -> Tensor:
        """Activation of the last stage, or its membrane potential once it is spiking or in tandem. Shape: (B, ...)."""
        spiking = self.spiking_stages()
        if len(spiking) == len(self.stages):
            return self.read(simulate(spiking, x, self.observer))
        signal = Signal(x)
        if spiking:
            spikes = fire(spiking, x) if self._prefix is None else self._prefix
            signal = Signal(spiking[-1].activation(spikes), spikes, spiking[-1].unit)
        for i, stage in enumerate(self.stages[len(spiking) :], len(spiking)):
            with in_stage(i):
                signal = stage(signal) if isinstance(stage, TandemStage) else Signal(stage(signal.activation))
        last = self.stages[-1]
        return self.read(signal.activation) if isinstance(last, TandemStage) else signal.activation

    def set_readout(self, readout: Readout) -> None:
        """Choose how the last stage is read; where that has no ReLU, its potential is read as it is all the same."""
        last = self.stages[-1]
        self.readout: Readout = readout if getattr(last, "rectified", True) else "potential"

    def read(self, potential: Tensor) -> Tensor:
        """Activation that the free membrane potential of the last stage stands for."""
        return potential.relu() if self.readout == "rectified" else potential

    def restore(self, converted: int, dynamics: Dynamics, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        """Make the first `converted` stages spiking, their numbers taken from the state dict `tensors`.

        Raises:
            KeyError: a tensor is missing.
            UserError: numbers of a stage are no conversion's; the message names it.
        """
        for i in range(converted):
            stage = self.stages[i]
            assert isinstance(stage, Stage)
            weight, bias, threshold, start, step = (
                tensors[f"{prefix}stages.{i}.{name}"] for name in ("weight", "bias", "threshold", "start", "step")
            )
            role = spiking_role(i, len(self.stages))
            neurons, beside = IFParameters(threshold, start), None
            if (synapses := stage.shortcut_synapses) is not None:
                beside = IncomingMap(synapses, tensors[f"{prefix}stages.{i}.shortcut"])
            spiking = SpikingStage(stage.synapses, role, weight, bias, neurons, step, dynamics, beside)
            with in_stage(i):
                check_stage(spiking, stage)
            self.stages[i] = spiking

    @torch.no_grad()
    def convert(
        self,
        x: Tensor,
        dynamics: Dynamics,
        percentile: float = 99.0,
        channelwise: bool = False,
        rate: float | None = None,
        share: bool = False,
    ) -> None:
        """Make all stages of a wholly analog stack spiking at once, without tuning.

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            rate: thresholds per layer that make it fire at about this mean rate, in place of those of the percentile.
            share: one threshold for all stages of a chain, see `separator.snn.chains`.

        Raises:
            ValueError: a layer is never active on `x`, or less than `rate` asks for.
            UserError: numbers of a stage cannot be made integers; the message names it.
        """
        unit = torch.ones(1, device=x.device)
        found = self._thresholds(x, dynamics.window, percentile, channelwise, rate, share)
        for i, (stage, role, threshold) in enumerate(found):
            if share and role == "fire" and is_joined(stage):
                threshold = unit
            with in_stage(i):
                self.stages[i] = spiking = SpikingStage.convert(stage, role, unit, threshold, dynamics)
            unit = spiking.unit

    @torch.no_grad()
    def _thresholds(
        self, x: Tensor, window: int, percentile: float, channelwise: bool, rate: float | None = None, share: bool = False
    ) -> Iterator[tuple[Stage, Role, Tensor]]:
        """The stages of a wholly analog stack with their roles and thresholds, as `convert` has them.

        Of a chain that shares one, the first stage's is that of all.

        Each may be replaced in the stack as it comes.
        """
        signal = x
        for i, stage in enumerate(self.stages):
            assert isinstance(stage, Stage)
            role, threshold = spiking_role(i, len(self.stages)), torch.ones(1)
            heads = share and role != "readout" and not is_joined(stage)
            activations = list(activations_of(chain_from(list(self.stages), i) if heads else [stage], signal))
            signal = activations[0]
            if role != "readout":
                if rate is None:
                    bound = activation_bound([a.cpu() for a in activations], percentile, channelwise)
                else:
                    bound = rate_bound(signal.cpu(), rate)
                    signal = signal.clamp(max=float(bound))  # as spikes hand it on, which matters where much is above
                threshold = bound / window
            yield stage, role, threshold.to(x.device)

    def put_in_tandem(
        self,
        x: Tensor,
        dynamics: Dynamics,
        percentile: float = 99.0,
        channelwise: bool = False,
        learn_thresholds: bool = False,
        batch_statistics: bool = False,
    ) -> None:
        """Put all stages of a wholly analog stack, new or trained, in tandem at once (end-to-end tandem learning).

        Wu et al. 2019, "A tandem learning rule for efficient and rapid inference on deep spiking neural networks".

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            learn_thresholds: whether thresholds do.
            batch_statistics: see `TandemStage`; for a stack that has not learned. Thresholds are those of activations
                normalised likewise, and the running statistics take note of `x`.

        Raises:
            ValueError: a layer is never active on `x`.
        """

        def tandem(stage: Stage, role: Role, threshold: Tensor) -> TandemStage:
            learn = learn_thresholds and role != "readout"
            return TandemStage(stage, role, threshold, dynamics, learn, batch_statistics=batch_statistics)

        self._couple(x, tandem, dynamics.window, percentile, channelwise, batch_statistics)

    def put_through_time(
        self,
        x: Tensor,
        dynamics: Dynamics,
        surrogate: Surrogate,
        percentile: float = 99.0,
        channelwise: bool = False,
        batch_statistics: bool = False,
    ) -> None:
        """Have all stages of a wholly analog stack spike step by step, to learn by backpropagation through time.

        Args:
            x: input of the stack, whose activations thresholds are taken from.
            dynamics: how the neurons run.
            surrogate: what stands for the derivative of a spike.
            percentile: of the activations, their upper bound.
            channelwise: a threshold per channel instead of one per layer.
            batch_statistics: see `put_in_tandem`.

        Raises:
            ValueError: a layer is never active on `x`.
            UserError: layers wait for all of their input, so that no spike has a time.
        """

        def through_time(stage: Stage, role: Role, threshold: Tensor) -> SurrogateStage:
            return SurrogateStage(stage, role, threshold, dynamics, surrogate, batch_statistics)

        self._couple(x, through_time, dynamics.window, percentile, channelwise, batch_statistics)

    def _couple(
        self,
        x: Tensor,
        couple: Callable[[Stage, Role, Tensor], TandemStage],
        window: int,
        percentile: float,
        channelwise: bool,
        batch_statistics: bool,
    ) -> None:
        """Put something that `couple` makes of a stage, its role and its threshold in the place of each."""
        training = self.training
        self.eval()
        for analog in (stage for stage in self.stages if isinstance(stage, Stage)):
            for part in analog.with_shortcut():
                if part.norm is not None:
                    part.norm.train(batch_statistics)
        for i, (stage, role, threshold) in enumerate(self._thresholds(x, window, percentile, channelwise)):
            self.stages[i] = couple(stage, role, threshold)
        self.train(training)

    def unfreeze(
        self,
        learn_thresholds: bool = False,
        weight_bits: int | None = None,
        mask_gradient: bool = False,
        first: int = 0,
    ) -> Dynamics:
        """Put the stages of a wholly spiking stack in tandem with analog twins, so that they learn together.

        Args:
            learn_thresholds: whether thresholds do too.
            weight_bits: make synaptic weights integers of so many bits, None for as many as they have.
            mask_gradient: see `TandemStage`.
            first: the first stage that shall learn.

        Returns:
            how the neurons run from now on.
        """
        spiking = self.spiking_stages()
        dynamics = spiking[0].dynamics
        if weight_bits is not None:
            dynamics = replace(dynamics, weight_bits=weight_bits)
        unit: Tensor | None = None
        for i, stage in enumerate(spiking):
            if i >= first:
                # A chain with one threshold a channel goes on having one, which learns if all of the chain does.
                before = self.stages[i - 1] if stage.passes_spikes else None
                learn = learn_thresholds and stage.role != "readout" and not isinstance(before, SpikingStage)
                tandem = TandemStage(
                    stage.analog(unit), stage.role, stage.unit, dynamics, learn, mask_gradient, inherits=before is not None
                )
                if isinstance(before, TandemStage):
                    tandem.gain = before.gain
                self.stages[i] = tandem
            unit = stage.unit
        return dynamics

    def freeze(self) -> None:
        """Make all stages in tandem, or through time, of a stack without analog ones spiking.

        Raises:
            UserError: numbers of a stage cannot be made integers; the message names it.
        """
        unit: Tensor | None = None
        for i, stage in enumerate(self.stages):
            assert isinstance(stage, TandemStage | SpikingStage)
            if isinstance(stage, TandemStage):
                with in_stage(i):
                    self.stages[i] = stage = stage.spiking(unit)
            unit = stage.unit

    def set_window(self, window: int) -> None:
        """Give a wholly spiking stack another time window, the upper bounds of its activations staying as they are."""
        for i, stage in enumerate(self.spiking_stages()):
            self.stages[i] = stage.with_window(window)

    @contextmanager
    def given_prefix(self, spikes: Spikes | None) -> Iterator[None]:
        """Take the spikes of the last spiking stage from here instead of simulating the spiking stages."""
        self._prefix = spikes
        try:
            yield
        finally:
            self._prefix = None


@contextmanager
def in_stage(position: int) -> Iterator[None]:
    """Name the stage in errors that arise within."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"stage {position}: {error}") from error


@torch.no_grad()
def outcomes(stack: Stack, x: Tensor) -> list[Tensor]:
    """What each stage of a wholly spiking stack comes to: packed spike trains (B, ...), int32, and the readout's potential."""
    seen: list[Tensor] = []

    def observe(run: StageRun) -> None:
        seen.append(run.outcome.words if isinstance(run.outcome, Spikes) else run.outcome)

    simulate(stack.spiking_stages(), x, observe)
    return seen


@torch.no_grad()
def fire(stages: Sequence[SpikingStage], x: Tensor) -> Spikes:
    """Spikes of the last of `stages`, stage by stage over the whole window. Shape: (B, ...) -> (B, ...)."""
    spikes = stages[0].encode(x)
    for stage in stages[1:]:
        spikes = stage.fire(spikes)
    return spikes


@torch.no_grad()
def simulate(stages: Sequence[SpikingStage], x: Tensor, observe: Observer | None = None) -> Tensor:
    """Free aggregate membrane potential of the last stage. Shape: (B, ...) -> (B, ...).

    One stage after the other runs over the whole window, under either schedule: what a stage fires at a step depends on the
    stages before it only, so that time need not run on all of them at once.
    """
    signal: Spikes | Tensor = x
    for position, stage in enumerate(stages):
        signal = run_stage(position, stage, signal, observe)
    assert isinstance(signal, Tensor)  # the last stage is a readout
    return signal


def run_stage(position: int, stage: SpikingStage, incoming: Spikes | Tensor, observe: Observer | None) -> Spikes | Tensor:
    """What a stage makes of its input over the whole window. Shapes: (B, ...) -> (B, ...)."""
    outcome = stage.run(incoming)
    if observe is not None:
        observe(StageRun(position, stage, incoming, outcome))
    return outcome
