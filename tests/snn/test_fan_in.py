import pytest
import torch
from torch import nn

from separator.errors import UserError
from separator.snn.fan_in import fan_in, kept_weights, limit_fan_in, strongest
from separator.snn.spiking import Dynamics, SpikingStage
from separator.snn.stage import Stage


def test_the_strongest_are_kept_and_of_equal_ones_the_first():
    weight = torch.tensor([[1.0, -3.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert strongest(weight, 2).tolist() == [[False, True, True, False], [True, True, False, False]]


def test_what_is_cut_stays_zero_while_the_rest_learns():
    torch.manual_seed(0)
    stage = Stage(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    before = stage.affine.weight.detach().clone()
    limit_fan_in(stage, 5)
    mask = strongest(before, 5)
    optimiser = torch.optim.Adam(stage.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        stage(torch.randn(4, 3, 6, 6)).square().sum().backward()
        optimiser.step()
    after = stage.affine.weight.detach()
    assert torch.equal(after != 0, mask) and mask.flatten(1).sum(1).tolist() == [5] * 4
    assert (after - before)[mask].abs().min() > 0
    spiking = SpikingStage.convert(stage.eval(), "fire", torch.ones(1), torch.ones(1), Dynamics(4))
    assert torch.equal(spiking.weight != 0, mask) and fan_in(spiking.weight) == 5


def test_no_limit_is_felt_where_there_are_fewer():
    stage = Stage(nn.Linear(4, 3))
    limit_fan_in(stage, 4)
    assert type(stage.affine) is nn.Linear


def test_each_pooled_input_is_a_connection():
    stage = Stage(nn.Conv2d(2, 3, 3, padding=1), before=[nn.AvgPool2d(2)])
    assert kept_weights(stage, 11) == 2
    limit_fan_in(stage, 11)
    stage(torch.randn(1, 2, 8, 8))
    spiking = SpikingStage.convert(stage, "fire", torch.ones(1), torch.ones(1), Dynamics(4))
    assert fan_in(spiking.weight) == 8
    with pytest.raises(UserError, match="average pooling of 4 inputs needs as many connections, not 3"):
        limit_fan_in(stage, 3)


def test_an_identity_beside_the_layer_is_a_connection():
    stage = Stage(nn.Linear(6, 6), nn.BatchNorm1d(6), shortcut=nn.Identity())
    assert kept_weights(stage, 4) == 3
    with pytest.raises(UserError, match="the identity beside its other synapses needs 2 connections, not 1"):
        kept_weights(stage, 1)
    pooled = Stage(nn.Conv1d(3, 3, 1), before=[nn.AvgPool1d(2)], shortcut=nn.Identity())
    with pytest.raises(UserError, match="average pooling of 2 inputs needs 3 connections, not 2"):
        kept_weights(pooled, 2)


def test_shortcuts_with_weights_of_their_own_are_not_limited():
    shortcut = Stage(nn.Linear(6, 4), rectified=False)
    with pytest.raises(UserError, match="leave out fan_in"):
        kept_weights(Stage(nn.Linear(6, 4), shortcut=shortcut), 3)


def test_connections_of_all_maps_add_up():
    one, other = torch.tensor([[1, 0, 2], [0, 0, 3]]), torch.tensor([[5], [5]])
    assert fan_in(one) == 2
    assert fan_in(one, other) == 3
