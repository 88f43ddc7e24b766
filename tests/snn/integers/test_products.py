import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.snn.integers import products
from separator.snn.integers.products import adds_exactly, matrix_product, multiplies_integers
from separator.snn.synapses.affine import affine_map

# A machine without exact 8-bit products has the others.
TYPES = [torch.int8, torch.float64] if adds_exactly("cpu") else [torch.float64]


@pytest.fixture(autouse=True)
def slow_products_are_served(monkeypatch):
    """Where there are no instructions for them as well: they are to be right everywhere."""
    monkeypatch.setattr(products, "multiplies_integers", adds_exactly)


def layer_of(kind, data):
    small = st.integers(1, 3)
    inputs, outputs = data.draw(st.integers(2, 40)), data.draw(st.integers(1, 40))
    if kind == "linear":
        return nn.Linear(inputs, outputs), (inputs,)
    dims = 1 if kind == "conv1d" else 2
    options = {name: tuple(data.draw(small) for _ in range(dims)) for name in ("stride", "dilation", "kernel_size")}
    options["padding"] = tuple(data.draw(st.integers(0, 4)) for _ in range(dims))
    make = nn.Conv1d if dims == 1 else nn.Conv2d
    return make(inputs, outputs, **options), (inputs, *(data.draw(st.integers(7, 20)) for _ in range(dims)))


@given(
    st.sampled_from(["linear", "conv1d", "conv2d"]),
    st.sampled_from(TYPES),
    st.integers(1, 2),
    st.integers(0, 10**6),
    st.data(),
)
def test_products_are_the_maps(kind, dtype, batch, seed, data):
    layer, shape = layer_of(kind, data)
    torch.manual_seed(seed)
    weight = torch.randint(-128, 128, layer.weight.shape).to(dtype)
    x = torch.randint(-128, 128, (batch, *shape)).to(dtype)
    served = matrix_product(affine_map(layer), weight)
    assert served is not None
    sums = served(x)
    assert sums.dtype == (torch.int32 if dtype == torch.int8 else dtype)
    assert torch.equal(sums.double(), affine_map(layer)(x.double(), weight.double(), None))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("frames", [3, 4, 40, 3000])
@pytest.mark.parametrize("channels", [1, 2, 6, 16])
def test_windows_that_overlap_in_memory(dtype, frames, channels):
    torch.manual_seed(0)
    layer = nn.Conv1d(channels, 6, 3)
    weight = torch.randint(-128, 128, layer.weight.shape).to(dtype)
    x = torch.randint(-128, 128, (1, channels, frames)).to(dtype)
    sums = matrix_product(affine_map(layer), weight)(x)
    assert torch.equal(sums.double(), affine_map(layer)(x.double(), weight.double(), None))


def test_other_layers_are_not_served():
    layer = nn.Conv1d(4, 4, 3, groups=2)
    assert matrix_product(affine_map(layer), layer.weight.to(torch.int8)) is None
    assert matrix_product(affine_map(nn.Linear(1, 2)), torch.ones(2, 1, dtype=torch.int8)) is None


@pytest.mark.parametrize(("vnni", "amx", "served"), [(False, False, False), (True, False, True), (False, True, True)])
def test_integers_are_multiplied_where_there_are_instructions_for_it(monkeypatch, vnni, amx, served):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(products, "adds_exactly", lambda device: True)
    multiplies_integers.cache_clear()
    assert multiplies_integers("cpu") == served
    multiplies_integers.cache_clear()


def test_a_machine_that_saturates_is_found_out(monkeypatch):
    """As instructions do that multiply unsigned by signed bytes and add pairs of products in 16 bits."""
    adds_exactly.cache_clear()

    def saturating(x, weight):
        pairs = ((x.int() + 128)[:, :, None] * weight.int()[None]).unflatten(1, (-1, 2)).sum(2)
        return (pairs.clamp(-(2**15), 2**15 - 1).sum(1) - 128 * weight.int().sum(0)).to(torch.int32)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not adds_exactly("cpu")
    adds_exactly.cache_clear()
