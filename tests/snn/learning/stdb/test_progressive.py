import torch
from torch import nn

from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.learning.stdb.layer import StdbLayer
from tests.snn.nets import linear_stack


def loss(network, batch):
    x, target = batch
    return (network(x) - target).square().mean()


def test_layers_are_tuned_by_stdb_one_after_the_other():
    torch.manual_seed(0)
    stack, x = linear_stack(0, (6, 24, 24, 5)), torch.randn(32, 6)
    batches = [(x, stack(x).detach())]
    settings = ConversionSettings(window=12, max_epochs=8, patience=8, lr=3e-3, learning="stdb", coding="constant")
    seen = []
    run = ProgressiveTandemLearning(
        nn.Sequential(stack), stack, [], loss, lambda layer: batches, batches, settings, log=lambda line: None
    )
    reports = []
    for so_far in run.layers():
        reports = so_far
        seen.append([type(layer).__name__ for layer in stack.layers])
    assert seen[0] == ["SpikingLayer", "AnalogLayer", "AnalogLayer"] and stack.converted == 3
    assert all(report.loss_tuned <= report.loss_converted for report in reports)
    assert reports[-1].loss_tuned < 0.7 * sum(report.loss_converted - report.loss_before for report in reports)


def test_the_rule_makes_the_layer_that_is_tuned():
    stack, x = linear_stack(0), torch.randn(8, 6)
    settings = ConversionSettings(window=8, learning="stdb")
    batches = [(x, stack(x).detach())]
    run = ProgressiveTandemLearning(nn.Sequential(stack), stack, [], loss, lambda layer: batches, batches, settings)
    assert isinstance(run.put_in_tandem(0), StdbLayer)
