import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import vgg16

from separator.models.feedforward import NETWORKS, FeedForward, FeedForwardConfig
from separator.snn.layers.dynamics import Dynamics


def test_the_papers_classifier_of_digits_is_read_as_it_is_written():
    layers = FeedForward(FeedForwardConfig("28x28-c16s1-c32s2-c32s1-c64s2-800-10".partition("-")[2])).stack.layers
    assert [type(layer.affine) for layer in layers] == [nn.Conv2d] * 4 + [nn.Linear] * 2
    shapes = [(16, 1, 3, 3), (32, 16, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]
    assert [layer.affine.weight.shape for layer in layers[:4]] == shapes
    assert [layer.affine.stride for layer in layers[:4]] == [(1, 1), (2, 2), (1, 1), (2, 2)]
    assert [layer.affine.weight.shape for layer in layers[4:]] == [(800, 64 * 7 * 7), (10, 800)]
    assert [layer.activation is not None for layer in layers] == [True] * 5 + [False]
    assert all(layer.norm is not None for layer in layers)


@pytest.mark.parametrize(
    ("name", "pictures", "layers", "outputs"),
    [
        ("mnist-autoencoder", (1, 28, 28), 6, 784),
        ("mnist-cnn", (1, 28, 28), 6, 10),
        ("cifar10-alexnet", (3, 32, 32), 8, 10),
        ("cifar10-vgg11", (3, 32, 32), 11, 10),
        ("cifar10-vgg13", (3, 32, 32), 13, 10),
        ("cifar10-vgg16", (3, 32, 32), 16, 10),
        ("imagenet-alexnet", (3, 224, 224), 8, 1000),
        ("imagenet-vgg16", (3, 224, 224), 16, 1000),
    ],
)
def test_networks_of_the_paper_take_their_pictures(name, pictures, layers, outputs):
    assert name in NETWORKS
    with torch.device("meta"):
        network = FeedForward(FeedForwardConfig(name, *pictures))
        assert network(torch.empty(2, *pictures)).shape == (2, outputs)
    assert len(network.stack.layers) == layers


def test_networks_for_imagenet_have_the_published_weights():
    with torch.device("meta"):
        ours = {name: FeedForward(FeedForwardConfig(f"imagenet-{name}", 3, 224, 224)) for name in ("alexnet", "vgg16")}
        published = vgg16()
    shapes = {name: [layer.affine.weight.shape for layer in network.stack.layers] for name, network in ours.items()}
    assert shapes["vgg16"] == [p.shape for name, p in published.named_parameters() if name.endswith("weight")]
    convolutions = [(96, 3, 11, 11), (256, 96, 5, 5), (384, 256, 3, 3), (384, 384, 3, 3), (256, 384, 3, 3)]
    assert shapes["alexnet"] == [*convolutions, (4096, 256 * 7 * 7), (4096, 4096), (1000, 4096)]


def test_sigmoid_of_potentials_once_it_spikes():
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("9-4-16", 1, 4, 4, output="sigmoid")).eval()
    pictures = torch.rand(5, 1, 4, 4)
    analog = network(pictures)
    assert analog.min() > 0 and analog.max() < 1 and analog.min() < 0.5 < analog.max()
    network.stack.convert(pictures, Dynamics(32, 0.5, "layer-by-layer"))
    spiking = network(pictures)
    assert 0 < (spiking - analog).abs().max() < 0.05


@given(st.lists(st.sampled_from(["c3", "c2k1", "c4k5s2", "a2", "d10"]), max_size=5), st.booleans())
def test_layers_are_what_was_asked_for(front, norm):
    try:
        config = FeedForwardConfig("-".join([*front, "d20", "7", "3"]), 2, 16, 8, norm=norm)
    except ValueError as error:
        assert "does not divide" in str(error)
        return
    network = FeedForward(config).eval()
    assert network(torch.rand(1, 2, 16, 8)).shape == (1, 3)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.Conv2d) == sum(text.startswith("c") for text in front)
    assert kinds.count(nn.BatchNorm2d) == norm * kinds.count(nn.Conv2d)
    assert kinds.count(nn.BatchNorm1d) == norm * 2


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ("c16-x3-10", "'x3' .* is no layer"),
        ("c0-10", "is no layer"),
        ("", "is no layer"),
        ("a3-10", "does not divide 28 x 28"),
        ("10-c3-10", "comes after a linear layer"),
        ("c3", "ends without a linear layer"),
        ("c3k33s1-10", None),
        ("10-d50", "no ReLU"),
    ],
)
def test_other_layers_are_refused(layers, reason):
    if reason is None:
        FeedForwardConfig(layers)
        return
    with pytest.raises(ValueError, match=reason):
        FeedForwardConfig(layers)
