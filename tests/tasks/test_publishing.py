import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from separator.cli.main import main
from separator.errors import UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.card import shipped_path
from separator.models.files import load_network
from separator.models.tasnet import TasNet, TasNetConfig
from separator.tasks.evaluation.mixtures.evaluation import Evaluation, evaluate
from separator.tasks.evaluation.mixtures.operations import CHARGE, SPIKES, LayerOperations, Operations, operations_report
from separator.tasks.evaluation.mixtures.systems import ModelSystem
from separator.tasks.publishing import publish
from tests.models.mutations import ModelFile
from tests.tasks.mixture_sets import make_set, save_tiny_models


@pytest.fixture
def model(tmp_path):
    config = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
    path = tmp_path / "trained.safetensors"
    save_model(path, TasNet(config).eval(), ModelCard("tiny-ann", config.to_dict(), scores={"steps": 7}))
    return path


def results(folder, system="ann", mean=3.25, groups=None, **more):
    statistic = {"mean": mean, "error": 0.1, "count": 40, "failed": 0}
    groups = {"overall": {"si-sdri": statistic, "pesq": statistic | {"mean": None}}, **(groups or {})}
    values = {"summary": {"open": {system: groups}}, **more}
    (folder / "summary.json").write_text(json.dumps(values))
    return folder


def test_scores_go_into_the_card(model, tmp_path):
    path = publish(model, tmp_path / "shipped", (results(tmp_path), "ann"))
    assert path == tmp_path / "shipped" / "tiny-ann.safetensors"
    published = load_model(path)
    assert published.card.scores == {"steps": 7, "open si-sdri": 3.25}
    mixture = torch.randn(1, 100)
    assert torch.equal(published.network(mixture), load_model(model).network(mixture))


def test_another_network_of_the_same_name_is_kept_unless_told(model, tmp_path):
    shipped = tmp_path / "shipped"
    path = publish(model, shipped, bf16=True)
    assert publish(model, shipped, (results(tmp_path), "ann"), bf16=True) == path  # the same one, with scores
    before = path.read_bytes()
    network, card = load_network(model)
    network.mask.weight.data += 1
    save_model(model, network, card)
    with pytest.raises(UserError, match="holds another network; --overwrite replaces it"):
        publish(model, shipped, bf16=True)
    assert path.read_bytes() == before
    assert main(["publish", str(model), "--out", str(shipped), "--overwrite"]) == 0
    assert path.read_bytes() != before


def test_scores_of_another_window_are_not_kept(tmp_path):
    _, model = save_tiny_models(tmp_path)
    network, card = load_network(model)
    save_model(model, network, replace(card, scores={"open si-sdri": 5.25}))
    with pytest.raises(UserError, match=f"are of {card.window} time steps; give --results and --system for {card.window + 1}"):
        publish(model, tmp_path / "shipped", window=card.window + 1)
    assert not (tmp_path / "shipped").exists()
    assert load_model(publish(model, tmp_path / "shipped", window=card.window)).card.scores == {"open si-sdri": 5.25}


def test_groups_operations_and_energy_go_into_the_card(tmp_path):
    _, model = save_tiny_models(tmp_path)
    groups = {name: {"si-sdri": {"mean": mean}} for name, mean in (("f-f", 2.71828), ("pitch 0-2", None))}
    layer = LayerOperations(SPIKES, "layers.1", 0.25, 10.0, 10.0, 2e6, 4e6)
    charge = LayerOperations(CHARGE, "layers.0", 0.25, 10.0, 10.0, 0.0, 1e6)
    report = json.loads(json.dumps(operations_report(Operations(1.0, 4, (charge, layer)))))
    folder = results(
        tmp_path, system="snn", groups=groups, operations={"open": {"snn": report, "other": {}}, "closed": {"other": {}}}
    )
    scores = load_model(publish(model, tmp_path / "shipped", (folder, "snn"))).card.scores
    assert scores["groups"] == {"open": {"f-f": 2.718}}
    counted = scores["operations"]["open"]
    assert list(scores["operations"]) == ["open"] and counted["synaptic_operations_per_mac"] == 0.5
    assert counted["float_macs_per_second"] == 1e6
    assert counted["energy_uj_per_second"]["fp32"] == {"ann": 18.4, "snn": 1.8}  # 4e6 x 4.6 pJ, 2e6 x 0.9 pJ


def test_scores_of_another_network_are_refused(tmp_path):
    ann, snn = save_tiny_models(tmp_path)
    models = [ModelSystem(name, load_model(path)) for name, path in (("ann", ann), ("snn", snn))]
    evaluate(Evaluation({"open": make_set(tmp_path / "set")}, models, ["si-sdr"]), tmp_path / "out")
    former = tmp_path / "former"
    former.mkdir()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary.pop("networks").keys() == {"ann", "snn"}
    (former / "summary.json").write_text(json.dumps(summary))
    for folder in (tmp_path / "out", former):  # this version's, and one's that did not tell networks apart
        for path, system, window in ((ann, "snn", None), (snn, "ann", None), (snn, "snn", 8)):
            with pytest.raises(UserError, match="name its own system, or evaluate it"):
                publish(path, tmp_path / "shipped", (folder, system), window)
        for path, system in ((ann, "ann"), (snn, "snn")):
            assert load_model(publish(path, tmp_path / "shipped", (folder, system))).card.scores["open si-sdri"] is not None
    network, card = load_network(ann)
    network.mask.weight.data += 1
    save_model(ann, network, card)
    with pytest.raises(UserError, match=r"ann in .* is not .*ann\.safetensors as it is here"):
        publish(ann, tmp_path / "shipped", (tmp_path / "out", "ann"), overwrite=True)


def test_system_that_was_not_scored(model, tmp_path):
    with pytest.raises(UserError, match="no scores of 'other'"):
        publish(model, tmp_path, (results(tmp_path), "other"))


@pytest.mark.parametrize("name", ["../outside", "/tmp/x", "a/b", ""])
def test_a_name_that_leads_out_of_the_folder(model, tmp_path, name):
    file = ModelFile(model.read_bytes())
    file.card["name"] = name
    model.write_bytes(file.raw())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="is no name of a file"):
        publish(model, tmp_path / "shipped")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("text", [None, "not json"])
def test_results_that_cannot_be_read(model, tmp_path, text):
    if text:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(UserError, match="cannot read the scores"):
        publish(model, tmp_path, (tmp_path, "ann"))


@pytest.mark.parametrize(
    "values",
    [
        [],
        None,
        {"summary": []},
        {"summary": {"open": []}},
        *({"summary": {}, name: [1]} for name in ("operations", "networks")),
    ],
)
def test_results_of_another_kind(model, tmp_path, values):
    (tmp_path / "summary.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"summary\.json is damaged, or not of `separator evaluate` on mixtures"):
        publish(model, tmp_path / "shipped", (tmp_path, "ann"))


@pytest.mark.parametrize("groups", [{"overall": {"si-sdr": 3}}, {"overall": {"si-sdr": {"mean": "x"}}}, {"overall": [1]}, [1]])
def test_scores_that_are_damaged(model, tmp_path, groups):
    (tmp_path / "summary.json").write_text(json.dumps({"summary": {"open": {"ann": groups}}}))
    with pytest.raises(UserError, match=r"summary\.json is damaged; evaluate again"):
        publish(model, tmp_path / "shipped", (tmp_path, "ann"))


def test_weights_in_half_the_size_are_rounded_to_bfloat16(model, tmp_path):
    path = publish(model, tmp_path / "kept", bf16=True)
    assert load_file(path)["stack.layers.1.affine.weight"].dtype == torch.bfloat16
    kept, own = load_model(path), load_model(model)
    assert kept.card.scores == own.card.scores == {"steps": 7}
    state = kept.network.state_dict()
    for name, value in own.network.state_dict().items():
        rounded = value.bfloat16().float() if value.is_floating_point() else value
        assert torch.equal(state[name], rounded), name


def test_spiking_networks_are_not_rounded(tmp_path):
    with pytest.raises(UserError, match="leave out --bf16"):
        publish(shipped_path("small-snn"), tmp_path, bf16=True)


def test_results_need_the_name_of_the_system(model, capsys):
    assert main(["publish", str(model), "--system", "ann"]) == 1
    assert "--results and --system go together" in capsys.readouterr().err
