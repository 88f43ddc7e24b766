"""Thresholds that layers of a chain have in common: the identity passes spikes one for one."""

import pytest
import torch
from torch import nn

from separator.snn.conversion.progressive import ProgressiveTandemLearning
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.learning.tandem import TandemLayer
from separator.snn.stack.chains import chain_from
from separator.snn.stack.stack import outcomes
from tests.snn.nets import conv2d_stack, skipping_conv1d_stack, skipping_conv2d_stack

SETTINGS = ConversionSettings(
    window=4,
    initial_potential=0.5,
    schedule="layer-by-layer",
    channelwise=True,
    share_thresholds=True,
    weight_bits=8,
    max_epochs=0,
)


def batches(seed, count=4):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, 3, 11, generator=generator) for _ in range(count)]


TRAIN = batches(1)


def loss(network, x):
    return (network(x) - 1).square().mean()


def converted(settings=SETTINGS, **changes):
    network = nn.Sequential(skipping_conv1d_stack(0))
    settings = ConversionSettings(**{**settings.__dict__, **changes})
    engine = ProgressiveTandemLearning(
        network, network[0], [], loss, lambda layer: TRAIN, batches(2), settings, log=lambda line: None
    )
    engine.run()
    return network[0]


def test_chains_end_where_a_layer_does_not_add_its_input():
    stack = skipping_conv1d_stack()
    layers = list(stack.layers)
    assert chain_from(layers, stack.sources, 0) == layers[:3]  # a readout has no threshold
    stack = skipping_conv2d_stack()
    mixed = list(stack.layers)  # the third one's shortcut has weights of its own
    assert chain_from(mixed, stack.sources, 0) == mixed[:2]
    assert chain_from(mixed, stack.sources, 2) == mixed[2:3]
    plain = list(conv2d_stack().layers)
    assert chain_from(plain, conv2d_stack().sources, 1) == plain[1:2]


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_an_incoming_spike_adds_the_threshold_of_the_neuron_at_its_place(bits):
    first, *others, last = converted(weight_bits=bits).spiking_layers()
    for layer in others:
        assert (layer.scale - first.scale).abs().le(layer.quantum).all()
        assert torch.equal(layer.shortcut[:, 0], layer.threshold)
    assert (last.shortcut[:, 0] * last.quantum - others[-1].scale).abs().le(last.quantum / 2).all()


def test_without_other_input_the_chain_hands_spikes_on_as_they_are():
    stack = converted()
    for layer in stack.spiking_layers()[1:-1]:
        layer.weight.zero_()
        layer.bias.zero_()
    trains = outcomes(stack, torch.randn(5, 3, 11))[:-1]
    assert trains[0].any()
    assert all(torch.equal(train, trains[0]) for train in trains[1:])


def test_the_bound_is_that_of_all_activations_of_the_chain():
    stack = skipping_conv1d_stack(0)
    seen = []
    with torch.no_grad():
        for x in TRAIN:
            for layer in stack.layers[:-1]:
                x = layer(x)
                seen.append(x.transpose(0, 1).flatten(1))
    largest = torch.cat(seen, 1).amax(1)
    scale = converted(percentile=100.0).spiking_layers()[0].scale
    torch.testing.assert_close(scale * 4, largest, rtol=2**-7, atol=0)


def test_free_thresholds_differ():
    first, second, *_ = converted(share_thresholds=False).spiking_layers()
    assert not torch.equal(first.scale, second.scale)


def test_a_chain_that_learns_keeps_one_threshold():
    stack = converted()
    before = stack.spiking_layers()[0].scale.clone()
    expected = stack(TRAIN[0])
    stack.unfreeze(learn_thresholds=True)
    layers = list(stack.layers)
    assert all(isinstance(layer, TandemLayer) for layer in layers)
    assert torch.equal(stack(TRAIN[0]), expected)
    optimiser = torch.optim.Adam(stack.parameters(), 0.05)
    for x in TRAIN:
        optimiser.zero_grad()
        loss(stack, x).backward()
        optimiser.step()
    stack.freeze()
    first, *others, _ = stack.spiking_layers()
    assert not torch.equal(first.scale, before)
    assert all(layer.passes_spikes and (layer.scale - first.scale).abs().le(layer.quantum).all() for layer in others)


def test_a_chain_whose_head_is_frozen_keeps_its_threshold():
    stack = converted(passes=2, max_epochs=1, learn_thresholds=True, lr=0.05)
    first, *others, _ = stack.spiking_layers()
    assert all(isinstance(layer, SpikingLayer) and layer.passes_spikes for layer in others)
    assert all((layer.scale - first.scale).abs().le(layer.quantum).all() for layer in others)


def test_conversion_at_once_shares_thresholds_too():
    x = torch.cat(TRAIN)
    stack = skipping_conv1d_stack(0)
    stack.convert(x, SETTINGS.dynamics, SETTINGS.percentile, channelwise=True, share=True)
    first, *others, _ = stack.spiking_layers()
    assert all(layer.passes_spikes for layer in others)
    torch.testing.assert_close(first.scale, converted().spiking_layers()[0].scale, rtol=1e-2, atol=0)
    free = skipping_conv1d_stack(0)
    free.convert(x, SETTINGS.dynamics, SETTINGS.percentile, channelwise=True)
    assert not any(layer.passes_spikes for layer in free.spiking_layers())
