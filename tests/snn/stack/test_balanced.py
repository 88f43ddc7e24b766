"""Threshold balancing against Algorithm 1 of Rathi et al. 2020, written down as it is printed."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network, save_model
from separator.snn.coding.poisson import Poisson
from separator.snn.conversion.presets import preset
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.execution.chosen import execution
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.twins import analog_numbers
from separator.snn.stack import reference
from separator.snn.stack.graph import INPUT, is_bypassed
from separator.snn.stack.stack import Stack
from separator.snn.thresholds.balanced import largest_current

STEPS = 64  # a power of two, so that what a spike of the input stands for is one


def on_grid(module, parts):
    """Weights that are whole numbers of 1 / parts: sums of them are exact, in floating point as in quanta."""
    with torch.no_grad():
        module.weight.copy_((module.weight * parts * 2).round() / parts)
    return module


def convolutions():
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 5, 3, padding=1, bias=False), nn.Conv2d(5, 6, 3, bias=False), nn.Linear(24, 8, bias=False)]
    first, second, third = (on_grid(layer, 8) for layer in layers)
    modules = [first, nn.ReLU(), nn.Dropout(0.2), nn.AvgPool2d(2), second, nn.ReLU(), nn.Flatten(), third, nn.ReLU()]
    return Stack(layers_of([*modules, nn.Linear(8, 3, bias=False)]), "potential").eval()


def pictures(n=4, seed=1):
    return torch.rand(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def algorithm_1(stack, x, steps, seed, scale=1.0):
    """Thresholds of all layers but the last; everything before a layer is simulated anew for each, in float64.

    The weights stay as they are, and a spike is worth 1: I <- W o, U <- U + I; a spike where U > V, which is subtracted.
    """
    maps = [lambda o, layer=layer: layer.double().preactivation(o.double()).detach() for layer in stack.layers]
    found = []
    for layer in range(len(maps) - 1):
        largest, potentials = 0.0, [0.0] * layer
        for t in range(steps):
            o = Poisson(seed).present(x, steps, t, 1).trains()[0].double()
            for k in range(layer):
                potentials[k] = potentials[k] + maps[k](o)
                o = (potentials[k] > found[k]).double()
                potentials[k] = potentials[k] - found[k] * o
            largest = max(largest, float(maps[layer](o).max()))
        found.append(largest)
    stack.float()
    return [value * scale for value in found]


def balanced(stack, x, window=STEPS, seed=3, **options):
    dynamics = Dynamics(window, neuron="leaky", neuron_options=options.pop("neuron", {}), coding="poisson",
                        coding_options={"seed": seed})  # fmt: skip
    stack.convert(x, dynamics, options.pop("percentile", 100.0), rule="balanced", **options)
    return ratios(stack)


def ratios(stack):
    """Thresholds in units of the spikes that a layer sees, as the paper has them."""
    spike, found = 1 / stack.dynamics.window, []
    for layer in stack.spiking_layers()[:-1]:
        assert len(layer.scale.unique()) == 1
        found.append(float(layer.scale[0]) / spike)
        spike = float(layer.scale[0])
    return found


def test_thresholds_are_those_of_the_naive_algorithm():
    x = pictures()
    expected = algorithm_1(convolutions(), x, STEPS, 3)
    assert balanced(convolutions(), x) == pytest.approx(expected, rel=1e-6)
    assert balanced(convolutions(), x, seed=4) != pytest.approx(expected, rel=1e-3)


def test_batches_and_executions_make_no_difference():
    x = pictures(6)
    expected = balanced(convolutions(), x)
    assert balanced(convolutions(), [x[:1], x[1:5], x[5:]]) == expected
    for name in ("dense", "event-driven"):
        with execution(name):
            assert balanced(convolutions(), [x[:2], x[2:]]) == expected


def test_they_are_scaled_once_all_of_them_are_found():
    x = pictures()
    expected = algorithm_1(convolutions(), x, STEPS, 3, 0.75)
    assert balanced(convolutions(), x, scale=0.75) == pytest.approx(expected, rel=1e-5)


def test_they_are_balanced_without_a_leak_and_over_steps_of_their_own():
    x = pictures()
    expected = algorithm_1(convolutions(), x, STEPS, 3)
    stack = convolutions()
    assert balanced(stack, x, 20, steps=STEPS, neuron={"leak": 0.9}) == pytest.approx(expected, rel=1e-4)
    assert stack.dynamics.window == 20 and all(layer.neuron.leak == 230 / 256 for layer in stack.layers)
    own = convolutions().layers[0].affine.weight.detach()
    assert torch.allclose(analog_numbers(stack.layers[0])[0] * 20, own, rtol=1e-4, atol=1e-5)


def test_no_layer_is_simulated_twice(monkeypatch):
    runs, advance = [], SpikingLayer.advance
    monkeypatch.setattr(SpikingLayer, "advance", lambda self, *args, **more: runs.append(self) or advance(self, *args, **more))
    balanced(convolutions(), [pictures(2), pictures(2, 5)], 40)
    assert [runs.count(layer) for layer in dict.fromkeys(runs)] == [2 * 2] * 2  # batches and windows of the first two layers


def test_percentiles_of_currents_are_counted():
    draws = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    for percentile in (50.5, 90.0, 99.0, 99.95):
        found = float(largest_current(draws.split(7), percentile))
        exact = float(np.percentile(draws.numpy(), percentile, method="inverted_cdf"))
        assert exact <= found <= exact * (1 + 2.0**-11)
    assert float(largest_current([draws], 100)) == draws.max()
    sparse = torch.zeros(1000)
    sparse[3] = 0.7
    assert float(largest_current([sparse], 99)) == pytest.approx(0.7, rel=1e-3)
    for percentile in (99, 100):
        with pytest.raises(ValueError, match="no neuron is ever active"):
            largest_current([-draws.abs()], percentile)


def test_a_lower_percentile_gives_lower_thresholds():
    x = pictures()
    lower, whole = (np.array(balanced(convolutions(), x, percentile=percentile)) for percentile in (99.0, 100.0))
    assert (lower < whole).all()


def test_a_constant_current_is_balanced_too():
    x, stack, analog = pictures(), convolutions(), convolutions()
    stack.convert(x, Dynamics(32, neuron="leaky", coding="constant"), 100.0, rule="balanced")
    largest = float(analog.layers[0].preactivation(x).detach().max()) / 32
    assert float(stack.layers[0].scale[0]) == pytest.approx(largest, rel=1e-4)


@pytest.mark.parametrize(
    ("message", "dynamics", "options"),
    [
        ("code the input by spikes", Dynamics(8), {}),
        ("steps of pipelined layers", Dynamics(8, 0.0, "layer-by-layer", coding="poisson"), {}),
        ("leave out channelwise", Dynamics(8, coding="poisson"), {"channelwise": True}),
        ("scale is a number of at least", Dynamics(8, coding="poisson"), {"scale": 0.0}),
        ("steps is a whole number of at least 1", Dynamics(8, coding="poisson"), {"steps": 0}),
    ],
)
def test_what_cannot_be_balanced_is_refused(message, dynamics, options):
    stack = convolutions()
    with pytest.raises(UserError, match=message):
        stack.convert(pictures(), dynamics, rule="balanced", **options)
    assert stack.converted == 0


def test_settings_that_nothing_heeds_are_refused():
    with pytest.raises(UserError, match="converts all layers at once; set at_once"):
        ConversionSettings(threshold="balanced")
    for options, rules in (({"threshold_scale": 0.7}, "rules balanced and unit"), ({"balance_steps": 9}, "rule balanced")):
        with pytest.raises(UserError, match=f"for the threshold {rules}"):
            ConversionSettings(**options)


def residual():
    """Pre-processing, a block that the identity goes past behind average pooling, and one with a projection (section 4.2)."""
    torch.manual_seed(2)

    def layer(c_in, c_out, kernel=3, stride=1, shortcut=None, before=()):
        affine = on_grid(nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), 8)
        return AnalogLayer(affine, before=before, shortcut=shortcut)

    projection = AnalogLayer(on_grid(nn.Conv2d(4, 6, 1, 2, bias=False), 8), activation=None)
    layers = [
        layer(2, 4),
        layer(4, 4),
        layer(4, 4),
        layer(4, 4, shortcut=nn.Identity()),
        layer(4, 6, stride=2),
        layer(6, 6, shortcut=projection),
        AnalogLayer(nn.Linear(96, 3, bias=False), before=[nn.Flatten()], activation=None),
    ]
    sources = [((INPUT,),), ((0,),), ((1,),), ((2,), (1,)), ((3,),), ((4,), (3,)), ((5,),)]
    return Stack(layers, "potential", sources).eval()


def residual_algorithm(stack, x, steps, seed):
    """The same, with thresholds of 1 in the blocks, and a shortcut's spikes worth 1 added to the second map's potential."""
    layers = [layer.double() for layer in stack.layers]
    found, runs = [], []
    for layer in range(len(layers)):
        potentials, counts, largest = [0.0] * layer, torch.zeros(()), 0.0
        for t in range(steps):
            fired = {INPUT: Poisson(seed).present(x, steps, t, 1).trains()[0].double()}
            for k in range(layer + 1):
                maps = stack.sources[k]
                current = layers[k].preactivation(fired[maps[0][0]], fired[maps[1][0]] if len(maps) > 1 else None).detach()
                if k == layer:
                    largest, counts = max(largest, float(current.max())), counts + current
                    break
                potentials[k] = potentials[k] + current
                fired[k] = (potentials[k] > found[k]).double()
                potentials[k] = potentials[k] - found[k] * fired[k]
        found.append(1.0 if is_bypassed(stack.sources, layer) else largest)
        runs.append(counts)
    stack.float()
    return found[:-1], runs[-1]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_layers_in_basic_blocks_have_thresholds_of_one(scale):
    x = pictures()
    found, _ = residual_algorithm(residual(), x, STEPS, 3)
    assert found[2:] == [1.0] * 4
    mine = balanced(residual(), x, scale=scale)
    expected = [value * (scale if i < 2 else 1) for i, value in enumerate(found)]
    assert mine == pytest.approx(expected, rel=1e-5)


def test_a_residual_network_sums_up_what_the_paper_says():
    x = pictures()
    found, summed = residual_algorithm(residual(), x, STEPS, 3)
    stack = residual()
    balanced(stack, x)
    worth = np.prod([*found, 1 / STEPS])  # of a spike of the last block, in units of activation
    torch.testing.assert_close(stack(x).double(), summed * worth, rtol=1e-3, atol=1e-3 * float(summed.abs().max()) * worth)


def test_the_preset_is_the_papers(tmp_path):
    net = nn.Sequential(convolutions())
    settings = ConversionSettings(**{**preset("hybrid"), "window": 32, "calibration_batches": 2, "threshold_scale": 0.7,
                                     "coding_options": {"seed": 3}})  # fmt: skip
    batches = [pictures(3), pictures(3, 8), pictures(3, 9)]
    run = ProgressiveTandemLearning(
        net, net[0], [], lambda n, b: n(b).square().mean(), lambda layer: batches, batches, settings, log=lambda line: None
    )
    reports = run.run()
    assert ratios(net[0]) == pytest.approx(algorithm_1(convolutions(), torch.cat(batches[:2]), 32, 3, 0.7), rel=1e-4)
    assert [report.role for report in reports] == ["fire", "fire", "fire", "readout"]
    assert Fraction(reports[0].agreement["largest"]) > 0


def test_residual_networks_for_pictures_are_balanced_run_and_kept(tmp_path):
    torch.manual_seed(3)
    network = FeedForward(FeedForwardConfig("c4-d20-c4-a2-b4d20-b6s2-5", 2, 8, 8, norm=False, bias=False, mean=0.5, std=0.5))
    network.eval()
    settings = ConversionSettings(**{**preset("hybrid"), "window": 40})
    x = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    network(x)
    network.stack.convert(network.seen(x), settings.dynamics, 100.0, rule="balanced")
    assert ratios(network.stack)[2:] == pytest.approx([1.0] * 4, rel=1e-5)
    layers, spiking = network.stack.spiking_layers(), network(x)
    expected = reference.simulate(layers, network.seen(x), network.stack.sources)
    for name in ("fastest", "dense", "event-driven"):
        with execution(name):
            assert torch.equal(network(x), (torch.from_numpy(expected).double() * layers[-1].quantum.double()).float())
    conversion = {name: getattr(settings, name) for name in ("window", "initial_potential", "schedule", "neuron", "coding")}
    card = ModelCard(
        "n", network.config.to_dict(), architecture="feedforward", conversion=conversion | {"readout": "potential"}
    )
    save_model(tmp_path / "snn", network, card)
    assert torch.equal(load_network(tmp_path / "snn")[0](x), spiking)
