from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from separator.models import load_model
from separator.models.card import list_models
from separator.snn.stack import reference
from tests.snn.machines import machine

DEMO = Path(__file__).parents[2] / "egs" / "demo" / "mix.wav"
DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]
SPIKING = [card.name for card in list_models() if card.kind == "snn"]


def speech(seconds):
    """Mixed speech of any length, (1, T)."""
    samples, rate = soundfile.read(DEMO, dtype="float32")
    assert rate == 8000
    return torch.from_numpy(np.resize(samples, seconds * rate)[None])


@pytest.fixture(scope="module")
def mixture():
    return speech(4)


@pytest.mark.parametrize("name", SPIKING)
def test_shipped_networks_equal_the_reference(name, mixture):
    network = load_model(name).network
    part = mixture[:, 8000 : 8000 + 12 * network.config.stride]
    seen = network.stack_input(network.encode(part))
    layers = network.stack.spiking_layers()
    potential = torch.from_numpy(reference.simulate(layers, seen)).float() * layers[-1].quantum.view(1, -1, 1, 1)
    assert torch.equal(network.stack(seen), potential.relu())
    for multiplies in (True, False):
        with machine(multiplies):
            there = load_model(name).network
            last = there.stack.spiking_layers()[-1]
            assert (last.sums._products is not None) == (multiplies and last.weight.dtype == torch.int8)
            assert torch.equal(there.stack(seen), potential.relu())


@pytest.mark.parametrize("name", SPIKING)
def test_a_chunk_with_its_receptive_field_fires_the_same(name):
    network = load_model(name).network
    stride, context = network.config.stride, network.config.receptive_field // network.config.stride + 1
    first, last = context + 20, context + 60
    mixture = speech((last + context + 100) * stride // 8000)
    whole = network.stack(network.stack_input(network.encode(mixture)))
    assert whole.abs().max() > 0
    chunk = mixture[:, (first - context) * stride : (last + context) * stride]
    potential = network.stack(network.stack_input(network.encode(chunk)))
    assert torch.equal(potential[..., context : context + 40], whole[..., first:last])


@pytest.mark.parametrize("name", SPIKING)
def test_blocks_of_any_size_give_the_same_bits(name, mixture):
    model = load_model(name)
    stream, sizes = model.stream(), [1, 31, 32, 33, 63, 64, 65, 500, 4000]
    estimates = [stream.push(block) for block in mixture.split([*sizes, mixture.shape[-1] - sum(sizes)], -1)]
    estimates.append(stream.finish())
    assert torch.equal(torch.cat(estimates, -1), model.network(mixture))


@pytest.mark.parametrize("name", SPIKING)
def test_company_threads_and_device_change_nothing(name, mixture):
    network = load_model(name).network
    halves = mixture[:, :24000].view(3, 8000)
    before = torch.get_num_threads()
    for device in DEVICES:
        there = load_model(name, device=device).network
        potential = there.stack(there.stack_input(there.encode(halves.to(device)))).cpu()
        assert torch.equal(potential, network.stack(network.stack_input(network.encode(halves))))
    together = network.stack(network.stack_input(network.encode(halves)))
    torch.set_num_threads(2)
    alone = torch.cat([network.stack(network.stack_input(network.encode(half[None]))) for half in halves])
    torch.set_num_threads(before)
    assert np.array_equal(alone, together)
