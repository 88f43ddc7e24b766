import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models import vgg16

from separator.models.feedforward import NETWORKS, FeedForward, FeedForwardConfig, modules_of
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


MNIST, CIFAR10 = (1, 28, 28), (3, 32, 32)
VGG = [(128, 3), (128, 128), (256, 128), (256, 256), (512, 256), (512, 512)]
TABLE_I = {  # of each network, its pictures and its weights: output and input channels, and kernels; output and input units
    1: (MNIST, [(1200, 784), (1200, 1200), (10, 1200)]),
    2: (MNIST, [(12, 1, 5, 5), (64, 12, 5, 5), (10, 64 * 4 * 4)]),
    3: (MNIST, [(6400, 784), (10, 6400)]),
    4: (MNIST, [(32, 1, 5, 5), (64, 32, 5, 5), (1024, 64 * 4 * 4), (10, 1024)]),
    5: (CIFAR10, [*((*pair, 3, 3) for pair in VGG), (1024, 512 * 4 * 4), (10, 1024)]),
}


@pytest.mark.parametrize("number", TABLE_I)
def test_networks_of_double_thresholds_have_the_weights_of_table_i_and_no_other_numbers(number):
    pictures, weights = TABLE_I[number]
    network = FeedForward(FeedForwardConfig(f"double-threshold-net{number}", *pictures, norm=False, bias=False, slope=0.1))
    assert [p.shape for p in network.parameters()] == weights and not list(network.buffers())
    assert network(torch.rand(2, *pictures)).shape == (2, 10)
    *hidden, last = network.stack.layers
    assert {(type(layer.activation), layer.activation.negative_slope) for layer in hidden} == {(nn.LeakyReLU, 0.1)}
    assert last.activation is None


def test_vgg16_of_double_thresholds_has_the_published_layers():
    with torch.device("meta"):
        ours = FeedForward(FeedForwardConfig("double-threshold-net6", *CIFAR10, norm=False, bias=False, slope=0.2))
        published = vgg16(num_classes=10)
    shapes = [p.shape for name, p in published.named_parameters() if name.endswith("weight")]
    shapes[13] = (4096, 512)  # of pictures of 32 x 32, one position is left where of larger ones there are 7 x 7
    assert [p.shape for p in ours.parameters()] == shapes


@pytest.mark.parametrize("number", [5, 6])
def test_dropout_is_behind_every_activation_that_no_pooling_follows(number):
    config = FeedForwardConfig(f"double-threshold-net{number}", *CIFAR10, norm=False, bias=False, slope=0.2)
    with torch.device("meta"):
        kinds = [type(module) for module in modules_of(config)]
    after = {kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.LeakyReLU}
    assert after == {nn.Dropout, nn.AvgPool2d}
    assert all(kinds[i - 1] is nn.LeakyReLU for i, kind in enumerate(kinds) if kind is nn.Dropout)


def test_a_network_without_bias_is_the_plain_run_of_its_layers():
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("c3k5p0-a2-d50-c4s2p2-7-3", 2, 14, 12, norm=False, bias=False, slope=0.25)).eval()
    first, second, third, last = [layer.affine.weight.double() for layer in network.stack.layers]
    x = torch.rand(2, 2, 14, 12, dtype=torch.float64)

    def leaky(z):
        return torch.maximum(z, z / 4)

    seen = F.avg_pool2d(leaky(F.conv2d(x, first)), 2)
    seen = leaky(leaky(F.conv2d(seen, second, stride=2, padding=2)).flatten(1) @ third.T)
    torch.testing.assert_close(network(x.float()).double(), seen @ last.T, rtol=1e-5, atol=1e-6)
    assert (network(2 * x.float()) - 2 * network(x.float())).abs().max() < 1e-6  # which no bias lets it be


HYBRID = {  # of each network, the filters of its convolutions and what its classifier sees (Rathi et al. 2020, their program)
    "vgg5": ([64, 128, 128], 128 * 8 * 8),
    "vgg9": ([64, 128, 256, 256, 512, 512, 512], 512 * 2 * 2),
    "vgg11": ([64, 128, 256, 512, 512, 512, 512, 512], 512 * 2 * 2),
    "vgg16": ([64, 64, 128, 128, 256, 256, 256, *[512] * 6], 512 * 2 * 2),
}
BARE = {"norm": False, "bias": False, "mean": 0.5, "std": 0.5}


@pytest.mark.parametrize("name", HYBRID)
def test_networks_of_hybrid_conversion_have_the_published_layers(name):
    filters, seen = HYBRID[name]
    classes = 100 if name == "vgg11" else 10
    with torch.device("meta"):
        network = FeedForward(FeedForwardConfig(f"hybrid-{name}", *CIFAR10, **BARE))
    convolutions = [(n, before, 3, 3) for n, before in zip(filters, [3, *filters], strict=False)]
    assert [p.shape for p in network.parameters()] == [*convolutions, (4096, seen), (4096, 4096), (classes, 4096)]
    kinds = [type(module) for module in modules_of(network.config)]
    assert kinds.count(nn.AvgPool2d) == {"vgg5": 2}.get(name, 4)
    assert {kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.ReLU} == {nn.Dropout, nn.AvgPool2d}


@pytest.mark.parametrize(
    ("name", "width", "blocks", "size", "classes"),
    [
        ("resnet8", 64, [1, 1], 32, 10),
        ("resnet8-w16", 16, [1, 1], 32, 10),
        ("resnet20", 64, [2, 2, 2, 2], 32, 10),
        ("resnet34", 64, [3, 4, 5, 3], 224, 1000),
    ],
)
def test_residual_networks_of_hybrid_conversion_have_the_published_layers(name, width, blocks, size, classes):
    with torch.device("meta"):
        network = FeedForward(FeedForwardConfig(f"hybrid-{name}", 3, size, size, **BARE)).eval()
        assert network(torch.empty(1, 3, size, size)).shape == (1, classes)
    layers = network.stack.layers
    assert len(layers) == int(name.removeprefix("resnet").removesuffix("-w16")) and {
        type(layer.shortcut) for layer in layers[:3]
    } == {type(None)}
    found = [layer.affine.out_channels for layer in layers[3:-1:2]]
    assert found == [width * 2**i for i, count in enumerate(blocks) for _ in range(count)]
    shortcuts = [layer.shortcut for layer in layers[4:-1:2]]
    firsts = [sum(blocks[:i]) for i in range(1, len(blocks))]
    for i, shortcut in enumerate(shortcuts):
        if i in firsts:
            assert shortcut.affine.kernel_size == (1, 1) and shortcut.affine.stride == (2, 2) and shortcut.affine.bias is None
        elif i > 0:
            assert type(shortcut) is nn.Identity
    assert list(shortcuts[0].parameters()) == []  # the mean of what the first block sees, which is not learned
    assert all(maps[1] == (i - 2,) for i, maps in enumerate(network.stack.sources) if len(maps) > 1)


class Block(nn.Module):
    """A basic block as He et al. draw it."""

    def __init__(self, a, b, past):
        super().__init__()
        self.a, self.b, self.past = a, b, past

    def forward(self, x):
        return (self.b(self.a(x).relu()) + self.past(x)).relu()


def test_a_residual_network_is_its_picture():
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("c4-a2-b4-b6s2d20-b6-a2-5", 2, 16, 16, **BARE)).eval()
    layers = [layer.affine for layer in network.stack.layers]
    plain = nn.Sequential(
        layers[0],
        nn.ReLU(),
        nn.AvgPool2d(2),
        Block(*layers[1:3], nn.Identity()),
        Block(*layers[3:5], network.stack.layers[4].shortcut.affine),
        Block(*layers[5:7], nn.Identity()),
        nn.AvgPool2d(2),
        nn.Flatten(),
        layers[7],
    )
    x = torch.rand(3, 2, 16, 16)
    torch.testing.assert_close(network(x), plain(2 * x - 1))


def test_what_is_seen_is_as_far_from_the_mean_as_pixels_are():
    pictures = torch.rand(2, 1, 4, 4)
    network = FeedForward(FeedForwardConfig("9-3", 1, 4, 4, norm=False, bias=False, mean=0.25, std=0.5))
    assert torch.allclose(network.seen(pictures), (pictures - 0.25) * 2)
    assert torch.equal(FeedForward(FeedForwardConfig("9-3", 1, 4, 4)).seen(pictures), pictures)


@pytest.mark.parametrize(("mean", "std"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, math.nan)])
def test_means_and_deviations_that_cannot_be_are_refused(mean, std):
    with pytest.raises(ValueError, match="finite mean and a standard deviation above 0"):
        FeedForwardConfig("9-3", mean=mean, std=std)


@pytest.mark.parametrize("slope", [-0.1, 1.0, math.nan, math.inf])
def test_slopes_are_from_0_to_below_1(slope):
    with pytest.raises(ValueError, match="slope below zero is from 0 to below 1"):
        FeedForwardConfig("9-10", slope=slope)
    with pytest.raises(ValueError, match="leave out slope or levels"):
        FeedForwardConfig("9-10", slope=0.1, levels=4)


def test_sigmoid_of_potentials_once_it_spikes():
    torch.manual_seed(0)
    network = FeedForward(FeedForwardConfig("9-4-16", 1, 4, 4, output="sigmoid")).eval()
    pictures = torch.rand(5, 1, 4, 4)
    analog = network(pictures)
    assert analog.min() > 0 and analog.max() < 1 and analog.min() < 0.5 < analog.max()
    network.stack.convert(pictures, Dynamics(32, 0.5, "layer-by-layer"))
    spiking = network(pictures)
    assert 0 < (spiking - analog).abs().max() < 0.05


@given(st.lists(st.sampled_from(["c3", "c2k1", "c4k5s2", "c5k5p4", "a2", "d10"]), max_size=5), st.booleans())
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
        ("c3k5p-10", "is no layer"),
        ("c3k29p0-10", "leaves nothing of a picture"),
        ("c3p0k5-10", "is no layer"),
        ("10-d50", "no ReLU"),
        ("b8-10", "'b8' .* comes first, or behind dropout"),
        ("c8-d20-b8-10", "comes first, or behind dropout"),
        ("c8-b0-10", "is no layer"),
        ("c8-b8s0-10", "is no layer"),
        ("c8-9-b8-10", "comes after a linear layer"),
        ("c8-b8", "ends without a linear layer"),
    ],
)
def test_other_layers_are_refused(layers, reason):
    if reason is None:
        FeedForwardConfig(layers)
        return
    with pytest.raises(ValueError, match=reason):
        FeedForwardConfig(layers)
