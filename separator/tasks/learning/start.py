"""The network that a training begins with: new, from a model, or put in tandem with its analog twins."""

from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.files import Network, load_network
from separator.snn.layers.analog import AnalogLayer
from separator.snn.stack.stack import Stack
from separator.tasks.learning.settings import OF_NEURONS, TrainingSettings
from separator.tasks.problems.protocol import Data, Objective, Problem
from separator.tasks.problems.registry import PROBLEMS

LEARNED = ("epochs", "hours", "history")  # of a model's scores, what still holds when it is trained further


def starting_point(settings: TrainingSettings) -> tuple[Problem, Network, ModelCard]:
    """The network as training begins, its problem, and its card; the stack of a spiking model is put in tandem.

    Raises:
        UserError: there is no such model, it is damaged, of another problem, or has other sizes than the settings say.
    """
    problem, named = settings.problem, {name: value for name, value in asdict(settings.card).items() if name != "name"}
    if settings.init is None:
        network = problem.new_network()
        set_initial_bias(network.stack, settings.optimiser.initial_bias)
        if settings.optimiser.initial_weights == "he":
            draw_initial_weights(network.stack)
        architecture = PROBLEMS[problem.name].architecture
        kind = "ann" if settings.learning.rule == "analog" else "snn"
        card = ModelCard(settings.card.name or kind, network.config.to_dict(), architecture=architecture, **named)
        return problem, network, card
    network, card = load_network(settings.init)
    check_same_sizes(settings, network)
    network, conversion = network.requires_grad_(True), card.conversion
    if conversion is not None:
        dynamics = network.stack.unfreeze(settings.optimiser.learn_thresholds, settings.optimiser.weight_bits)
        kept = {name: value for name, value in conversion.items() if name != "hardware"}  # which was of other weights
        conversion = kept | {"weight_bits": dynamics.weight_bits}
    scores = {name: card.scores[name] for name in LEARNED if name in card.scores}
    of_model = problem.of_model(network, card)
    renamed = replace(card, name=settings.card.name or card.kind, conversion=conversion, scores=scores, **named)
    return of_model, network.train(), renamed


def begin_spiking(network: Network, card: ModelCard, settings: TrainingSettings, objective: Objective, data: Data) -> ModelCard:
    """Have a new network learn as `settings` say, all layers at once; returns its card.

    Raises:
        UserError: a layer is never active on the calibration batches.
    """
    how, neurons, stack = settings.learning, settings.conversion, network.stack
    if how.rule == "analog" or settings.init is not None:
        return card
    signals = stack_input(network, objective, data, neurons.calibration_batches)
    thresholds = (neurons.percentile, neurons.channelwise)
    try:
        if how.rule == "tandem":
            stack.put_in_tandem(signals, neurons.dynamics, *thresholds, batch_statistics=True)
        else:
            stack.put_through_time(signals, neurons.dynamics, how.derivative, *thresholds, batch_statistics=True)
    except ValueError as error:
        raise UserError(f"{error}; try another --seed, or networks with batch norm") from error
    learned = {"learning": how.rule, "surrogate": how.surrogate, "surrogate_width": how.surrogate_width}
    of_neurons = {name: getattr(neurons, name) for name in OF_NEURONS}
    return replace(card, conversion=of_neurons | {"readout": stack.readout} | learned)


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


def check_same_sizes(settings: TrainingSettings, network: Network) -> None:
    """Say where the sizes in the settings, if there are any, are not those of the model to start from.

    Raises:
        UserError: there are such.
    """
    problem = settings.problem
    wanted, found = asdict(problem.network), asdict(network.config)
    usual = asdict(problem.usual_network())
    differing = [f"{name} {value} where the configuration says {wanted.get(name)}" for name, value in found.items()
                 if value != wanted.get(name)]  # fmt: skip
    if differing and wanted != usual:
        raise UserError(
            f"{settings.init} is a network of another architecture ({', '.join(differing)}); leave out --init to train anew, "
            "or give its own sizes"
        )
