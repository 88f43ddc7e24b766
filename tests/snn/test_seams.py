"""What the engine's seams take from outside of the package: here, all of it is made of public names, as a stranger would."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.coding.inputs import CurrentCoding, SpikeCoding
from separator.snn.coding.readouts import READOUTS, Readout
from separator.snn.coding.registry import CODINGS
from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.execution.chosen import execution
from separator.snn.execution.executions import EXECUTIONS
from separator.snn.export.exporters import EXPORTERS, Exporter, export
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.dynamics import Dynamics
from separator.snn.learning.rules import RULES, tandem
from separator.snn.neurons.neuron import Neuron, crosses
from separator.snn.neurons.registry import NEURONS
from separator.snn.observe.activity import record_activity
from separator.snn.spikes.trains import Spikes
from separator.snn.stack import reference
from separator.snn.stack.simulation import simulate
from separator.snn.stack.stack import Stack, outcomes
from separator.snn.synapses.affine import affine_map
from separator.snn.thresholds.rules import THRESHOLDS, ThresholdRule
from tests.snn.nets import STACKS, conv1d_stack, linear_stack


class SignedSpikes(Spikes):
    """Spikes of -1, 0 or 1: one byte a step, time behind all else."""

    def __init__(self, steps):
        self.window, self.bytes = steps.shape[-1], steps.to(torch.int8)

    @classmethod
    def pack(cls, trains):
        return cls(trains.movedim(0, -1))

    @classmethod
    def in_front(cls, values, window):
        places = torch.arange(window)
        return cls((places < values.abs()[..., None]) * values.sign()[..., None])

    @property
    def values(self):
        return self.bytes.sum(-1, dtype=torch.int8)

    @property
    def events(self):
        return self.bytes.abs().sum(-1, dtype=torch.int8)

    def at(self, t):
        return self.bytes[..., t].float()

    @property
    def parts(self):
        return tuple(self.bytes.unbind(-1))

    def with_parts(self, parts):
        return SignedSpikes(torch.stack(list(parts), -1))


class Potential(NamedTuple):
    v: torch.Tensor


class Leaky(Neuron):
    """v <- v - floor(v / 2^shift) + I, on whole numbers; soft reset."""

    def __init__(self, shift=3):
        self.shift = int(shift)

    def initial_state(self, numbers, like):
        return Potential(numbers["initial_potential"].expand_as(like))

    def step(self, current, state, numbers, fires=crosses):
        v = state.v - state.v.div(2**self.shift, rounding_mode="floor") + current
        spikes = fires(v, numbers["threshold"])
        return spikes, Potential(v - spikes * numbers["threshold"])


class TwoThresholds(Neuron):
    """Spikes of 1 at theta, of -1 at -theta / slope, for a LeakyReLU of that slope; the threshold crossed is subtracted."""

    names = ("threshold", "initial_potential", "lower_threshold")
    spikes = SignedSpikes
    activations = (nn.ReLU, nn.LeakyReLU)

    def __init__(self, slope=0.25):
        self.ratio = round(1 / slope)

    def in_quanta(self, threshold, quantum, shared, initial_potential, activation=None):
        numbers = super().in_quanta(threshold, quantum, shared, initial_potential, activation)
        return numbers | {"lower_threshold": -self.ratio * numbers["threshold"]}

    def initial_state(self, numbers, like):
        return Potential(numbers["initial_potential"].expand_as(like))

    def step(self, current, state, numbers, fires=crosses):
        v = state.v + current
        up, down = fires(v, numbers["threshold"]), fires(-v, -numbers["lower_threshold"])
        return up - down, Potential(v - up * numbers["threshold"] - down * numbers["lower_threshold"])

    def limits(self, window):
        return -window, window


class Halves(CurrentCoding):
    """One half of the charge at the first step, one at the last."""

    def share(self, t, window):
        return Fraction(int(t == 0) + int(t == window - 1), 2)


class Signs(SpikeCoding):
    """A spike of the input's sign with a probability of its magnitude, drawn anew for each step by its number."""

    def scale(self, window):
        return 1 / window

    def present(self, x, window, first, steps):
        draws = [np.random.Generator(np.random.Philox(counter=t)).random(x.shape[1:]) for t in range(first, first + steps)]
        return SignedSpikes.pack(torch.stack([(torch.from_numpy(d) < x.abs()) * x.sign() for d in draws]))


class Doubled(Readout):
    """Twice what the last layer's counts stand for."""

    fires = True

    def read(self, activation):
        return 2 * activation


@pytest.fixture(autouse=True)
def from_outside(monkeypatch):
    """Registers all of it, for one test."""
    for registry in (NEURONS, CODINGS, READOUTS, EXECUTIONS, EXPORTERS, RULES, THRESHOLDS):
        monkeypatch.setattr(registry, "_choices", dict(registry.items()))
    NEURONS.register("own-leaky", Leaky)
    NEURONS.register("two-thresholds", TwoThresholds)
    CODINGS.register("halves", Halves)
    CODINGS.register("signs", Signs)
    READOUTS.register("doubled", Doubled())


def reference_equals(stack, x):
    """Whether all executions fire, and the readout comes to, what the definition says."""
    layers = stack.spiking_layers()
    expected = reference.trains(layers, x, stack.sources)
    for name in ("fastest", "dense"):
        with execution(name):
            *trains, potential = outcomes(stack, x)
        kinds = [layer.neuron.spikes for layer in layers[: len(trains)]]
        assert all(
            torch.equal(own, made(kind.pack(torch.from_numpy(theirs))))
            for own, kind, theirs in zip(trains, kinds, expected, strict=False)
        )
    if layers[-1].role == "readout":
        quanta = torch.from_numpy(expected[-1].sum(0)).double() * layers[-1].quantum.view(-1, *[1] * (x.dim() - 2)).double()
        assert torch.equal(potential.double(), quanta)
    return [train.sum() for train in expected[: len(trains)]]


def made(spikes):
    words = getattr(spikes, "words", None)
    return torch.stack(spikes.parts) if words is None else words


@pytest.mark.parametrize("kind", sorted(STACKS))
@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_leaky_neurons_convert_and_run(kind, schedule):
    torch.manual_seed(0)
    build, shape = STACKS[kind]
    x = torch.randn(4, *shape)
    stack = build(0)
    stack.convert(x, Dynamics(8, 0.5, schedule, neuron="own-leaky", neuron_options={"shift": 2}))
    plain = build(0)
    plain.convert(x, Dynamics(8, 0.5, schedule))
    leaking, whole = reference_equals(stack, x), reference_equals(plain, x)
    assert all(leaking) and leaking != whole


def leaky_network(slope=0.25):
    torch.manual_seed(1)
    modules = [nn.Linear(5, 16), nn.LeakyReLU(slope), nn.Linear(16, 12), nn.LeakyReLU(slope), nn.Linear(12, 3)]
    return Stack(layers_of(modules), "potential").eval()


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_signed_spikes_stand_for_leaky_rectifiers(schedule):
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(2))
    stack, analog = leaky_network(), leaky_network()(x).detach()
    stack.convert(x, Dynamics(32, 0.0, schedule, neuron="two-thresholds", neuron_options={"slope": 0.25}), 100.0)
    assert min(reference_equals(stack, x)) < max(reference_equals(stack, x))
    assert any((train < 0).any() for train in reference.trains(stack.spiking_layers(), x)[:-1])
    error = (stack(x) - analog).square().mean() / analog.square().mean()
    assert error < 0.05  # silent negative neurons lose more, as the next line has it
    positive = Stack(layers_of([*(nn.ReLU() if isinstance(m, nn.LeakyReLU) else m for m in modules_of(leaky_network()))]))
    positive.set_readout("potential")
    assert (positive(x) - analog).square().mean() / analog.square().mean() > 2 * error


def modules_of(stack):
    return [module for layer in stack.layers for module in (layer.affine, layer.activation) if module is not None]


def test_events_are_counted_and_not_values():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(2))
    stack = leaky_network()
    stack.convert(x, Dynamics(16, neuron="two-thresholds", neuron_options={"slope": 0.25}))
    with record_activity(stack) as activity:
        stack(x)
    trains = reference.trains(stack.spiking_layers(), x)[:-1]
    assert [layer.spikes for layer in activity.layers[:2]] == [int(np.abs(train).sum()) for train in trains]
    assert activity.layers[1].synaptic_operations == int(np.abs(trains[0]).sum()) * 12


def test_neurons_do_not_stand_for_activations_that_they_cannot():
    with pytest.raises(UserError, match=r"layer 0: .*'integrate-and-fire' stand for ReLU, not for LeakyReLU"):
        leaky_network().convert(torch.randn(9, 5), Dynamics(8))
    with pytest.raises(UserError, match=r"no neuron model 'izhikevich'; take one of integrate-and-fire, .*, own-leaky"):
        Dynamics(8, neuron="izhikevich")
    with pytest.raises(UserError, match="does not take the options"):
        Dynamics(8, neuron="own-leaky", neuron_options={"tau": 3.0})


def counts_by_hand(charge, shares, threshold, initial_potential):
    """Spikes of integrate-and-fire neurons that get shares of a charge, number by number."""
    counts = []
    for total, theta, v in zip(charge, threshold, initial_potential, strict=True):
        count = 0
        for share in shares:
            v += round(Fraction(int(total)) * share)
            count += v >= theta
            v -= theta * (v >= theta)
        counts.append(count)
    return counts


@pytest.mark.parametrize(
    ("coding", "shares"), [("constant", [Fraction(1, 8)] * 8), ("halves", [Fraction(1, 2), *[Fraction(0)] * 6, Fraction(1, 2)])]
)
def test_currents_of_any_course_reach_the_first_layer(coding, shares):
    x = torch.randn(6, 3, 11)
    stack = conv1d_stack(0)
    stack.convert(x, Dynamics(8, 0.5, coding=coding))
    reference_equals(stack, x)
    counts = reference.trains(stack.spiking_layers(), x)[0].sum(0)
    at_once = conv1d_stack(0)
    at_once.convert(x, Dynamics(8, 0.5))
    first = at_once.spiking_layers()[0]
    charge = reference.first_charge(first, x)
    numbers = [np.broadcast_to(values.numpy()[:, None], charge.shape).ravel() for values in first.numbers.values()]
    expected = np.reshape(counts_by_hand(charge.ravel(), shares, *numbers), counts.shape)
    whole = np.abs(charge) < 9 * first.threshold.numpy()[:, None]  # not clipped, as charges of more than 8 spikes are
    differ = np.abs(counts - expected)[whole]  # the charge itself was rounded before it was shared out
    assert whole.mean() > 0.9 and (differ > 0).mean() < 0.01 and differ.max() <= 1
    if coding == "constant":
        assert np.abs(counts - reference.trains(at_once.spiking_layers(), x)[0].sum(0)).max() <= 1


def test_input_is_coded_by_signed_spikes_of_any_length():
    torch.manual_seed(3)
    x = torch.rand(4, 6) * 2 - 1
    stack, analog = linear_stack(0), linear_stack(0)(x)
    stack.set_readout("potential")
    dynamics = Dynamics(4000, 0.5, coding="signs", neuron="two-thresholds")
    stack.convert(x, dynamics, 100.0)
    assert [layer.role for layer in stack.layers] == ["fire", "fire", "readout"]
    direct = linear_stack(0)
    for mine, theirs in zip(direct.layers, stack.layers, strict=True):  # analog thresholds are the same bounds
        assert mine.affine.weight.shape[0] == len(theirs.scale)
    assert torch.allclose(torch.relu(stack(x)), analog, atol=0.15)


def test_a_chain_of_windows_is_one_long_run():
    """Of 100 steps, by the definition in 64-bit integers, which knows no windows."""
    x = torch.randn(3, 3, 11, generator=torch.Generator().manual_seed(4))
    for coding in ("charge", "constant"):
        stack = conv1d_stack(0)
        stack.convert(x, Dynamics(100, 0.5, coding=coding))
        layers = stack.spiking_layers()
        expected = torch.from_numpy(reference.simulate(layers, x)).double() * layers[-1].quantum.view(-1, 1).double()
        for name in ("fastest", "dense", "event-driven"):
            with execution(name):
                assert torch.equal(simulate(layers, x).double(), expected.float().double())
        with record_activity(stack) as activity:
            stack(x)
        fired = [int(train.sum()) for train in reference.trains(layers, x)[:-1]]
        assert [layer.spikes for layer in activity.layers[:-1]] == fired
        assert activity.layers[0].neurons == 3 * 5 * 11


def test_a_chain_of_windows_leaves_the_layers_as_they_are():
    """Of one item through linear layers, too, whose initial potentials have the shape of its potentials."""
    x, stack = torch.randn(8, 6, generator=torch.Generator().manual_seed(4)), linear_stack(0)
    stack.convert(x, Dynamics(70, 0.5, coding="constant"))
    before = {name: values.clone() for name, values in stack.state_dict().items()}
    first = stack(x[:1])
    assert torch.equal(stack(x[:1]), first) and torch.equal(stack(x)[:1], first)
    assert all(torch.equal(values, before[name]) for name, values in stack.state_dict().items())


def test_long_runs_come_near_the_analog_network():
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(5))
    errors = []
    for window in (8, 32, 512, 2500):
        stack = linear_stack(0)
        stack.convert(x, Dynamics(window, 0.5, coding="constant"), 100.0)
        errors.append((stack(x) - linear_stack(0)(x)).abs().max().item())
    assert errors[-1] < errors[0] / 20 and errors[2] < errors[1]


@pytest.mark.parametrize("readout", ["counts", "doubled"])
def test_counts_are_read(readout):
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(6))
    stack = linear_stack(0)
    stack.set_readout(readout)
    stack.convert(x, Dynamics(8, 0.5, "layer-by-layer"), 100.0)
    last = stack.spiking_layers()[-1]
    counts = torch.from_numpy(reference.simulate(stack.spiking_layers(), x))
    assert last.role == "fire" and torch.equal(stack(x), counts * last.scale * (2 if readout == "doubled" else 1))
    assert stack.latency == 24
    with pytest.raises(UserError, match="no readout 'loudest'; take one of potential, rectified, counts, doubled"):
        stack.set_readout("loudest")


def test_an_execution_from_outside_runs_what_it_serves():
    """An execution of linear layers by 64-bit products; others are left to those there are."""
    served = []

    class Integers:
        carries = True

        def __init__(self, population):
            self.population = population

        def __call__(self, spikes, state=None, carry=False):
            weight, numbers = self.population.weight.double(), {n: x.double() for n, x in self.population.numbers.items()}
            currents = spikes.trains().double() @ weight.t() + self.population.bias
            served.append(len(currents))
            return self.population.neuron.run(currents, numbers, state)

    EXECUTIONS.register("integers", lambda population: Integers(population) if population.apply.kind is nn.Linear else None)
    for kind, times in (("linear", 1), ("conv1d", 0)):
        build, shape = STACKS[kind]
        stack, x = build(0), torch.randn(4, *shape)
        stack.convert(x, Dynamics(8, 0.5))
        expected, count = outcomes(stack, x), len(served)
        with execution("integers"):
            assert all(torch.equal(a, b) for a, b in zip(outcomes(stack, x), expected, strict=True))
        assert len(served) - count == times


def test_thresholds_may_be_set_from_currents():
    """The largest current of a step, as threshold balancing has it: no neuron is charged with more than a threshold at once."""
    THRESHOLDS.register(
        "largest current",
        ThresholdRule(lambda seen, options: max(c.max() for c in seen.currents()).view(1) * options.window),
    )
    x = torch.rand(8, 6, generator=torch.Generator().manual_seed(7))
    stack = linear_stack(0)
    stack.convert(x, Dynamics(32, coding="signs", neuron="two-thresholds"), rule="percentile")
    stack = linear_stack(0)
    with pytest.raises(UserError, match="need spikes before them"):
        stack.convert(x, Dynamics(32), rule="largest current")
    tuned = linear_stack(0)
    network = nn.Sequential(tuned)
    settings = ConversionSettings(window=32, max_epochs=0, threshold="percentile")
    run = ProgressiveTandemLearning(network, tuned, [], loss, lambda layer: [x], [x], settings, log=lambda line: None)
    run.put_in_tandem(0)
    tuned.layers[0] = tuned.layers[0].spiking(None)
    run.settings = ConversionSettings(window=32, max_epochs=0, threshold="largest current")
    largest = float(run.put_in_tandem(1).threshold)
    spikes = reference.trains([tuned.layers[0], tuned.layers[0]][:1], x)[0]
    analog = linear_stack(0).layers[1]
    scaled = torch.from_numpy(spikes).float() * tuned.layers[0].scale * 32
    assert largest == pytest.approx(float(analog.preactivation(scaled.flatten(0, 1)).max()) / 32, rel=1e-5)


def loss(network, batch):
    return network(batch).square().mean()


def test_a_learning_rule_from_outside_is_taken_by_name():
    coupled = []

    def noted(layer, role, threshold, dynamics, options, inherits=False):
        coupled.append(role)
        return tandem(layer, role, threshold, dynamics, options, inherits)

    RULES.register("noted", noted)
    stack, x = linear_stack(0), torch.randn(8, 6)
    settings = ConversionSettings(window=8, max_epochs=1, learning="noted")
    ProgressiveTandemLearning(
        nn.Sequential(stack), stack, [], loss, lambda layer: [x], [x], settings, log=lambda line: None
    ).run()
    assert coupled == ["encode", "fire", "readout"] and stack.converted == 3


def test_an_exporter_says_what_it_cannot_export():
    EXPORTERS.register(
        "short",
        Exporter(lambda stack: "long stacks" if len(stack.layers) > 3 else None, lambda stack: nn.Identity()),
    )
    assert isinstance(export(linear_stack(0), "short"), nn.Identity)
    with pytest.raises(UserError, match="short does not run long stacks"):
        export(conv1d_stack(0), "short")
    with pytest.raises(UserError, match="spikingjelly does not run stacks that are not wholly spiking"):
        export(linear_stack(0), "spikingjelly")
    with pytest.raises(UserError, match="no exporter 'onnx'; take one of spikingjelly, short"):
        export(linear_stack(0), "onnx")


def test_maps_are_the_same_from_outside():
    layer = AnalogLayer(nn.Linear(3, 2))
    assert layer.synapses == affine_map(layer.affine)
