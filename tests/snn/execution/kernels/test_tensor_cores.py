import importlib.util
import re
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from separator.snn.execution import event_driven
from separator.snn.execution.chosen import execution
from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.stack import reference
from separator.snn.synapses.affine import AffineMap
from tests.snn.nets import if_numbers

triton = pytest.importorskip("triton")
compiler = pytest.importorskip("triton.backends.compiler")
interpreter = pytest.importorskip("triton.runtime.interpreter")
testing = pytest.importorskip("triton.testing")

NAME = "separator.snn.execution.kernels.tensor_cores"
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
# The interpreter takes its time. Of channels: one tile of them and two.
EXAMPLES, LENGTH = (400, 20) if GPU else (12, 8)
COUNTS = st.integers(1, 200) if GPU else st.integers(1, 12) | st.integers(62, 67)
WINDOWS = st.integers(1, 32) if GPU else st.integers(1, 9) | st.just(32)


def fresh_module():
    """A copy of the module, its kernel compiled or interpreted as the environment says now."""
    spec = importlib.util.find_spec(NAME)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mended(patch_tensor):
    """The interpreter makes a whole number of an array of one element in a way that numpy 2.4 refuses."""

    def patched(tensor, scope):
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    return patched


@pytest.fixture(scope="module")
def module():
    """The kernel, for layers on a GPU; where there is none, through Triton's interpreter and for layers on the CPU."""
    if GPU:
        yield importlib.import_module(NAME)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang_tensor", mended(interpreter._patch_lang_tensor))
        patch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
        with pytest.MonkeyPatch.context() as now:
            now.setenv("TRITON_INTERPRET", "1")
            interpreted = fresh_module()
        patch.setitem(sys.modules, NAME, interpreted)
        patch.setitem(event_driven.MAKERS, "cpu", event_driven.MAKERS["cuda"])
        yield interpreted


@st.composite
def layers(draw):
    """A layer of random integers of 8, 16 and more bits, small enough for its potentials, and the shape of its input."""
    kind, dimensions = draw(st.sampled_from([(nn.Linear, 0), (nn.Conv1d, 1), (nn.Conv2d, 2)]))

    def each(values):
        return tuple(draw(values) for _ in range(dimensions))

    small, pad = st.integers(1, 3), st.integers(0, 4)
    apply = AffineMap(kind, each(small), each(st.tuples(pad, pad)), each(small))
    taps, inputs, outputs, window = each(small), draw(COUNTS), draw(COUNTS), draw(WINDOWS)
    shape = (draw(st.integers(1, 3)), inputs, *each(st.integers(7, LENGTH)))
    dtype = draw(st.sampled_from([torch.int8, torch.int16, torch.int32]))
    limit = min(torch.iinfo(dtype).max, 2**24 // (window * (inputs * int(np.prod(taps)) + 7)) - 1)
    torch.manual_seed(draw(st.integers(0, 10**6)))
    weight = torch.randint(-limit, limit + 1, (outputs, inputs, *taps), dtype=dtype)
    bias = torch.randint(-limit, limit + 1, (outputs,), dtype=torch.int32)
    threshold = torch.randint(1, 3 * limit + 2, (outputs,), dtype=torch.int32)
    neurons = if_numbers(threshold, (threshold * draw(st.sampled_from([0.0, 0.5]))).to(torch.int32))
    return SpikingLayer(apply, "fire", weight, bias, neurons, torch.ones(outputs), Dynamics(window)), shape


def by_reference(layer, trains):
    """Packed trains that the reference fires on spikes (N_s, B, ...)."""
    currents = reference.currents(layer, trains.numpy().astype(np.int64))
    return BinarySpikes.pack(torch.from_numpy(reference.fire(layer, currents))).words


@settings(max_examples=EXAMPLES)
@given(layers(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_layers_of_every_kind_fire_what_the_reference_does(module, made, rate):
    layer, shape = made
    trains = (torch.rand(layer.window, *shape) < rate).float()
    expected = by_reference(layer, trains)
    layer.to(DEVICE)
    assert layer.compiled_for("event-driven", False).kernel.args[0].func is module.fire_layer
    assert torch.equal(layer.fire(BinarySpikes.pack(trains).to(DEVICE)).words.cpu(), expected)


@pytest.mark.parametrize("weight", [1, 127, 128, 255, 2**15 - 1, 2**15, 2**23 - 1, 2**23, 2**24])
def test_weights_of_every_size_count_in_full(module, weight):
    """Where they have one signed byte more or less, and the largest there are."""
    weights = torch.tensor([[weight, -weight]], dtype=torch.int32)
    neurons = if_numbers(torch.tensor([weight], dtype=torch.int32), torch.zeros(1, dtype=torch.int32))
    bias = torch.zeros(1, dtype=torch.int32)
    layer = SpikingLayer(AffineMap(nn.Linear), "fire", weights, bias, neurons, torch.ones(1), Dynamics(8)).to(DEVICE)
    words = torch.tensor([[0b1011_0110, 0b0010_0001]], dtype=torch.int32, device=DEVICE)
    assert (
        layer.fire(BinarySpikes(8, words)).words.item() == 0b1001_0100
    )  # by hand: one spike less, and one that comes to nothing


def test_grouped_layers_are_left_to_dense_ones(module):
    layer = SpikingLayer.convert(AnalogLayer(nn.Conv1d(4, 4, 3, groups=2)), "fire", torch.ones(1), torch.ones(1), Dynamics(4))
    assert layer.to(DEVICE).compiled_for("event-driven", False) is None


def test_a_gpu_is_used_once_it_has_computed_right(module, monkeypatch):
    again = module.exact_on.__wrapped__
    assert again(DEVICE)

    class Wrong:
        def __getitem__(self, grid):
            return lambda *arguments, **options: arguments[5].zero_()

    monkeypatch.setattr(module, "_fire", Wrong())
    with pytest.warns(UserWarning, match="wrong spikes"):
        assert not again(DEVICE)
    monkeypatch.setattr(module, "_fire", None)
    with pytest.warns(UserWarning, match="slower there: TypeError"):
        assert not again(DEVICE)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not again(DEVICE)


@pytest.mark.parametrize(
    ("capability", "product"), [(80, r"mma\.sync\S*\.s32\.s8\.s8\.s32"), (90, r"wgmma\.mma_async\S*\.s32\.s8\.s8")]
)
def test_kernel_compiles_to_products_of_8_bit_integers(capability, product, monkeypatch, tmp_path):
    """The interpreter takes more than the compiler does; no GPU is needed for this."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    target = compiler.GPUTarget("cuda", capability, 32)
    driver = SimpleNamespace(
        get_current_device=lambda: 0, get_current_stream=lambda device: 0, get_current_target=lambda: target
    )
    fresh, compiled = fresh_module(), []
    kernel = fresh._fire

    class WithoutLaunch:
        def __getitem__(self, grid):
            return lambda *arguments, **options: compiled.append(kernel.warmup(*arguments, grid=grid, **options))

    monkeypatch.setattr(fresh, "_fire", WithoutLaunch())
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    one = torch.ones(1, dtype=torch.int32)
    module = fresh.tensor_core_layer(1000 * one.view(1, 1, 1, 1), one, one, one)
    fresh.fire_layer(module, Geometry(), one.view(1, 1, 1, 1), (1, 1), 1)
    text = compiled[0].asm["ptx"]
    assert re.search(product, text)
    assert "cp.async.cg.shared.global" in text  # weights and spikes are fetched 16 bytes at once
    assert not re.search(r"ld\.global\S*\.[bsu]8", text)


@pytest.mark.skipif(not GPU, reason="needs a GPU")
@pytest.mark.parametrize("window", [4, 8, 32])
@pytest.mark.parametrize(("channels", "frames", "bits"), [(128, 1000, None), (128, 1000, 8), (512, 3200, 8)])
def test_layers_as_in_the_shipped_networks_on_a_gpu(channels, frames, bits, window):
    """Prints times for 4 s of sound with -s."""
    torch.manual_seed(0)
    module = nn.Conv2d(channels, channels, (1, 3), padding=(0, 16), dilation=(1, 16))
    dynamics = Dynamics(window, weight_bits=bits)
    layer = SpikingLayer.convert(AnalogLayer(module), "fire", torch.ones(1), torch.tensor([0.2]), dynamics)
    trains = (torch.rand(window, 1, channels, 1, frames) < 0.2).float()
    part = slice(frames - 40, frames)  # the last outputs see no more than this
    expected = by_reference(layer, trains[..., part])[..., 16:]
    layer.to(DEVICE)
    incoming = BinarySpikes.pack(trains).to(DEVICE)
    words = layer.fire(incoming).words
    assert torch.equal(words.cpu()[..., part][..., 16:], expected)
    fused = testing.do_bench(partial(layer.fire, incoming))
    with execution("dense"):  # all steps folded into the batch of a dense layer
        assert torch.equal(layer.fire(incoming).words, words)
        folded = testing.do_bench(partial(layer.fire, incoming))
    print(f"\n{channels} channels, weights of {bits or 24} bits, {window} steps: {fused:.3f} ms, folded {folded:.3f} ms")
