"""Networks as users have them: what is right is right, and what cannot be is refused before the first batch."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.utils.data import DataLoader, TensorDataset

from separator.errors import UserError
from separator.snn.conversion.presets import preset
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.export.spikingjelly import SpikingJellyStack
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.quantised import QuantisedReLU
from separator.snn.observe.activity import record_activity
from separator.snn.stack.stack import Stack


class Net(nn.Module):
    def __init__(self, modules):
        super().__init__()
        self.stack = Stack(layers_of(modules))

    def forward(self, x):
        return self.stack(x)


def mse(network, batch):
    return (network(batch[0]) - batch[1]).square().mean()


def engine(network, batches, dev=None, window=8, epochs=0, name="few-steps", up=(), loss=mse, **changes):
    settings = ConversionSettings(window=window, max_epochs=epochs, **{**preset(name), **changes})
    return ProgressiveTandemLearning(
        network, network.stack, list(up), loss, lambda layer: batches, dev or batches, settings, log=lambda line: None
    )


def relative(found, expected):
    return float((found - expected).detach().double().norm() / expected.detach().double().norm())


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(widths=(6, 16, 16, 3)):
    modules = []
    for a, b in pairwise(widths):
        modules += [nn.Linear(a, b), nn.ReLU()]
    return modules[:-1]


def test_multiply_accumulates_are_the_same_after_any_number_of_passes():
    modules = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5, padding=2), nn.ReLU()]
    modules += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(784, 10)]
    x = torch.rand(2, 1, 28, 28)
    network = Net(modules).eval()
    with record_activity(network) as analog, torch.no_grad():
        y = network(x)
    assert analog.macs == 2 * (16 * 6 * (5 * 14 - 6) ** 2 + 7840)  # borders counted: 5 taps at 14 places, 6 of them outside
    for passes in (1, 2):
        network = Net(copy.deepcopy(modules)).eval()
        engine(network, [(x, y)], window=4, passes=passes).run()
        with record_activity(network.eval()) as spiking:
            network(x)
        assert spiking.macs == analog.macs
    network.stack.unfreeze()
    with record_activity(network.eval()) as thawed:
        network(x)
    assert thawed.macs == analog.macs and thawed.spikes == spiking.spikes
    assert thawed.synaptic_operations == spiking.synaptic_operations


def test_trains_are_not_taken_for_those_of_another_batch():
    x = torch.randn(256, 6)
    modules = small((6, 24, 24, 3))
    y = nn.Sequential(*modules)(x).detach()
    losses = {}
    for keep in (4000, 0):
        torch.manual_seed(1)
        network = Net(copy.deepcopy(modules))
        loader = DataLoader(TensorDataset(x, y), 64, shuffle=True)
        run = engine(network, loader, [(x, y)], window=4, epochs=3, name="published", lr=1e-3, keep_mb=keep)
        run.run()
        losses[keep] = [noted.loss for noted in run.history]
    assert losses[4000] == losses[0]


def test_a_stack_that_is_called_twice_gets_the_spikes_of_each_call():
    class Siamese(nn.Module):
        def __init__(self):
            super().__init__()
            self.stack = Stack(layers_of(small((6, 32, 32, 4))))

        def forward(self, a, b):
            return (self.stack(a) - self.stack(b)).abs().sum(1)

    def loss(network, batch):
        return (network(batch[0], batch[1]) - batch[2]).square().mean()

    network, a, b = Siamese(), torch.randn(64, 6), torch.randn(64, 6)
    batch = (a, b, (a - b).abs().sum(1))
    reports = engine(network, [batch], window=16, epochs=1, loss=loss, passes=1).run()
    assert reports[-1].loss_tuned == pytest.approx(float(loss(network.eval(), batch)), rel=1e-6)


@pytest.mark.parametrize(("largest", "works"), [(1.0, True), (1000.0, True), (4095.0, False), (1e-2, True), (1e-4, False)])
def test_input_that_is_not_read_as_it_is_is_refused(largest, works):
    modules = [nn.Linear(6, 16, bias=False), nn.ReLU(), nn.Linear(16, 3, bias=False)]
    network, x = Net(modules).eval(), torch.rand(64, 6) * largest
    expected = network(x)
    if works:
        network.stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), 100.0, True)
        assert relative(network(x), expected) < 0.05
        return
    for convert in (
        lambda: network.stack.convert(x, Dynamics(32)),
        lambda: network.stack.put_in_tandem(x, Dynamics(32)),
        lambda: engine(network, [(x, expected)]).run(),
    ):
        with pytest.raises(UserError, match=r"goes up to .*, and the first layer reads up to 1024"):
            convert()
    assert network.stack.converted == 0


@pytest.mark.parametrize("size", [1, 1e-3, 1e-5])
def test_outputs_of_any_size_are_read(size):
    modules = small((6, 16, 3))
    modules[2].weight.data *= size
    modules[2].bias.data *= size
    network, x = Net(modules).eval(), torch.rand(64, 6)
    expected = network(x)
    network.stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), 100.0, True)
    assert relative(network(x), expected) < 0.05


class Standardised(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Clipped(nn.ReLU):
    def forward(self, x):
        return x.clamp(0, 0.2)


def pruned():
    layer = nn.Linear(4, 4)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    return layer


def overridden():
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: x * 2
    return layer


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: [nn.Conv2d(2, 6, 3), nn.ReLU(), Standardised(6, 6, 3)],
            "layer 1 .*Standardised with a forward",
        ),
        (lambda: [nn.Linear(4, 4), Clipped(), nn.Linear(4, 4)], "layer 0 .*has a Clipped"),
        (lambda: [nn.Linear(4, 4), nn.ReLU(), pruned()], "layer 1 .*hooks.*prune.remove"),
        (lambda: [parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 4)], "remove_parametrizations"),
        (lambda: [nn.Linear(4, 4), nn.ReLU(), overridden()], "layer 1 .*whose forward.. is not that of its class"),
    ],
)
def test_modules_that_compute_something_else_are_refused_beforehand(make, reason):
    network = Net(make())
    x = torch.rand(4, 2, 8, 8) if isinstance(network.stack.layers[0].affine, nn.Conv2d) else torch.rand(9, 4)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(UserError, match=reason):
        engine(network, [(x, x)])
    with pytest.raises(UserError, match=reason):
        network.stack.convert(x, Dynamics(8))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_reaches_the_stack_stays_what_it_is():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.Dropout(0.5))
            self.stack = Stack(layers_of(small((12, 16, 16, 2))))

        def forward(self, x):
            return self.stack(self.encoder(x))

    network, x = Part(), torch.randn(64, 6) * 1.5 + 0.7
    mean = network.encoder[1].running_mean.clone()
    batches = list(zip(x.split(32), torch.randn(64, 2).split(32), strict=True))
    reports = engine(network, batches, epochs=2, name="published", up=[network.encoder], lr=1e-3).run()
    assert torch.equal(network.encoder[1].running_mean, mean)
    true = sum(float(mse(network.eval(), batch)) for batch in batches) / len(batches)
    assert reports[-1].loss_tuned == pytest.approx(true, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schedule": "layer_by_layer"}, "no schedule 'layer_by_layer'; take one of pipelined, layer-by-layer"),
        ({"threshold": "least_squares"}, "no threshold rule 'least_squares'; take one of percentile, least-squares"),
        ({"statistics": "batch"}, "statistics are one of none, analog, all"),
        ({"readout": "rate"}, "no readout 'rate'"),
        ({"window": 7.5}, "whole number of steps, not 7.5"),
        ({"learning": "hebbian"}, "no learning rule 'hebbian'; take one of tandem, surrogate, stdb"),
        ({"coding": "morse"}, "no input coding 'morse'"),
        ({"window": "8"}, "whole number of steps, not 8"),
        ({"window": True}, "whole number of steps, not True"),
        ({"weight_bits": 7.5}, "weights have 2 to 16 bits, not 7.5"),
        ({"encoder_bits": None}, "weights of the encoding layer have 2 to 16 bits, not None"),
        ({"initial_potential": "half"}, "0 to below 1 threshold, not half"),
        ({"lr": -1.0}, "lr is a number of at least 0, not -1"),
        ({"lr": [1e-3, float("nan")]}, "lr is a number of at least 0, not nan"),
        ({"max_epochs": 1.5}, "max_epochs is a whole number of at least 0, not 1.5"),
        ({"passes": 1.5}, "passes is a whole number of at least 1, not 1.5"),
        ({"patience": -1}, "patience is a whole number"),
        ({"keep_mb": -1}, "keep_mb is a number of at least 0"),
        ({"calibration_batches": 0}, "calibration_batches is a whole number of at least 1"),
        ({"channelwise": "yes"}, "channelwise is true or false, not 'yes'"),
    ],
)
def test_misspelt_choices_are_refused(changes, reason):
    with pytest.raises(UserError, match=reason):
        ConversionSettings(**changes)


def test_conversion_in_training_mode_is_that_in_evaluation_mode():
    modules = [nn.Linear(6, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3)]
    x = torch.rand(128, 6)
    networks = [Net(copy.deepcopy(modules)), Net(copy.deepcopy(modules))]
    for network, training in zip(networks, (False, True), strict=True):
        network.eval()(x)
        network.train(training).stack.convert(x, Dynamics(8, 0.5, "layer-by-layer"), 99.9, True)
        assert network.stack.training == training
    for name, value in networks[0].state_dict().items():
        assert torch.equal(value, networks[1].state_dict()[name]), name


def test_bounds_that_were_learned_are_taken():
    modules = [nn.Linear(6, 16), QuantisedReLU(8), nn.Linear(16, 16), QuantisedReLU(8), nn.Linear(16, 3)]
    for module in modules:
        if isinstance(module, QuantisedReLU):
            module.gain.data.fill_(-1.2)
    x = torch.rand(64, 6)
    expected = Net(modules).eval()(x).detach()
    direct, tuned = Net(copy.deepcopy(modules)).eval(), Net(copy.deepcopy(modules)).eval()
    direct.stack.convert(x, Dynamics(8, 0.5, "layer-by-layer"))
    engine(tuned, [(x, expected)], channelwise=False, threshold="percentile").run()
    assert relative(direct(x), expected) < 1e-3
    assert torch.equal(direct(x), tuned.eval()(x))


def test_spikingjelly_runs_a_convolutional_classifier():
    modules = [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()]
    network, x = Net([*modules, nn.Linear(64, 10)]).eval(), torch.rand(8, 1, 8, 8)
    network(x)
    network.stack.convert(x, Dynamics(8))
    assert torch.equal(SpikingJellyStack(network.stack)(x), network(x))


def test_conversions_begin_wherever_a_stack_is():
    x, y = torch.rand(64, 6), torch.rand(64, 3)
    network = Net(small())
    next(engine(network, [(x, y)]).layers())
    assert network.stack.converted == 1
    reports = engine(network, [(x, y)], passes=1).run()
    assert network.stack.converted == 3 and [report.index for report in reports] == [1, 2]
    with pytest.raises(UserError, match="wholly spiking; tune it in tandem"):
        engine(network, [(x, y)], passes=1).run()
    assert [report.turn for report in engine(network, [(x, y)], passes=2).run()] == [1, 1, 1]


def test_nothing_that_learns():
    x, y = torch.rand(64, 6), torch.rand(64, 3)
    frozen = Net(small()).requires_grad_(False)
    assert len(engine(frozen, [(x, y)], passes=1, learn_thresholds=False).run()) == 3
    with pytest.raises(UserError, match="no parameter requires a gradient"):
        engine(Net(small()).requires_grad_(False), [(x, y)], epochs=1, learn_thresholds=False).run()


def test_thawing_and_freezing_say_what_is_missing():
    with pytest.raises(UserError, match="3 layers of the stack are not spiking; convert them first"):
        Net(small()).stack.unfreeze()
    with pytest.raises(UserError, match="there are analog layers in the stack"):
        Net(small()).stack.freeze()


def test_flattened_layers_thaw_and_freeze():
    network, x = Net([nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)]).eval(), torch.rand(4, 1, 8, 8)
    network(x)
    network.stack.convert(x, Dynamics(8, weight_bits=8))
    expected = network(x)
    network.stack.unfreeze()
    network.stack.freeze()
    assert torch.equal(network.eval()(x), expected)


def test_activity_of_hybrids_is_that_of_their_spiking_layers():
    x = torch.rand(64, 6)
    network = Net(small((6, 9, 9, 9, 3)))
    batches = [(x, network.eval()(x).detach())]
    run = engine(network, batches, passes=1)
    steps = run.layers()
    next(steps)
    next(steps)
    with record_activity(network.eval()) as hybrid:
        network(x)
    list(steps)
    with record_activity(network.eval()) as whole:
        network(x)
    for mine, theirs in zip(hybrid.layers[:2], whole.layers[:2], strict=True):
        assert (mine.spikes, mine.synaptic_operations, mine.neurons) == (theirs.spikes, theirs.synaptic_operations, 64 * 9)
    assert [layer.macs for layer in hybrid.layers] == [layer.macs for layer in whole.layers]


def test_an_observer_of_ones_own_is_kept():
    network, x = Net(small()).eval(), torch.rand(8, 6)
    network.stack.convert(x, Dynamics(8))
    seen = []
    network.stack.observer = seen.append
    with record_activity(network) as activity:
        network(x)
    network(x)
    assert len(seen) == 6 and activity.spikes > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_input_that_is_no_number_is_refused(value):
    network, x = Net(small()).eval(), torch.rand(16, 6)
    network.stack.convert(x, Dynamics(8, 0.5, "layer-by-layer"))
    x[3, 2] = value
    with pytest.raises(UserError, match="NaN or infinite"):
        network(x)
    with pytest.raises(UserError, match="NaN or infinite"):
        Net(small()).stack.convert(x, Dynamics(8))


def test_the_modules_that_were_given_stay_what_they_are():
    given = nn.Sequential(*small())
    x, y = torch.randn(64, 6), torch.randn(64, 3)
    before = copy.deepcopy(given.state_dict())
    engine(Net(given), [(x, y)], window=4, epochs=2, lr=3e-3).run()
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())


def test_longer_windows_help_however_wide_layers_are():
    modules = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(28), nn.Flatten(), nn.Linear(32, 20), nn.ReLU()]
    modules += [nn.Linear(20, 10)]
    x, errors = torch.rand(2, 3, 28, 28), []
    expected = nn.Sequential(*modules)(x)
    for window in (4, 32):
        network = Net(copy.deepcopy(modules)).eval()
        network.stack.convert(x, Dynamics(window, 0.5, "layer-by-layer"), 100.0, True)
        errors.append(relative(network(x), expected))
        assert (network.stack.layers[1].weight.flatten(1).abs().amax(1) >= 64).all()
    assert network.stack.layers[1].has_long_sums
    assert errors[1] < min(errors[0] / 2, 0.02)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.zeros(0, 6), "empty or zero"),
        (torch.zeros(4, 6), "empty or zero"),
        (torch.rand(4, 5, 6), "layer 0: Linear sees input of 4x5x6, and is converted on 2 dimensions"),
    ],
)
def test_input_that_nothing_is_learned_from_is_refused(x, reason):
    network = Net(small())
    with pytest.raises(UserError, match=reason):
        network.stack.convert(x, Dynamics(8))
    assert network.stack.converted == 0
    if len(x):
        with pytest.raises(UserError, match=reason):
            engine(network, [(x, x[..., :3])]).run()


def test_no_batches_at_all_are_refused():
    network, batch = Net(small()), (torch.rand(4, 6), torch.rand(4, 3))
    for options in ({}, {"rate": 0.1}, {"rule": "balanced"}):
        with pytest.raises(UserError, match="no batch that thresholds could be taken from"):
            network.stack.convert([], Dynamics(8), **options)
    for batches, dev, reason in (([], [], "of the dev data"), ([], [batch], "layer 0: .* of the train data")):
        with pytest.raises(UserError, match=reason):
            engine(network, batches, dev).run()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_networks_of_any_precision_are_converted(dtype):
    modules = [module.to(dtype) for module in small((6, 8, 3))]
    network, x = Net(modules).eval(), torch.rand(64, 6, dtype=dtype)
    expected = network(x)
    network.stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), 100.0, True)
    assert relative(network(x), expected) < 0.05


@pytest.mark.parametrize("window", [0, -1, 7.5, "8", None, 33])
def test_windows_that_cannot_be_leave_a_stack_as_it_was(window):
    network, x = Net(small()).eval(), torch.rand(8, 6)
    with pytest.raises(UserError, match="convert this one first"):
        network.stack.set_window(4)
    network.stack.convert(x, Dynamics(8, 0.5, "layer-by-layer"))
    before = network(x)
    with pytest.raises(UserError, match="steps"):
        network.stack.set_window(window)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize(
    "shortcut",
    [nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)), nn.ReLU(), AnalogLayer(nn.Linear(4, 4))],
    ids=lambda m: type(m).__name__,
)
def test_shortcuts_of_another_kind_are_refused(shortcut):
    with pytest.raises(ValueError, match=f"a shortcut is nn.Identity, or an AnalogLayer .*, not {type(shortcut).__name__}"):
        AnalogLayer(nn.Linear(4, 4), shortcut=shortcut)


@pytest.mark.parametrize(
    ("activations", "neuron", "readout", "reason"),
    [
        ([nn.ReLU(), None, None], "integrate-and-fire", "potential", "layer 1: .* not for a layer without activation"),
        ([nn.ReLU(), None, None], "few-spikes", "potential", "layer 1: .* two thresholds"),
        ([nn.ReLU(), None, None], "double-threshold", "potential", None),
        ([nn.ReLU(), nn.ReLU(), None], "integrate-and-fire", "counts", None),  # scores whose largest is read
        ([nn.ReLU(), nn.LeakyReLU(0.5), nn.ReLU()], "integrate-and-fire", "rectified", "layer 1: .* not for LeakyReLU"),
        ([nn.LeakyReLU(0.5)] * 3, "double-threshold", "rectified", "layer 2: it has LeakyReLU.*, and is read rectified"),
        ([nn.LeakyReLU(0.5)] * 3, "double-threshold", "counts", None),
    ],
)
def test_activations_that_nothing_stands_for_are_refused_beforehand(activations, neuron, readout, reason):
    """At conversion, where all layers learn together, and before a layer of a progressive conversion is tuned."""
    layers = [AnalogLayer(nn.Linear(4, 4), activation=activation) for activation in activations]
    layers[-1].affine.bias.data.fill_(1.0)
    dynamics, x = Dynamics(4, 0.5, "layer-by-layer", neuron=neuron), torch.rand(8, 4)
    ways = [lambda stack: stack.convert(x, dynamics), lambda stack: stack.put_in_tandem(x, dynamics)]
    network = Net(small())

    def progressive(stack):
        network.stack = stack
        engine(network, [(x, x)], epochs=1, window=4, neuron=neuron, readout=readout)

    for way in [*ways, progressive]:
        stack = Stack(copy.deepcopy(layers), readout)
        if reason is None:
            way(stack)
        else:
            with pytest.raises(UserError, match=reason):
                way(stack)
            assert stack.converted == 0


def test_spiking_layers_are_read_as_they_were_converted_to_be():
    x = torch.rand(8, 6)
    for readout, other in (("counts", "potential"), ("rectified", "counts")):
        stack = Stack(layers_of(small()), readout)
        stack.layers[-1].affine.bias.data.fill_(1.0)
        stack.convert(x, Dynamics(4, 0.5, "layer-by-layer"))
        with pytest.raises(UserError, match=f"convert the stack to be read by '{other}'"):
            stack.set_readout(other)
        stack.set_readout(readout)


@pytest.mark.parametrize("factor", [1e4, 1e8])
def test_one_threshold_for_weights_of_all_sizes_is_refused(factor):
    """A neuron of large weights that never fires would have raised the threshold of all, or overflown it."""
    modules = [nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)]
    with torch.no_grad():
        modules[2].weight[0] *= factor
        modules[2].bias[0] = -100 * factor
        modules[4].weight[:, 0] = 0
    stack, x = Stack(layers_of(modules)).eval(), torch.randn(64, 10)
    analog = stack(x).detach()
    with pytest.raises(UserError, match=r"layer 1: one threshold of .* take a threshold for each channel"):
        stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"))
    stack.convert(x, Dynamics(32, 0.5, "layer-by-layer"), channelwise=True)
    assert relative(stack(x), analog) < 0.05
