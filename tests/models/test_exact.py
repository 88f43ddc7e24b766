import math
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.models import kernels
from separator.models.exact import EightBitLinear, ExactLayerNorm, ExactLinear, masked, sigmoid
from separator.models.tasnet import TasNet, TasNetConfig, small
from separator.snn.execution.chosen import execution
from separator.snn.integers.products import FEW
from separator.snn.stack import reference
from tests.snn.nets import converted, randomised

TINY = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))


def wave(samples, seed=0, scale=0.1, bits=16):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.round(rng.normal(size=(1, samples)) * scale * 2 ** (bits - 1)) / 2 ** (bits - 1)).float()


def calls_of_loops(name):
    return patch.object(kernels, name, wraps=getattr(kernels, name))


def half_even(x: Fraction, largest: Fraction, bits: int) -> Fraction:
    step = Fraction(1)
    while step < largest:
        step *= 2
    while step / 2 >= largest:
        step /= 2
    return round(x * 2**bits / step) * step / 2**bits


@given(st.integers(0, 10**6), st.sampled_from([1e-6, 0.01, 1.0, 3e4]))
def test_sums_equal_rational_arithmetic(seed, scale):
    torch.manual_seed(seed)
    layer, frames = ExactLinear(8, 5, bias=False), wave(24, seed, scale)[0].view(3, 8)
    loudest = max(Fraction(w) for w in layer.weight.abs().flatten().tolist())
    rows = [[half_even(Fraction(w), loudest, 15) for w in row] for row in layer.weight.tolist()]
    for frame, sums in zip(frames.tolist(), layer(frames, layer.in_steps()).tolist(), strict=True):
        largest = max(*(abs(Fraction(x)) for x in frame), Fraction(1, 2**100))
        samples = [half_even(Fraction(x), largest, 29) for x in frame]
        assert [Fraction(value) for value in sums] == [sum(x * w for x, w in zip(samples, row, strict=True)) for row in rows]


def test_bias_is_added_once_and_rounded_once():
    layer, frame = ExactLinear(2, 1), torch.tensor([[0.5, 0.25]])
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 0.5]]), torch.tensor([0.1])
    assert layer(frame, layer.in_steps()).item() == 0.625 + layer.bias.double().item()


@pytest.mark.parametrize("inputs", [2, 256, 257, 4096])
def test_sums_of_the_largest_terms_are_not_rounded(inputs):
    layer = ExactLinear(inputs, 1, bias=False)
    layer.weight.data.fill_(1.0)
    for frame in (torch.ones(1, inputs), torch.linspace(0.9, 1, inputs)[None]):
        bits = min(29, 52 - 15 - (inputs - 1).bit_length())
        whole = sum(half_even(Fraction(x), Fraction(1), bits) for x in frame[0].tolist())
        assert Fraction(layer(frame, layer.in_steps()).item()) == whole


@pytest.mark.parametrize("inputs", [1, 24, 300])
def test_8_bit_sums_equal_plain_integers(inputs):
    """Also with one input, which int8 matrix products do not take."""
    torch.manual_seed(inputs)
    layer = EightBitLinear(inputs, 5)
    frames = torch.rand(2, 3, inputs) * torch.tensor([1e-3, 1.0, 0.0])[:, None]
    one = np.float32(1)
    for frame, outputs in zip(frames.view(6, -1).numpy(), layer(frames, layer.eight_bits()).view(6, -1).tolist(), strict=True):
        step = max(frame.max() / np.float32(127), np.float32(2.0**-123))
        counts = [round(float(x / step)) for x in frame]
        for row, bias, output in zip(layer.weight.detach().numpy(), layer.bias.detach().numpy(), outputs, strict=True):
            weight_step = np.abs(row).max() / np.float32(127)
            total = sum(count * round(float(w / weight_step)) for count, w in zip(counts, row, strict=True))
            assert output == one * total * step * weight_step + bias


def test_8_bit_layers_are_close_to_the_ones_that_learned():
    torch.manual_seed(0)
    layer, frames = EightBitLinear(128, 40), torch.randn(50, 128).relu() * torch.logspace(-3, 3, 50)[:, None]
    learned = layer(frames)
    assert ((layer(frames, layer.eight_bits()) - learned).norm(dim=1) < 0.02 * learned.norm(dim=1)).all()


@pytest.mark.parametrize("x", [-1e9, -20, -16, -3.0001, -(2**-11), 0, 2**-11, 1.5 * 2**-10, 0.3, 7.7, 16, 1e30])
def test_sigmoid_is_that_of_the_nearest_step(x):
    nearest = max(-16, min(16, round(Fraction(x) * 2**10) / 2**10))
    expected = round(2**20 / (1 + math.exp(-nearest))) / 2**20
    assert sigmoid(torch.tensor([x], dtype=torch.float64)).item() == expected


def test_sigmoid_is_close_to_the_one_that_learned():
    x = torch.linspace(-30, 30, 10_001, dtype=torch.float64)
    assert (sigmoid(x) - x.sigmoid()).abs().max() < 2**-12


@given(st.integers(0, 10**6), st.integers(1, 70), st.sampled_from([0, -20, -45, 15]))
def test_compiled_loops_equal_single_operations(seed, rows, exponent):
    """Also on silent frames, and on numbers so small that they have lost bits."""
    rng = torch.Generator().manual_seed(seed)
    mask, decoder, norm = EightBitLinear(6, 2 * 24), ExactLinear(24, 5, bias=False), ExactLayerNorm(24, eps=1e-8)
    for parameter in (*mask.parameters(), *decoder.parameters(), *norm.parameters()):
        torch.nn.init.normal_(parameter, std=3, generator=rng)
    levels = torch.rand(rows, 1, generator=rng).round() * 10.0 ** (exponent * torch.rand(rows, 1, generator=rng))
    seen, features = torch.randn(rows, 6, generator=rng), torch.randn(rows, 24, generator=rng).double().relu() * levels
    with calls_of_loops("masked_linear" if rows <= FEW else "mask") as calls:
        loops = masked(mask, decoder, seen, features), norm(features, exact=True)
        assert calls.call_count == 1
        with execution("dense"):
            operations = masked(mask, decoder, seen, features), norm(features, exact=True)
        assert calls.call_count == 1
    assert all(torch.equal(*pair) for pair in zip(loops, operations, strict=True))
    for row, arguments in enumerate(mask(seen, mask.eight_bits()).view(rows, 2, 24)):
        sources = sigmoid(arguments) * features[row].float()
        assert torch.equal(loops[0][row], decoder(sources, decoder.in_steps()))


@given(st.integers(0, 10**6), st.integers(1, 2 * FEW), st.integers(1, 9), st.booleans(), st.sampled_from([0, -20, -45, 15]))
def test_few_frames_have_the_sums_of_many(seed, rows, inputs, bias, exponent):
    rng = torch.Generator().manual_seed(seed)
    layer, frames = ExactLinear(inputs, 7, bias), torch.randn(rows, inputs, generator=rng)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=3, generator=rng)
    frames *= torch.rand(rows, 1, generator=rng).round() * 10.0 ** (exponent * torch.rand(rows, 1, generator=rng))
    weights = layer.in_steps()
    with calls_of_loops("linear") as calls:
        found = layer(frames, weights)
        assert calls.call_count == int(rows <= FEW)
        with execution("dense"):
            assert torch.equal(layer(frames, weights), found)


@pytest.mark.parametrize("rows", [9, FEW + 1])
def test_an_argument_that_is_no_number_reads_nothing_beside_the_table(rows):
    mask, decoder = EightBitLinear(6, 24), ExactLinear(24, 5, bias=False)
    seen, features = torch.rand(rows, 6), torch.rand(rows, 24, dtype=torch.float64)
    found = []
    for bias in (math.nan, 1e9):
        mask.bias.data.fill_(bias)
        found.append(masked(mask, decoder, seen, features))
    assert torch.equal(*found)


def test_layers_that_are_watched_are_called():
    mask, decoder = EightBitLinear(6, 2 * 24), ExactLinear(24, 5, bias=False)
    seen, features = torch.rand(9, 6), torch.rand(9, 24, dtype=torch.float64)
    calls = []
    with calls_of_loops("masked_linear") as by_loops_calls:
        by_loops = masked(mask, decoder, seen, features)
        for layer in (mask, decoder):
            layer.register_forward_hook(lambda layer, inputs, output: calls.append((layer, output.shape[:-1].numel())))
        assert torch.equal(masked(mask, decoder, seen, features), by_loops)
        assert by_loops_calls.call_count == 1 and calls == [(mask, 9), (decoder, 18)]


def test_exact_layers_are_the_ones_that_learned():
    torch.manual_seed(0)
    frames = torch.randn(2, 9, 16) * torch.logspace(-4, 2, 9)[:, None]
    linear, norm = ExactLinear(16, 48, bias=False), ExactLayerNorm(48, eps=1e-8)
    norm.weight.data.uniform_(0.5, 2)
    norm.bias.data.uniform_(-1, 1)
    features = linear(frames)
    torch.testing.assert_close(linear(frames, linear.in_steps()).float(), features, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(norm(features, exact=True), norm(features), rtol=1e-4, atol=1e-4)
    for constant in (0.0, 1e4):  # of which the variance is 0
        torch.testing.assert_close(norm(torch.full((1, 48), constant), exact=True)[0], norm.bias, rtol=0, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("config", [TINY, small()], ids=["tiny", "small"])
def test_what_the_stack_sees_depends_on_its_frame_alone(config, threads):
    """The same bits alone and in company, and in whatever order sums are taken."""
    network = TasNet(config).eval()
    x = torch.cat([wave(4000, seed) for seed in range(5)])
    converted(network.stack, network.stack_input(network.encode(x)), 4, 0.5)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    together = network.stack_input(network.encode(x))
    alone = torch.cat([network.stack_input(network.encode(one[None])) for one in x])
    start, stop = 10 * config.stride, 10 * config.stride + 7 * config.stride + config.filter_length
    part = network.stack_input(network.encode(x[:, start:stop]))
    torch.set_num_threads(before)
    assert torch.equal(alone, together)
    assert torch.equal(part, together[..., 10 : 10 + part.shape[-1]])
    frames = x.unfold(-1, config.filter_length, config.stride)
    samples, channels = torch.randperm(config.filter_length), torch.randperm(config.filters)
    features = network.encoder(frames, network.encoder.in_steps())
    normalised = network.norm(features, exact=True)
    network.encoder.weight.data = network.encoder.weight.data[:, samples]
    assert torch.equal(network.encoder(frames[..., samples], network.encoder.in_steps()), features)
    network.norm.weight.data, network.norm.bias.data = network.norm.weight.data[channels], network.norm.bias.data[channels]
    assert torch.equal(network.norm(features[..., channels], exact=True), normalised[..., channels])


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_separation_network_equals_the_reference(schedule):
    torch.manual_seed(1)
    network = TasNet(TINY).eval()
    for layer in network.stack.layers:
        randomised(layer)
    x = wave(400)
    seen = network.stack_input(network.encode(x))
    converted(network.stack, seen, 8, 0.5, channelwise=True, schedule=schedule, weight_bits=8)
    seen = network.stack_input(network.encode(x))
    layers = network.stack.spiking_layers()
    potential = torch.from_numpy(reference.simulate(layers, seen)).float() * layers[-1].quantum.view(1, -1, 1, 1)
    assert torch.equal(network.stack(seen), potential.relu())


def test_training_takes_the_path_that_gradients_go_through():
    network = TasNet(TINY)
    x = wave(400)
    converted(network.stack.eval(), network.stack_input(network.encode(x)), 4, 0.5)
    network.stack.unfreeze()
    exact = network.eval()(x)
    network.train()
    network.encoder.weight.grad = None
    trained = network(x)
    trained.sum().backward()
    assert network.encoder.weight.grad.abs().sum() > 0
    assert (trained - exact).abs().max() < 0.2 * exact.abs().max()
