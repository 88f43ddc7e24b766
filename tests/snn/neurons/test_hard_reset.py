from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.layers.dynamics import Dynamics
from separator.snn.neurons.hard_reset import HardReset
from tests.snn.nets import check_fires_as_defined, if_numbers, linear_stack


@given(st.lists(st.integers(-2000, 2000), min_size=1, max_size=70), st.integers(1, 500), st.sampled_from([0, 0.5]))
def test_spikes_are_those_of_exact_fractions(currents, threshold, start):
    """In chained windows; what is above the threshold at a spike is lost."""
    v, expected = Fraction(threshold) * Fraction(start), []
    for current in currents:
        v += current
        expected.append(int(v >= threshold))
        v = v * (1 - expected[-1])
    numbers, state, trains = if_numbers(torch.tensor([float(threshold)]), torch.tensor([threshold * start])), None, []
    for window in torch.tensor(currents, dtype=torch.float32)[:, None].split(32):
        spikes, state = HardReset().run(window, numbers, state)
        trains.append(spikes.trains())
    assert torch.cat(trains)[:, 0].tolist() == expected


def test_a_network_of_them_fires_what_plain_arithmetic_says():
    """In chained windows, in every layer; it fires less than neurons that keep what is above the threshold."""
    fired = {}
    for neuron in ("hard-reset", "integrate-and-fire"):
        stack, x = linear_stack(), torch.rand(9, 6, generator=torch.Generator().manual_seed(3)) + 0.5
        stack.convert(x, Dynamics(40, coding="constant", neuron=neuron))
        fired[neuron] = int(check_fires_as_defined(stack, x, ("fastest", "dense"))[0].sum())
    assert 0 < fired["hard-reset"] < fired["integrate-and-fire"]
