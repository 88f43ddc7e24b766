"""Courses against the definition of the engine, counted step by step, and against hand-made accuracies."""

import csv
import subprocess

import numpy as np
import pytest
import torch

from separator.cli.main import main
from separator.errors import UserError
from separator.models.card import ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import save_model
from separator.snn.layers.dynamics import Dynamics
from separator.snn.stack import reference
from separator.tasks.courses.course import CourseSettings, follow
from separator.tasks.courses.measures import Steps, check_course, course_of
from separator.tasks.courses.picture import draw
from separator.tasks.courses.report import CourseReport, shares, table, write_tables
from separator.tasks.problems.image_data import ImageSettings
from separator.tasks.problems.images import Images
from tests.images.test_idx import mnist
from tests.recipes.running import quick_command

CONFIG = FeedForwardConfig("c2k5p0-a8-9-10", norm=False, bias=False, slope=0.2)


def networks(neuron="augmented", window=40, readout="counts"):
    torch.manual_seed(3)
    analog, spiking = FeedForward(CONFIG).eval(), FeedForward(CONFIG).eval()
    spiking.load_state_dict(analog.state_dict())
    spiking.stack.set_readout(readout)
    spiking.stack.convert(torch.rand(30, 1, 28, 28), Dynamics(window, neuron=neuron, coding="constant"), rule="scaling-factor")
    return analog, spiking


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented"])
def test_steps_are_counted_as_the_definition_has_them(neuron):
    analog, spiking = networks(neuron)
    x, labels = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1)), torch.arange(6)
    with torch.no_grad():
        outputs = analog(x)
    suppressed = -outputs
    steps = course_of(spiking.stack, x, labels, outputs, suppressed)
    layers = spiking.stack.spiking_layers()
    trains = reference.trains(layers, x)
    counts = trains[-1].cumsum(0)
    assert np.array_equal(steps.right, (counts.argmax(-1) == labels.numpy()).sum(1))
    units = layers[-1].quantum.double().numpy()
    potentials = (reference.currents(layers[-1], trains[-2]) * units).cumsum(0)
    assert np.array_equal(steps.right_by_potential, (potentials.argmax(-1) == labels.numpy()).sum(1))
    assert np.array_equal(steps.events, np.cumsum(sum((train != 0).reshape(len(train), -1).sum(1) for train in trains)))
    norm = np.linalg.norm
    for t in (4, 39):
        cosines = [
            a @ b / (norm(a) * norm(b)) if norm(a) else 0 for a, b in zip(counts[t].astype(float), outputs.numpy(), strict=True)
        ]
        assert steps.likeness[t] == pytest.approx(sum(cosines), abs=1e-5)
    assert steps.analog_right == (outputs.argmax(1) == labels).sum() and steps.items == 6
    assert steps.suppressed_right == (outputs.argmin(1) == labels).sum()
    halves = course_of(spiking.stack, x[:5], labels[:5], outputs[:5], suppressed[:5]) + course_of(
        spiking.stack, x[5:], labels[5:], outputs[5:], suppressed[5:]
    )
    assert all(np.allclose(getattr(halves, name), value) for name, value in vars(steps).items())


def test_a_last_layer_that_does_not_fire_is_followed_by_its_potential():
    analog, spiking = networks(readout="potential")
    x, labels = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(1)), torch.arange(6)
    outputs = analog(x).detach()
    steps, layers = course_of(spiking.stack, x, labels, outputs, outputs), spiking.stack.spiking_layers()
    assert layers[-1].role == "readout"
    trains = reference.trains(layers, x)
    potentials = (trains[-1] * layers[-1].quantum.double().numpy()).cumsum(0)
    right = (potentials.argmax(-1) == labels.numpy()).sum(1)
    assert np.array_equal(steps.right, right) and np.array_equal(steps.right_by_potential, right)
    assert np.array_equal(steps.events, np.cumsum(sum((train != 0).reshape(40, -1).sum(1) for train in trains[:-1])))
    alike = torch.nn.functional.cosine_similarity(torch.from_numpy(potentials[-1]), outputs.double()).sum()
    assert steps.likeness[-1] == pytest.approx(float(alike)) and steps.likeness[-1] > 5


def report(right, analog, items=10_000, name="net"):
    right = np.array(right)
    return CourseReport(name, Steps(right, right - 1, np.arange(1, len(right) + 1) * items * 10, right * 1.0, items, analog, 7))


def test_latency_has_three_definitions():
    found = report([9000, 9899, 9901, 9897, 9900, 9902], 9900)
    assert (found.first(), found.settled(), found.first(0.02)) == (3, 5, 2)
    assert (found.first(by_potential=True), found.settled(by_potential=True)) == (3, 6)
    assert report([1, 2], 3).first() is None and report([4, 2], 3).settled() is None and report([4, 4], 3).settled() == 1


def test_tables_have_the_best_accuracy_and_what_losses_ask_for(tmp_path):
    ter, aug = report([1, 1, 1, 9900, 9870], 9900, name="ter"), report([1, 9880, 9950, 9920], 9900, name="aug")
    text = table([ter, aug])
    assert "| ter | 5 | 99.00 | 98.70 | 98.69 | 99.00 | 4 | 40 | 4 | - | 4 | 40 | 50 | 0.9870 |" in text
    assert "| aug | 4 | 99.00 | 99.20 | 99.19 | 99.50 | 3 | 30 | 3 | 3 | 3 | 30 | 40 | 0.9920 |" in text
    assert "| steps of ter | 2.0x | 2.0x | 2.0x | 1.3x | 1.3x | |" in text and "| events of ter | 2.0x | 2.0x |" in text
    assert f"| accuracy of ter | | | | | | {9870 / 9920:.4f} |" in text and shares([ter, aug])[1] == 1
    none = report([1, 2, 0], 9900, name="none")
    draw([ter, none], tmp_path / "course.png")
    assert "| accuracy of ter | | | | | | nan |" in table([ter, none]) and (tmp_path / "course.png").stat().st_size > 10_000
    few = table([ter, aug], [0.2])
    assert "| over aug | loss at most 0.2 % | at the end |" in few and "| steps of ter | 2.0x | |" in few
    write_tables([ter, aug], tmp_path, [0.2, 0.01])
    with (tmp_path / "course.csv").open() as file:
        (row, _) = csv.DictReader(file)
    assert (row["steps_0.2"], row["events_0.01"], row["best"], row["best_step"]) == ("4", "40.0", "99.0", "4")
    assert float(row["share"]) == 9870 / 9920


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spiking: networks()[0], "an analog network has no time steps"),
    ],
)
def test_networks_without_a_course_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        check_course(change(None).stack)


def test_it_goes_on_where_it_was_stopped(tmp_path, capsys, monkeypatch):
    data = ["--data.kind", "mnist", "--data.folder", str(mnist(tmp_path, 40)), "--device", "cpu"]
    sizes = ["--network.layers", CONFIG.layers, "--network.norm", "false", "--network.bias", "false", "--network.slope", "0.2"]
    training = ["--optimiser.max_epochs", "1", "--data.batch", "10", "--out", str(tmp_path / "ann")]
    assert main(["train", "--problem", "images", *sizes, *data, *training]) == 0
    models = []
    for preset in ("termapping", "augmapping"):
        init = ["--init", str(tmp_path / "ann/ann.safetensors"), "--preset", preset, "--conversion.window", "40"]
        assert main(["convert", *init, *data, "--data.batch", "10", "--out", str(tmp_path / preset)]) == 0
        models.append(f"{preset}={tmp_path / preset}/snn.safetensors")
    command = ["course", "--init", str(tmp_path / "ann/ann.safetensors"), "--model", *models, *data, "--batch", "15"]
    out = tmp_path / "course"
    assert main([*command, "--out", str(out)]) == 0
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".csv", ".md")}
    with (out / "augmapping.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40 and (out / "course.png").stat().st_size > 10_000
    capsys.readouterr()

    part, facts = out / "parts/termapping/00001.npz", out / "parts/termapping/facts.json"
    for damaged in (part, facts):
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[: len(whole) // 2])
        assert main([*command, "--out", str(out)]) == 1
        assert f"error: {damaged}" in (line := capsys.readouterr().err.splitlines()[-1]) and "damaged" in line
        damaged.write_bytes(whole)
    part.unlink()
    computed = []
    monkeypatch.setattr("separator.tasks.courses.course.course_of", lambda *given: computed.append(1) or course_of(*given))
    assert main([*command, "--out", str(out)]) == 0 and len(computed) == 1
    assert {name: (out / name).read_bytes() for name in first} == first
    script = [str(quick_command() / "separator"), *command, "--batch", "4"]  # more than are worth processes
    for threads in ("1", "2"):
        subprocess.run([*script, "--threads", threads, "--out", str(tmp_path / threads)], capture_output=True, check=True)
    assert all((tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes() for name in first)
    assert main([*command, "--batch", "16", "--out", str(out)]) == 1
    assert "holds a run with other settings (batch was 15 and is 16)" in capsys.readouterr().err


def test_the_command_is_for_images(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["course", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "--data.kind" in shown and "--problem speech" not in shown
    with pytest.raises(SystemExit):
        main(["course"])
    assert "--problem" not in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["course", "--init", "small-ann", "--model", "a=small-snn", "--out", "x"])
    assert ended.value.code == 2 and "networks that classify images, not of speech" in capsys.readouterr().err


def test_mistakes_are_refused(tmp_path):
    problem = Images(ImageSettings(mnist(tmp_path, 20)))
    with pytest.raises(UserError, match="each with a name of its own"):
        CourseSettings(problem, "x", [])
    with pytest.raises(UserError, match=r"course\.csv is the table of all models"):
        CourseSettings(problem, "x", [("a", "b"), ("course", "c")])
    for loss in (-1.0, 101.0, float("nan")):
        with pytest.raises(UserError, match="accepted losses of accuracy are from 0 to 100 %, not"):
            CourseSettings(problem, "x", [("a", "b")], tolerances=[loss])
    with pytest.raises(UserError, match="no model 'nothing'"):
        follow(CourseSettings(problem, "nothing", [("a", "b")], device="cpu"), tmp_path / "out")
    card = ModelCard("net", CONFIG.to_dict(), architecture="feedforward", scores={"goal": "classify"})
    save_model(tmp_path / "ann", networks()[0], card)
    models = [(name, str(tmp_path / "ann")) for name in ("this", "that")]
    with pytest.raises(UserError, match="this cannot be followed: an analog network has no time steps"):
        follow(CourseSettings(problem, models[0][1], models, device="cpu"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
