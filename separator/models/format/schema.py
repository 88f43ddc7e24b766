"""Schema of a model file, made from its card alone: names, types, shapes and ranges of its tensors, and their cost.

All of it is arithmetic, but for what is known of a network for images once it has run without numbers (torch's meta device).
Nothing is allocated, and no number of a file is used, before the file has been held against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.format.cost import MOST_LAYERS, Cost, TooCostlyError, check_tasnet, steps_of
from separator.models.format.header import TensorSpec
from separator.models.format.text import shown
from separator.models.format.typed import check_type, made_of
from separator.models.tasnet import TasNetConfig
from separator.snn.coding.readouts import READOUTS
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.fold import synaptic_weight
from separator.snn.layers.ranges import layer_types
from separator.snn.stack.connected import role_of

Config = TasNetConfig | FeedForwardConfig
CONFIGS: dict[str, type[Config]] = {"tasnet": TasNetConfig, "feedforward": FeedForwardConfig}

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
}
NAMES = {kind: name for name, kind in TYPES.items()}
FLOATS = ("F32", "F16", "BF16")  # the latter where files shall be small
# Of numbers that are no spiking layer's: far from where their products overflow.
LARGEST_VALUE = 2.0**32
# Of those whose name ends so, least and largest.
RANGES = {"running_var": (0.0, LARGEST_VALUE), "num_batches_tracked": (0.0, 2.0**63), "activation.gain": (-64.0, 64.0)}


class TensorRule(NamedTuple):
    """Shape and types that a tensor may have."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...] = FLOATS


class LayerShapes(NamedTuple):
    """Shapes of a layer's tensors."""

    analog: Mapping[str, tuple[int, ...]]  # by name
    weight: tuple[int, ...]  # of its synapses once it is spiking
    shortcut: tuple[int, ...] | None = None  # of the weights of what it adds to its sums; of the identity (C, 1)


@dataclass(frozen=True)
class Schema:
    """Tensors that the file of one card has to hold."""

    config: Config
    dynamics: Dynamics | None  # None of an analog network
    readout: str | None
    rules: Mapping[str, TensorRule]

    def check_specs(self, specs: Mapping[str, TensorSpec]) -> None:
        """Hold names, types and shapes of tensors against the rules.

        Raises:
            ValueError: they are others; the message names one.
        """
        for name in specs.keys() - self.rules.keys():
            raise ValueError(f"there is a tensor '{shown(name)}', which it has no place for")
        for name, rule in self.rules.items():
            if name not in specs:
                raise ValueError(f"the tensor {name} is missing")
            if specs[name].shape != rule.shape or specs[name].dtype not in rule.dtypes:
                raise ValueError(f"{name} is {shown(str(specs[name]))}, not {TensorSpec('/'.join(rule.dtypes), rule.shape)}")

    def check_values(self, tensors: Mapping[str, Tensor]) -> None:
        """Hold numbers outside of spiking layers against their ranges; at those of these, `Stack.restore` looks.

        Raises:
            ValueError: one is not finite or out of its range; the message names the tensor.
        """
        for name, values in tensors.items():
            if self.dynamics is not None and name.startswith("stack."):
                continue
            low, high = (float(x) for x in values.aminmax())
            own = (bounds for ending, bounds in RANGES.items() if name.endswith(ending))
            least, most = next(own, (-LARGEST_VALUE, LARGEST_VALUE))
            if not (least <= low and high <= most):  # nor NaN, which compares with nothing
                raise ValueError(f"a number in {name} is not from {least:g} to {most:g}")


def specs_of(tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """Types and shapes of tensors, as a header has them."""
    return {name: TensorSpec(NAMES.get(x.dtype, str(x.dtype)), tuple(x.shape)) for name, x in tensors.items()}


def schema_of(card: ModelCard) -> Schema:
    """Make the schema of the file of a card.

    Raises:
        ValueError, RuntimeError, UserError: the card describes no network.
        TooCostlyError: it describes one that costs too much.
    """
    if card.architecture == "feedforward":
        _check_length(card)
    config = made_of(CONFIGS[card.architecture], card.config)
    dynamics = readout = None
    if card.conversion is not None:
        check_type("readout", readout := card.conversion.get("readout", None), str)
        assert isinstance(readout, str)
        READOUTS.pick(readout)
        dynamics = _dynamics(card.conversion)
    make: Any = _tasnet_rules if isinstance(config, TasNetConfig) else _feedforward_rules
    rules = make(config, dynamics, readout)
    return Schema(config, dynamics, readout, rules)


def _dynamics(conversion: Mapping[str, object]) -> Dynamics:
    known = {field.name for field in fields(Dynamics)}
    for name in ("window", "initial_potential", "schedule"):
        if name not in conversion:
            raise ValueError(f"{name} is missing")
    return made_of(Dynamics, {name: value for name, value in conversion.items() if name in known})


def _check_length(card: ModelCard) -> None:
    """Refuse endless networks for images before their layers are made; those of the others cost nothing until they are."""
    layers: Any = card.config.get("layers")
    check_type("layers", layers, str)
    if layers.count("-") >= MOST_LAYERS:
        raise TooCostlyError(f"{layers.count('-') + 1} layers, where at most {MOST_LAYERS} are run")


def _tasnet_rules(config: TasNetConfig, dynamics: Dynamics | None, readout: str | None) -> dict[str, TensorRule]:
    n, length, channels = config.filters, config.filter_length, config.channels
    dilated = len(config.dilations) + len(config.look_back)
    if dilated >= MOST_LAYERS:
        raise TooCostlyError(f"{dilated + 1} layers, where at most {MOST_LAYERS} are run")
    outside = {"encoder.weight": (n, length), "norm.weight": (n,), "norm.bias": (n,), "decoder.weight": (length, n)}
    masks = {"mask.weight": (config.n_src * n, channels), "mask.bias": (config.n_src * n,)}
    layers = [_convolution((channels, n, 1, 1), False)]
    layers += [_convolution((channels, channels, 1, config.kernel), config.skips)] * dilated
    rules = {name: TensorRule(shape) for name, shape in (outside | masks).items()} | _stack_rules(layers, dynamics, readout)
    check_tasnet(config, dynamics, [rule.shape for rule in rules.values()])
    return rules


def _convolution(weight: tuple[int, ...], skip: bool) -> LayerShapes:
    """Tensors of a convolution without bias and of its batch normalisation."""
    norm: dict[str, tuple[int, ...]] = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), weight[:1])
    named = {f"norm.{name}": shape for name, shape in norm.items()} | {"norm.num_batches_tracked": ()}
    return LayerShapes({"affine.weight": weight} | named, weight, (*weight[:1], 1) if skip else None)


def _stack_rules(layers: list[LayerShapes], dynamics: Dynamics | None, readout: str | None) -> dict[str, TensorRule]:
    rules: dict[str, TensorRule] = {}
    for i, layer in enumerate(layers):
        prefix, outputs = f"stack.layers.{i}", layer.weight[:1]
        if dynamics is None or readout is None:
            for name, shape in layer.analog.items():
                rules[f"{prefix}.{name}"] = TensorRule(shape, ("I64",) if name.endswith("num_batches_tracked") else FLOATS)
            continue
        types, shapes = layer_types(role_of(i, len(layers), dynamics, readout), dynamics), {"weight": layer.weight}
        if layer.shortcut is None:
            del types["shortcut"]
        else:
            shapes["shortcut"] = layer.shortcut
            types["shortcut"] = types["weight" if len(layer.shortcut) > 2 else "shortcut"]
        for name, kind in types.items():
            rules[f"{prefix}.{name}"] = TensorRule(shapes.get(name, outputs), (NAMES[kind],))
    return rules


def _shapes_of(layer: AnalogLayer) -> LayerShapes:
    """Shapes of a layer that has seen its input."""
    named = {name: tuple(x.shape) for name, x in layer.state_dict().items()}
    weight, shortcut = tuple(synaptic_weight(layer).shape), None
    if isinstance(layer.shortcut, AnalogLayer):
        shortcut = tuple(synaptic_weight(layer.shortcut).shape)
    elif layer.shortcut is not None:
        shortcut = (*weight[:1], 1)
    return LayerShapes(named, weight, shortcut)


def _feedforward_rules(config: FeedForwardConfig, dynamics: Dynamics | None, readout: str | None) -> dict[str, TensorRule]:
    positions: list[int] = []
    with torch.device("meta"):
        network = FeedForward(config).eval()
        for layer in network.stack.layers:
            layer.affine.register_forward_hook(lambda module, seen, made: positions.append(prod(made.shape[2:])))  # type: ignore[union-attr]
        network(torch.empty(1, config.channels, config.height, config.width))
    layers = [_shapes_of(layer) for layer in network.stack.layers if isinstance(layer, AnalogLayer)]
    rules = _stack_rules(layers, dynamics, readout)
    synapses = [prod(layer.weight) + prod(layer.shortcut or (0,)) for layer in layers]
    operations = sum(n * at for n, at in zip(synapses, positions, strict=True))
    made = sum(layer.weight[0] * at for layer, at in zip(layers, positions, strict=True))
    numbers = config.channels * config.height * config.width + made
    Cost(sum(prod(rule.shape) for rule in rules.values()), operations, numbers, steps_of(dynamics)).check()
    return rules
