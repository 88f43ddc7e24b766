"""The recipes for MNIST, Fashion-MNIST and CIFAR-10, run on a handful of made-up pictures, or what they would run."""

import csv
from dataclasses import replace

import pytest
from matplotlib.image import imread

from separator.cli.main import command_parser
from separator.cli.options.configured import settings_from
from separator.models.files import load_network
from separator.tasks.learning.settings import TrainingSettings
from separator.tasks.learning.sweeps.settings import Conversion, SweepSettings
from tests.images.test_idx import mnist
from tests.recipes.running import RECIPES, put_in_place, run

TINY = (
    "--data.batch 20 --optimiser.max_epochs 1 --conversion.max_epochs 1 --conversion.calibration_batches 1 --device cpu "
    "--threads 1"
)
STAND_IN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$NOTES"
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Runs a recipe with a stand-in for the command that it calls; returns the calls."""
    put_in_place(STAND_IN, tmp_path / "bin")
    (tmp_path / "notes").touch()
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))

    def made(recipe, *options):
        places = ("--data", tmp_path, "--exp", tmp_path / "exp")
        status, error = run(recipe, *places, *options, commands=tmp_path / "bin")
        assert status == 0, error
        return [call.split() for call in (tmp_path / "notes").read_text().splitlines()]

    return made


def swept(call):
    """A call of `separator sweep` as the command itself reads it, and where its results go."""
    assert call[0] == "sweep"
    parsed = command_parser("sweep")[1].parse_args(call[1:])
    return settings_from(parsed, SweepSettings), parsed.out


def percentiles_of(sweep):
    """What each variant takes thresholds from."""
    return {work.variant: sweep.settings_of(work).percentile for work in sweep.conversions()}


def test_mnist_from_training_to_scores(tmp_path):
    options = f"{TINY} --network.layers c2s2-6-10 --values [4]"
    places = ("--data", mnist(tmp_path, 40), "--exp", tmp_path / "exp")
    status, error = run("mnist", *places, "--seeds", 1, "--options", options, pictures=True)
    assert status == 0, error
    results = (tmp_path / "exp" / "results" / "RESULTS.md").read_text()
    assert "published-weight_bits-4" in results and "preset-window-4" in results
    _, card = load_network(tmp_path / "exp" / "seed-0" / "published-weight_bits-4" / "snn.safetensors")
    assert card.window == 16 and max(row["weight_bits"] for row in card.conversion["hardware"]) <= 4
    assert imread(tmp_path / "exp" / "seed-0" / "preset-window-4" / "progress.png").shape[:2] == (480, 960)


def test_autoencoders_are_swept_in_one_folder_and_scored(calls, tmp_path):
    file = tmp_path / "exp" / "seed-0" / "preset-window-4" / "snn.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    *sweeps, scoring = calls("mnist-autoencoder", "--seeds", 2)
    settings = [swept(call) for call in sweeps]
    assert [out for _, out in settings] == [tmp_path / "exp"] * 3 and {sweep.seeds for sweep, _ in settings} == {2}
    assert [list(sweep.variants) for sweep, _ in settings][::2] == [["published", "published-99"], ["preset"]]
    published = settings[0][0]
    assert percentiles_of(published) == {"published": 99.9, "published-99": 99}
    added = settings[1][0]
    learned = added.settings_of(Conversion(0, "learned", 4.0))
    preset = settings[2][0].settings_of(Conversion(0, "preset", 4.0))
    once = {name: getattr(learned, name) for name in ("passes", "patience", "max_epochs", "lr")}
    assert replace(preset, **once) == learned and (preset.passes, learned.passes) == (2, 1)
    assert {work.value for work in added.conversions()} == {32, 4}
    models = scoring[scoring.index("--model") + 1 : scoring.index("--data.folder")]
    assert models == [f"ann={tmp_path}/exp/seed-0/ann/ann.safetensors", f"preset-window-4={file}"]


def test_cifar10_is_swept_network_by_network(calls, tmp_path):
    sweeps = [call for call in calls("cifar10", "--size", "small", "--options", "--device cpu") if call[0] == "sweep"]
    settings = [swept(call) for call in sweeps]
    assert [out.name for _, out in settings] == ["alexnet-small", "vgg11-small", *["alexnet-small"] * 7]
    varied = ["window", "window", "weight_bits", "window", "window", "patience", "window", "window", "window"]
    assert [sweep.vary for sweep, _ in settings] == varied
    assert {(sweep.device, sweep.problem.data.train_limit) for sweep, _ in settings} == {("cpu", 9000)}
    assert [sweep.conversion.max_epochs for sweep, _ in settings] == [3, 3, 3, 3, 3, 8, 3, 3, 3]
    windows = settings[3][0]
    assert percentiles_of(windows) == {"published": 99.9, "published-99": 99}
    channels = settings[4][0]
    assert {(work.value, channels.settings_of(work).channelwise) for work in channels.conversions()} == {(16, True)}
    patience = settings[5][0]
    assert max(patience.values) < patience.conversion.max_epochs  # else it would not be what ends a stage
    assert [list(sweep.values) for sweep, _ in settings][:2] == [[16], [16]]
    pruned = settings[7][0]
    assert {pruned.settings_of(work).fan_in for work in pruned.conversions()} == {216}
    digits = settings[8][0]
    conversions = [digits.settings_of(work) for work in digits.conversions()]
    assert {(once.neuron, once.window, once.at_once) for once in conversions} == {("few-spikes", n, True) for n in (4, 3, 2, 1)}


def trained(call):
    """A call of `separator train` as the command itself reads it, and where its results go."""
    assert call[0] == "train"
    parsed = command_parser("train")[1].parse_args(call[1:])
    return settings_from(parsed, TrainingSettings), parsed.out


def test_networks_of_double_thresholds_are_trained_on_their_images(calls, tmp_path):
    networks = ["net1", "net2", "net3", "net4", "net5", "net6", "net1-relu", "net5-relu"]
    options = (
        "--networks",
        " ".join(networks),
        "--download",
        "true",
        "--stop-stage",
        "1",
        "--options",
        "--device cpu --threads 1",
    )
    made = calls("double-threshold", *options)
    sets = ["mnist", "fashion-mnist", "cifar10"]
    assert made[:3] == [["fetch-images", name, str(tmp_path / name)] for name in sets]
    found = dict(zip(networks, map(trained, made[3:]), strict=True))
    assert {name: out for name, (_, out) in found.items()} == {name: tmp_path / "exp" / name / "ann" for name in networks}
    for name, (settings, _) in found.items():
        kind = sets[(int(name[3]) - 1) // 2]
        assert (settings.problem.data.kind, settings.problem.data.folder, settings.threads) == (kind, tmp_path / kind, 1)
        network, slope = settings.problem.network, 0.0 if name.endswith("-relu") else 0.2 if kind == "cifar10" else 0.1
        assert (network.layers, network.norm, network.bias) == (f"double-threshold-{name[:4]}", False, False)
        assert network.slope == slope and (not slope or (1 / slope).is_integer())
        assert (settings.optimiser.schedule, settings.optimiser.best) == ("cycle", "score")
        varied = (4, True) if kind == "cifar10" else (0, kind == "fashion-mnist")
        assert (settings.problem.data.shift, settings.problem.data.flip) == varied


def test_a_network_of_double_thresholds_from_pictures_to_its_score(tmp_path):
    (tmp_path / "mnist").mkdir()
    mnist(tmp_path / "mnist", 60)
    places = ("--data", tmp_path, "--exp", tmp_path / "exp", "--networks", "net2")
    fewer = ("--methods", "augmapping", "--boundaries", "3", "--images", "4")
    machine = "--device cpu --threads 1"
    narrow = "--network.layers c2k5p0-a2-d20-c4k5p0-a2-d20-10"
    options = ("--options", f"{narrow} --data.batch 20 --optimiser.max_epochs 1 {machine}")
    spiking_options = ("--spiking-options", f"--data.test_limit 4 --data.dev_batch 4 {machine}")
    status, error = run("double-threshold", *places, *fewer, *options, *spiking_options)
    assert status == 0, error
    found = {}
    for folder, names in (
        ("course", ["augmapping"]),
        ("boundaries/course", ["at-most-3", "unlimited"]),
        ("no-negative/course", ["termapping", "augmapping"]),
    ):
        with (tmp_path / "exp/net2" / folder / "course.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["network"] for row in rows] == names and {row["items"] for row in rows} == {"4"}
        found[folder] = rows
    best = found["course"][0]
    assert {row["steps"] for row in found["boundaries/course"]} == {best["best_step"]}
    assert found["boundaries/course"][1]["accuracy"] == best["best"]  # the same network as far as its best step
    assert [row["steps"] for row in found["no-negative/course"]] == ["1500", "256"]
    network, card = load_network(tmp_path / "exp/net2/ann/ann.safetensors")
    assert network.config.slope == 0.1 and 0 <= card.scores["test"] <= 100


def test_boundaries_need_the_courses_before(tmp_path):
    (tmp_path / "mnist").mkdir()
    status, error = run("double-threshold", "--data", tmp_path, "--exp", tmp_path / "exp", "--networks", "net1", "--stage", "4")
    assert status == 1 and "run stage 3 first" in error


def test_each_network_is_converted_as_it_can_be(calls, tmp_path):
    made = calls("double-threshold", "--networks", "net1 net1-relu", "--download", "true", "--stage", "2", "--stop-stage", "3")
    converted = [command_parser("convert")[1].parse_args(call[1:]) for call in made if call[0] == "convert"]
    names = ["net1/termapping", "net1/path-independent", "net1/augmapping", "net1-relu/datanorm"]
    assert [settings.out for settings in converted] == [tmp_path / "exp" / name for name in names]
    neurons = ["double-threshold", "path-independent", "augmented", "integrate-and-fire"]
    assert [settings.conversion.neuron for settings in converted] == neurons
    assert [settings.conversion.window for settings in converted] == [1500, 128, 128, 1500]
    assert all(settings.conversion.at_once and settings.conversion.readout == "counts" for settings in converted)
    followed = [command_parser("course")[1].parse_args(call[1:]) for call in made if call[0] == "course"]
    assert [len(settings.model) for settings in followed] == [3, 1]


@pytest.mark.parametrize(
    ("recipe", "configs"),
    [
        *(("mnist-autoencoder", ("ann", "ptl", name)) for name in ("published", "additions", "preset")),
        *(("mnist", ("ann", "ptl", name)) for name in ("bits", "preset")),
        *(
            ("cifar10", ("ann", f"{network}-{size}", "ptl", size, name))
            for network in ("alexnet", "vgg11")
            for size in ("full", "small")
            for name in ("bits", "windows", f"patience-{size}", "preset", f"pruned-{size}")
        ),
    ],
)
def test_configurations_say_what_can_be_done(recipe, configs):
    """What the recipes run at full size, read as the command reads it."""
    arguments = [word for name in configs for word in ("--config", str(RECIPES / recipe / "conf" / f"{name}.yaml"))]
    settings, _ = swept(["sweep", *arguments, "--data.folder", "d", "--out", "o"])
    if configs[-1] == "patience-full":
        assert settings.conversion.max_epochs > 5 * max(settings.values)
    fewest = {"patience-small": 15, "pruned-full": 5, "pruned-small": 5}.get(configs[-1], 25)
    assert settings.seeds == 5 and len(list(settings.conversions())) >= fewest
    assert all(settings.settings_of(work).readout == "potential" for work in settings.conversions())


def test_a_part_of_the_thresholds_is_tried_where_that_is_asked_for(calls, tmp_path):
    options = ("--scale", "0.5", "--scaled-steps", "600")
    made = calls(
        "double-threshold", "--networks", "net3 net3-relu", "--stage", "5", "--stop-stage", "5", "--download", "true", *options
    )
    *conversions, course = (
        command_parser(call[0])[1].parse_args(call[1:]) for call in made if call[0] in ("convert", "course")
    )
    names = "augmapping-0.5", "path-independent-0.5"
    for conversion, name, neuron, start in zip(conversions, names, ("augmented", "path-independent"), (0.0, 0.5), strict=True):
        settings = conversion.conversion
        assert (settings.neuron, settings.initial_potential, settings.weight_bits) == (neuron, start, 16)
        assert (settings.threshold, settings.threshold_scale, settings.window) == ("unit", 0.5, 600)
        assert conversion.out == tmp_path / "exp/net3/scaled" / name
    assert course.model == [f"{name}={tmp_path / 'exp/net3/scaled' / name}/snn.safetensors" for name in names]
    assert course.out == tmp_path / "exp/net3/scaled/course"


@pytest.mark.parametrize(("network", "test", "dev"), [("net6", 10, 10), ("net1", 100, 500)])
def test_conversions_of_deep_networks_look_at_few_images(calls, network, test, dev):
    stage = ("--stage", "2", "--stop-stage", "2", "--download", "true")
    made = calls("double-threshold", "--networks", network, "--methods", "augmapping", *stage)
    (settings,) = (command_parser("convert")[1].parse_args(call[1:]) for call in made if call[0] == "convert")
    assert (settings.problem.data.test_limit, settings.problem.data.dev_batch) == (test, dev)


@pytest.mark.parametrize(("network", "images"), [("vgg16-imagenet", 16), ("resnet8-w16", 512)])
def test_thresholds_are_balanced_on_as_many_images_as_fit_in_memory(calls, tmp_path, network, images):
    (tmp_path / "imagenet").mkdir()
    made = calls("hybrid-stdb", "--networks", network, "--download", "true", "--stage", "2", "--stop-stage", "2")
    conversions = [command_parser("convert")[1].parse_args(call[1:]) for call in made if call[0] == "convert"]
    assert [settings.out.name for settings in conversions] == ["converted", "reduced"]
    for settings in conversions:
        assert settings.problem.data.batch * settings.conversion.calibration_batches == images
        assert settings.problem.data.flip and settings.problem.data.shift == (0 if images == 16 else 4)


def test_derivatives_of_a_spike_are_compared_where_that_is_asked_for(calls, tmp_path):
    made = calls("hybrid-stdb", "--stage", "3", "--stop-stage", "5", "--download", "true", "--epochs", "2", "--rate", "1e-3")
    trained = [
        settings_from(command_parser("train")[1].parse_args(call[1:]), TrainingSettings) for call in made if call[0] == "train"
    ]
    assert [settings.learning.stdb.derivative for settings in trained] == ["stdb", "stdb", "linear", "exponential"]
    assert all(settings.learning.rule == "stdb" and settings.learning.leak == 0.99 for settings in trained)
    assert all((settings.optimiser.max_epochs, settings.optimiser.lr) == (2, 1e-3) for settings in trained)
    assert all((settings.optimiser.drop, settings.optimiser.drop_every) == (0.5, 5) for settings in trained)
    assert all(settings.optimiser.weight_decay == 5e-4 and settings.learning.stdb.loss_of_spikes for settings in trained)
    assert [call[0] for call in made].count("evaluate") == 2
    (curves,) = (command_parser("plot-curves")[1].parse_args(call[1:]) for call in made if call[0] == "plot-curves")
    folder, names = tmp_path / "exp/vgg5-w16/derivatives", ["stdb", "linear", "exponential"]
    assert curves.runs == [f"{name}={folder / name}" for name in names]
    assert curves.out == folder / "curves.png"


@pytest.mark.parametrize(("steps", "suffix"), [("200", "-200"), ("100", ""), (None, "")])
def test_other_numbers_of_steps_than_the_papers_have_folders_of_their_own(calls, tmp_path, steps, suffix):
    """VGG16 has 100 steps in Table 1 of Rathi et al., and 200 in Table 2, from one analog network."""
    out = tmp_path / "exp" / "vgg16"
    derivatives = [f"{folder}/linear" for folder in ("derivatives", "derivatives-200")]
    for name in ("converted", "reduced", "stdb", "reduced-200", "stdb-200", "reduced-50", *derivatives):
        (out / name).mkdir(parents=True)
        (out / name / "snn.safetensors").touch()
    options = ("--networks", "vgg16", "--stage", "2", "--stop-stage", "5", "--download", "true", "--derivatives", "linear")
    made = calls("hybrid-stdb", *options, *(() if steps is None else ("--few-steps", steps)))
    parsed = [command_parser(call[0])[1].parse_args(call[1:]) for call in made if call[0] != "fetch-images"]
    assert all(ran.init == str(out / "ann/ann.safetensors") for ran in parsed if ran.out.name == "converted")
    reduced = parsed[1]
    assert (reduced.out, reduced.conversion.window) == (out / f"reduced{suffix}", int(steps or 100))
    tuned, derivative = (ran for ran in parsed if "learning" in ran)
    assert parsed[5].out == derivative.out.parent / "derivatives.png" and parsed[5].steps == int(steps or 100)
    assert {str(ran.init) for ran in (tuned, derivative)} == {str(reduced.out / "snn.safetensors")}
    assert (tuned.out, derivative.out) == (out / f"stdb{suffix}", out / f"derivatives{suffix}" / "linear")
    course, scores = parsed[3:5]
    shown = ["converted", "reduced", "stdb", *(["reduced-200", "stdb-200"] if suffix else [])]
    assert (course.out, course.model) == (out / "course", [f"{name}={out / name}/snn.safetensors" for name in shown])
    scored = [f"{name}{suffix}={out / name}{suffix}/snn.safetensors" for name in ("reduced", "stdb")]
    assert (scores.out, scores.model) == (out / f"results{suffix}", [f"ann={out}/ann/ann.safetensors", *scored])
    assert parsed[-1].out == derivative.out.parent / "results"
    assert parsed[-1].model == [f"linear={derivative.out}/snn.safetensors"]


def test_mistakes_with_networks_of_double_thresholds_end_it(tmp_path):
    for options, message in (
        ((), "give --data, the folder with a folder for each of mnist, fashion-mnist"),
        (("--data", tmp_path), "has no folder mnist; to fetch it, give --download true"),
        (("--data", tmp_path, "--networks", "net1 net7"), "--networks are net1 to net6 and these with -relu, not net7"),
        (("--data", tmp_path, "--methods", "spikenorm"), "--methods are datanorm, termapping, augmapping and path-independent"),
        (("--data", tmp_path, "--images", "x"), "--images must be a whole number"),
        (("--data", tmp_path, "--seeds", "2"), "unknown option --seeds"),
    ):
        status, error = run("double-threshold", *options)
        assert status == 1
        assert error.startswith("run.sh: error: ") and message in error


@pytest.mark.parametrize("recipe", ["mnist-autoencoder", "mnist", "cifar10"])
def test_mistakes_end_it(recipe, tmp_path):
    for options, message in (
        ((), "give --data, the folder with"),
        (("--data", tmp_path / "nowhere"), "nowhere is no folder; to fetch"),
        (("--data", tmp_path, "--download", "yes"), "--download is true or false"),
        (("--data", tmp_path, "--seeds", "x"), "--seeds must be a whole number"),
        (("--data", tmp_path, "stray"), "unexpected argument stray"),
    ):
        status, error = run(recipe, *options)
        assert status == 1
        assert error.startswith("run.sh: error: ") and message in error
