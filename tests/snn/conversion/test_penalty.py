"""Activity of neurons with two thresholds and of binary digits; others are in `tests.snn.observe.test_activity`."""

import copy
import itertools

import pytest
import torch
from torch import nn

from separator.snn.conversion.penalty import ActivityPenalty, density, fewest
from separator.snn.layers.analog import layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.learning.surrogate import Surrogate
from separator.snn.observe.activity import record_activity
from separator.snn.stack.stack import Stack

OPTIONS = {"augmented": {"boundary": 2}}
SCHEDULES = ["pipelined", "layer-by-layer"]


def falling_stack(neuron="augmented"):
    """Most activations are below zero, but where neurons fire for positive ones alone."""
    torch.manual_seed(0)
    activation, bias = (nn.ReLU(), 0.5) if neuron == "few-spikes" else (nn.LeakyReLU(0.5), -0.5)
    modules = [nn.Linear(4, 12), activation, nn.Linear(12, 5), activation, nn.Linear(5, 2)]
    for linear in modules[:3:2]:
        linear.bias.data.fill_(bias)
    return Stack(layers_of(modules), "potential").eval()


def rates_of(stack, x):
    """Mean firing rate of the layers that fire, spike by spike."""
    with record_activity(stack) as recorded:
        stack(x)
    rates = [layer.rate for layer in recorded.layers[:-1]]
    return sum(rates) / len(rates)


@pytest.mark.parametrize(
    ("neuron", "schedule"),
    [*itertools.product(["double-threshold", "augmented", "path-independent"], SCHEDULES), ("few-spikes", "layer-by-layer")],
)
def test_every_spike_counts(neuron, schedule):
    stack, x = falling_stack(neuron), torch.randn(16, 4)
    stack.put_in_tandem(x, Dynamics(4, 0.0, schedule, neuron=neuron))
    with ActivityPenalty(stack) as activity:
        stack(x)
    value = float(activity.pop().detach())
    stack.freeze()
    assert 0 < value <= 1 and value == pytest.approx(rates_of(stack, x), rel=1e-5)


@pytest.mark.parametrize("most", [1, 2, 4, 7])
def test_sums_take_as_many_spikes_as_there_are_digits(most):
    for digits in range(most + 1):
        assert fewest(torch.tensor(2.0**digits - 1), 2**most - 1, most) == pytest.approx(digits / most)
    assert fewest(torch.tensor(3.0), 8, 8) == 3 / 8


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "few-spikes"])
def test_neurons_fire_less_by_the_penalty_whichever_spikes_they_fire(neuron):
    stack, x = falling_stack(neuron), torch.randn(16, 4)
    stack.put_in_tandem(x, Dynamics(4, 0.5, "layer-by-layer", neuron=neuron, neuron_options=OPTIONS.get(neuron, {})))
    before = copy.deepcopy(stack)
    optimiser = torch.optim.SGD(stack.parameters(), 0.5)
    for _ in range(10):
        optimiser.zero_grad()
        with ActivityPenalty(stack) as activity:
            stack(x)
        activity.pop().backward()
        optimiser.step()
    before.freeze(), stack.freeze()
    assert rates_of(stack, x) < 0.9 * rates_of(before, x)


def test_spikes_of_either_sign_count_step_by_step():
    stack, x = falling_stack(), torch.randn(16, 4)
    stack.put_through_time(x, Dynamics(8, neuron="double-threshold"), Surrogate())
    trains = []
    for layer in stack.layers[:-1]:
        layer.register_forward_hook(lambda module, inputs, signal: trains.append(signal.trains))
    with ActivityPenalty(stack.train()) as activity:
        stack(x)
    value = activity.pop()
    counted = [float((train != 0).double().mean()) for train in trains]
    assert any((train < 0).any() for train in trains)
    assert value.item() == pytest.approx(sum(counted) / 2, rel=1e-6)
    value.backward()
    assert stack.layers[0].layer.affine.weight.grad.abs().sum() > 0
    with torch.no_grad(), ActivityPenalty(stack.eval()) as activity:
        stack(x)
    stack.freeze()
    assert float(activity.pop()) == pytest.approx(rates_of(stack, x), rel=1e-5)


def test_density_is_that_of_magnitudes():
    a = torch.randn(50).requires_grad_()
    assert density(a) == density(a.abs()) == density(-a)
    assert density(torch.tensor([1.0, -1.0])) == 1
    z = torch.full((4,), 0.01, requires_grad=True)  # less than half a level: nothing, and a gradient
    quantised = QuantisedReLU(4)(torch.cat([z, torch.ones(3)]))
    density(quantised).backward()
    assert (quantised[:4] == 0).all() and (z.grad > 0).all()
