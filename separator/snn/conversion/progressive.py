"""Progressive tandem learning (Wu et al. 2021, section 4): a stack converted layer by layer, each tuned with all later ones."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from separator.atomic import atomic_path, write_text
from separator.chance import seed_at
from separator.errors import UserError
from separator.resume import facts_of, refuse_differences
from separator.snn.conversion.at_once import convert_at_once
from separator.snn.conversion.penalty import ActivityPenalty
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.analog import AnalogLayer, keep_statistics
from separator.snn.layers.fan_in import kept_weights, limit_fan_in
from separator.snn.layers.fold import folded
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.layers.rounding import check_input
from separator.snn.layers.signal import Signal, currents_of
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.support import check_sizes, check_supported
from separator.snn.learning.rules import RULES, LearningOptions
from separator.snn.learning.tandem import TandemLayer
from separator.snn.observe.distribution import Distribution, distributions
from separator.snn.observe.report import LayerReport, Noted, agreement
from separator.snn.spikes.trains import Spikes
from separator.snn.stack.chains import activations_of, chain_from, is_joined
from separator.snn.stack.converting import check_neurons
from separator.snn.stack.graph import frontier, in_layer
from separator.snn.stack.prefix import Prefix, fingerprint
from separator.snn.stack.simulation import fire, incoming_of, run_layer
from separator.snn.stack.stack import Stack
from separator.snn.thresholds.rules import THRESHOLDS, Observed

SEEN_AT_ONCE = 2  # batches that a conversion without tuning is looked at on; its runs may be thousands of steps long
STATE = "conversion.json"  # in the folder of a conversion: how far it is

Loss = Callable[[nn.Module, Any], Tensor]  # (network, batch) -> scalar
Measure = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]  # (network, batch) -> loss and score, scalars
OptimiserFactory = Callable[[Mapping[str, nn.Parameter], float], torch.optim.Optimizer]  # (parameters, learning rate)


def adam(parameters: Mapping[str, nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Adam, as published."""
    return torch.optim.Adam(parameters.values(), lr)


class Batches(Protocol):
    """A loader as conversion needs it."""

    def __iter__(self) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


@dataclass
class Patience:
    """The adaptive training scheduler (section 4.2): counts epochs without improvement."""

    limit: int
    best: float = math.inf
    bad_epochs: int = 0

    def improved(self, loss: float) -> bool:
        """Take note of a validation loss; whether it is the best so far."""
        better = loss < self.best
        self.best, self.bad_epochs = (loss, 0) if better else (self.best, self.bad_epochs + 1)
        return better

    @property
    def exhausted(self) -> bool:
        """True if the layer has had its patience."""
        return self.bad_epochs >= self.limit


def check_convertible(stack: Stack) -> None:
    """Refuse beforehand what cannot be converted.

    Raises:
        UserError: a layer is not supported; the message names it and what is.
    """
    check_supported([layer for layer in stack.layers if not isinstance(layer, SpikingLayer)])


class ProgressiveTandemLearning:
    """Converts the stack of a network in place, one layer at a time.

    What lies before the stack is not trained, so that a frozen prefix fires the same trains for the same batch at every epoch:
    they are kept, packed, and every epoch after the first simulates one layer only. Batches must therefore come in the same
    order with the same content each time they are iterated over.

    What is random in the learning of a layer, such as dropout of later ones, depends on torch's seed at first and on the layer
    alone: an interrupted conversion goes on as if it had not been.

    Args:
        network: any network that calls `stack` once per forward pass.
        stack: its stack, analog or already converted in part.
        upstream: modules whose output reaches the stack.
        loss: of the network on a batch.
        train_batches: those of a layer, re-iterable, of fixed content and order. A layer that gets the very object that the
            layer before got goes on with its trains. Layers are counted on through the passes.
        dev_batches: likewise, the same for all layers.
        settings: how to convert.
        folder: for the state after each layer, from which an interrupted conversion goes on; None to keep none.
        log: called with one line of text at each event.
        optimiser: makes one for each layer, from the parameters by name.
        measure: loss and score of the network on a batch, in one pass; scores are noted after each epoch, of the dev batches
            and of those of `watched`. None for no scores.
        watched: other batches by name, of fixed content and order. Nothing is chosen by them.
        origin: what else the conversion depends on, as plain values by name, such as the network's file and the data; going on
            with others is refused.
    """

    def __init__(
        self,
        network: nn.Module,
        stack: Stack,
        upstream: Sequence[nn.Module],
        loss: Loss,
        train_batches: Callable[[int], Batches],
        dev_batches: Batches,
        settings: ConversionSettings,
        folder: Path | None = None,
        log: Callable[[str], None] = print,
        optimiser: OptimiserFactory = adam,
        measure: Measure | None = None,
        watched: Mapping[str, Batches] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        settings.check_window()
        check_convertible(stack)
        for i, layer in enumerate(stack.layers):
            if settings.fan_in is not None and isinstance(layer, AnalogLayer):
                with in_layer(i):
                    kept_weights(layer, settings.fan_in)  # says what is wrong before anything is trained
        self.network, self.stack, self.loss, self.settings = network, stack, loss, settings
        self.train_batches, self.measure = train_batches, measure
        self.held_out: dict[str, Batches] = {"dev": dev_batches, **(watched or {})}
        self.folder, self.log, self.optimiser = folder, log, optimiser
        self.seed = torch.initial_seed()
        self.origin = dict(origin or {})
        self.reports: list[LayerReport] = []
        self.history: list[Noted] = []
        self.layer_batches: Batches = ()  # of the layer under conversion
        self.prefixes: dict[tuple[str, int], Prefix] = {}
        self.device = next(chain(network.parameters(), network.buffers())).device
        stack.set_readout(settings.readout)
        check_neurons(stack, settings.dynamics)
        self.upstream = list(upstream)
        for module in upstream:
            module.requires_grad_(False)
        # Learned on copies: the modules that the layers were made of may be part of a network that one compares with.
        stack.layers = nn.ModuleList(copy.deepcopy(layer) for layer in stack.layers)

    def run(self) -> list[LayerReport]:
        """Convert all layers; returns a report of each. Goes on from `folder` where it holds a state."""
        for _ in self.layers():
            pass
        return self.reports

    def layers(self) -> Iterator[list[LayerReport]]:
        """Convert layer by layer; yields the reports so far after each, and once at the start of a resumed conversion."""
        if self._restore():
            yield self.reports
        if self.settings.at_once and not self.reports:
            self.reports = self._convert_at_once()
            self._save()
            yield self.reports
        if self.settings.at_once:
            return
        layers, done = len(self.stack.layers), self._done
        if done >= layers * self.settings.passes and not self.reports:
            raise UserError("the stack is wholly spiking; tune it in tandem (`Stack.unfreeze`), or ask for a further pass")
        for number in range(done, layers * self.settings.passes):
            self.reports.append(self._convert_layer(number % layers, number))
            self._save()
            yield self.reports
        self.prefixes.clear()

    @torch.no_grad()
    def activations(self) -> list[Distribution]:
        """Distributions of the activations of layers that shall fire, on the calibration batches of the first one.

        The network is analog still. Nothing changes by it, generators of random numbers included.
        """
        self.network.eval()

        def run() -> None:
            for batch in islice(batches, self.settings.calibration_batches or SEEN_AT_ONCE):
                self.loss(self.network, batch)

        with torch.random.fork_rng():
            batches = self.train_batches(0)
            return distributions(list(self.stack.layers)[:-1], run)

    @property
    def _done(self) -> int:
        """Layers that are done, by this conversion or before it, counted on through the passes."""
        if not self.reports:
            return self.stack.converted
        last = self.reports[-1]
        return last.turn * len(self.stack.layers) + last.index + 1

    def _convert_at_once(self) -> list[LayerReport]:
        self._take_batches(0)
        self.network.eval()
        limit = self.settings.calibration_batches or len(self.layer_batches)
        inputs = [self._stack_input(batch) for batch in islice(self.layer_batches, limit)]
        epochs = iter((None, 0))
        return convert_at_once(self.stack, inputs, self.settings, lambda: self._look(0, next(epochs)))

    def _convert_layer(self, index: int, number: int) -> LayerReport:
        started = time.monotonic()
        seed_at(self.seed, number)
        again = number >= len(self.stack.layers)
        if again:
            self._put_in_tandem_again(index, number)
            before = converted = self._look(number, 0)
        else:
            before = self._look(number, None)
            self.put_in_tandem(index)
            converted = self._look(number, 0)
        self.log(f"layer {index}: dev loss {before:.4f}, converted {converted:.4f}")
        tuned, epochs = self._tune(index, number, converted)
        tandem = self.stack.layers[index]
        assert isinstance(tandem, TandemLayer)
        with in_layer(index):
            scale, beside = self._scales(index)
            frozen = tandem.spiking(scale, beside=beside)
        agreed = agreement(tandem.layer, frozen, self._signals(index))
        threshold, turn = tandem.threshold.tolist(), number // len(self.stack.layers)
        report = LayerReport(index, tandem.role, before, converted, tuned, epochs, threshold, agreed, turn=turn)
        self.stack.layers[index] = frozen
        if again:
            self.stack.freeze()
        if index and tandem.role == "fire":
            self._advance_prefixes(index, frozen)
        return replace(report, seconds=time.monotonic() - started)

    def put_in_tandem(self, index: int) -> TandemLayer:
        """Put layer `index`, the first analog one, in tandem, its threshold taken from its train batches."""
        self._take_batches(index)
        settings, dynamics = self.settings, self.settings.dynamics
        role = self.stack.role(index, dynamics)
        analog = self.stack.layers[index]
        assert isinstance(analog, AnalogLayer)  # check_convertible has seen to it
        self._limit_fan_in(index, analog)
        # What layers have in common is learned by the first, or by all of them together at last.
        joined = is_joined(list(self.stack.layers), self.stack.sources, index)
        inherited = settings.share_thresholds and role == "fire" and joined
        threshold = torch.ones(1)
        if role != "readout":
            with in_layer(index):
                threshold = self.stack.spiking_layers()[-1].scale if inherited else self._threshold(index)
        options = LearningOptions(settings.learn_thresholds, settings.mask_gradient, settings.statistics == "all")
        couple = RULES.pick(settings.learning)
        with in_layer(index):
            tandem = couple(analog, role, threshold.to(self.device), dynamics, options, inherited)
        self.stack.layers[index] = tandem
        return tandem

    def _put_in_tandem_again(self, index: int, number: int) -> None:
        """Put layer `index` of a wholly spiking stack in tandem, and all those after it."""
        if index == 0:
            self.prefixes.clear()
        self._take_batches(number)
        self.stack.unfreeze(self.settings.learn_thresholds, mask_gradient=self.settings.mask_gradient, first=index)
        for i, layer in enumerate(self.stack.layers):
            if isinstance(layer, TandemLayer):
                self._limit_fan_in(i, layer.layer)

    def _limit_fan_in(self, index: int, layer: AnalogLayer) -> None:
        if self.settings.fan_in is not None:
            with in_layer(index):
                limit_fan_in(layer, self.settings.fan_in)

    def make_optimiser(self, number: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Optimiser of all that learns in a layer, counted on through the passes, and its learning rate over the steps."""
        parameters = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        if not parameters:
            raise UserError("nothing of the network learns: no parameter requires a gradient; convert with max_epochs 0")
        optimiser = self.optimiser(parameters, self.settings.layer_lr(number))
        steps = max(1, self.settings.layer_epochs(number) * len(self.layer_batches))
        anneal = self.settings.anneal
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps if anneal else 1.0)

    def train_epoch(self, optimiser: torch.optim.Optimizer, rate: torch.optim.lr_scheduler.LRScheduler) -> None:
        """Train the layer in tandem and the analog ones after it, once on each of the layer's batches."""
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self.network.train()
        for module in self.upstream:
            module.eval()  # what reaches the stack stays what it is
        if self.settings.statistics == "none":
            keep_statistics(self.stack)
        for batch, prefix in self._batches("train", self.stack.converted):
            with self.stack.given_prefix(prefix), self._activity() as activity:
                value = self.loss(self.network, batch)
            if activity is not None:
                value = value + self.settings.activity_penalty * activity.pop()
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, self.settings.clip)
            optimiser.step()
            rate.step()

    def _take_batches(self, number: int) -> None:
        batches = self.train_batches(number)
        if batches is not self.layer_batches:
            self.prefixes = {key: spikes for key, spikes in self.prefixes.items() if key[0] != "train"}
        self.layer_batches = batches

    def _tune(self, index: int, number: int, loss: float) -> tuple[float, int]:
        """Train the layer in tandem and the analog ones after it; the best parameters are in place afterwards."""
        patience = Patience(self.settings.patience)
        patience.improved(loss)
        best = copy.deepcopy(self.network.state_dict())
        epoch = 0
        if self.settings.layer_epochs(number) > 0:
            optimiser, rate = self.make_optimiser(number)
        while epoch < self.settings.layer_epochs(number) and not patience.exhausted:
            epoch += 1
            self.train_epoch(optimiser, rate)
            loss = self._look(number, epoch)
            if patience.improved(loss):
                best = copy.deepcopy(self.network.state_dict())
            self.log(f"layer {index}, epoch {epoch}: dev loss {loss:.4f} (best {patience.best:.4f})")
        self.network.load_state_dict(best)
        return patience.best, epoch

    def _look(self, number: int, epoch: int | None) -> float:
        """Note losses and scores of the network as it is now; returns the loss on the dev batches, with the penalty."""
        means = {name: self._means(name) for name in (self.held_out if self.measure else ["dev"])}
        loss, _, activity = means["dev"]
        scores = {name: score for name, (_, score, _) in means.items()} if self.measure else {}
        self.history.append(Noted(number, epoch, loss, scores))
        return loss + self.settings.activity_penalty * activity

    @torch.no_grad()
    def _means(self, subset: str) -> list[float]:
        """Means of loss, score and activity over the batches of a subset, in evaluation mode."""
        self.network.eval()
        measured = []
        converted = 0 if self.settings.at_once else self.stack.converted  # no trains are kept where nothing is tuned
        for batch, prefix in islice(self._batches(subset, converted), SEEN_AT_ONCE if self.settings.at_once else None):
            with self.stack.given_prefix(prefix), self._activity() as activity:
                loss, score = self.measure(self.network, batch) if self.measure else (self.loss(self.network, batch),) * 2
            active = torch.zeros_like(loss) if activity is None else activity.pop().to(loss)
            measured.append(torch.stack([loss, score, active]))
        means: list[float] = torch.stack(measured).mean(0).tolist()
        return means

    def _activity(self) -> AbstractContextManager[ActivityPenalty | None]:
        """Within, the activity of the layers that learn is measured, if there is a penalty on it."""
        return ActivityPenalty(self.stack) if self.settings.activity_penalty else nullcontext()

    @torch.no_grad()
    def _threshold(self, index: int) -> Tensor:
        """a_u / N_s of an analog layer behind the spiking ones (Threshold LayerNorm), from train batches."""
        layer = self.stack.layers[index]
        assert isinstance(layer, AnalogLayer)
        settings, options = self.settings, self.settings.threshold_options
        if isinstance(layer.activation, QuantisedReLU):
            return layer.activation.bound / options.levels
        layers = chain_from(list(self.stack.layers), self.stack.sources, index) if settings.share_thresholds else [layer]

        def activations() -> Iterator[Tensor]:
            for signal, beside in self._signals(index):
                with in_layer(index):
                    check_sizes(layer, signal.activation, None if beside is None else beside.activation)
                yield from activations_of(layers or [layer], signal.activation, None if beside is None else beside.activation)

        def currents() -> Iterator[Tensor]:
            return (currents_of(layer, *signals, settings.window) for signals in self._signals(index))

        seen = Observed(activations, currents, lambda: folded(layer)[0])
        below = settings.dynamics.model.initial_below(settings.initial_potential, layer.activation)
        return THRESHOLDS.pick(settings.threshold).bound(seen, replace(options, below=below)) / options.levels

    @torch.no_grad()
    def _signals(self, index: int) -> Iterator[tuple[Signal, Signal | None]]:
        """Inputs of layer `index`, the first that is not spiking, and of its shortcut on the calibration batches."""
        self.network.eval()
        for _, (batch, prefix) in zip(range(self.settings.calibration_batches), self._batches("train", index), strict=False):
            if prefix is None:
                if index == 0:
                    check_input(self._stack_input(batch), self.settings.dynamics)
                yield self.stack.input_signal(self._stack_input(batch)), None
                continue
            spiking = self.stack.spiking_layers()
            handed = {i: Signal(spiking[i].activation(s), s, spiking[i].scale) for i, s in prefix.spikes.items()}
            yield self.stack.incoming(handed, index)

    def _scales(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        """Activation per spike, of those that a layer behind spiking ones sees, and of those its shortcut sees if others."""
        return self.stack.scales(index, torch.empty(0, device=self.device))

    def _batches(self, subset: str, converted: int) -> Iterator[tuple[Any, Prefix | None]]:
        """Batches with what the spiking layers hand on to others; they are simulated when that is first needed."""
        batches = self.layer_batches if subset == "train" else self.held_out[subset]
        if not len(batches):
            raise UserError(f"there is no batch of the {subset} data; give some of what the network sees")
        for i, batch in enumerate(batches):
            prefix = self.prefixes.get((subset, i))
            if prefix is None and converted:
                layers, sources, x = self.stack.spiking_layers(), self.stack.sources, self._stack_input(batch)
                fired = fire(layers, x, sources, frontier(sources, converted))
                prefix = Prefix(fingerprint(x), {layer: trains.to("cpu") for layer, trains in fired.items()})
                kept = sum(_bytes(other.spikes) for other in self.prefixes.values())
                if kept + _bytes(prefix.spikes) <= self.settings.keep_mb * 1_000_000:
                    self.prefixes[subset, i] = prefix
            yield batch, prefix and Prefix(prefix.of, {i: trains.to(self.device) for i, trains in prefix.spikes.items()})

    @torch.no_grad()
    def _stack_input(self, batch: Any) -> Tensor:
        captured: list[Tensor] = []
        handle = self.stack.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
        training = self.network.training
        try:
            self.network.eval()
            self.loss(self.network, batch)
        finally:
            handle.remove()
            self.network.train(training)
        return captured[0]

    @torch.no_grad()
    def _advance_prefixes(self, index: int, layer: SpikingLayer) -> None:
        """Run the kept trains through a layer that has just been frozen, and drop those that no further layer sees."""
        sources = self.stack.sources
        for key, prefix in self.prefixes.items():
            spikes = dict(prefix.spikes)
            here = {i: trains.to(self.device) for i, trains in spikes.items()}
            incoming, beside = incoming_of(sources[index], dict(here))
            fired = run_layer(index, layer, incoming, None, beside)
            assert isinstance(fired, Spikes)
            spikes[index] = fired.to("cpu")
            self.prefixes[key] = Prefix(prefix.of, {i: spikes[i] for i in frontier(sources, index + 1)})

    def _save(self) -> None:
        """Write the state after a layer; the weights first, so that the index never names weights that are not there."""
        if self.folder is None:
            return
        # A file of its own after each layer of each pass: those that the index names stay what they were.
        weights = f"layer-{len(self.reports):02d}.safetensors"
        with atomic_path(self.folder / weights, durable=True) as temporary:
            # Not `save_file`, where a full disk is no OSError.
            temporary.write_bytes(save({name: t.contiguous() for name, t in self.network.state_dict().items()}))
        state = {
            "weights": weights,
            "converted": self.stack.converted,
            "settings": facts_of(self.settings),
            "origin": self.origin,
            "layers": [asdict(report) for report in self.reports],
            "history": [asdict(noted) for noted in self.history],
        }
        write_text(self.folder / STATE, json.dumps(state, indent=1))

    def _facts(self) -> dict[str, Any]:
        """Facts that the conversion depends on, but for the memory, which may differ from machine to machine."""
        return facts_of(self.settings, free=["keep_mb"]) | self.origin

    def _restore(self) -> bool:
        """Go on from `folder`; whether it held a conversion."""
        if self.folder is None or not (self.folder / STATE).exists():
            return False
        try:
            state = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            tensors = load_file(self.folder / state["weights"], str(self.device))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise UserError(f"{self.folder} holds a damaged conversion ({error}); remove it to start anew") from error
        refuse_differences(state["settings"] | state.get("origin", {}), self._facts(), self.folder)
        name = next(name for name, module in self.network.named_modules() if module is self.stack)
        prefix = f"{name}." if name else ""  # the network may be the stack itself
        self.stack.restore(state["converted"], self.settings.dynamics, tensors, prefix)
        self.network.load_state_dict(tensors)
        self.reports = [LayerReport(**report) for report in state["layers"]]
        self.history = [Noted(**noted) for noted in state["history"]]
        self.log(f"goes on after {self._done} of {len(self.stack.layers) * self.settings.passes} layers")
        return True


def _bytes(spikes: Mapping[int, Spikes]) -> int:
    """Memory that trains take."""
    return sum(part.nbytes for trains in spikes.values() for part in trains.parts)
