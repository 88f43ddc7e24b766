import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.fan_in import fan_in, kept_weights, limit_fan_in, strongest
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.layers.twins import analog_twin


def test_the_strongest_are_kept_and_of_equal_ones_the_first():
    weight = torch.tensor([[1.0, -3.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert strongest(weight, 2).tolist() == [[False, True, True, False], [True, True, False, False]]


def test_what_is_cut_stays_zero_while_the_rest_learns():
    torch.manual_seed(0)
    layer = AnalogLayer(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    before = layer.affine.weight.detach().clone()
    limit_fan_in(layer, 5)
    mask = strongest(before, 5)
    optimiser = torch.optim.Adam(layer.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        layer(torch.randn(4, 3, 6, 6)).square().sum().backward()
        optimiser.step()
    after = layer.affine.weight.detach()
    assert torch.equal(after != 0, mask) and mask.flatten(1).sum(1).tolist() == [5] * 4
    assert (after - before)[mask].abs().min() > 0
    spiking = SpikingLayer.convert(layer.eval(), "fire", torch.ones(1), torch.ones(1), Dynamics(4))
    assert torch.equal(spiking.weight != 0, mask) and fan_in(spiking.weight) == 5


def test_no_limit_is_felt_where_there_are_fewer():
    layer = AnalogLayer(nn.Linear(4, 3))
    limit_fan_in(layer, 4)
    assert type(layer.affine) is nn.Linear


def test_each_pooled_input_is_a_connection():
    layer = AnalogLayer(nn.Conv2d(2, 3, 3, padding=1), before=[nn.AvgPool2d(2)])
    assert kept_weights(layer, 11) == 2
    limit_fan_in(layer, 11)
    layer(torch.randn(1, 2, 8, 8))
    spiking = SpikingLayer.convert(layer, "fire", torch.ones(1), torch.ones(1), Dynamics(4))
    assert fan_in(spiking.weight) == 8
    with pytest.raises(UserError, match="average pooling of 4 inputs needs as many connections, not 3"):
        limit_fan_in(layer, 3)


def test_a_twin_has_a_weight_for_each_pooled_input():
    """Thawed, it keeps as many connections as it had."""
    layer = AnalogLayer(nn.Conv2d(2, 3, 3, padding=1), before=[nn.AvgPool2d(2)])
    limit_fan_in(layer, 11)
    layer(torch.randn(1, 2, 8, 8))
    spiking = SpikingLayer.convert(layer, "fire", torch.ones(1), torch.ones(1), Dynamics(4))
    twin = analog_twin(spiking, torch.ones(1))
    assert twin.synapses.averaged == 4 and kept_weights(twin, 8) == 8
    before = twin.affine.weight.detach().clone()
    limit_fan_in(twin, 8)
    assert torch.equal(twin.affine.weight, before)
    limit_fan_in(twin, 3)
    assert fan_in(twin.affine.weight) == 3


def test_an_identity_beside_the_layer_is_a_connection():
    layer = AnalogLayer(nn.Linear(6, 6), nn.BatchNorm1d(6), shortcut=nn.Identity())
    assert kept_weights(layer, 4) == 3
    with pytest.raises(UserError, match="the identity beside its other synapses needs 2 connections, not 1"):
        kept_weights(layer, 1)
    pooled = AnalogLayer(nn.Conv1d(3, 3, 1), before=[nn.AvgPool1d(2)], shortcut=nn.Identity())
    with pytest.raises(UserError, match="average pooling of 2 inputs needs 3 connections, not 2"):
        kept_weights(pooled, 2)


def test_shortcuts_with_weights_of_their_own_are_not_limited():
    shortcut = AnalogLayer(nn.Linear(6, 4), activation=None)
    with pytest.raises(UserError, match="leave out fan_in"):
        kept_weights(AnalogLayer(nn.Linear(6, 4), shortcut=shortcut), 3)


def test_connections_of_all_maps_add_up():
    one, other = torch.tensor([[1, 0, 2], [0, 0, 3]]), torch.tensor([[5], [5]])
    assert fan_in(one) == 2
    assert fan_in(one, other) == 3
