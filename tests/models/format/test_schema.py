import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from separator.errors import UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.card import read_card
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network
from separator.models.format.cost import TooCostlyError
from separator.models.format.schema import Schema, schema_of, specs_of
from separator.models.tasnet import TasNet, TasNetConfig, medium, paper
from separator.snn.layers.dynamics import Dynamics
from tests.models.mutations import ModelFile
from tests.models.tiny import CONFIG, network, save_tiny

TASNETS = [
    CONFIG,
    TasNetConfig(8, 4, 5, (1, 4), kernel=5, n_src=3, causal=True),
    TasNetConfig(8, 4, 5, (1,), look_back=(2, 8), skips=True, norm_window=0.01),
]
PICTURES = [
    FeedForwardConfig("c4s2-a7-8-10"),
    FeedForwardConfig("c3k5-a2-c4-d50-a2-6-5", 2, 16, 16, norm=False),
    FeedForwardConfig("c8-c8s3-20-5", 1, 9, 9, levels=4),
    FeedForwardConfig("9-7-9", 3, 4, 5, "sigmoid"),
    FeedForwardConfig("c3k5p0-a2-5-9", 1, 8, 6, norm=False, bias=False),
    FeedForwardConfig("c3-a2-b3-b4s2d20-b4-5", 1, 8, 8, norm=False, bias=False, mean=0.5, std=0.5),
    FeedForwardConfig("c3-a2-b4-b4s2-a2-5", 1, 8, 8),
]
DYNAMICS = [None, Dynamics(4, 0.5), Dynamics(6, 0.0, "layer-by-layer", 4), Dynamics(3, weight_bits=12)]


def conversion_of(dynamics, readout="potential"):
    return None if dynamics is None else vars(dynamics) | {"readout": readout}


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("config", TASNETS)
def test_the_schema_is_what_networks_that_separate_have(config, dynamics):
    net = TasNet(config).eval()
    if dynamics is not None:
        net.stack.convert(net.stack_input(net.encode(torch.randn(2, 300))), dynamics)
    schema = schema_of(ModelCard("x", config.to_dict(), conversion_of(dynamics)))
    assert_holds(schema, net)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("config", PICTURES)
def test_the_schema_is_what_networks_for_images_have(config, dynamics):
    torch.manual_seed(0)
    net, pictures = FeedForward(config), torch.rand(20, config.channels, config.height, config.width)
    for _ in range(20):  # statistics of the normalisation
        net.train()(pictures)
    if dynamics is not None:
        net.eval().stack.convert(pictures, dynamics)
    schema = schema_of(ModelCard("x", config.to_dict(), conversion_of(dynamics), architecture="feedforward"))
    assert_holds(schema, net)


def assert_holds(schema: Schema, net):
    tensors = net.state_dict()
    assert schema.rules.keys() == tensors.keys()
    schema.check_specs(specs_of(tensors))
    schema.check_values(tensors)


@pytest.mark.parametrize("config", [paper(3), medium(), TasNetConfig(channels=1024, sample_rate=16000)])
def test_networks_of_any_published_size_are_run(config):
    schema_of(ModelCard("x", config.to_dict(), conversion_of(Dynamics(32))))


def test_the_largest_network_for_images_is_run():
    config = FeedForwardConfig("imagenet-vgg16", 3, 224, 224)
    schema_of(ModelCard("x", config.to_dict(), conversion_of(Dynamics(16)), architecture="feedforward"))


COSTLY = {
    "channels": ({"channels": 12_000}, "parameters"),
    "too many channels to count": ({"channels": 2**50}, "parameters"),
    "kernel": ({"kernel": 10**9 + 1}, "parameters"),
    "rate": ({"sample_rate": 10**9}, "sample rate of 1000000000 Hz"),
    "slow": ({"sample_rate": 1}, "sample rate of 1 Hz"),
    "talkers": ({"n_src": 1000}, "1000 talkers"),
    "frames": ({"filter_length": 2, "sample_rate": 384_000, "filters": 4096, "channels": 512}, "operations"),
    "context": ({"dilations": [1, 10**9]}, "numbers in memory"),
    "layers": ({"channels": 1, "dilations": [1] * 600}, "601 layers"),
}


@pytest.mark.parametrize("change, message", COSTLY.values(), ids=COSTLY)
def test_networks_that_cost_too_much(change, message):
    with pytest.raises(TooCostlyError, match=message):
        schema_of(ModelCard("x", CONFIG.to_dict() | change))


@pytest.mark.parametrize(
    "layers, size, message",
    [
        ("-".join(["8"] * 600), 8, "600 layers"),
        ("c9999999-10", 1000, "numbers|parameters|operations"),
        ("60000-60000-10", 8, "parameters"),
        ("c9000k31-a512-10", 512, "operations"),
        ("c2000k1-a512-10", 512, "numbers"),
        ("c2p9999999-10", 8, "numbers|parameters|operations"),
    ],
)
def test_networks_for_images_that_cost_too_much(layers, size, message):
    config = {"layers": layers, "height": size, "width": size}
    with pytest.raises(TooCostlyError, match=message):
        schema_of(ModelCard("x", config, architecture="feedforward"))


# The files that first showed each fault, made anew: what is done to the card, or to tensors, and the message.
CARDS = {
    "gain_nan": (lambda card: card.update(gain=float("nan")), "gain is a number or null, not nan"),
    "gain of zero": (lambda card: card.update(gain=0), "gain is above 0"),
    "readoutx": (lambda card: card["conversion"].update(readout="x"), "there is no readout 'x'"),
    "readout missing": (lambda card: card["conversion"].pop("readout"), "readout is .*not None"),
    "rate1e9": (lambda card: card["config"].update(sample_rate=10**9), "not run: it asks for a sample rate of 10{9} Hz"),
    "channels12000": (lambda card: card["config"].update(channels=12000), "not run: .* parameters"),
    "escape": (lambda card: card.update(architecture="x\x1b[2J\x07\nall is well"), r"'x\\x1b\[2J\\x07\\nall is well'"),
    "channels as text": (lambda card: card["config"].update(channels="6"), "channels is a whole number, not 6"),
    "causal as text": (lambda card: card["config"].update(causal="no"), "causal is true or false"),
    "half a talker": (lambda card: card["config"].update(n_src=2.5), "n_src is a whole number, not 2.5"),
    "window as text": (lambda card: card["conversion"].update(window="4"), "window is a whole number"),
    "schedule": (lambda card: card["conversion"].update(schedule="at once"), "schedule is 'pipelined' or"),
    "initial_potential": (
        lambda card: card["conversion"].update(initial_potential=float("nan")),
        "initial_potential is a number, not nan",
    ),
    "format": (lambda card: card.update(format="2"), "not a model of this program"),
    "nested": (lambda card: card["scores"].update(x=json.loads("[" * 200 + "]" * 200)), "not a model of this program"),
    "epochs": (lambda card: card["scores"].update(epochs="\x1b[31m"), r"epochs is a whole number, not \\x1b\[31m"),
    "surplus": (lambda card: card.update({"\x1b[31m": 1}), r"'\\x1b\[31m' is unknown"),
}


def one_line(path, capsys):
    """The one line that `separate` ends with."""
    from separator.cli.separate import entry

    assert entry(["--model", str(path), str(path.parent / "mix.wav"), "-o", str(path.parent)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("separate: error: ") and error.rstrip("\n").isprintable()
    return error


@pytest.mark.parametrize("change, message", CARDS.values(), ids=CARDS)
def test_cards_that_are_refused(tmp_path, change, message, capsys):
    path = save_tiny(tmp_path / "tiny.safetensors", spiking=True)
    file = ModelFile(path.read_bytes())
    change(file.card)
    path.write_bytes(file.raw())
    with pytest.raises(UserError, match=message):
        load_model(path)
    assert str(path) in one_line(path, capsys)


def widened(tensors):
    """The first layer has more outputs than the second has inputs: kernels would write beyond their memory."""
    for name in ("weight", "bias", "threshold", "initial_potential", "quantum"):
        first = tensors[f"stack.layers.0.{name}"]
        tensors[f"stack.layers.0.{name}"] = first.repeat(512, *[1] * (first.dim() - 1))
    tensors["stack.layers.1.weight"] = tensors["stack.layers.1.weight"][:, :1].contiguous()


def replaced(name, change):
    def replace(tensors):
        tensors[name] = change(tensors[name])

    return replace


TENSORS = {
    "overflow": (True, widened, r"layers\.\d\.\w+ is F32 3072\S*, not F32 6|is I32 \S+, not I32"),
    "threshold_empty": (True, replaced("stack.layers.1.threshold", lambda x: x[:0]), "threshold is I32 0, not I32 6"),
    "type": (True, replaced("stack.layers.1.weight", lambda x: x.to(torch.int8)), "weight is I8 6x6x1x3, not I32"),
    "scalar": (True, replaced("stack.layers.1.bias", lambda x: x[0]), "bias is I32 scalar, not I32 6"),
    "range": (True, replaced("stack.layers.1.threshold", torch.zeros_like), "layer 1: a threshold is at least 1 quantum"),
    "nan": (True, replaced("encoder.weight", lambda x: x * torch.nan), "encoder.weight is not from"),
    "variance": (False, replaced("stack.layers.1.norm.running_var", lambda x: -x), r"running_var is not from 0 to"),
    "count": (False, replaced("stack.layers.1.norm.num_batches_tracked", lambda x: x - 1), "num_batches_tracked is not from 0"),
    "infinite": (False, replaced("mask.bias", lambda x: x + torch.inf), "mask.bias is not from"),
    "surplus": (False, lambda tensors: tensors.update({"\x1b[31m": torch.zeros(2)}), r"a tensor '\\x1b\[31m'"),
    "missing": (False, lambda tensors: tensors.pop("mask.bias"), "the tensor mask.bias is missing"),
}


@pytest.mark.parametrize("spiking, change, message", TENSORS.values(), ids=TENSORS)
def test_tensors_that_are_refused(tmp_path, spiking, change, message, capsys):
    path = save_tiny(tmp_path / "tiny.safetensors", spiking)
    tensors, card = load_file(path), read_card(path)
    change(tensors)
    save_file(tensors, path, card.to_metadata())
    with pytest.raises(UserError, match=message):
        load_model(path)
    assert str(path) in one_line(path, capsys)


def test_texts_of_a_card_are_printable_and_stay_the_same(tmp_path):
    path = save_tiny(tmp_path / "tiny.safetensors", spiking=False)
    file = ModelFile(path.read_bytes())
    file.card.update(name="Möwe\x1b[31m", scores={"a\nb": "\u202e", "日本": 1.0})
    path.write_bytes(file.raw())
    card = load_model(path).card
    assert card.name == r"Möwe\x1b[31m" and card.scores == {r"a\nb": r"\u202e", "日本": 1.0}
    file.card = json.loads(card.to_metadata()["separator"])
    path.write_bytes(file.raw())
    assert read_card(path) == card


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_analog_weights_of_any_floating_type_that_files_have(tmp_path, dtype):
    path = tmp_path / "tiny.safetensors"
    save_model(path, network(), ModelCard("tiny", CONFIG.to_dict()), dtype)
    assert torch.equal(load_model(path).network.mask.weight, network().mask.weight.to(dtype).float())


def test_a_network_for_images_comes_back_the_same(tmp_path):
    config = PICTURES[1]
    torch.manual_seed(0)
    pictures = torch.rand(20, 2, 16, 16)
    net = FeedForward(config)
    net.train()(pictures)
    net.eval().requires_grad_(False).stack.convert(pictures, DYNAMICS[2])
    save_model(tmp_path / "x", net, ModelCard("x", config.to_dict(), conversion_of(DYNAMICS[2]), architecture="feedforward"))
    again, card = load_network(tmp_path / "x")
    assert torch.equal(again(pictures), net(pictures))
    with pytest.raises(UserError, match="does not say what the network was trained to do"):
        _ = card.goal


@pytest.mark.parametrize("norm", [True, False])
def test_files_from_before_there_were_slopes_and_layers_without_bias_still_open(tmp_path, norm):
    torch.manual_seed(0)
    layers = [nn.Linear(12, 4, not norm), *([nn.BatchNorm1d(4)] if norm else []), nn.ReLU(), nn.Linear(4, 3, not norm)]
    plain = nn.Sequential(nn.Flatten(), *layers, *([nn.BatchNorm1d(3)] if norm else [])).eval()
    names = [f"stack.layers.{i}.{kind}." for i in (0, 1) for kind in (["affine", "norm"] if norm else ["affine"])]
    modules = [module for module in plain if next(module.parameters(), None) is not None]
    tensors = {name + key: x for name, module in zip(names, modules, strict=True) for key, x in module.state_dict().items()}
    config = {"layers": "4-3", "channels": 1, "height": 3, "width": 4, "output": "none", "norm": norm, "levels": None}
    save_file(tensors, tmp_path / "old", ModelCard("old", config, architecture="feedforward").to_metadata())
    network, card = load_network(tmp_path / "old")
    pictures = torch.randn(9, 1, 3, 4)
    torch.testing.assert_close(network(pictures), plain(pictures))
    assert card.config == config and (network.config.bias, network.config.slope) == (True, 0.0)


def test_a_slope_and_layers_without_bias_are_in_the_file(tmp_path):
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("c3k5p0-5-9", 1, 8, 6, norm=False, bias=False, slope=0.1)).eval()
    card = ModelCard("x", network.config.to_dict(), architecture="feedforward")
    save_model(tmp_path / "x", network, card)
    again, _ = load_network(tmp_path / "x")
    assert again.config == network.config and read_card(tmp_path / "x").config["slope"] == 0.1
    pictures = torch.randn(4, 1, 8, 6)
    assert torch.equal(again(pictures), network(pictures))
