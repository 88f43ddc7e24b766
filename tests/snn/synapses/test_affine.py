import pytest
import torch
from torch import nn

from separator.snn.learning.stdb.way_back import unfinished
from separator.snn.synapses.absorb import absorbed_map, absorbed_weight
from separator.snn.synapses.affine import CausalConv2d, affine_map, applied

LAYERS = [
    nn.Linear(4, 6),
    nn.Conv1d(4, 6, 3, stride=2, padding=2),
    nn.Conv1d(4, 6, 4, padding="same", dilation=3),
    nn.Conv2d(4, 6, 3, padding="valid", groups=2),
    nn.Conv2d(4, 6, 1, stride=(2, 3), padding=(1, 2), groups=2),
    nn.Conv1d(4, 6, 1, stride=2, padding=1),
    CausalConv2d(4, 6, (1, 3), padding=(0, 2), dilation=(1, 2)),
]
SHAPES = {nn.Linear: (4,), nn.Conv1d: (4, 17)}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("layer", LAYERS)
def test_the_map_with_the_layers_numbers_is_the_layer(layer):
    x = torch.randn(2, *SHAPES.get(type(layer), (4, 5, 17)))
    apply = affine_map(layer)
    expected = layer(x)
    torch.testing.assert_close(apply(x, layer.weight, layer.bias), expected)
    assert apply.outputs(x.shape[2:], layer.weight.shape[2:]) == list(expected.shape[2:])
    torch.testing.assert_close(apply.module(layer.weight, layer.bias)(x), expected)
    assert affine_map(apply.module(layer.weight, layer.bias)) == apply


def test_strided_maps_of_single_positions_learn_with_their_channels_last():
    torch.manual_seed(0)
    for channels, outputs in ((4, 6), (8, 16), (64, 128)):
        layer = nn.Conv2d(channels, outputs, 1, stride=2, padding=1, bias=False)
        last = nn.Conv2d(channels, outputs, 1, stride=2, padding=1, bias=False).to(memory_format=torch.channels_last)
        last.load_state_dict(layer.state_dict())
        x = torch.randn(4, channels, 9, 8)
        y = x.contiguous(memory_format=torch.channels_last)
        for input_ in (x, y):
            input_.requires_grad_()
        expected = layer(x)
        torch.testing.assert_close(applied(last, y), expected)
        gradient = torch.randn_like(expected)
        expected.backward(gradient)
        for apply in (applied, unfinished):
            y.grad = last.weight.grad = None
            apply(last, y).backward(gradient)
            torch.testing.assert_close(y.grad, x.grad)
            torch.testing.assert_close(last.weight.grad, layer.weight.grad)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("before", "layer", "shape"),
    [
        (nn.AvgPool1d(3), nn.Conv1d(2, 4, 4, padding="same"), (2, 12)),
        (nn.AvgPool2d(2), nn.Conv2d(2, 4, 2, padding="same", groups=2), (2, 8, 6)),
        (nn.AvgPool2d((1, 2)), CausalConv2d(2, 4, 3, padding=1), (2, 5, 8)),
    ],
)
def test_a_strided_map_may_pad_more_on_one_side(before, layer, shape):
    x = torch.randn(3, *shape)
    apply = absorbed_map([before], affine_map(layer))
    weight = absorbed_weight([before], affine_map(layer), layer.weight, x.shape[1:])
    made = apply.module(weight, layer.bias)
    torch.testing.assert_close(made(x), layer(before(x)))
    own = affine_map(made)
    assert (own.stride, own.padding, own.groups) == (apply.stride, apply.padding, apply.groups)


def test_causal_convolution_sees_nothing_later():
    layer = CausalConv2d(2, 3, (1, 3), padding=(0, 4), dilation=(1, 4))
    x = torch.randn(1, 2, 1, 30)
    changed = x.clone()
    changed[..., 20:] += 1
    before, after = layer(x), layer(changed)
    assert before.shape == (1, 3, 1, 30)
    assert torch.equal(before[..., :20], after[..., :20])
    assert not torch.isclose(before[..., 20:], after[..., 20:]).any()
    symmetric = nn.Conv2d(2, 3, (1, 3), padding=(0, 4), dilation=(1, 4))
    symmetric.load_state_dict(layer.state_dict())
    torch.testing.assert_close(before[..., 4:], symmetric(x)[..., :-4])
