import pytest
import torch
from torch import nn

from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.fold import Statistics, folded
from separator.snn.synapses.affine import affine_map
from tests.snn.nets import STACKS, randomised


@pytest.mark.parametrize("kind", sorted(STACKS))
def test_folded_map_equals_the_preactivation(kind):
    build, shape = STACKS[kind]
    layer = build(5).layers[0].double()
    x = torch.randn(3, *shape, dtype=torch.float64)
    weight, bias = folded(layer)
    assert torch.allclose(affine_map(layer.affine)(x, weight, bias), layer.preactivation(x), atol=1e-12)


def test_eps_is_folded_in():
    norm = nn.BatchNorm1d(2, eps=1.0)
    layer = AnalogLayer(nn.Linear(2, 2), norm).eval()
    norm.running_var.fill_(3.0)
    weight, _ = folded(layer)
    assert torch.allclose(weight, layer.affine.weight / 2)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.float64])
def test_statistics_of_a_batch_are_those_that_batch_norm_takes(kind):
    torch.manual_seed(0)
    sums, norm = (3 * torch.randn(4, 2, 50) + 1).to(kind), nn.BatchNorm1d(2, momentum=1.0)
    norm.train()(sums.to(torch.promote_types(kind, torch.float32)).float())
    mean, variance = Statistics.of(sums)
    torch.testing.assert_close(mean.float(), norm.running_mean)
    torch.testing.assert_close(variance.float() * 200 / 199, norm.running_var)  # which is kept without bias


def test_batch_norm_without_gain_or_statistics():
    layer = randomised(AnalogLayer(nn.Linear(3, 2), nn.BatchNorm1d(2)))
    bare = nn.BatchNorm1d(2, affine=False)
    bare.running_mean.fill_(1.0)
    plain = AnalogLayer(layer.affine, bare).eval()
    x = torch.randn(4, 3)
    assert torch.allclose(nn.functional.linear(x, *folded(plain)), plain.preactivation(x), atol=1e-6)
    with pytest.raises(ValueError, match="running statistics"):
        folded(AnalogLayer(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False)))


def test_layers_group_into_layers():
    modules = [nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Dropout(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)]
    layers = layers_of(modules)
    assert [(s.affine, s.norm) for s in layers] == [(modules[0], modules[1]), (modules[4], None), (modules[6], None)]
    assert [list(s.before) for s in layers] == [[], [modules[3]], []]
    assert [s.activation is not None for s in layers] == [True, True, False]


@pytest.mark.parametrize(
    ("modules", "advice"),
    [
        ([nn.Linear(2, 2), nn.Tanh()], "layer 1 .* rectify"),
        ([nn.ReLU()], "then ReLU"),
        ([nn.Linear(2, 2), nn.Linear(2, 2)], "make it a module nn.ReLU"),
        ([nn.Linear(2, 2), nn.Dropout()], "make it a module nn.ReLU"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.MaxPool1d(2)], "layer 2 .* pool averages, or stride the convolution"),
        ([nn.Linear(2, 2), nn.LayerNorm(2), nn.ReLU()], "normalise batches"),
        ([nn.Linear(2, 2), nn.ReLU(), nn.Flatten()], "behind the last layer there is Flatten"),
        ([nn.Sequential(nn.Linear(2, 2), nn.ReLU())], "one by one"),
        ([nn.Conv2d(2, 2, 1), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Conv2d(2, 2, 1)], "layer 3 .*Conv2d.* without overlap"),
        ([nn.Conv2d(2, 2, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Linear(2, 2)], "layer 3 .*Linear.* if Flatten stands between"),
    ],
)
def test_what_cannot_be_grouped_is_named(modules, advice):
    with pytest.raises(ValueError, match=advice):
        layers_of(modules)
