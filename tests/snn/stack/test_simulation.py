import pytest
import torch

from separator.snn.execution.chosen import execution
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from tests.snn.nets import STACKS

RUNS = {
    "pipelined": {},
    "layer-by-layer": {"schedule": "layer-by-layer"},
    "weights of 8 bits": {"weight_bits": 8},
    "weights of 8 bits, layer-by-layer": {"weight_bits": 8, "schedule": "layer-by-layer"},
    "two thresholds": {"neuron": "double-threshold"},
    "coefficients": {"neuron": "augmented"},
    "coefficients, layer-by-layer": {"neuron": "augmented", "schedule": "layer-by-layer"},
    "spikes as input": {"neuron": "leaky", "coding": "poisson"},
    "many steps": {"window": 40, "coding": "constant"},
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("kind", ["linear", "skipping-conv2d"])
def test_no_items_have_outputs_of_the_same_shape(kind, options, threads):
    build, shape = STACKS[kind]
    stack, half = build(), build()
    x, none = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)), torch.empty(0, *shape)
    outputs = stack(x).shape[1:]
    stack.convert(x, Dynamics(**{"window": 8} | options))
    half.layers[0] = stack.layers[0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name in ("fastest", "dense", "event-driven", "row-adding"):
            with execution(name), record_activity(stack) as activity:
                assert stack(none).shape == (0, *outputs)
            assert activity.layers[1].window == stack.dynamics.window
            assert activity.spikes == activity.synaptic_operations == activity.macs == activity.layers[0].neurons == 0
        if stack.dynamics.window <= 32:
            assert half(none).shape == (0, *outputs)
    finally:
        torch.set_num_threads(before)
