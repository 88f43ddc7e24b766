import csv
import json
import math
from dataclasses import replace

import pytest
import torch

from separator.errors import UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.learning.conversion import ConversionRun, TuningSettings, convert
from separator.tasks.learning.settings import CardSettings
from separator.tasks.problems.mixture_data import DataSettings
from separator.tasks.problems.speech import Speech
from tests.interrupt import interrupted


@pytest.fixture
def run(synthetic_corpus, tmp_path):
    torch.manual_seed(0)
    config = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))
    save_model(tmp_path / "ann.safetensors", TasNet(config).eval(), ModelCard("ann", config.to_dict(), training_data="none"))
    data = DataSettings(
        synthetic_corpus / "train", synthetic_corpus / "dev", segment=0.5, epoch_mixtures=16, dev_mixtures=8, batch=4
    )
    return ConversionRun(
        Speech(data),
        str(tmp_path / "ann.safetensors"),
        TuningSettings(window=8, initial_potential=0.5, max_epochs=1, calibration_batches=2),
        card=CardSettings("snn", training_data="synthetic"),
        device="cpu",
        threads=1,
    )


def test_spiking_model_reports_and_resume(run, tmp_path):
    path = convert(run, tmp_path / "whole", log=lambda line: None)
    model = load_model(path)
    assert model.card.kind == "snn" and model.card.window == 8 and model.card.training_data == "synthetic"
    layers = json.loads((tmp_path / "whole" / "report.json").read_text())
    assert [layer["role"] for layer in layers] == ["encode", "fire", "readout"]
    assert all(math.isfinite(layer["loss_tuned"]) for layer in layers)
    assert {path.name for path in (tmp_path / "whole").iterdir()} >= {
        "activations.csv",
        "activations.png",
        "report.md",
        "report.png",
        "snn.safetensors",
    }
    lines = []
    again = convert(run, tmp_path / "whole", log=lines.append)  # all layers are there already
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
def test_another_conversion_is_not_gone_on_with(run, tmp_path, change, message):
    convert(run, tmp_path / "snn", log=lambda line: None)
    with pytest.raises(UserError, match=message):
        convert(change(run), tmp_path / "snn", log=lambda line: None)


def test_another_network_under_the_same_name_is_noticed(run, tmp_path):
    convert(run, tmp_path / "snn", log=lambda line: None)
    torch.manual_seed(1)
    card = load_model(run.init).card
    save_model(run.init, TasNet(TasNetConfig(**card.config)).eval(), card)
    with pytest.raises(UserError, match=r"init was [0-9a-f]{16} and is"):
        convert(run, tmp_path / "snn", log=lambda line: None)


def test_a_conversion_of_an_earlier_version_is_refused_in_one_line(run, tmp_path):
    convert(run, tmp_path / "snn", log=lambda line: None)
    state = json.loads((tmp_path / "snn" / "conversion.json").read_text())
    del state["origin"]["problem"]
    (tmp_path / "snn" / "conversion.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="holds a conversion begun by an earlier version of this program; take another folder"):
        convert(run, tmp_path / "snn", log=lambda line: None)


def test_scores_of_each_epoch_are_written(run, tmp_path):
    model = load_model(convert(run, tmp_path / "snn", log=lambda line: None))
    rows = list(csv.DictReader((tmp_path / "snn" / "progress.csv").open()))
    data = run.problem.open(model.network, run.seed)
    before, after = (load_model(path) for path in (run.init, tmp_path / "snn" / "snn.safetensors"))
    for row, found in ((rows[0], before), (rows[-1], after)):
        expected = run.problem.of_model(found.network, found.card).result(found.network, found.card, data)
        assert float(row["dev_SI-SDRi"]) == pytest.approx(expected, abs=1e-2)
    assert model.card.conversion["epochs"] == 3 and len(model.card.conversion["hardware"]) == 3


def test_a_network_for_images_is_refused(run, tmp_path):
    config = FeedForwardConfig("9-10")
    save_model(tmp_path / "digits", FeedForward(config), ModelCard("digits", config.to_dict(), architecture="feedforward"))
    with pytest.raises(UserError, match="digits is no network that separates talkers"):
        convert(replace(run, init=str(tmp_path / "digits")), tmp_path / "snn", log=lambda line: None)


def test_spiking_models_cannot_be_converted(run, tmp_path):
    path = convert(run, tmp_path / "snn", log=lambda line: None)
    with pytest.raises(UserError, match="spiking already"):
        convert(replace(run, init=str(path)), tmp_path / "twice", log=lambda line: None)


def test_ctrl_c_is_one_line_and_the_conversion_goes_on(run, tmp_path, capsys):
    out = tmp_path / "snn"
    data = [f"--data.{name}={value}" for name, value in vars(run.problem.data).items() if value and name != "augment"]
    conversion = ["--conversion.window=8", "--conversion.calibration_batches=2", "--threads=1"]
    options = ["convert", f"--init={run.init}", "--device=cpu", f"--out={out}", *data, *conversion]
    endless = ["--conversion.max_epochs=25", "--conversion.patience=25"]
    status, error = interrupted([*options, *endless], out / "conversion.json")
    assert status == 130, error
    assert error.splitlines()[-1] == "separator convert: interrupted"
    assert "Traceback" not in error
    assert not (out / "snn.safetensors").exists()
    assert not [path for path in out.iterdir() if path.name.startswith(".") or path.suffix == ".tmp"]
    again = convert(
        replace(run, conversion=replace(run.conversion, initial_potential=0.0, max_epochs=25, patience=25)), out, log=print
    )
    assert "goes on after" in capsys.readouterr().out
    assert load_model(again).card.kind == "snn"


def test_optimiser_is_the_one_asked_for(run, tmp_path):
    adam, muon = (
        load_model(
            convert(replace(run, conversion=replace(run.conversion, optimiser=name)), tmp_path / name, log=lambda line: None)
        ).network
        for name in ("adam", "muon")
    )
    assert not torch.equal(adam.mask.weight, muon.mask.weight)


def test_device_that_is_not_there(run, tmp_path):
    with pytest.raises(UserError, match="no device 'nonsense'"):
        convert(replace(run, device="nonsense"), tmp_path / "snn", log=lambda line: None)
