import csv
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

from separator.cli.main import main
from separator.errors import UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.learning import layer_reports
from separator.tasks.learning.conversion import ConversionRun, TuningSettings, convert
from separator.tasks.learning.settings import CardSettings
from separator.tasks.problems.mixture_data import DataSettings
from separator.tasks.problems.speech import Speech
from tests.images.test_idx import mnist
from tests.interrupt import interrupted

pytestmark = pytest.mark.usefixtures("blank_pictures")


def run_in(folder, synthetic_corpus):
    """Settings of a conversion, of a network in the folder."""
    torch.manual_seed(0)
    config = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))
    save_model(folder / "ann.safetensors", TasNet(config).eval(), ModelCard("ann", config.to_dict(), training_data="none"))
    data = DataSettings(
        synthetic_corpus / "train", synthetic_corpus / "dev", segment=0.5, epoch_mixtures=16, dev_mixtures=8, batch=4
    )
    return ConversionRun(
        Speech(data),
        str(folder / "ann.safetensors"),
        TuningSettings(window=8, initial_potential=0.5, max_epochs=1, calibration_batches=2),
        card=CardSettings("snn", training_data="synthetic"),
        device="cpu",
        threads=1,
    )


@pytest.fixture
def run(synthetic_corpus, tmp_path):
    return run_in(tmp_path, synthetic_corpus)


@pytest.fixture(scope="module")
def finished(synthetic_corpus, tmp_path_factory):
    """Folder of a conversion as `run` says; read only."""
    folder = tmp_path_factory.mktemp("finished")
    convert(run_in(folder, synthetic_corpus), folder / "snn", log=lambda line: None)
    return folder / "snn"


@pytest.fixture
def converted(finished, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(finished, tmp_path / "snn")


def test_a_converted_model_says_what_the_analog_one_learned_from(run, tmp_path):
    card = load_model(convert(replace(run, card=CardSettings()), tmp_path / "snn", log=lambda line: None)).card
    assert card.training_data.startswith(f"none; then {run.problem.data.train} (") and card.licence == ""


def test_spiking_model_reports_and_resume(run, converted):
    model = load_model(converted / "snn.safetensors")
    assert model.card.kind == "snn" and model.card.window == 8 and model.card.training_data == "synthetic"
    layers = json.loads((converted / "report.json").read_text())
    assert [layer["role"] for layer in layers] == ["encode", "fire", "readout"]
    assert all(math.isfinite(layer["loss_tuned"]) for layer in layers)
    assert {path.name for path in converted.iterdir()} >= {
        "activations.csv",
        "activations.png",
        "report.md",
        "report.png",
        "snn.safetensors",
    }
    lines = []
    again = convert(run, converted, log=lines.append)  # all layers are there already
    assert lines == ["goes on after 3 of 3 layers"]
    mixture = torch.randn(1, 800)
    assert torch.equal(load_model(again).network(mixture), model.network(mixture))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: replace(run, seed=7), r"\(seed was 1 and is 7\)"),
        (
            lambda run: replace(run, problem=Speech(replace(run.problem.data, epoch_mixtures=8))),
            "data.epoch_mixtures was 16 and is 8",
        ),
        (lambda run: replace(run, conversion=replace(run.conversion, window=4)), "window was 8 and is 4"),
        (lambda run: replace(run, conversion=replace(run.conversion, optimiser="muon")), "optimiser was adam and is muon"),
    ],
)
def test_another_conversion_is_not_gone_on_with(run, converted, change, message):
    with pytest.raises(UserError, match=message):
        convert(change(run), converted, log=lambda line: None)


def test_another_network_under_the_same_name_is_noticed(run, converted):
    torch.manual_seed(1)
    card = load_model(run.init).card
    save_model(run.init, TasNet(TasNetConfig(**card.config)).eval(), card)
    with pytest.raises(UserError, match=r"init was [0-9a-f]{16} and is"):
        convert(run, converted, log=lambda line: None)


def test_a_conversion_of_an_earlier_version_is_refused_in_one_line(run, converted):
    state = json.loads((converted / "conversion.json").read_text())
    del state["origin"]["problem"]
    (converted / "conversion.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="holds a conversion begun by an earlier version of this program; take another folder"):
        convert(run, converted, log=lambda line: None)


def test_scores_of_each_epoch_are_written(run, finished):
    model = load_model(finished / "snn.safetensors")
    rows = list(csv.DictReader((finished / "progress.csv").open()))
    data = run.problem.open(model.network, run.seed)
    before, after = (load_model(path) for path in (run.init, finished / "snn.safetensors"))
    for row, found in ((rows[0], before), (rows[-1], after)):
        expected = run.problem.of_model(found.network, found.card).result(found.network, found.card, data)
        assert float(row["dev_SI-SDRi"]) == pytest.approx(expected, abs=1e-2)
    assert model.card.conversion["epochs"] == 3 and len(model.card.conversion["hardware"]) == 3


@pytest.mark.parametrize(("pause", "pictures"), [(-1.0, 9), (1000.0, 3)])
def test_pictures_are_drawn_after_a_pause_and_at_the_end(run, tmp_path, monkeypatch, drawn, pause, pictures):
    """Two of three layers, or of the whole; and one of the activations before."""
    monkeypatch.setattr(layer_reports, "PAUSE", pause)
    convert(replace(run, conversion=replace(run.conversion, max_epochs=0)), tmp_path / "snn", log=lambda line: None)
    assert len(drawn) == pictures


def test_a_network_for_images_is_refused(run, tmp_path):
    config = FeedForwardConfig("9-10")
    save_model(tmp_path / "digits", FeedForward(config), ModelCard("digits", config.to_dict(), architecture="feedforward"))
    with pytest.raises(UserError, match="digits is no network that separates talkers"):
        convert(replace(run, init=str(tmp_path / "digits")), tmp_path / "snn", log=lambda line: None)


def test_spiking_models_cannot_be_converted(run, finished, tmp_path):
    with pytest.raises(UserError, match="spiking already"):
        convert(replace(run, init=str(finished / "snn.safetensors")), tmp_path / "twice", log=lambda line: None)


def test_ctrl_c_is_one_line_and_the_conversion_goes_on(run, tmp_path, capsys):
    out = tmp_path / "snn"
    data = [f"--data.{name}={value}" for name, value in vars(run.problem.data).items() if value and name != "augment"]
    conversion = ["--conversion.window=8", "--conversion.calibration_batches=2", "--threads=1"]
    options = ["convert", f"--init={run.init}", "--device=cpu", f"--out={out}", *data, *conversion]
    long = ["--conversion.max_epochs=3", "--conversion.patience=3"]
    status, error = interrupted([*options, *long], out / "conversion.json")
    assert status == 130, error
    assert error.splitlines()[-1] == "separator convert: interrupted"
    assert "Traceback" not in error
    assert not (out / "snn.safetensors").exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".") or path.suffix == ".tmp"]
    same = replace(run.conversion, initial_potential=0.0, max_epochs=3, patience=3)
    again = convert(replace(run, conversion=same), out, log=print)
    assert "goes on after" in capsys.readouterr().out
    assert load_model(again).card.kind == "snn"


@pytest.mark.parametrize("preset", ["published", "hybrid"])
def test_a_layer_that_is_never_active_is_named_in_one_line(preset, tmp_path, capsys):
    config = FeedForwardConfig("12-9-10", norm=False, bias=False)
    network = FeedForward(config).eval()
    network.stack.layers[1].affine.weight.data.abs_().neg_()
    save_model(
        tmp_path / "ann", network, ModelCard("dead", config.to_dict(), architecture="feedforward", scores={"goal": "classify"})
    )
    data = [f"--data.{name}" for name in (f"folder={mnist(tmp_path, 40)}", "kind=mnist", "batch=10")]
    options = ["--conversion.window=4", "--conversion.calibration_batches=1", "--device=cpu", f"--out={tmp_path / 'snn'}"]
    assert main(["convert", f"--init={tmp_path / 'ann'}", f"--preset={preset}", *data, *options]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("separator convert: error: layer 1: no neuron is ever active on the calibration batches; take more")


def test_optimiser_is_the_one_asked_for(run, finished, tmp_path):
    assert run.conversion.optimiser == "adam"
    other = replace(run, conversion=replace(run.conversion, optimiser="muon"))
    adam, muon = (
        load_model(path).network for path in (finished / "snn.safetensors", convert(other, tmp_path, log=lambda line: None))
    )
    assert not torch.equal(adam.mask.weight, muon.mask.weight)


def test_device_that_is_not_there(run, tmp_path):
    with pytest.raises(UserError, match="no device 'nonsense'"):
        convert(replace(run, device="nonsense"), tmp_path / "snn", log=lambda line: None)
