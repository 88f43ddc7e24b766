"""Poisson coding against plain integers, against its expectations, and through layers."""

import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network, save_model
from separator.snn.coding.poisson import Poisson
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.analog import layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.snn.stack.simulation import windows_of
from separator.snn.stack.stack import Stack
from tests.snn.nets import check_fires_as_defined, conv2d_stack, linear_stack

WRAP = 2**64
STEP = 0x9E3779B97F4A7C15


def mixed(z):
    """The mixing function of splitmix64 as it is published, on Python's integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WRAP
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WRAP
    return z ^ (z >> 31)


def drawn(item, steps, seed, certain=1.0):
    """Spikes of one item, number by number."""
    parts = [round(max(-1.0, min(1.0, x / certain)) * 2**16) for x in item]
    own = sum(mixed((mixed((q + 2**16) % WRAP) + place * STEP) % WRAP) for place, q in enumerate(parts, 1)) % WRAP
    key = mixed((own + (seed + 1) * STEP) % WRAP)
    trains = []
    for t in range(steps):
        row = []
        for place, q in enumerate(parts, 1):
            stream = mixed((key + place * STEP) % WRAP)
            draw = mixed((stream + (t // 4 + 1) * STEP) % WRAP) >> 16 * (t % 4) & 0xFFFF
            row.append((draw < abs(q)) * (1 if q > 0 else -1))
        trains.append(row)
    return trains


def pictures(n=5, seed=0):
    return torch.rand(n, 2, 3, 4, generator=torch.Generator().manual_seed(seed)) * 3 - 1.5


@pytest.mark.parametrize(("seed", "certain"), [(0, 1.0), (7, 2.5)])
def test_spikes_are_what_plain_integers_say(seed, certain):
    x = pictures(3)
    trains = Poisson(seed, certain).present(x, 100, 30, 32).trains()
    for item, found in zip(x, trains.transpose(0, 1), strict=True):
        expected = drawn(item.flatten().tolist(), 62, seed, certain)[30:]
        assert found.flatten(1).int().tolist() == expected


def test_rates_are_the_input_and_signs_are_kept():
    x, steps = pictures(40), 3200
    coding = Poisson(3)
    trains = torch.cat([coding.present(x, steps, first, n).trains() for first, n in windows_of(steps)])
    rates, wanted = trains.mean(0), x.clamp(-1, 1)
    assert bool((trains * x.sign() >= 0).all()) and set(trains.unique().tolist()) == {-1.0, 0.0, 1.0}
    spread = (wanted.abs() * (1 - wanted.abs()) / steps).sqrt()
    assert bool(((rates - wanted).abs() <= 5 * spread + 2.0**-16).all())
    assert (((rates - wanted) / spread.clamp_min(1e-9))[spread > 0]).std() == pytest.approx(1, abs=0.1)
    # No step tells of the next ones, nor a place of its neighbours: correlations of 100,000s of draws are next to none.
    unsure = (x.abs() < 0.98) & (x.abs() > 0.02)
    fired = ((trains - wanted) / (spread * steps**0.5).clamp_min(1e-3))[:, unsure]
    for lag in (1, 2, 3, 4, 5, 8):
        assert float((fired[lag:] * fired[:-lag]).mean().abs()) < 0.01
    assert float((fired[:, 1:] * fired[:, :-1]).mean().abs()) < 0.01


def test_any_split_into_windows_and_batches_draws_the_same():
    x, coding = pictures(6), Poisson(11)
    whole = coding.present(x, 64, 0, 32).trains()
    pieces = torch.cat([coding.present(x, 64, first, 1).trains() for first in range(32)])
    assert torch.equal(pieces, whole)
    alone = torch.cat([coding.present(x[i : i + 1], 64, 0, 32).trains() for i in (3, 0, 5, 1, 4, 2)], 1)
    assert torch.equal(alone, whole[:, [3, 0, 5, 1, 4, 2]])
    twice = coding.present(torch.cat([x[:1], x[:1]]), 64, 0, 32).trains()
    assert torch.equal(twice[:, 0], twice[:, 1])


def test_other_seeds_and_other_items_draw_otherwise():
    x = torch.full((2, 1, 32, 32), 0.5)
    x[1, 0, 0, 0] += 2.0**-10
    first, second = (Poisson(seed).present(x, 32, 0, 32).trains() for seed in (0, 1))
    agree = [(first == second).float().mean(), (first[:, 0] == first[:, 1]).float().mean()]
    assert all(abs(float(share) - 0.5) < 0.02 for share in agree)


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 0.5}, {"seed": 2**31}, {"certain": 0}, {"certain": -1}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(UserError, match=r"seed of spikes is|fires at every step is"):
        ConversionSettings(coding="poisson", coding_options=options)


def test_unknown_options_are_refused():
    with pytest.raises(UserError, match="'poisson' does not take the options"):
        Dynamics(8, coding="poisson", coding_options={"rate": 2})
    with pytest.raises(UserError, match="'charge' does not take the options"):
        Dynamics(8, coding_options={"seed": 2})


def test_input_that_is_no_number_is_refused():
    with pytest.raises(UserError, match="NaN or infinite"):
        Poisson().present(torch.tensor([[float("nan")]]), 8, 0, 8)


def linear_network():
    torch.manual_seed(0)
    return Stack(layers_of([nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 3)]))


def pooled_network():
    torch.manual_seed(0)
    layers = layers_of(
        [nn.AvgPool2d(2), nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)]
    )
    return Stack(layers, "potential")


def grouped_network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 4, 3, groups=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 3, 1)]
    return Stack([*layers_of(layers)], "potential")


CASES = {
    "linear": (linear_network, (24,)),
    "convolutions": (conv2d_stack, (2, 8, 8)),
    "pooled": (pooled_network, (2, 8, 8)),
    "grouped": (grouped_network, (2, 9, 9)),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("neuron", ["integrate-and-fire", "double-threshold"])
@pytest.mark.parametrize(("window", "bits"), [(12, 8), (70, None)])
def test_all_executions_take_signed_spikes(kind, neuron, window, bits):
    build, shape = CASES[kind]
    stack, x = build().eval(), torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    stack(x)
    coding = {"coding": "poisson", "coding_options": {"seed": 5}}
    stack.convert(x, Dynamics(window, 0.5, "pipelined", bits, neuron=neuron, **coding), 99.9)
    assert stack.layers[0].role == "fire"
    check_fires_as_defined(stack, x, ("fastest", "dense", "event-driven", "row-adding"))


def test_layers_that_wait_for_all_of_their_input_take_them():
    stack, x = linear_network(), torch.randn(4, 24, generator=torch.Generator().manual_seed(2))
    stack.convert(x, Dynamics(16, 0.5, "layer-by-layer", 8, coding="poisson"))
    trains = check_fires_as_defined(stack, x, ("fastest", "dense", "event-driven"))
    assert all((np.diff(np.abs(train), axis=0) <= 0).all() for train in trains[:-1])  # spikes come as early as they can
    assert stack.latency == 16 * 3  # for the input, and for each of two layers that fire


def test_a_run_of_thousands_of_steps_comes_near_the_analog_network():
    stack, x = linear_network().eval(), torch.rand(6, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1
    analog = stack(x).detach()
    errors = []
    for window in (32, 2500):
        stack = linear_network().eval()
        stack.convert(x, Dynamics(window, coding="poisson"), 100.0)
        errors.append(float((stack(x) - analog).norm() / analog.norm()))
    assert errors[1] < 0.1 and errors[1] < errors[0] / 3


def test_operations_are_counted_from_signed_spikes():
    stack, x = linear_network().eval(), torch.randn(4, 24, generator=torch.Generator().manual_seed(2))
    stack.convert(x, Dynamics(16, coding="poisson"))
    with record_activity(stack) as activity:
        stack(x)
    given = Poisson().present(x, 16, 0, 16)
    assert activity.layers[0].synaptic_operations == int(given.trains().abs().sum()) * 16


def test_the_seed_goes_from_the_settings_to_the_file_and_back(tmp_path):
    settings = ConversionSettings(window=40, at_once=True, coding="poisson", coding_options={"seed": 9, "certain": 0.5})
    network = FeedForward(FeedForwardConfig("6-3", height=4, width=4, norm=False)).eval()
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network(x)
    network.stack.convert(x, settings.dynamics)
    conversion = {"window": 40, "initial_potential": 0.0, "schedule": "pipelined", "readout": "potential"}
    conversion |= {"coding": settings.coding, "coding_options": settings.coding_options}
    card = ModelCard("n", network.config.to_dict(), architecture="feedforward", conversion=conversion)
    save_model(tmp_path / "snn", network, card)
    again, _ = load_network(tmp_path / "snn")
    assert again.stack.dynamics == settings.dynamics and torch.equal(again(x), network(x))
    assert again.stack.dynamics.input_coding.seed == 9


@pytest.mark.parametrize("certain", [0.0, -1.0, 1e-310, float("nan"), float("inf")])
def test_input_that_never_or_always_fires_is_refused(certain):
    with pytest.raises(UserError, match="the input that fires at every step is from"):
        Poisson(0, certain)


@pytest.mark.parametrize(("neuron", "schedule"), [("few-spikes", "layer-by-layer"), ("augmented", "pipelined")])
def test_another_window_sees_the_input_at_the_same_scale(neuron, schedule):
    """As a conversion for that window does; what spikes of neurons are worth is not what drawn ones are."""
    x = torch.rand(50, 6) * 0.9

    def converted(window):
        stack = linear_stack()
        stack.convert(x, Dynamics(window, 0.5, schedule, neuron=neuron, coding="poisson"))
        return stack

    def weights(stack):
        return stack.layers[0].weight * stack.layers[0].quantum[:, None]

    changed = converted(4)
    changed.set_window(7)
    torch.testing.assert_close(weights(changed), weights(converted(7)), rtol=1e-3, atol=1e-6)
