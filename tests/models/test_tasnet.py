from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given
from hypothesis import strategies as st

from separator.models.tasnet import TasNet, TasNetConfig, medium, overlap_add, paper, small
from separator.snn.layers.analog import AnalogLayer

TINY = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2))
MEMORY = {"look_back": (4,), "skips": True, "norm_window": 0.0015}  # of 3 to 6 frames to either side


def tiny(**changes):
    torch.manual_seed(0)
    return TasNet(TasNetConfig(**(TINY.to_dict() | changes))).eval()


def test_paper_configuration_is_the_published_one():
    config = paper()
    assert (config.filters, config.filter_length, config.stride, config.channels) == (512, 20, 10, 512)
    assert config.dilations == tuple(2**i for i in range(10))
    # Encoder and decoder, gain and bias of the norm, 1x1 and ten dilated convolutions with batch norm, masks of two talkers.
    expected = 2 * 512 * 20 + 2 * 512 + (512 * 512 + 2 * 512) + 10 * (3 * 512 * 512 + 2 * 512) + (512 * 1024 + 1024)
    with torch.device("meta"):
        network = TasNet(config)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_small_spans_as_many_seconds_as_the_paper():
    seconds = [config.receptive_field / config.sample_rate for config in (paper(), small())]
    assert seconds[0] == pytest.approx(seconds[1], rel=0.2)


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 12, 13, 100])
@pytest.mark.parametrize("n_src", [2, 3])
def test_any_length_comes_back_as_long(samples, n_src):
    assert tiny(n_src=n_src)(torch.randn(2, samples)).shape == (2, n_src, samples)


def test_encoder_is_the_papers_strided_convolution():
    network = tiny()
    mixture = torch.randn(3, 40)
    expected = F.conv1d(mixture[:, None], network.encoder.weight[:, None], stride=4).relu()
    assert torch.allclose(network.encode(mixture).transpose(1, 2), expected, atol=1e-6)


def test_decoder_is_the_transposed_convolution():
    network = tiny()
    features = torch.randn(2, 2, 9, 16)
    expected = F.conv_transpose1d(features.flatten(0, 1).transpose(1, 2), network.decoder.weight.T[:, None], stride=4)
    waves = torch.cat(overlap_add(network.decoder(features)), -1)
    assert torch.allclose(waves.flatten(0, 1)[:, None], expected, atol=1e-6)


def test_a_new_network_can_return_the_mixture():
    network = tiny(filters=16)
    mixture = torch.randn(1, 48)
    again = torch.cat(overlap_add(network.decoder(network.encode(mixture))), -1)
    inner = slice(4, -4)  # the first and last half frame lie in one window only
    assert torch.allclose(again[:, inner], mixture[:, inner], atol=1e-5)


@given(st.sampled_from([(1,), (1, 2), (1, 2, 4)]), st.sampled_from([4, 8]), st.sampled_from([{}, MEMORY]))
def test_receptive_field_is_where_the_gradient_reaches(dilations, filter_length, changes):
    network = tiny(dilations=dilations, filter_length=filter_length, **changes).double()
    for layer in network.stack.layers:  # so that no rectifier blocks a path
        assert isinstance(layer, AnalogLayer)
        torch.nn.init.uniform_(layer.affine.weight, 0.1, 1.0)
    torch.nn.init.uniform_(network.encoder.weight, 0.1, 1.0)
    torch.nn.init.constant_(network.norm.bias, 5.0)
    torch.nn.init.uniform_(network.mask.weight, -1e-6, 1e-6)  # nor a sigmoid
    mixture = torch.rand(1, 400, dtype=torch.float64).requires_grad_()
    network(mixture)[0, 0, 200].backward()
    touched = mixture.grad[0].nonzero()
    assert int(touched.max() - touched.min()) + 1 == network.config.receptive_field


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("changes", [{}, MEMORY])
def test_estimates_depend_on_no_more_than_the_look_ahead(causal, changes):
    network = tiny(causal=causal, **changes)
    mixture = torch.randn(1, 400, requires_grad=True)
    network(mixture)[0, :, 204].sum().backward()
    touched = mixture.grad[0].nonzero()
    assert int(touched.max()) - 204 <= network.config.look_ahead
    reached = []
    for sample in range(200, 204):  # somewhere in a stride the last sample in sight is seen
        mixture.grad = None
        network(mixture)[0, :, sample].sum().backward()
        reached.append(int(mixture.grad[0].nonzero().max()) - sample)
    assert max(reached) == network.config.look_ahead


def test_masks_lie_between_zero_and_one_and_estimates_follow_the_level():
    network = tiny()
    mixture = torch.randn(1, 80)
    features = network.encode(mixture)
    masks = network.masks(network.stack(network.stack_input(features)))
    assert masks.shape == (1, 2, features.shape[1], 16)
    assert masks.min() > 0 and masks.max() < 1
    assert torch.allclose(network(10 * mixture), 10 * network(mixture), atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"filter_length": 7},
        {"filter_length": 0},
        {"filters": 5000},
        {"kernel": 2},
        {"channels": 0},
        {"n_src": 0},
        {"look_back": (0,)},
        {"dilations": ()},
        {"norm_window": -1.0},
        {"norm_window": 9.0},
    ],
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError):
        TasNetConfig(**wrong)


def test_one_layer_of_either_kind_is_enough():
    for sizes in ({"dilations": (1,)}, {"dilations": (), "look_back": (2,)}):
        network = TasNet(TasNetConfig(filters=16, filter_length=16, channels=4, **sizes))
        assert network(torch.ones(1, 80)).shape == (1, 2, 80)


@pytest.mark.parametrize(
    ("name", "config"), [("small", small()), ("small-causal", small(causal=True)), ("paper", paper()), ("medium", medium())]
)
def test_recipe_trains_the_network_of_that_name(name, config):
    path = Path(__file__).parents[2] / "recipes" / "open-2mix" / "conf" / f"{name}.yaml"
    assert TasNetConfig(**yaml.safe_load(path.read_text()).get("network", {})) == config
