import json
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from separator.errors import UserError
from separator.models import ModelCard, list_models, load_model, save_model
from separator.models.card import DEFAULT_MODEL, FORMAT, KEY, read_card
from separator.snn.layers.dynamics import Dynamics
from separator.snn.stack import reference
from tests.disks import files_of_at_most
from tests.models.tiny import CONFIG, CONVERSION, network


@pytest.fixture(params=["ann", "snn"])
def saved(request, tmp_path):
    spiking = request.param == "snn"
    net = network(spiking)
    card = ModelCard("tiny", CONFIG.to_dict(), CONVERSION if spiking else None, licence="CC0", scores={"si_sdr": 1.5})
    path = tmp_path / "tiny.safetensors"
    save_model(path, net, card)
    return path, net, card


def test_a_model_comes_back_the_same(saved):
    path, net, card = saved
    model = load_model(path)
    assert model.card == card == read_card(path)
    mixture = torch.randn(2, 300)
    assert torch.equal(model.network(mixture), net(mixture))
    assert not model.network.training


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented", "path-independent"])
def test_a_model_of_spikes_of_either_sign_comes_back_the_same(neuron, tmp_path):
    options = {} if neuron == "double-threshold" else {"boundary": 3.0}
    conversion = CONVERSION | {"schedule": "layer-by-layer", "neuron": neuron, "neuron_options": options}
    net = network(config=replace(CONFIG, slope=0.5))
    dynamics = Dynamics(4, 0.5, "layer-by-layer", neuron=neuron, neuron_options=options)
    net.stack.convert(net.stack_input(net.encode(torch.randn(2, 200))), dynamics)
    path, mixture = tmp_path / "signed.safetensors", torch.randn(2, 300)
    save_model(path, net, ModelCard("signed", net.config.to_dict(), conversion))
    model = load_model(path)
    assert model.network.config == net.config and model.network.stack.dynamics == dynamics
    x = net.stack_input(net.encode(mixture))
    assert any((train < 0).any() for train in reference.trains(model.network.stack.spiking_layers(), x)[:-1])
    assert torch.equal(model.network(mixture), net(mixture))
    assert load_model(path, window=8).network.stack.dynamics == replace(dynamics, window=8)


def test_a_full_disk_gets_one_line_and_leaves_the_former_model(saved):
    path, net, card = saved
    before = path.read_bytes()
    with files_of_at_most(len(before) // 2), pytest.raises(UserError, match=rf"cannot write {path}: File too large"):
        save_model(path, net, card)
    assert [(file, file.read_bytes()) for file in path.parent.iterdir()] == [(path, before)]


def test_a_model_file_is_as_readable_as_any_other(saved):
    path, _, _ = saved
    (path.parent / "plain").touch()
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def test_window_can_be_changed_in_a_spiking_model_only(saved):
    path, _, card = saved
    if card.kind == "ann":
        with pytest.raises(UserError, match="analog"):
            load_model(path, window=8)
        return
    model = load_model(path, window=8)
    assert model.card.window == model.network.stack.dynamics.window == 8
    assert load_model(f"{path}@8").card == model.card
    assert load_model(f"{path}@4", window=8).card == model.card
    for options in ((path, "cpu", 8193), (f"{path}@8193",)):
        with pytest.raises(UserError, match="1 to 8192"):
            load_model(*options)


def test_a_file_that_is_named_like_window(saved):
    path, _, card = saved
    other = path.rename(path.with_name("tiny@8"))
    assert load_model(other).card == card


def test_unknown_name_lists_the_shipped_models():
    with pytest.raises(UserError, match=f"no model 'nonsense'.*{DEFAULT_MODEL}"):
        load_model("nonsense")


@pytest.mark.parametrize("size", [0, 4, 60, -1])
def test_truncated_file(saved, size):
    path, _, _ = saved
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="damaged"):
        load_model(path)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, not a model, however long they may be")
    with pytest.raises(UserError, match="not a model file"):
        load_model(path)


def test_a_checkpoint_is_told(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"best.ckpt is a checkpoint.* lies beside"):
        load_model(tmp_path / "best.ckpt")


HEADERS = {
    "a list": b"[]",
    "no tensor": b'{"x": 1}',
    "nested": b"[" * 100_000,
    "a huge number": b'{"x": ' + b"1" * 5000 + b"}",
    "a shape of texts": b'{"x": {"dtype": "F32", "shape": ["4"], "data_offsets": [0, 0]}}',
    "not text": b'{"\xff": 1}',
    "endless": b" " * (2**20 + 1),
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_none(tmp_path, text):
    path = tmp_path / "x"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(UserError, match="not a model file, or a damaged one"):
        load_model(path)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="not a model of this program"):
        load_model(path)


def rewritten(path, change):
    """The same file with its card changed."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    values = json.loads(header["__metadata__"][KEY])
    change(values)
    header["__metadata__"][KEY] = json.dumps(values)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_newer_format(saved):
    rewritten(saved[0], lambda values: values.update(format=FORMAT + 1, version="99.0"))
    with pytest.raises(UserError, match=r"version 99\.0.*update"):
        load_model(saved[0])


def test_older_format(saved):
    rewritten(saved[0], lambda values: values.update(format=1))
    with pytest.raises(UserError, match="format 1, which this version no longer reads"):
        load_model(saved[0])


def test_window_that_no_network_has(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_model(path, network(spiking=True), ModelCard("tiny", CONFIG.to_dict(), CONVERSION))
    rewritten(path, lambda values: values["conversion"].update(window=9999))
    with pytest.raises(UserError, match=r"does not hold the network that it describes .*1 to 8192 steps, not 9999"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["config"].update(channels=7),
        lambda values: values["config"].update(filter_length=7),
        lambda values: values["config"].update(unheard_of=1),
        lambda values: values.update(architecture="other"),
        lambda values: values["config"].pop("sample_rate"),
        lambda values: values.update(surplus=1),
    ],
)
def test_card_that_does_not_fit_the_weights(saved, change):
    rewritten(saved[0], change)
    with pytest.raises(UserError):
        load_model(saved[0])


def test_missing_tensor(saved):
    path, _, card = saved
    tensors = load_file(path)
    del tensors["mask.bias"]
    save_file(tensors, path, card.to_metadata())
    with pytest.raises(UserError, match="get it again"):
        load_model(path)


def test_card_and_network_agree(tmp_path):
    card = ModelCard("tiny", CONFIG.to_dict())
    with pytest.raises(ValueError, match="spiking layers"):
        save_model(tmp_path / "x.safetensors", network(spiking=True), card)
    with pytest.raises(ValueError, match="spiking layers"):
        save_model(tmp_path / "x.safetensors", network(), replace(card, conversion=CONVERSION))
    assert not list(tmp_path.iterdir())


def test_shipped_models_are_what_their_cards_say():
    cards = {card.name: card for card in list_models()}
    assert cards["small-ann"].kind == "ann" and cards[DEFAULT_MODEL].kind == "snn"
    for name, card in cards.items():
        model = load_model(name)
        assert model.network(torch.randn(1, 800)).shape == (1, card.n_src, 800)
        assert card.licence and card.training_data and card.description and card.scores


def test_listing_models_does_not_load_torch():
    code = "import sys, separator.models; separator.models.list_models(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
