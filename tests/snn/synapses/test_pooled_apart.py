"""Maps behind averages, with the sums apart, against the maps themselves."""

import pytest
import torch
from torch import nn

from separator.snn.synapses.absorb import absorbed_map, absorbed_weight, pooled_apart
from separator.snn.synapses.affine import affine_map


@pytest.mark.parametrize(
    ("before", "affine", "shape"),
    [
        ([nn.AvgPool2d(2)], nn.Conv2d(3, 5, 3, padding=1), (3, 8, 12)),
        ([nn.AvgPool2d(2)], nn.Conv2d(3, 5, 5, stride=2), (3, 14, 14)),
        ([nn.AvgPool2d(2), nn.Dropout()], nn.Conv2d(4, 6, 3, dilation=2, groups=2), (4, 16, 12)),
        ([nn.AvgPool2d(2), nn.Flatten()], nn.Linear(3 * 2 * 3, 7), (3, 4, 6)),
        ([nn.AvgPool1d(4)], nn.Conv1d(3, 5, 3, padding=2), (3, 24)),
    ],
)
def test_sums_apart_come_to_the_same(before, affine, shape):
    torch.manual_seed(0)
    weight = torch.randint(-50, 50, affine.weight.shape).float() * 16
    apply, joint = (
        absorbed_map(before, affine_map(affine)),
        absorbed_weight(before, affine_map(affine), weight, torch.Size(shape)),
    )
    apart = pooled_apart(apply, joint, shape)
    x = torch.randint(-9, 9, (2, *shape)).float()
    assert apart is not None and apart.weight.numel() < joint.numel()
    assert torch.equal(apart.apply(apart.sums(x), apart.weight, None), apply(x, joint, None))


def test_other_maps_stay_whole():
    conv = affine_map(nn.Conv2d(3, 5, 3))
    assert pooled_apart(conv, torch.randn(5, 3, 3, 3), (3, 8, 8)) is None
    pooled, shape = absorbed_map([nn.AvgPool2d(2)], conv), torch.Size((3, 8, 8))
    weight = absorbed_weight([nn.AvgPool2d(2)], conv, torch.randn(5, 3, 3, 3), shape)
    assert pooled_apart(pooled, weight, shape) is not None
    weight[0, 0, 0, 0] += 1  # as rounding one by one might
    assert pooled_apart(pooled, weight, shape) is None
