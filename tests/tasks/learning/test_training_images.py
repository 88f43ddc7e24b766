import csv
import math
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch
from matplotlib.image import imread

from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_model, load_network, save_model
from separator.snn.conversion.penalty import ActivityPenalty
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.learning.stdb.options import StdbOptions
from separator.tasks.learning.conversion import ConversionRun, TuningSettings, convert
from separator.tasks.learning.settings import LearningSettings, TrainingSettings, machine_of, optimiser_of
from separator.tasks.learning.start import set_initial_bias, starting_point
from separator.tasks.learning.training import train
from separator.tasks.problems.image_data import ImageBatches, ImageSettings, PictureData
from separator.tasks.problems.image_objectives import ImageObjective, mean_score
from separator.tasks.problems.images import Images
from tests.images.test_idx import mnist

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return mnist(tmp_path_factory.mktemp("mnist"), 60)


def settings(folder, goal="classify", epochs=2, **model):
    layers = "c3s2-a7-d10-10" if goal == "classify" else "9-784"
    output = "none" if goal == "classify" else "sigmoid"
    config = FeedForwardConfig(**({"layers": layers, "output": output} | model))
    problem = Images(ImageSettings(folder, batch=16), config, goal)
    return TrainingSettings(problem, optimiser_of(problem, max_epochs=epochs), machine_of(problem), device="cpu")


def score(network, goal, images):
    return mean_score(network, ImageObjective(goal), ImageBatches(images, 500))


def test_a_penalty_makes_activations_sparse(folder, tmp_path):
    densities = []
    for penalty in (0.0, 20.0):
        run = settings(folder, epochs=6)
        run = replace(run, optimiser=replace(run.optimiser, activity_penalty=penalty, lr=0.02))
        network, _ = load_network(train(run, tmp_path / str(penalty), progress=False))
        with torch.no_grad(), ActivityPenalty(network.stack) as activity:
            network(next(iter(ImageBatches(run.problem.data.read().train, 60)))[0])
        densities.append(activity.pop().item())
    assert densities[1] < 0.9 * densities[0]
    with pytest.raises(UserError, match="at least 0, not -1"):
        optimiser_of(Images, activity_penalty=-1)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_activity_told_is_that_of_what_is_held_out(folder, tmp_path, average):
    run = settings(folder, epochs=3)
    run = replace(run, optimiser=replace(run.optimiser, activity_penalty=0.1, average=average, lr=0.02))
    train(run, tmp_path, progress=False)
    with (tmp_path / "csv" / "version_0" / "metrics.csv").open() as file:
        told = [float(row["dev_activity"]) for row in csv.DictReader(file) if row["dev_activity"]]
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"].items()
    network = FeedForward(run.problem.network)
    network.load_state_dict({key.removeprefix("network."): value for key, value in checkpoint if key.startswith("network.")})
    with torch.no_grad(), ActivityPenalty(network.eval().stack) as activity:
        network(next(iter(ImageBatches(run.problem.data.read().dev, 500)))[0])
    assert told[-1] == pytest.approx(activity.pop().item(), rel=1e-4)


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_neurons_are_active_as_the_initial_bias_has_it(folder, bias):
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("512-256-784"))
    set_initial_bias(network.stack, bias)
    first, second, last = network.stack.layers
    with torch.no_grad():
        x = torch.randn(2000, 784)
        hidden = first(x)
        active = [(hidden > 0).double().mean().item(), (second(hidden) > 0).double().mean().item()]
    assert active == pytest.approx([NormalDist().cdf(bias)] * 2, abs=0.02)
    assert not last.norm.bias.any()
    with pytest.raises(UserError, match="do not have"):
        set_initial_bias(FeedForward(FeedForwardConfig("9-784", norm=False)).stack, 1.0)
    with pytest.raises(UserError, match="finite"):
        optimiser_of(Images, initial_bias=math.inf)


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_weights_by_he_keep_the_size_of_signals(folder, slope):
    torch.manual_seed(0)
    x = torch.randn(100, 1, 28, 28)
    run = settings(folder, layers="-".join(["500"] * 13), norm=False, slope=slope)
    sizes = {}
    for weights in ("torch", "he"):
        _, network, _ = starting_point(replace(run, optimiser=replace(run.optimiser, initial_weights=weights)))
        sizes[weights] = network(x).square().mean().item()
    assert sizes["torch"] < 1e-3 < 0.1 < sizes["he"]
    *hidden, last = (layer.affine.weight.var().item() * layer.affine.in_features for layer in network.stack.layers)
    assert hidden == pytest.approx([2 / (1 + slope**2)] * 12, rel=0.02)  # one half of what they see was cut, or shrunk
    assert last == pytest.approx(1, rel=0.02)
    assert not any(layer.affine.bias.any() for layer in network.stack.layers)


@pytest.mark.parametrize("goal", ["classify", "reconstruct"])
def test_a_network_is_trained_converted_and_read_again(folder, tmp_path, goal):
    run = settings(folder, goal)
    ann, card = load_network(train(run, tmp_path / "ann", progress=False))
    test = run.problem.data.read().test
    assert card.scores["test"] == pytest.approx(score(ann, goal, test))
    conversion = TuningSettings(window=8, initial_potential=0.5, max_epochs=1, calibration_batches=2)
    path = convert(
        ConversionRun(Images(run.problem.data), str(tmp_path / "ann" / "ann.safetensors"), conversion, device="cpu"),
        tmp_path / "snn",
        log=lambda line: None,
    )
    snn, card = load_network(path)
    assert card.kind == "snn" and card.window == 8
    assert snn.stack.converted == len(snn.stack.layers) == 2
    assert snn.stack.readout == "potential"
    assert card.scores["test"] == pytest.approx(score(snn, goal, test))
    assert imread(tmp_path / "snn" / "report.png").shape[:2] == (480, 1200)
    _, card = load_network(path, window=32)
    assert card.window == 32
    with pytest.raises(UserError, match="for images"):
        load_model(path)
    watching = Images(replace(run.problem.data, watched=7))
    untuned = ConversionRun(
        watching, str(tmp_path / "ann" / "ann.safetensors"), replace(conversion, max_epochs=0), device="cpu"
    )
    snn, _ = load_network(convert(untuned, tmp_path / "untuned", log=lambda line: None))
    last = list(csv.DictReader((tmp_path / "untuned" / "progress.csv").open()))[-1]
    column = {"classify": "test_accuracy", "reconstruct": "test_mean_square_error"}[goal]
    assert float(last[column]) == pytest.approx(score(snn, goal, test.take(slice(7))), rel=1e-6)


def test_training_is_gone_on_with_and_the_same_seed_gives_the_same_network(folder, tmp_path):
    whole, _ = load_network(train(settings(folder, epochs=4), tmp_path / "whole", progress=False))
    again, _ = load_network(train(settings(folder, epochs=4), tmp_path / "again", progress=False))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))
    train(settings(folder, epochs=2), tmp_path / "parts", progress=False)
    epochs = {name: torch.load(tmp_path / "parts" / f"{name}.ckpt", weights_only=True)["epoch"] for name in ("best", "last")}
    assert epochs == {"best": 0, "last": 1}  # the last epoch is kept, though it was not the best
    train(settings(folder, epochs=4), tmp_path / "parts", progress=False)
    rows = list(csv.DictReader((tmp_path / "parts" / "csv" / "version_1" / "metrics.csv").open()))
    assert {row["epoch"] for row in rows} - {""} == {"2", "3"}


def kill_at(monkeypatch, epoch):
    """Have trainings die when they begin an epoch."""

    def train(self, asked):
        if asked == epoch:
            raise MemoryError("killed")
        return of_epoch(self, asked)

    of_epoch = PictureData.train
    monkeypatch.setattr(PictureData, "train", train)


def cycle_settings(folder, **optimiser):
    run = settings(folder, layers="c3k5p0-a4-d10-10", epochs=4, norm=False, bias=False, slope=0.2)
    return replace(run, optimiser=replace(run.optimiser, schedule="cycle", lr=0.02, **optimiser))


def test_a_cycle_that_was_stopped_ends_in_the_same_network(folder, tmp_path, monkeypatch):
    run = cycle_settings(folder)
    whole, card = load_network(train(run, tmp_path / "whole", progress=False))
    assert (card.config["bias"], card.config["norm"], card.config["slope"]) == (False, False, 0.2)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        kill_at(patch, 2)
        train(run, tmp_path / "parts", progress=False)
    train(run, tmp_path / "parts", progress=False)
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "parts")]
    assert [state["global_step"] for state in last] == [16, 16]
    for name, weight in last[0]["state_dict"].items():
        assert torch.equal(weight, last[1]["state_dict"][name])
    assert last[0]["optimizer_states"][0]["param_groups"] == last[1]["optimizer_states"][0]["param_groups"]
    parts, _ = load_network(tmp_path / "parts" / "ann.safetensors")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))
    with pytest.raises(UserError, match="cycle needs an end"):
        replace(run.optimiser, max_epochs=-1)


def test_rates_that_fall_in_steps_and_decaying_weights_are_gone_on_with(folder, tmp_path):
    def run(epochs):
        optimiser = optimiser_of(Images, lr=0.01, drop=0.5, drop_every=1, weight_decay=0.1, max_epochs=epochs)
        return replace(settings(folder), optimiser=optimiser)

    whole, _ = load_network(train(run(3), tmp_path / "whole", progress=False))
    train(run(2), tmp_path / "parts", progress=False)
    parts, _ = load_network(train(run(3), tmp_path / "parts", progress=False))
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))
    (state,) = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["optimizer_states"]
    groups = [(group["lr"], group["weight_decay"]) for group in state["param_groups"]]
    assert groups == [(0.0025, 0.1), (0.0025, 0)]
    with pytest.raises(UserError, match="weights decay under adam; leave out weight_decay for muon"):
        optimiser_of(Images, name="muon", weight_decay=0.1)
    with pytest.raises(UserError, match="drop_every is a whole number of at least 1, not 0"):
        optimiser_of(Images, drop_every=0)


@pytest.mark.parametrize(("goal", "best"), [("classify", max), ("reconstruct", min)])
def test_the_epoch_of_the_best_score_is_kept(folder, tmp_path, goal, best):
    run = settings(folder, goal, epochs=6)
    train(replace(run, optimiser=replace(run.optimiser, best="score", lr=0.05)), tmp_path, progress=False)
    column = {"classify": "dev_accuracy", "reconstruct": "dev_mean_square_error"}[goal]
    rows = list(csv.DictReader((tmp_path / "csv" / "version_0" / "metrics.csv").open()))
    scores = [float(row[column]) for row in rows if row[column]]
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"]
    assert len(scores) == 6 and kept == scores.index(best(scores))


def test_networks_that_do_not_fit_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"pictures of \(3, 32, 32\), but those of"):
        train(settings(folder, channels=3, height=32, width=32, layers="5-10"), tmp_path)
    with pytest.raises(UserError, match="to classify, the network needs 10 outputs, not 7"):
        train(settings(folder, layers="5-7"), tmp_path)
    with pytest.raises(UserError, match="is no network for images"):
        convert(ConversionRun(Images(ImageSettings(folder)), "small-ann", device="cpu"), tmp_path)


def log_of(folder):
    """Rows of the last CSV log, those of one epoch together."""
    path = max((folder / "csv").glob("version_*/metrics.csv"))
    epochs = {}
    for row in (row for row in csv.DictReader(path.open()) if row["epoch"]):
        epochs.setdefault(int(row["epoch"]), {}).update({name: float(value) for name, value in row.items() if value})
    return epochs


def spiking(folder, learning, goal="classify", epochs=2, **neurons):
    conversion = ConversionSettings(**({"window": 4, "calibration_batches": 4} | neurons))
    return replace(settings(folder, goal, epochs), learning=LearningSettings(learning), conversion=conversion)


@pytest.mark.parametrize("learning", ["tandem", "surrogate"])
@pytest.mark.parametrize("goal", ["classify", "reconstruct"])
def test_a_network_that_learns_as_a_spiking_one_is_written_as_such(folder, tmp_path, learning, goal):
    run = spiking(folder, learning, goal, initial_potential=0.5, channelwise=True)
    path = train(run, tmp_path, progress=False)
    assert path == tmp_path / "snn.safetensors"
    network, card = load_network(path)
    assert (card.name, card.kind, card.window) == ("snn", "snn", 4)
    assert network.stack.converted == len(network.stack.layers) == 2
    assert network.stack.dynamics.initial_potential == 0.5 and network.stack.readout == "potential"
    conversion = ConversionSettings(window=4, initial_potential=0.5, channelwise=True)
    for name in ("window", "initial_potential", "schedule", "weight_bits", "percentile", "channelwise"):
        assert card.conversion[name] == getattr(conversion, name)
    images = run.problem.data.read()
    assert card.scores["test"] == pytest.approx(score(network, goal, images.test))
    best = min(log_of(tmp_path).values(), key=lambda row: row["dev_loss"])
    if goal == "classify":
        assert score(network, goal, images.dev) == pytest.approx(best["dev_accuracy"], abs=1e-3)
    else:
        assert score(network, goal, images.dev) == pytest.approx(best["dev_loss"], rel=1e-5)
    _, card = load_network(path, window=8)
    assert card.window == 8


@pytest.mark.parametrize("learning", ["analog", "tandem", "surrogate"])
def test_every_way_of_learning_is_gone_on_with_to_the_same_network(folder, tmp_path, learning):
    def run(epochs):
        changed = replace(settings(folder, epochs=epochs), learning=LearningSettings(learning))
        return changed if learning == "analog" else replace(changed, conversion=ConversionSettings(window=4))

    said = []
    train(run(3), tmp_path / "whole", progress=False)
    train(run(2), tmp_path / "parts", progress=False)
    path = train(run(3), tmp_path / "parts", progress=False, log=said.append)
    assert len(said) == 2 and said[0].endswith(" parameters") and said[1].startswith("epoch 3 of 3: train loss ")
    assert set(log_of(tmp_path / "parts")) == {2}
    whole, parts = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "parts"))
    assert whole["epoch"] == parts["epoch"] == 2
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())
    first = path.read_bytes()
    assert train(run(3), tmp_path / "parts", progress=False).read_bytes() == first  # nothing is left to do


def test_accuracies_are_logged_of_classifiers(folder, tmp_path):
    run = settings(folder, epochs=1)
    network, _ = load_network(train(run, tmp_path / "a", progress=False))
    (row,) = log_of(tmp_path / "a").values()
    assert row["dev_accuracy"] == pytest.approx(score(network, "classify", run.problem.data.read().dev), abs=1e-3)
    assert 0 <= row["train_accuracy"] <= 100
    train(settings(folder, "reconstruct", epochs=1), tmp_path / "b", progress=False)
    (row,) = log_of(tmp_path / "b").values()
    assert "dev_accuracy" not in row and math.isfinite(row["dev_loss"])


@pytest.mark.parametrize("learning", ["tandem", "surrogate"])
def test_what_diverges_keeps_the_best_network_before(folder, tmp_path, learning):
    run = spiking(folder, learning, epochs=1)
    before, _ = load_network(train(run, tmp_path, progress=False))
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for name, value in checkpoint["state_dict"].items():
        if name.endswith("affine.weight"):
            value.fill_(torch.nan)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    said = []
    after, _ = load_network(
        train(replace(run, optimiser=optimiser_of(Images, max_epochs=2)), tmp_path, progress=False, log=said.append)
    )
    assert all(torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True))
    _, line = said
    assert line.startswith("training ends here: ") and line.endswith("training has diverged")


def test_neurons_that_cannot_be_are_refused(folder):
    run = settings(folder)
    for change, message in (
        (lambda: ConversionRun(run.problem, "x", TuningSettings(window=33)), "at most 32 steps, not 33"),
        (lambda: LearningSettings(surrogate="step"), "no surrogate 'step'"),
        (lambda: LearningSettings(surrogate_width=0.0), "above 0 thresholds"),
        (lambda: ConversionSettings(percentile=0.0), "percentile is above 0"),
        (
            lambda: replace(run, conversion=ConversionSettings(calibration_batches=0)),
            "calibration_batches is a whole number of at least 1",
        ),
    ):
        with pytest.raises(UserError, match=message):
            change()


def test_options_that_would_do_nothing_are_refused(folder, tmp_path):
    run = settings(folder)
    tandem = replace(run, learning=LearningSettings("tandem"))
    config = run.problem.network
    card = ModelCard("ann", config.to_dict(), architecture="feedforward", scores={"goal": "classify"})
    save_model(tmp_path / "ann.safetensors", FeedForward(config), card)
    analog = replace(run, init=str(tmp_path / "ann.safetensors"))
    for change, message in (
        (lambda: LearningSettings("tandem", surrogate="arctan"), "of the rule surrogate; leave them out"),
        (lambda: LearningSettings("stdb", surrogate_width=0.5), "of the rule surrogate; leave them out"),
        (lambda: LearningSettings("surrogate", stdb=StdbOptions(alpha=3.0)), "--learning.stdb are of the rule stdb"),
        (lambda: replace(run, conversion=ConversionSettings(window=5)), "leave it out, or give --learning.rule"),
        (lambda: starting_point(with_optimiser(run, weight_bits=4)), "give --conversion.weight_bits"),
        (lambda: starting_point(with_optimiser(tandem, weight_bits=4)), "give --conversion.weight_bits"),
        (lambda: starting_point(with_optimiser(analog, weight_bits=4)), "give --conversion.weight_bits"),
        (lambda: starting_point(with_optimiser(run, learn_thresholds=True)), "an analog network has no thresholds"),
        (lambda: starting_point(with_optimiser(analog, learn_thresholds=True)), "an analog network has no thresholds"),
    ):
        with pytest.raises(UserError, match=message):
            change()
    starting_point(with_optimiser(tandem, learn_thresholds=True))
    reconstructing = replace(analog, problem=replace(run.problem, goal="reconstruct"))
    with pytest.raises(UserError, match="ann was trained to classify; leave out --goal, or train a new network"):
        starting_point(reconstructing)


def with_optimiser(run, **changes):
    return replace(run, optimiser=replace(run.optimiser, **changes))


def test_pictures_are_learned_from_on_one_device_and_have_no_hours(folder, tmp_path):
    run = settings(folder)
    with pytest.raises(UserError, match="on one device, not by 2 devices"):
        train(replace(run, machine=machine_of(Images, devices=2)), tmp_path, progress=False)
    with pytest.raises(UserError, match="hours of sound, of which there are none here"):
        replace(run, optimiser=optimiser_of(Images, schedule="anytime", finish=1.0))


def test_another_training_is_not_gone_on_with(folder, tmp_path):
    run = settings(folder, epochs=1)
    train(run, tmp_path, progress=False)
    batches = replace(run, problem=replace(run.problem, data=replace(run.problem.data, batch=8)))
    with pytest.raises(UserError, match=r"\(data.batch was 16 and is 8\)"):
        train(batches, tmp_path, progress=False)
    faster = replace(run, problem=replace(run.problem, data=replace(run.problem.data, dev_batch=9)))
    train(faster, tmp_path, progress=False)  # the same one


def test_a_model_is_trained_further_and_a_spiking_one_tuned(folder, tmp_path):
    run = settings(folder, epochs=2, layers="c3s2-a7-10")
    first = train(run, tmp_path / "ann", progress=False)
    further, card = load_network(train(replace(run, init=str(first)), tmp_path / "further", progress=False))
    before, former = load_network(first)
    assert not torch.equal(before.stack.layers[0].affine.weight, further.stack.layers[0].affine.weight)
    assert card.scores["epochs"] > former.scores["epochs"] and card.scores["goal"] == "classify"
    few = TuningSettings(window=4, max_epochs=0, calibration_batches=2)
    converted = convert(ConversionRun(run.problem, str(first), few, device="cpu"), tmp_path / "snn", lambda line: None)
    tuned, card = load_network(train(replace(run, init=str(converted)), tmp_path / "tuned", progress=False))
    assert card.kind == "snn" and card.window == 4 and card.name == "snn"
    assert card.scores["test"] == pytest.approx(score(tuned, "classify", run.problem.data.read().test))
