"""Neuron models by name."""

from collections.abc import Callable, Mapping

from separator.snn.neurons.double_threshold import Augmented, DoubleThreshold, PathIndependent
from separator.snn.neurons.few_spikes import FewSpikes
from separator.snn.neurons.hard_reset import HardReset
from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.neurons.leaky import Leaky
from separator.snn.neurons.neuron import Neuron
from separator.snn.registry import Registry, made_by

# What makes a model from its options, plain numbers by name.
NEURONS: Registry[Callable[..., Neuron]] = Registry(
    "neuron model",
    {
        "integrate-and-fire": IntegrateAndFire,
        "hard-reset": HardReset,
        "leaky": Leaky,
        "double-threshold": DoubleThreshold,
        "augmented": Augmented,
        "path-independent": PathIndependent,
        "few-spikes": FewSpikes,
    },
)


def neuron_of(name: str, options: Mapping[str, float]) -> Neuron:
    """The model of a name, made with options.

    Raises:
        UserError: there is no such model, or it has no such option.
    """
    return made_by(NEURONS, name, options)
