"""Images learned by spike-timing-dependent backpropagation: from the start, from an analog model, from a converted one."""

from dataclasses import replace

import pytest
import torch

from separator.errors import UserError
from separator.models.feedforward import FeedForwardConfig
from separator.models.files import load_network
from separator.snn.conversion.presets import preset
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.twins import analog_numbers
from separator.snn.learning.rules import LearningOptions
from separator.snn.learning.stdb.options import StdbOptions
from separator.tasks.learning.conversion import ConversionRun, TuningSettings, convert
from separator.tasks.learning.settings import LearningSettings, TrainingSettings, machine_of, optimiser_of, usual_neurons
from separator.tasks.learning.start import starting_point
from separator.tasks.learning.training import begin, train
from separator.tasks.problems.image_data import ImageBatches, ImageSettings
from separator.tasks.problems.image_objectives import ImageObjective, mean_score
from separator.tasks.problems.images import Images
from separator.tasks.problems.speech import Speech
from tests.images.test_idx import mnist

pytestmark = pytest.mark.usefixtures("blank_pictures")

WINDOW = 40  # more than a word of 32 steps
LAYERS = "c4s2-a2-d20-c6-d20-16-10"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return mnist(tmp_path_factory.mktemp("mnist"), 60)


def settings(folder, epochs=1, **more):
    network = FeedForwardConfig(LAYERS, norm=False, bias=False)
    problem = Images(ImageSettings(folder, batch=16, dev_batch=30), network)
    optimiser = optimiser_of(problem, max_epochs=epochs, lr=1e-3, clip=1.0, initial_weights="he", **more)
    return TrainingSettings(problem, optimiser, machine_of(problem), device="cpu")


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    """An analog model, and a spiking one with Poisson input and balanced thresholds."""
    place = tmp_path_factory.mktemp("models")
    ann = train(settings(folder, 2), place / "ann", progress=False)
    how = TuningSettings(**preset("hybrid") | {"window": WINDOW, "calibration_batches": 1})
    run = ConversionRun(Images(settings(folder).problem.data), str(ann), how, device="cpu")
    return ann, convert(run, place / "snn", log=lambda line: None)


def stdb(folder, init, epochs=1, **learning):
    how = LearningSettings("stdb", **{"segment": 15, "leak": 0.98} | learning)
    return replace(settings(folder, epochs), init=str(init), learning=how)


def test_a_converted_network_learns_and_is_written_as_what_it_has_become(folder, converted, tmp_path):
    run = stdb(folder, converted[1], learn_leak=True, stdb=StdbOptions(alpha=0.5, own_spike=False))
    run = replace(run, optimiser=replace(run.optimiser, learn_thresholds=True))
    path = train(run, tmp_path, progress=False)
    assert path == tmp_path / "snn.safetensors"
    (before, _), (network, card) = load_network(converted[1]), load_network(path)
    dynamics = network.stack.dynamics
    assert (dynamics.window, dynamics.neuron, dynamics.coding) == (WINDOW, "leaky", "poisson")
    assert 0.9 < dynamics.neuron_options["leak"] < 1 and card.conversion["neuron_options"] == dynamics.neuron_options
    assert (card.conversion["learning"], card.conversion["stdb"]["alpha"]) == ("stdb", 0.5)
    images = run.problem.data.read()
    assert card.scores["test"] == pytest.approx(mean_score(network, ImageObjective("classify"), ImageBatches(images.test, 500)))
    for one, other in zip(before.stack.layers[:-1], network.stack.layers[:-1], strict=True):
        assert not torch.equal(one.scale, other.scale)
        assert torch.allclose(one.scale, other.scale, rtol=0.1)


def test_what_has_learned_nothing_is_what_it_was(folder, converted):
    """Pooling and dropout are apart while it learns, and absorbed again when it is frozen."""
    start = begin(replace(stdb(folder, converted[1]), learning=LearningSettings("stdb")))
    stack, (before, _) = start.network.stack, load_network(converted[1])
    kinds = [[type(module).__name__ for module in layer.layer.before] for layer in stack.layers]
    assert kinds == [[], ["AvgPool2d", "Dropout"], ["Dropout", "Flatten"], []]
    assert all(layer.layer.affine.bias is None for layer in stack.layers)
    images = next(iter(ImageBatches(settings(folder).problem.data.read().test, 60)))[0]
    evaluated = start.network.eval()(images)
    stack.freeze()
    assert torch.equal(start.network(images), evaluated)
    for layer, same in zip(stack.layers, before.stack.layers, strict=True):
        (weight, _), (expected, _) = analog_numbers(layer), analog_numbers(same)
        assert torch.allclose(weight, expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(evaluated, before(images), rtol=0.1, atol=0.1)
    assert (evaluated.argmax(1) == before(images).argmax(1)).float().mean() > 0.9


def test_neurons_of_a_converted_network_are_its_own(folder, converted):
    run = stdb(folder, converted[1])
    with pytest.raises(UserError, match=r"spikes, with neurons of its own; leave out --conversion.window \(for another"):
        starting_point(replace(run, conversion=replace(usual_neurons(), window=20)))
    same = replace(run, conversion=replace(usual_neurons(), window=WINDOW, coding="poisson"))
    assert starting_point(same)[2].window == WINDOW
    assert starting_point(replace(run, init=f"{converted[1]}@20"))[2].window == 20


def test_losses_at_the_ends_of_segments_are_summed(folder, converted):
    run = stdb(folder, converted[1])
    start = begin(run)
    network, batch = start.network.train(), next(iter(start.data.train(0)))
    torch.manual_seed(3)
    loss, _ = ImageObjective("classify").measure(network, batch)
    torch.manual_seed(3)
    readings = network.stack.readings(batch[0])
    assert len(readings) == network.stack.segments == 3
    parts = [torch.nn.functional.cross_entropy(reading, batch[1]) for reading in readings]
    assert loss.item() == pytest.approx(sum(parts).item(), rel=1e-6)
    assert len(network.eval().over_segments(batch[0])) == 1
    with torch.no_grad():
        assert torch.equal(network.over_segments(batch[0])[0], network(batch[0]))


def test_an_analog_model_gets_thresholds_and_learns_as_it_is(folder, converted):
    conversion = ConversionSettings(window=WINDOW, coding="poisson", calibration_batches=2, percentile=100.0)
    start = begin(replace(stdb(folder, converted[0]), conversion=conversion))
    analog, _ = load_network(converted[0])
    assert start.card.kind == "snn" and start.card.conversion["neuron_options"] == {"leak": 0.98}
    handed = torch.cat([pictures for pictures, _ in start.data.calibration(2)])
    for layer, same in zip(start.network.stack.layers, analog.stack.layers, strict=True):
        assert torch.equal(layer.layer.affine.weight, same.affine.weight)
        handed = same(handed)
        if layer.role != "readout":
            assert layer.threshold.item() == pytest.approx(handed.max().item() / WINDOW, rel=1e-5)


@pytest.mark.parametrize("start", ["new", "converted"])
def test_a_training_that_was_stopped_comes_to_the_same_weights(folder, converted, tmp_path, start):
    def run(epochs):
        if start == "converted":
            return stdb(folder, converted[1], epochs)
        conversion = ConversionSettings(window=WINDOW, coding="poisson", calibration_batches=2)
        return replace(stdb(folder, None, epochs), init=None, conversion=conversion)

    train(run(2), tmp_path / "whole", progress=False)
    train(run(1), tmp_path / "parts", progress=False)
    train(run(2), tmp_path / "parts", progress=False)
    whole, parts = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "parts"))
    assert whole["epoch"] == parts["epoch"] == 1
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())
    assert (tmp_path / "whole" / "snn.safetensors").read_bytes() == (tmp_path / "parts" / "snn.safetensors").read_bytes()


def test_weights_of_averaged_inputs_that_learned_apart_are_refused(converted):
    network, _ = load_network(converted[1])
    network.stack.layers[1].weight[0, 0, 0, 0] += 1000
    template = type(network)(network.config).eval()
    template(torch.zeros(1, 1, 28, 28))
    with pytest.raises(UserError, match="layer 1: inputs that pooling averages have learned weights of their own"):
        network.stack.relearn(list(template.stack.layers), "stdb", LearningOptions(), network.stack.dynamics)


def test_networks_that_are_read_by_counts_are_refused(folder, converted, tmp_path):
    how = TuningSettings(**preset("datanorm") | {"window": 8})
    run = ConversionRun(Images(settings(folder).problem.data), str(converted[0]), how, device="cpu")
    counted = convert(run, tmp_path / "snn", log=lambda line: None)
    with pytest.raises(UserError, match="the potential of their last layer, and that of this one fires; convert with"):
        begin(stdb(folder, counted))


def test_thresholds_that_would_not_learn_are_refused(folder):
    run = settings(folder, learn_thresholds=True)
    with pytest.raises(UserError, match="thresholds learn in tandem or by stdb"):
        begin(replace(run, learning=LearningSettings("surrogate")))


def test_what_does_not_go_together_is_refused(folder):
    run, tandem = settings(folder), LearningSettings("tandem")
    for change, message in (
        (lambda: LearningSettings("tandem", segment=4), "segments are those of learning through time"),
        (lambda: LearningSettings("surrogate", leak=0.9), "of the rule stdb"),
        (lambda: LearningSettings("stdb", segment=0), "segment is a whole number of at least 1"),
        (lambda: replace(run, learning=LearningSettings(surrogate="arctan")), "give --learning.rule"),
        (
            lambda: replace(run, learning=tandem, conversion=ConversionSettings(window=33)),
            "at most 32 steps",
        ),
        (
            lambda: replace(run, learning=LearningSettings("stdb"), optimiser=replace(run.optimiser, activity_penalty=1.0)),
            "is not measured",
        ),
        (
            lambda: replace(run, problem=Speech(None, None), learning=LearningSettings("stdb", segment=4)),  # type: ignore[arg-type]
            "not learned in segments",
        ),
    ):
        with pytest.raises(UserError, match=message):
            change()
