import csv
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from separator.errors import UserError
from separator.images.labelled import LabelledImages
from separator.metrics import intervals
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network, save_model
from separator.snn.layers.dynamics import Dynamics
from separator.snn.observe.activity import record_activity
from separator.snn.stack import reference
from separator.tasks.evaluation.items.evaluation import ItemEvaluation, evaluate_items, measure
from separator.tasks.learning.sweeps.sweep import operations_ratio
from separator.tasks.problems import images as images_problem
from separator.tasks.problems.image_data import ImageBatches, ImageSettings
from separator.tasks.problems.image_objectives import ImageObjective, mean_score
from separator.tasks.problems.images import Images
from separator.tasks.problems.reconstructions import draw_reconstructions, pair_up
from tests.images.test_idx import mnist

GOALS = {"classify": ("c3s2-a7-8-10", "none"), "reconstruct": ("9-7-9-784", "sigmoid")}
DYNAMICS = {"snn": Dynamics(8, 0.5, "layer-by-layer", 4), "faithful": Dynamics(6)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return ImageSettings(mnist(tmp_path_factory.mktemp("mnist"), 60))


def network_of(goal, dynamics=None, seed=0):
    layers, output = GOALS[goal]
    config = FeedForwardConfig(layers, output=output)
    torch.manual_seed(seed)
    network = FeedForward(config)
    network.train()(torch.rand(40, 1, 28, 28))  # statistics of the normalisation
    network.eval().requires_grad_(False)
    conversion = None
    if dynamics is not None:
        network.stack.convert(torch.rand(40, 1, 28, 28), dynamics)
        conversion = vars(dynamics) | {"readout": "potential"}
    return network, ModelCard("x", config.to_dict(), conversion, architecture="feedforward", scores={"goal": goal})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of networks that have learned nothing, by goal and name."""
    folder = tmp_path_factory.mktemp("models")
    for goal in GOALS:
        for name, dynamics in {"ann": None, **DYNAMICS}.items():
            save_model(folder / goal / f"{name}.safetensors", *network_of(goal, dynamics))
    return folder


def score(network, goal, images):
    return mean_score(network, ImageObjective(goal), ImageBatches(images, 500))


def named(models, goal, *names):
    return [(name, str(models / goal / f"{name}.safetensors")) for name in names]


@pytest.mark.parametrize("goal", sorted(GOALS))
def test_scores_and_differences_are_of_the_same_images(models, data, tmp_path, goal):
    names = ["ann", "snn", "faithful"]
    said = []
    settings = ItemEvaluation(Images(data), named(models, goal, *names), pictures=0, device="cpu")
    report = evaluate_items(settings, tmp_path, said.append)
    test = data.read().test
    (pictures, labels), found = next(iter(ImageBatches(test, len(test)))), {}
    for result in report.results:
        network, _ = load_network(models / goal / f"{result.name}.safetensors")
        outputs = network(pictures)
        if goal == "classify":
            found[result.name] = [int(row.argmax()) == label for row, label in zip(outputs, labels, strict=True)]
        else:
            found[result.name] = (outputs.double() - pictures.flatten(1).double()).pow(2).mean(1).tolist()
        (metric,) = result.scores
        assert metric == {"classify": "accuracy", "reconstruct": "mse"}[goal]
        assert result.scores[metric].value == pytest.approx(score(network, goal, test), rel=1e-6)
    first = np.array(found["ann"])
    for result in report.results[1:]:
        values, difference = np.array(found[result.name]), result.differences[metric]
        shares = intervals.share_difference(values, first) * 100 if goal == "classify" else None
        expected = shares or intervals.mean(values - first)
        assert vars(difference) == pytest.approx(vars(expected), rel=1e-4)
    assert report.results[0].differences == {}
    assert said == [f"scoring {name}" for name in names]


@pytest.mark.parametrize("goal", sorted(GOALS))
def test_operations_are_those_of_the_spikes(models, data, tmp_path, goal):
    settings = ItemEvaluation(Images(data), named(models, goal, "ann", "snn", "faithful"), mac_cost=5, device="cpu", pictures=0)
    report = evaluate_items(settings, tmp_path, str)
    test = data.read().test
    ann, *spiking = report.results
    for result in spiking:
        network, _ = loaded = load_network(models / goal / f"{result.name}.safetensors")
        with record_activity(network) as activity:
            for pictures, _ in ImageBatches(test, 7):
                network(pictures)
        figures, images = result.figures, len(test)
        charge = activity.float_macs["charge"]
        assert figures.spikes == activity.spikes / images > 0
        assert figures.synaptic_operations == activity.synaptic_operations / images
        assert figures.effective_operations == activity.effective_operations / images
        assert figures.macs == ann.figures.macs == ann.figures.remaining_macs == (activity.macs + charge) / images
        assert figures.remaining_macs == charge / images
        assert figures.ratio == pytest.approx(activity.synaptic_operations / activity.macs)
        assert figures.ratio == pytest.approx(
            operations_ratio(network, ImageObjective(goal), Images(data).of_model(*loaded).open(network, 0))
        )
        assert figures.network_ratio == pytest.approx((activity.synaptic_operations + charge) / (activity.macs + charge))
        energy = activity.synaptic_operations + 5 * charge
        assert figures.energy_ratio == pytest.approx(energy / (5 * (activity.macs + charge)))
        neurons = [layer.neurons for layer in figures.layers]
        window = DYNAMICS[result.name].window
        assert figures.rate == pytest.approx(figures.spikes / (sum(neurons[:-1]) * window))
        assert [layer.rate for layer in figures.layers] == [*(layer.rate for layer in activity.layers[:-1]), None]
        assert figures.layers[0].synaptic_operations is None
        assert sum(layer.synaptic_operations for layer in figures.layers[1:]) == pytest.approx(figures.synaptic_operations)
    by_hand = {"classify": [3 * 14 * 14, 8, 10], "reconstruct": [9, 7, 9, 784]}[goal]
    assert [layer.neurons for layer in ann.figures.layers] == by_hand
    if goal == "reconstruct":
        assert [layer.macs for layer in ann.figures.layers] == [a * b for a, b in pairwise([784, *by_hand])]
    assert ann.figures.synaptic_operations is ann.figures.energy_ratio is ann.latency is None


def test_spikes_of_the_input_leave_no_macs(data, tmp_path):
    path = tmp_path / "poisson.safetensors"
    save_model(path, *network_of("classify", Dynamics(6, coding="poisson")))
    report = evaluate_items(
        ItemEvaluation(Images(data), [("poisson", str(path))], device="cpu", pictures=0), tmp_path / "out", str
    )
    (result,) = report.results
    figures, layers = result.figures, result.figures.layers
    assert figures.remaining_macs == 0
    assert figures.synaptic_operations == pytest.approx(sum(layer.synaptic_operations for layer in layers))
    assert layers[0].synaptic_operations > 0
    assert figures.ratio == figures.network_ratio == pytest.approx(figures.synaptic_operations / figures.macs)
    loaded = load_network(path)
    assert figures.ratio == pytest.approx(
        operations_ratio(loaded[0], ImageObjective("classify"), Images(data).of_model(*loaded).open(loaded[0], 0))
    )
    text = report.to_markdown()
    assert "these drive the first layer, too" in text and "| layers.0 | spikes |" in text


def test_rates_are_those_of_all_layers_that_fire(data, tmp_path):
    network, card = network_of("classify")
    network.stack.readout = "counts"
    network.stack.convert(torch.rand(40, 1, 28, 28), Dynamics(8))
    path = tmp_path / "counts.safetensors"
    save_model(path, network, replace(card, conversion=vars(Dynamics(8)) | {"readout": "counts"}))
    settings = ItemEvaluation(Images(data), [("counts", str(path))], device="cpu", pictures=0)
    (result,) = evaluate_items(settings, tmp_path / "out", str).results
    figures, layers = result.figures, result.figures.layers
    assert layers[-1].rate > 0
    assert figures.spikes == pytest.approx(sum(layer.rate * layer.neurons * 8 for layer in layers))
    assert figures.rate == pytest.approx(figures.spikes / (8 * sum(layer.neurons for layer in layers)))


def test_spikes_of_a_neuron_are_those_of_its_train(models, data, tmp_path):
    """Counted train by train, in the reference's whole numbers, and compared with the first spiking network."""
    names = {"snn": 8, "faithful": 6}
    settings = ItemEvaluation(Images(data), named(models, "classify", "ann", *names), device="cpu", pictures=0)
    report = evaluate_items(settings, tmp_path, str)
    ann, *spiking = report.results
    pictures = next(iter(ImageBatches(data.read().test, 10**6)))[0]
    of_neuron, of_layer = {}, {}
    for result, window in zip(spiking, names.values(), strict=True):
        network, _ = load_network(models / "classify" / f"{result.name}.safetensors")
        trains = reference.trains(network.stack.spiking_layers(), network.seen(pictures), network.stack.sources)[:-1]
        counts = [np.asarray(train).reshape(window, len(pictures), -1).sum(0) for train in trains]
        assert [layer.spikes_per_neuron for layer in result.figures.layers] == pytest.approx(
            [*(c.mean() for c in counts), None]
        )
        of_neuron[result.name] = sum(c.sum() for c in counts) / sum(c.size for c in counts)
        of_layer[result.name] = sum(c.mean() for c in counts) / 2
        assert result.figures.spikes_per_neuron == pytest.approx(of_neuron[result.name])
        assert result.figures.spikes_per_neuron_of_layers == pytest.approx(of_layer[result.name])
    fewer = of_neuron["snn"] / of_neuron["faithful"]
    assert [row["fewer_spikes"] for row in report.rows] == [None, 1, pytest.approx(fewer)]
    assert ann.figures.spikes_per_neuron is None and ann.figures.layers[0].spikes_per_neuron is None
    lines = report.to_markdown().splitlines()
    first = lines.index("| Layer | V of snn | Spikes of snn | V of faithful | Spikes of faithful |")
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[first + 2 : first + 8]]
    assert [row[0] for row in table[:2]] == ["layers.0", "layers.1"]  # the readout does not fire
    shown = [("all neurons", of_neuron), ("times fewer than snn", {"snn": 1, "faithful": fewer}), ("mean of layers", of_layer)]
    for row, (title, values) in zip(table[2:5], shown, strict=True):
        assert row == [title, "", f"{values['snn']:.2f}", "", f"{values['faithful']:.2f}"]


def test_silent_networks_are_no_number_of_times_fewer(data, tmp_path):
    network, card = network_of("classify", Dynamics(6))
    for layer in network.stack.spiking_layers()[:-1]:
        layer.weight.zero_()
        layer.bias.fill_(-1)
    save_model(tmp_path / "silent.safetensors", network, card)
    settings = ItemEvaluation(Images(data), [("silent", str(tmp_path / "silent.safetensors"))], device="cpu", pictures=0)
    report = evaluate_items(settings, tmp_path / "out", str)
    assert report.results[0].figures.spikes_per_neuron == 0 and report.rows[0]["fewer_spikes"] is None


def test_what_is_written_says_the_same_thrice(models, data, tmp_path):
    report = evaluate_items(ItemEvaluation(Images(data), named(models, "classify", "ann", "snn"), device="cpu"), tmp_path, str)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["RESULTS.md", "results.csv", "results.json", "spikes.png"]
    text = (tmp_path / "RESULTS.md").read_text()
    assert text == report.to_markdown()
    values = json.loads((tmp_path / "results.json").read_text())
    assert (values["goal"], values["images"], values["mac_cost"]) == ("classify", len(data.read().test), 14)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, model, result in zip(rows, values["models"], report.results, strict=True):
        assert [layer["name"] for layer in model.pop("layers")] == ["layers.0", "layers.1", "layers.2"]
        assert {name: "" if value is None else str(value) for name, value in model.items()} == row
        assert float(row["accuracy"]) == result.scores["accuracy"].value
        assert f"| {row['model']} | {float(row['accuracy']):.2f} | {float(row['accuracy_low']):.2f} to " in text
    assert rows[0] | {"window": "", "energy_ratio": "", "accuracy_difference": ""} == rows[0]
    snn = {
        "kind": "snn",
        "window": "8",
        "latency": "16",
        "schedule": "layer-by-layer",
        "initial_potential": "0.5",
        "weight_bits": "4",
    }
    assert rows[1] | snn == rows[1]
    assert "| snn | 8 | 16 | layer-by-layer | 0.5 | 4 |" in text
    assert f" | {float(rows[1]['energy_ratio']):.3f} |\n" in text
    assert "Layers of snn" in text and "Layers of ann" not in text


def test_other_window_than_a_models_own(models, data, tmp_path):
    path = models / "classify" / "snn.safetensors"
    report = evaluate_items(
        ItemEvaluation(Images(data), [("two", f"{path}@2"), ("own", str(path))], device="cpu"), tmp_path, str
    )
    assert [result.dynamics.window for result in report.results] == [2, 8]
    assert [result.latency for result in report.results] == [4, 16]


def test_five_best_of_many_classes():
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("c2-a4-12", height=8, width=8)).eval()
    draw = np.random.default_rng(0)
    images = LabelledImages(draw.integers(0, 256, (70, 1, 8, 8), np.uint8), draw.integers(0, 12, 70), "test")
    scores, _ = measure(network, ImageObjective("classify"), ImageBatches(images, 30))
    ((pictures, labels),) = ImageBatches(images, 70)
    order = network(pictures).detach().numpy().argsort(1)[:, ::-1]
    assert scores["top5"].tolist() == [label in row[:5] for row, label in zip(order, labels.tolist(), strict=True)]
    assert scores["accuracy"].tolist() == [label == row[0] for row, label in zip(order, labels.tolist(), strict=True)]
    assert scores["accuracy"].sum() < scores["top5"].sum() < 70


def test_reconstructions_are_drawn_beside_their_images(models, data, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(images_problem, "draw_reconstructions", lambda path, *given: drawn.update({path.name: given}))
    settings = ItemEvaluation(Images(data), named(models, "reconstruct", "ann", "snn"), pictures=4, device="cpu")
    report = evaluate_items(settings, tmp_path, str)
    error = report.results[1].scores["mse"].value
    assert list(drawn) == ["ann.png", "snn.png"]
    images, reconstructions, title = drawn["snn.png"]
    assert title == f"snn (SNN, 8 time steps), mean square error {error:.5f}"
    assert drawn["ann.png"][2].startswith("ann (ANN), mean square error ")
    ((pictures, _),) = ImageBatches(data.read().test.take(slice(4)), 4)
    network, _ = load_network(models / "reconstruct" / "snn.safetensors")
    assert np.array_equal(images, pictures.numpy())
    assert np.array_equal(reconstructions.reshape(4, -1), network(pictures).numpy())


def test_a_picture_shows_every_pair(tmp_path):
    draw = np.random.default_rng(0)
    images, others = draw.random((8, 1, 5, 4)), draw.random((8, 1, 5, 4)) * 1.5 - 0.2
    (grid,) = pair_up(images, others)
    assert grid.shape == (2 * (5 + 3) + 3, 6 * (2 * 4 + 1 + 3) + 3)
    assert np.array_equal(grid[11:16, 15:19], images[7, 0])  # the second of the second row
    assert np.array_equal(grid[11:16, 20:24], others[7, 0].clip(0, 1))
    draw_reconstructions(tmp_path / "x.png", images, others, "title")
    shown = np.asarray(Image.open(tmp_path / "x.png").convert("L")) / 255
    scale = 1500 // grid.shape[1]
    bottom = shown[-grid.shape[0] * scale :][scale // 2 :: scale, scale // 2 :: scale]  # below the title
    assert np.abs(bottom[:, : grid.shape[1]] - grid).max() < 0.01
    colours = draw.random((1, 3, 5, 4))
    assert pair_up(colours, colours).shape == (3, 11, 15)
    draw_reconstructions(tmp_path / "one.png", colours, colours, "title")
    assert Image.open(tmp_path / "one.png").width >= 500


def test_mistakes_are_refused_before_anything_is_written(models, data, tmp_path):
    out = tmp_path / "out"

    def refused(models, message, **options):
        with pytest.raises(UserError, match=message):
            evaluate_items(ItemEvaluation(Images(data), models, device="cpu", **options), out, str)

    ann = named(models, "classify", "ann")
    refused([], "at least one model")
    refused([("spikes", ann[0][1])], r"spikes\.png is a picture of all models")
    refused([*ann, *ann], r"name of its own \(NAME=MODEL\); these are ann, ann")
    refused(ann, "at least 1 addition, not 0.5", mac_cost=0.5)
    refused(ann, "at least 1 addition, not nan", mac_cost=float("nan"))
    refused(ann, "at least 0, not -1", pictures=-1)
    refused([*ann, ("other", str(models / "reconstruct" / "snn.safetensors"))], "ann was trained to classify, other was")
    refused([("x", "small-ann")], "no network for images")
    refused([("x", str(models / "none"))], "no model")
    small = FeedForwardConfig("5-10", height=8, width=8)
    card = ModelCard("x", small.to_dict(), architecture="feedforward", scores={"goal": "classify"})
    save_model(tmp_path / "small", FeedForward(small), card)
    refused([*ann, ("small", str(tmp_path / "small"))], r"pictures of \(1, 8, 8\)")
    assert not out.exists()


def test_a_single_image_has_no_interval(models, data, tmp_path):
    settings = ItemEvaluation(
        Images(replace(data, test_limit=1)), named(models, "reconstruct", "ann"), pictures=0, device="cpu"
    )
    evaluate_items(settings, tmp_path, str)
    (model,) = json.loads((tmp_path / "results.json").read_text())["models"]
    assert model["mse"] > 0 and model["mse_low"] is model["mse_high"] is None
