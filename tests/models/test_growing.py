"""A grown network computes what it has grown from, learns with all that it has, and converts."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.models.growing import grown
from separator.models.tasnet import TasNet, TasNetConfig
from tests.snn.nets import converted

SMALL = TasNetConfig(filters=16, filter_length=8, channels=6, dilations=(1, 2), look_back=(4,), skips=True, norm_window=0.02)


def trained_looking(config):
    """A network whose numbers are all far from where they start."""
    torch.manual_seed(1)
    network = TasNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for numbers in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(numbers, 0.5, 1.5)
    return network.eval()


@given(st.integers(0, 9), st.lists(st.integers(1, 9), max_size=3), st.lists(st.integers(1, 9), max_size=3), st.integers(0, 99))
def test_it_computes_what_it_has_grown_from(channels, dilations, look_back, seed):
    torch.manual_seed(seed)
    network, mixture = trained_looking(SMALL), torch.randn(2, 300)
    sizes = replace(
        SMALL, channels=6 + channels, dilations=(*SMALL.dilations, *dilations), look_back=(*SMALL.look_back, *look_back)
    )
    larger = grown(network, sizes)
    assert larger.config == sizes
    torch.testing.assert_close(larger.eval()(mixture), network(mixture), rtol=1e-4, atol=1e-5)


def test_without_skips_it_grows_by_channels():
    config = replace(SMALL, skips=False, look_back=(), norm_window=0.0, slope=0.2)
    network, mixture = trained_looking(config), torch.randn(2, 300)
    larger = grown(network, replace(config, channels=11))
    torch.testing.assert_close(larger.eval()(mixture), network(mixture), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_causal_one_computes_the_same_but_for_the_future(kernel):
    config = replace(SMALL, kernel=kernel, norm_window=0.0)
    network, mixture = trained_looking(config), torch.randn(2, 300)
    blind = grown(network, replace(config, causal=True)).eval()
    seeing = network(mixture)
    assert blind.config.look_ahead == config.filter_length - 1
    with torch.no_grad():
        for layer in network.stack.layers[1:3]:  # of `dilations`
            layer.affine.weight[..., kernel // 2 + 1 :] = 0
    torch.testing.assert_close(blind(mixture), network(mixture), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(seeing, network(mixture), atol=1e-3)


def test_all_of_it_learns():
    larger = grown(trained_looking(SMALL), replace(SMALL, channels=9, look_back=(4, 8))).train()
    optimiser = torch.optim.SGD(larger.parameters(), 0.1)
    before = {name: numbers.detach().clone() for name, numbers in larger.named_parameters()}
    for _ in range(3):  # the first moves the gain, the next what it lets through
        optimiser.zero_grad()
        larger(torch.randn(2, 300)).square().mean().backward()
        optimiser.step()
    assert all(not torch.equal(numbers, before[name]) for name, numbers in larger.named_parameters())


def test_it_converts():
    larger = grown(trained_looking(SMALL), replace(SMALL, channels=9, look_back=(4, 8))).eval()
    mixture = torch.randn(2, 300)
    converted(larger.stack, larger.stack_input(larger.encode(mixture)), 4, 0.5)
    assert larger(mixture).isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 5}, "not by 5 channels in place of 6"),
        ({"filters": 32}, "not by filters 32 in place of 16"),
        ({"dilations": (2, 1)}, r"dilations that do not begin with \[1, 2\]"),
        ({"look_back": ()}, r"look_back that do not begin with \[4\]"),
        ({"skips": False, "kernel": 5}, "kernel 5 in place of 3 and skips False in place of True"),
    ],
)
def test_what_is_not_larger_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        grown(TasNet(SMALL), replace(SMALL, **changes))


def test_a_causal_network_does_not_learn_to_see_the_future():
    with pytest.raises(UserError, match="not by causal False in place of True"):
        grown(TasNet(replace(SMALL, causal=True)), SMALL)


@pytest.mark.parametrize("changes", [{"skips": False}, {"slope": 0.2}])
def test_layers_that_would_change_something_are_refused(changes):
    config = replace(SMALL, **changes)
    with pytest.raises(UserError, match="it grows by layers only where these have skips, and a slope of 0"):
        grown(TasNet(config), replace(config, look_back=(4, 8)))


def test_longer_frames_begin_with_what_was_learned_of_shorter_ones():
    config = replace(SMALL, dilations=(1, 2, 4, 1, 6), look_back=(4, 8))
    network = trained_looking(config)
    longer = grown(network, replace(config, filter_length=16, dilations=(1, 2, 3), look_back=(2, 4))).eval()
    assert longer.config.receptive_field < network.config.receptive_field
    kept = [network.stack.layers[i] for i in (0, 2, 3, 5, 6, 7)]
    for layer, old in zip(longer.stack.layers, kept, strict=True):
        assert all(torch.equal(old.state_dict()[name], numbers) for name, numbers in layer.state_dict().items())
    mixture = torch.randn(2, 304)
    middles = network.encode(mixture[:, 4:])[:, ::2]  # every second short frame, from the middle of the first long one on
    torch.testing.assert_close(longer.encode(mixture)[:, : middles.shape[1]], middles)
    activation, features = torch.rand(2, 6, 1, 30), torch.rand(2, 30, 16)
    frames = longer.decode(activation, features)
    torch.testing.assert_close(frames[..., 4:12], network.decode(activation, features))
    assert not frames[..., :4].any() and not frames[..., 12:].any()


def test_longer_frames_take_further_layers_and_channels_too():
    sizes = replace(SMALL, filter_length=24, channels=9, dilations=(5,), look_back=(2,))
    network = trained_looking(replace(SMALL, look_back=(6,)))
    longer = grown(network, sizes).eval()
    same = grown(network, replace(sizes, channels=6, dilations=())).eval()
    mixture = torch.randn(2, 300)
    torch.testing.assert_close(longer(mixture), same(mixture), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filter_length": 4}, "not by filter_length 4 in place of 8"),
        ({"filter_length": 12}, "not by filter_length 12 in place of 8"),
        ({"filter_length": 16}, r"not by look_back that do not begin with \[2\]"),
        ({"filter_length": 24}, "no layer has a dilation that frames 3 times as long could divide by 3"),
    ],
)
def test_frames_that_are_not_a_multiple_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        grown(TasNet(SMALL), replace(SMALL, **changes))
