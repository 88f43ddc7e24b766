import pytest
import torch
from torch import nn

from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import RULES, LearningOptions


@pytest.mark.parametrize("rule", ["tandem", "surrogate", "stdb"])
def test_a_layer_that_inherits_its_threshold_learns_none_and_passes_spikes(rule):
    torch.manual_seed(0)
    layer, scale = AnalogLayer(nn.Linear(6, 6), shortcut=nn.Identity()), torch.linspace(0.2, 0.3, 6)
    options = LearningOptions(learn_thresholds=True)
    make = RULES.pick(rule)
    inherits = make(layer, "fire", 1.01 * scale, Dynamics(4), options, True)
    assert not inherits.gain.requires_grad and inherits.spiking(scale).passes_spikes
    free = make(layer, "fire", 1.01 * scale, Dynamics(4), options)
    assert free.gain.requires_grad == (rule != "surrogate") and not free.spiking(scale).passes_spikes
