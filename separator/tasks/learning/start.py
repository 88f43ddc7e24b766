"""The network that a training begins with: new, from a model, or put in tandem with its analog twins."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.files import Network, load_network
from separator.models.growing import grown
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import LearningOptions
from separator.snn.stack.stack import Stack
from separator.tasks.learning.settings import OF_NEURONS, TrainingSettings, usual_neurons
from separator.tasks.problems.protocol import Data, Objective, Problem
from separator.tasks.problems.registry import PROBLEMS

LEARNED = ("epochs", "hours", "history")  # of a model's scores, what still holds when it is trained further


def starting_point(settings: TrainingSettings) -> tuple[Problem, Network, ModelCard]:
    """The network as training begins, its problem, and its card.

    The stack of a spiking model is put in tandem, its weights as they are, unless it learns by stdb; see `begin_spiking`.

    Raises:
        UserError: there is no such model, it is damaged, of another problem, does not grow to the sizes in the settings, or
            spikes and shall learn by a rule for others.
    """
    problem = settings.problem
    if settings.init is None:
        _check_options(settings, None)
        network = problem.new_network()
        set_initial_bias(network.stack, settings.optimiser.initial_bias)
        if settings.optimiser.initial_weights == "he":
            draw_initial_weights(network.stack)
        architecture = PROBLEMS[problem.name].architecture
        kind = "ann" if settings.learning.rule == "analog" else "snn"
        given = asdict(settings.card) | {"name": settings.card.name or kind}
        card = ModelCard(config=network.config.to_dict(), architecture=architecture, **given)
        return problem, network, card
    network, card = load_network(settings.init)
    conversion = card.conversion
    if conversion is not None and settings.learning.rule not in ("analog", "stdb"):
        raise UserError(f"{settings.init} spikes, and learns in tandem as it is; leave out --learning, or take the rule stdb")
    _check_options(settings, conversion)
    network = as_large_as_asked(settings, network).requires_grad_(True)
    if conversion is not None and settings.learning.rule == "analog":
        dynamics = network.stack.unfreeze(settings.optimiser.learn_thresholds, settings.optimiser.weight_bits)
        kept = {name: value for name, value in conversion.items() if name != "hardware"}  # which was of other weights
        conversion = kept | {"weight_bits": dynamics.weight_bits}
    scores = {name: card.scores[name] for name in LEARNED if name in card.scores}
    of_model = problem.of_model(network, card)
    sizes = network.config.to_dict()
    named, name = settings.card.of_learner(card), settings.card.name or card.kind
    renamed = replace(card, name=name, config=sizes, conversion=conversion, scores=scores, **named)
    return of_model, network.train(), renamed


def _check_options(settings: TrainingSettings, conversion: Mapping[str, Any] | None) -> None:
    """Refuse options that would do nothing, by what the network is that training starts with.

    Args:
        settings: of the training.
        conversion: of the model to start from, if it spikes.

    Raises:
        UserError: there are some.
    """
    optimiser, neurons, usual = settings.optimiser, settings.conversion, usual_neurons()
    if conversion is not None:
        for name in OF_NEURONS:
            value = getattr(neurons, name)
            if value not in (getattr(usual, name), conversion.get(name)):
                raise UserError(
                    f"{settings.init} spikes, with neurons of its own; leave out --conversion.{name} (for another window, "
                    "name it MODEL@WINDOW)"
                )
    elif optimiser.weight_bits is not None:
        raise UserError("optimiser.weight_bits are of models that spike; for others, give --conversion.weight_bits")
    elif settings.learning.rule == "analog" and optimiser.learn_thresholds:
        raise UserError("an analog network has no thresholds to learn; leave out --optimiser.learn_thresholds")
    elif settings.learning.rule == "surrogate" and optimiser.learn_thresholds:
        raise UserError("thresholds learn in tandem or by stdb; leave out --optimiser.learn_thresholds")


def begin_spiking(
    network: Network, card: ModelCard, settings: TrainingSettings, objective: Objective, data: Data, loaded: bool = False
) -> ModelCard:
    """Have a network learn as `settings` say, all layers at once; returns its card.

    A new one, or an analog model, gets its thresholds from activations; a spiking model has them. Where a checkpoint's are
    `loaded` behind it, any of their shape will do, and percentiles are found sooner than least squares.

    Raises:
        UserError: a layer is never active on the calibration batches, or it cannot learn so.
    """
    how, stack = settings.learning, network.stack
    if how.rule == "analog":
        return card
    before = card.conversion
    if before is None:
        neurons = settings.conversion
        dynamics = how.neurons(neurons.dynamics)
        quick = loaded and neurons.threshold == "least-squares"
        bounds = replace(neurons, threshold="percentile") if quick else neurons
        _couple(network, settings, bounds, dynamics, objective, data)
        conversion: dict[str, Any] = {name: getattr(neurons, name) for name in OF_NEURONS}
    else:
        found, bits = stack.spiking_layers()[0].dynamics, settings.optimiser.weight_bits
        dynamics = how.neurons(found if bits is None else replace(found, weight_bits=bits))
        template = type(network)(network.config).eval()  # type: ignore[arg-type]
        with torch.no_grad():
            template(one_input(objective, data).cpu())  # pooling is known by what it sees
        analog = [layer for layer in template.stack.layers if isinstance(layer, AnalogLayer)]
        stack.relearn(analog, how.rule, learning_options(settings), dynamics)
        network.train()
        conversion = {name: value for name, value in before.items() if name != "hardware"}  # which was of other weights
    learned: dict[str, Any] = {"surrogate": how.surrogate, "surrogate_width": how.surrogate_width}
    if how.rule == "stdb":
        learned = {"stdb": asdict(how.stdb)}
    changed = {"neuron": dynamics.neuron, "neuron_options": dynamics.neuron_options, "weight_bits": dynamics.weight_bits}
    conversion |= {"readout": stack.readout, "learning": how.rule} | changed | learned
    return replace(card, conversion=conversion, name=settings.card.name or "snn")


def with_learned_neurons(card: ModelCard, network: Network) -> ModelCard:
    """The card of a network that has learned and is spiking, with options of its neurons that have learned too."""
    dynamics = network.stack.dynamics
    assert dynamics is not None and card.conversion is not None
    return replace(card, conversion=card.conversion | {"neuron_options": dynamics.neuron_options})


def learning_options(settings: TrainingSettings, batch_statistics: bool = False) -> LearningOptions:
    """Options of the rule that a network learns by."""
    how = settings.learning
    return LearningOptions(
        settings.optimiser.learn_thresholds,
        batch_statistics=batch_statistics,
        surrogate=how.derivative,
        stdb=how.stdb,
        learn_leak=how.learn_leak,
        segment=how.segment,
    )


def _couple(
    network: Network,
    settings: TrainingSettings,
    neurons: ConversionSettings,
    dynamics: Dynamics,
    objective: Objective,
    data: Data,
) -> None:
    stack = network.stack
    signals = stack_input(network, objective, data, neurons.calibration_batches)
    rule = settings.learning.rule
    options = learning_options(settings, batch_statistics=settings.init is None or rule != "stdb")
    bounds = neurons.percentile, neurons.channelwise, neurons.threshold, neurons.rate
    try:
        stack.couple(signals, dynamics, rule, options, *bounds)
    except ValueError as error:
        raise UserError(f"{error}; try another --seed, or networks with batch norm") from error


@torch.no_grad()
def stack_input(network: Network, objective: Objective, data: Data, batches: int) -> Tensor:
    """Input of an analog network's stack on calibration batches; nothing of the network changes."""
    seen: list[Tensor] = []
    training = network.training
    handle = network.eval().stack.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        for batch in data.calibration(batches):
            network(objective.inputs(batch).cpu())
    finally:
        handle.remove()
        network.train(training)
    return torch.cat(seen)


def one_input(objective: Objective, data: Data) -> Tensor:
    """One input of a network, (1, ...); no generator of random numbers takes note."""
    with torch.random.fork_rng():
        return objective.inputs(next(iter(data.dev()["dev"])))[:1]


def set_initial_bias(stack: Stack, bias: float) -> None:
    """Let batch norm of the analog layers that have a ReLU add a bias; a stack without batch norm takes none but 0.

    Raises:
        UserError: there is nothing to set.
    """
    norms = [
        layer.norm
        for layer in stack.layers
        if isinstance(layer, AnalogLayer) and layer.activation is not None and layer.norm is not None
    ]
    if bias and not norms:
        raise UserError("an initial bias is one of batch norm, which the hidden layers of this network do not have")
    if bias:
        for norm in norms:
            nn.init.constant_(norm.bias, bias)


def draw_initial_weights(stack: Stack) -> None:
    """Draw weights of analog layers so that their sums have the same mean square in every layer, and set biases to zero."""
    for layer in stack.layers:
        for one in layer.with_shortcut() if isinstance(layer, AnalogLayer) else ():
            if not isinstance(one.affine.weight, nn.Parameter):
                continue  # nothing that is learned
            if one.activation is None:
                nn.init.kaiming_normal_(one.affine.weight, nonlinearity="linear")
            else:
                nn.init.kaiming_normal_(one.affine.weight, getattr(one.activation, "negative_slope", 0.0))
            if one.affine.bias is not None:
                nn.init.zeros_(one.affine.bias)


def as_large_as_asked(settings: TrainingSettings, network: Network) -> Network:
    """The model to start from, grown to the sizes in the settings, if there are any; see `separator.models.growing`.

    Raises:
        UserError: it does not grow to these.
    """
    problem = settings.problem
    wanted, found = problem.network, network.config
    sizes = asdict(wanted)
    differing = [f"{name} {value} where the configuration says {sizes.get(name)}" for name, value in asdict(found).items()
                 if value != sizes.get(name)]  # fmt: skip
    if not differing or wanted == problem.usual_network():
        return network
    reason = "leave out --init to train anew, or give its own sizes"
    if isinstance(network, TasNet) and isinstance(wanted, TasNetConfig) and not network.stack.converted:
        try:
            return grown(network, wanted)
        except UserError as error:
            reason = f"{error}; {reason}"
    raise UserError(f"{settings.init} is a network of another architecture ({', '.join(differing)}): {reason}")
