import csv
from dataclasses import replace

import pytest

from separator.errors import UserError
from separator.models.feedforward import FeedForwardConfig
from separator.models.files import load_model, load_network
from separator.models.tasnet import TasNetConfig
from separator.snn.observe.activity import record_activity
from separator.tasks.learning.conversion import TuningSettings
from separator.tasks.learning.settings import machine_of, optimiser_of
from separator.tasks.learning.sweeps import sweep as sweeping
from separator.tasks.learning.sweeps.report import Swept, to_markdown
from separator.tasks.learning.sweeps.settings import SweepSettings
from separator.tasks.learning.sweeps.sweep import operations_ratio, sweep
from separator.tasks.problems.image_data import ImageBatches, ImageSettings, PictureSettings
from separator.tasks.problems.image_objectives import SCORES, ImageObjective, mean_score
from separator.tasks.problems.images import Images
from separator.tasks.problems.mixture_data import DataSettings
from separator.tasks.problems.speech import Speech
from tests.images.test_folder import tree
from tests.images.test_idx import mnist

pytestmark = pytest.mark.usefixtures("blank_pictures")


def score(network, goal, images, batch=500):
    return mean_score(network, ImageObjective(goal), ImageBatches(images, batch))


def on(settings, **changes):
    """The same settings with other data."""
    return replace(settings, problem=replace(settings.problem, data=replace(settings.problem.data, **changes)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = ImageSettings(mnist(tmp_path_factory.mktemp("mnist"), 40), batch=20)
    return SweepSettings(
        Images(data, FeedForwardConfig("9-784", output="sigmoid"), "reconstruct"),
        optimiser_of(Images, max_epochs=1),
        machine_of(Images),
        TuningSettings(max_epochs=1, calibration_batches=1),
        values=[8, 2],
        seeds=2,
        device="cpu",
    )


def test_every_seed_meets_every_value_and_nothing_is_done_twice(settings, tmp_path, monkeypatch, drawn):
    said = []
    table = sweep(settings, tmp_path, said.append).read_text()
    assert [line for line in said if line.endswith("training: done")] == ["seed 0: training: done", "seed 1: training: done"]
    assert len([line for line in said if "time window 8: mean square error" in line]) == 2
    said.clear()
    *lines, _, note = table.splitlines()
    assert note.startswith("± 95 % interval of the mean")
    assert [line.split("|")[1:3] for line in lines[2:]] == [[" ANN ", "  "], [" snn ", " 8 "], [" snn ", " 2 "]]
    assert all(line.rstrip("| ").endswith("2") for line in lines[2:])
    test = settings.problem.data.read().test
    scores = [
        score(load_network(tmp_path / f"seed-{seed}" / "snn-window-2" / "snn.safetensors")[0], "reconstruct", test)
        for seed in (0, 1)
    ]
    assert f"{sum(scores) / 2:.5f} ± " in lines[-1]
    axes = drawn[-1].axes[0]
    assert (axes.get_xlabel(), axes.get_xscale()) == ("time window", "log")
    (curve,), (analog,) = ([line for line in axes.lines if line.get_linestyle() == style] for style in ("-", "--"))
    assert curve.get_xdata().tolist() == [2, 8]
    assert curve.get_ydata()[0] == pytest.approx(sum(scores) / 2, rel=1e-4)
    assert f"{analog.get_ydata()[0]:.5f}" in lines[2]
    monkeypatch.setattr(sweeping, "convert", None)  # nothing is converted again
    assert sweep(settings, tmp_path, said.append).read_text() == table
    assert not said


def test_a_folder_of_other_settings_is_not_gone_on_with(settings, tmp_path):
    leaky = replace(settings.conversion, neuron="leaky", neuron_options={"leak": 0.9})
    short = replace(settings, seeds=1, values=[2], conversion=leaky)
    sweep(short, tmp_path, lambda line: None)
    others = (
        (replace(short, conversion=replace(leaky, lr=0.5)), "snn-window-2/snn.* another lr, 0.0001, not 0.5"),
        (replace(short, conversion=replace(leaky, neuron_options={})), "another neuron_options, {'leak': 0.9}, not {};"),
        (replace(short, optimiser=optimiser_of(Images, max_epochs=2)), r"ann.safe.* another optimiser.max_epochs, 1, not 2"),
        (on(short, test_limit=5), "data.test_limit was None and is 5"),
        (on(short, batch=10), "ann/ann.safetensors was made with another data.batch"),
    )
    for other, message in others:
        with pytest.raises(UserError, match=message):
            sweep(other, tmp_path, lambda line: None)
    folder = settings.problem.data.folder / ".." / settings.problem.data.folder.name
    moved = on(replace(short, conversion=replace(leaky, keep_mb=1)), folder=folder, dev_batch=7)
    sweep(moved, tmp_path, lambda line: None)
    (tmp_path / "window.json").write_text("{")
    with pytest.raises(UserError, match=r"window\.json, which tells what was run there, is damaged"):
        sweep(short, tmp_path, lambda line: None)
    (tmp_path / "window.json").unlink()  # as earlier versions left it
    sweep(short, tmp_path, lambda line: None)
    (tmp_path / "seed-0" / "ann" / "last.ckpt").unlink()
    with pytest.raises(UserError, match=r"has no last\.ckpt, which tells how its network was made"):
        sweep(short, tmp_path, lambda line: None)


def test_variants_are_converted_side_by_side_in_other_processes(settings, tmp_path):
    """The same figures as one after the other; a variant may have an analog network of its own."""
    variants = {"published": {}, "quantised": {"quantised": True, "initial_potential": 0.5, "schedule": "layer-by-layer"}}
    wanted = replace(settings, variants=variants, seeds=1, values=[4, 2], threads=1)
    table = sweep(wanted, tmp_path / "one", lambda line: None).read_text()
    assert [line.split("|")[1:3] for line in table.splitlines()[2:]] == [
        [" ANN ", "  "],
        *([f" {variant} ", f" {value} "] for variant in variants for value in (4, 2)),
    ]
    levels = {value: load_network(tmp_path / "one" / "seed-0" / f"ann-{value}" / "ann.safetensors")[0] for value in (4, 2)}
    assert all(network.stack.layers[0].activation.levels == value for value, network in levels.items())
    _, card = load_network(tmp_path / "one" / "seed-0" / "quantised-window-2" / "snn.safetensors")
    assert card.conversion["schedule"] == "layer-by-layer" and card.config["levels"] == 2
    assert sweep(replace(wanted, jobs=2), tmp_path / "two", lambda line: None).read_text() == table


def test_operations_are_counted_on_the_test_images(settings, tmp_path):
    sweep(replace(settings, seeds=1, values=[4]), tmp_path, lambda line: None)
    network, _ = load_network(tmp_path / "seed-0" / "snn-window-4" / "snn.safetensors")
    test = settings.problem.data.read().test
    with record_activity(network) as activity:
        for pictures, _ in ImageBatches(test, 7):
            network(pictures)
    spikes = activity.layers[0].spikes
    data = settings.problem.open(network, 0)
    assert operations_ratio(network, settings.problem.objective, data) == pytest.approx(spikes * 784 / (len(test) * 9 * 784))


def test_pictures_in_folders_are_swept_over(settings, tmp_path):
    data = ImageSettings(
        tree(tmp_path / "tree"), "folder", batch=9, dev_batch=5, pictures=PictureSettings(20, 16, random_crop=True, workers=0)
    )
    network = FeedForwardConfig("c4k5s2-a2-5-3", 3, 16, 16)
    problem = Images(data, network)
    folders = replace(settings, problem=problem, seeds=1, values=[4])
    sweep(folders, tmp_path / "out", lambda line: None)
    network, card = load_network(tmp_path / "out" / "seed-0" / "snn-window-4" / "snn.safetensors")
    test = data.read().test
    assert card.scores["test"] == pytest.approx(score(network, "classify", test, 2))
    rows = {row["window"]: row for row in csv.DictReader((tmp_path / "out" / "window.csv").open())}
    assert float(rows["4"]["operations"]) == pytest.approx(
        operations_ratio(network, problem.objective, problem.open(network, 0)), rel=1e-4
    )


def rows(vary, *scores):
    """Of a journal, from (variant, value, score, ...) of the seeds 0, 1, ..."""
    return [
        {"seed": str(seed), "variant": v, vary: x, "score": str(score), "epochs": "", "operations": ""}
        for v, x, *of_seeds in scores
        for seed, score in enumerate(of_seeds)
    ]


def test_bits_of_weights_are_compared_with_floating_point():
    found = (("", "ann", 99.5, 99.6), ("snn", "4", 99.0), ("snn", "0", 99.2, 99.3), ("snn", "8", 99.2))
    table = to_markdown(Swept(SCORES["classify"], "weight_bits", rows("weight_bits", *found))).splitlines()
    assert "against floating point" in table[0]
    assert [line.split("|")[2:5] for line in table[2:6]] == [
        ["  ", " 99.55 ± 0.64 ", " +0.30 ± 0.00 "],
        [" float ", " 99.25 ± 0.64 ", "  "],  # Student's t of one degree of freedom, 12.706, times 0.05
        [" 8 ", " 99.20 ", " +0.00 "],
        [" 4 ", " 99.00 ", " -0.20 "],
    ]


def test_sweeps_into_the_same_folder_come_into_one_table(settings, tmp_path):
    one = replace(settings, seeds=1, values=[2], variants={"b": {}})
    sweep(one, tmp_path, lambda line: None)
    table = sweep(replace(one, values=[4], variants={"a": {"initial_potential": 0.5}, "c": {}}), tmp_path, lambda line: None)
    cells = [line.split("|")[1:3] for line in table.read_text().splitlines()[2:]]
    assert cells == [[" ANN ", "  "], [" b ", " 2 "], [" a ", " 4 "], [" c ", " 4 "]]


def test_what_cannot_be_varied_is_refused(settings):
    with pytest.raises(UserError, match="'lr' cannot be varied; take window"):
        replace(settings, vary="lr")
    with pytest.raises(UserError, match="at most 32 steps, not 33"):
        replace(settings, values=[33])
    with pytest.raises(UserError, match="window is a whole number"):
        replace(settings, values=[1.5])
    with pytest.raises(UserError, match="variant a: conversion has no 'lrr'"):
        replace(settings, variants={"a": {"lrr": 1}})
    with pytest.raises(UserError, match="variant a: the sweep varies window; leave it out, and give --values"):
        replace(settings, variants={"b": {}, "a": {"window": 4}})
    with pytest.raises(UserError, match="variant a: the sweep varies encoder_bits"):
        replace(settings, vary="weight_bits", values=[4], variants={"a": {"encoder_bits": 8}})
    with pytest.raises(UserError, match=r"must end; give --optimiser.max_epochs"):
        replace(settings, optimiser=optimiser_of(Images, schedule="plateau", max_epochs=-1))


def test_values_are_those_of_the_setting(settings):
    def made(**options):
        swept = replace(settings, **options)
        return swept.settings_of(next(swept.conversions()))

    assert made(vary="initial_potential", values=[0.5]).initial_potential == 0.5
    four, floating = made(vary="weight_bits", values=[4]), made(vary="weight_bits", values=[0])
    assert (four.weight_bits, four.encoder_bits) == (4, 4) and (floating.weight_bits, floating.encoder_bits) == (None, 16)
    assert made(variants={"a": {"patience": 9}}).patience == 9
    of_preset = {"a": {"preset": "few-steps"}}  # which has an initial potential of its own
    assert made(vary="initial_potential", values=[0.25], variants=of_preset).initial_potential == 0.25


@pytest.fixture(scope="module")
def speech(synthetic_corpus):
    data = DataSettings(
        synthetic_corpus / "train", synthetic_corpus / "dev", segment=0.5, epoch_mixtures=16, dev_mixtures=8, batch=4
    )
    problem = Speech(data, TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2)))
    return SweepSettings(
        problem,
        optimiser_of(problem, max_epochs=1, lr=3e-3),
        machine_of(problem, devices=1),
        TuningSettings(max_epochs=1, calibration_batches=1),
        variants={"exact": {"initial_potential": 0.5, "schedule": "layer-by-layer"}},
        values=[8, 2],
        seeds=1,
        device="cpu",
        threads=1,
    )


def test_networks_that_separate_are_swept_over_and_a_killed_sweep_goes_on(speech, tmp_path, monkeypatch):
    made, converting = [], sweeping.convert

    def killed_at_the_second(run, folder, log):
        if made:
            raise KeyboardInterrupt
        made.append(folder.name)
        return converting(run, folder, log)

    with monkeypatch.context() as patched:
        patched.setattr(sweeping, "convert", killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            sweep(speech, tmp_path, lambda line: None)
    assert made == ["exact-window-8"]
    said = []
    table = sweep(speech, tmp_path, said.append).read_text()
    assert not [line for line in said if "training" in line or "window 8" in line]  # all that is done already
    assert [line.split("|")[1:3] for line in table.splitlines()[2:]] == [
        [" ANN ", "  "],
        *([" exact ", f" {value} "] for value in (8, 2)),
    ]
    assert "SI-SDRi (dB)" in table and (tmp_path / "window.png").is_file()
    rows = {(row["variant"], row["window"]): row for row in csv.DictReader((tmp_path / "window.csv").open())}
    for key, place in ((("exact", "2"), "exact-window-2/snn"), (("", "ann"), "ann/ann")):
        model = load_model(tmp_path / "seed-0" / f"{place}.safetensors")
        data = speech.problem.open(model.network, 0)
        assert float(rows[key]["score"]) == pytest.approx(speech.problem.result(model.network, model.card, data), rel=1e-4)


def test_networks_that_separate_have_no_quantised_activations(speech):
    with pytest.raises(UserError, match="variant a: networks for speech have no quantised activations"):
        replace(speech, variants={"a": {"quantised": True}})
