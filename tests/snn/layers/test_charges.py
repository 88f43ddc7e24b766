from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.execution.chosen import execution
from separator.snn.execution.kernels import charges
from separator.snn.integers.products import FEW
from separator.snn.layers.analog import AnalogLayer
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.stack import reference
from separator.snn.synapses.affine import AffineMap
from tests.snn.nets import randomised

AFFINE = {
    "linear": (lambda: nn.Linear(7, 5), (7,)),
    "pointwise": (lambda: nn.Conv2d(7, 5, 1), (7, 1, 3)),
    "taps": (lambda: nn.Conv2d(7, 5, (1, 3), padding=(0, 2), dilation=(1, 2)), (7, 1, 4)),
    "strided": (lambda: nn.Conv1d(7, 5, 2, stride=2), (7, 8)),
}


def encoding(kind, seed, window=4):
    torch.manual_seed(seed)
    layer, scale = AnalogLayer(AFFINE[kind][0]()).eval(), torch.rand(5) + 0.1
    with torch.no_grad():
        return SpikingLayer.convert(layer, "encode", torch.ones(1), scale / window, Dynamics(window, 0.5, "layer-by-layer"))


@given(st.sampled_from(list(AFFINE)), st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1e-5, 1.0, 1e5]))
def test_few_charges_make_the_spikes_of_the_definition(kind, seed, batch, loudness):
    layer, x = encoding(kind, seed), torch.randn(batch, *AFFINE[kind][1]) * loudness
    few = layer._charges_of_few
    assert few is not None and few.serves(x) == (x.numel() <= FEW * 7)
    expected = reference.trains([layer], x)[0]
    assert np.array_equal(layer.encode(x).trains().numpy(), expected)
    assert torch.equal(few(x), layer.charge(x))


def test_loops_serve_where_there_are_few_positions_and_none_was_chosen_away(monkeypatch):
    layer, served = encoding("pointwise", 0), []
    loops = charges.charge
    monkeypatch.setattr(charges, "charge", lambda *arguments: served.append(len(arguments[0])) or loops(*arguments))
    layer.encode(torch.randn(1, 7, 1, FEW))
    layer.encode(torch.randn(1, 7, 1, FEW + 1))
    with execution("dense"):
        layer.encode(torch.randn(1, 7, 1, FEW))
    assert served == [FEW]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("positions", [FEW, FEW + 1])
def test_numbers_that_are_not_finite_are_refused(number, positions):
    layer, x = encoding("pointwise", 0), torch.randn(1, 7, 1, positions)
    x[0, 3, 0, 2] = number
    with pytest.raises(UserError, match="NaN or infinite"):
        layer.encode(x)


@given(st.integers(0, 10**6), st.sampled_from([None, 8]), st.sampled_from([1, 4, 32]), st.integers(1, 12), st.booleans())
def test_the_event_driven_kernel_reads_out_what_is_defined(seed, bits, window, positions, skips):
    torch.manual_seed(seed)
    convolution = nn.Conv2d(6, 6, (1, 3), padding=(0, 2), dilation=(1, 2), bias=False)
    analog = randomised(AnalogLayer(convolution, nn.BatchNorm2d(6), shortcut=nn.Identity() if skips else None)).eval()
    with torch.no_grad():
        layer = SpikingLayer.convert(
            analog, "readout", torch.ones(1) / window, torch.ones(1), Dynamics(window, 0.5, "layer-by-layer", bits)
        )
    spikes = layer.neuron.spikes.pack(torch.randint(0, 2, (window, 2, 6, 1, positions)).float())
    whole = reference.currents(layer, spikes.trains().numpy().astype(np.int64)).sum(0)
    expected = torch.from_numpy(whole).float() * layer.quantum.view(-1, 1, 1)
    with execution("event-driven"):
        found = layer.potential(spikes)
        assert layer.compiled_for("event-driven", False).carries
    assert torch.equal(found, expected) and torch.equal(layer.potential(spikes), expected)


@pytest.mark.parametrize("window", [49, 98, 103, 161])
def test_a_share_is_rounded_as_it_is_defined(window):
    """Ties to even, where a product with the reciprocal falls short of one."""
    dynamics = Dynamics(window, 0.0, "pipelined", coding="constant")
    layer = SpikingLayer.in_integers(AffineMap(nn.Linear), "encode", torch.eye(2), torch.zeros(2), torch.ones(1), dynamics)
    sums = torch.tensor([[1.5, 3.5], [2.5, 4.5]], dtype=torch.float64) * window
    assert layer._rounded_charge(sums, Fraction(1, window)).tolist() == [[2, 4], [2, 4]]
