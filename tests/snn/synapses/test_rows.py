"""Sums and gradients of convolutions along rows against torch's own in 64 bits."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.snn.synapses import affine, rows
from separator.snn.synapses.affine import AffineMap, CausalConv2d, applied
from separator.snn.synapses.rows import FAR, LEAST, WIDE

SIZES = st.integers(1, 5)


@pytest.fixture(scope="module", autouse=True)
def _short_rows():
    """Rows of any length and of any channels are taken here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rows, "LEAST", 1)
        patched.setattr(affine, "WIDE", 1)
        yield


def image(*shape):
    return torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_()


def calls(module, monkeypatch):
    """How often the module itself is called from now on."""
    seen = []
    forward = module.forward
    monkeypatch.setattr(module, "forward", lambda x: seen.append(x) or forward(x))
    return seen


@pytest.mark.parametrize("dilation", [1, 5, FAR])
@given(
    st.sampled_from([nn.Conv2d, CausalConv2d]), SIZES, SIZES, st.sampled_from([1, 2, 3, 5]), st.booleans(), st.integers(0, 3),
    SIZES, st.integers(1, 40), st.integers(0, 10**6),
)  # fmt: skip
def test_sums_and_gradients_are_those_of_the_convolution(
    dilation, make, inputs, outputs, taps, bias, padding, images, longer, seed
):
    torch.manual_seed(seed)
    module = make(inputs, outputs, (1, taps), padding=(0, padding * dilation), dilation=(1, dilation), bias=bias)
    x = image(images, inputs, 1, max(1, (taps - 1 - 2 * padding) * dilation) + longer)
    sums = applied(module, x)
    gradient = torch.randn_like(sums)
    exact, wide = deepcopy(module).double(), x.detach().double().requires_grad_()
    expected = exact(wide)
    torch.testing.assert_close(sums.double(), expected, rtol=1e-5, atol=1e-5)
    assert sums.is_contiguous(memory_format=torch.channels_last)
    found = torch.autograd.grad(sums, [x, *module.parameters()], gradient)
    for one, other in zip(found, torch.autograd.grad(expected, [wide, *exact.parameters()], gradient.double()), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_an_input_that_does_not_learn_gets_no_gradient():
    module = nn.Conv2d(2, 3, (1, 3))
    x = image(1, 2, 1, 9).detach()
    applied(module, x).sum().backward()
    assert torch.allclose(module.weight.grad[0, :, 0, 0], x[0, :, 0, :7].sum(1))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: nn.Linear(4, 2), (3, 4)),
        (lambda: nn.Conv1d(4, 2, 3), (3, 4, 9)),
        (lambda: nn.Conv2d(4, 2, 3), (3, 4, 9, 9)),
        (lambda: nn.Conv2d(4, 2, (1, 3)), (3, 4, 9, 9)),
        (lambda: nn.Conv2d(4, 2, (1, 3)), (4, 1, 9)),
        (lambda: nn.Conv2d(4, 2, (1, 3), padding=1), (3, 4, 1, 9)),
        (lambda: nn.Conv2d(4, 2, (1, 3), stride=(1, 2)), (3, 4, 1, 9)),
        (lambda: nn.Conv2d(4, 2, (1, 3), groups=2), (3, 4, 1, 9)),
        (lambda: nn.Conv2d(4, 2, (1, 3), padding=(0, 1), padding_mode="circular"), (3, 4, 1, 9)),
    ],
)
def test_other_layers_are_called(make, shape, monkeypatch):
    module, x = make(), torch.randn(shape)
    expected = module(x)
    called = calls(module, monkeypatch)
    assert torch.equal(applied(module, x), expected)
    assert len(called) == 1


def test_layers_that_do_not_learn_are_called(monkeypatch):
    module, x = nn.Conv2d(4, 2, (1, 3)), image(3, 4, 1, 9)
    called = calls(module, monkeypatch)
    applied(module, x)
    assert not called
    with torch.no_grad():
        applied(module, x)
    with torch.autocast("cpu"):
        assert applied(module, x).dtype == torch.bfloat16
    applied(module.requires_grad_(False), x)
    module.requires_grad_(True).register_forward_hook(lambda *_: None)
    applied(module, x)
    assert len(called) == 4


def test_short_rows_are_left_to_the_layer(monkeypatch):
    monkeypatch.setattr(rows, "LEAST", LEAST)
    module = nn.Conv2d(4, 2, (1, 3))
    called = calls(module, monkeypatch)
    for frames in (LEAST - 1, LEAST):
        applied(module, image(1, 4, 1, frames))
    assert [x.shape[-1] for x in called] == [LEAST - 1]


def test_few_channels_are_left_to_the_layer_unless_taps_are_far(monkeypatch):
    monkeypatch.setattr(affine, "WIDE", WIDE)
    for inputs, outputs, dilation, own in ((WIDE - 1, WIDE, 1, 1), (WIDE, WIDE - 1, 1, 1), (WIDE, WIDE, 1, 0), (2, 2, FAR, 0)):
        module = nn.Conv2d(inputs, outputs, (1, 3), dilation=(1, dilation))
        called = calls(module, monkeypatch)
        applied(module, image(1, inputs, 1, 2 * FAR + 9))
        assert len(called) == own


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@given(
    SIZES, SIZES, st.sampled_from([1, 3]), st.integers(-9, FAR), st.integers(-9, FAR), st.integers(1, 9), st.integers(0, 10**6)
)
def test_maps_add_whole_numbers_exactly(kind, inputs, outputs, taps, before, after, longer, seed):
    """What far taps see, with more padding on either side or with inputs left out, as streaming has them."""
    draw = torch.Generator().manual_seed(seed)
    frames = max(20, (taps - 1) * FAR - before - after + longer)  # more than are left out
    x = torch.randint(-9, 10, (2, inputs, 1, frames), generator=draw)
    weight = torch.randint(-(2**15), 2**15, (outputs, inputs, 1, taps), generator=draw)
    bias = torch.randint(-(2**15), 2**15, (outputs,), generator=draw)
    apply = AffineMap(nn.Conv2d, (1, 1), ((0, 0), (before, after)), (1, FAR))
    sums = apply(x.to(kind), weight.to(kind), bias.to(kind))
    padded = nn.functional.pad(x, (before, after))
    expected = bias.view(-1, 1, 1) + sum(
        torch.einsum("oi,bihk->bohk", weight[..., 0, tap], padded[..., tap * FAR : tap * FAR + sums.shape[-1]])
        for tap in range(taps)
    )
    assert torch.equal(sums.long(), expected)
