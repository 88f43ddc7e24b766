from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.errors import UserError
from separator.snn.conversion.hardware import HardwareProfile, needed_bits
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.dynamics import Dynamics
from tests.snn.nets import conv2d_stack


@given(st.lists(st.integers(-(2**15) + 1, 2**15 - 1), min_size=1, max_size=8), st.integers(-40, 40))
def test_bits_are_those_of_the_smallest_signed_integers(numbers, exponent):
    """Halve until a number is odd, then count."""
    smallest = list(numbers)
    while any(smallest) and all(n % 2 == 0 for n in smallest):
        smallest = [n // 2 for n in smallest]
    expected = max(abs(n) for n in smallest).bit_length() + 1
    assert needed_bits(torch.tensor([numbers]).double() * 2.0**exponent) == expected


def network(bits=None, encoder_bits=16):
    stack = conv2d_stack(0)
    x = torch.randn(1, 2, 6, 5)
    stack.convert(x, Dynamics(8, weight_bits=bits, encoder_bits=encoder_bits))
    return nn.Sequential(stack), stack, x


def test_a_network_is_verified_on_its_integers():
    model, stack, x = network()
    rows = HardwareProfile(fan_in=36, window=8, neurons=120).verify(model, stack, x)
    assert [row["neurons"] for row in rows] == [4 * 6 * 5, 4 * 3 * 3, 3 * 3 * 3]
    assert [row["fan_in"] for row in rows] == [2 * 9, 4 * 9, 4 * 3]
    rows = HardwareProfile(weight_bits=5).verify(*network(4, 5))
    assert rows[0]["weight_bits"] <= 5 and max(row["weight_bits"] for row in rows[1:]) <= 4


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"weight_bits": 4}, "layer 0 does not fit the hardware: weight_bits is 16, not at most 4"),
        ({"fan_in": 20}, "layer 1 .* fan_in is 36"),
        ({"window": 7}, "layer 0 .* window is 8"),
        ({"neurons": 119}, "layer 0 has 120 neurons; the hardware takes 119"),
    ],
)
def test_what_does_not_fit_is_named(limits, words):
    model, stack, x = network()
    with pytest.raises(UserError, match=words):
        HardwareProfile(**limits).verify(model, stack, x)


def test_rooms_are_those_of_spiking_networks():
    stack = conv2d_stack(0)
    with pytest.raises(UserError, match="3 layers of the stack are not spiking; convert them first"):
        HardwareProfile().verify(nn.Sequential(stack), stack, torch.randn(1, 2, 6, 5))


def test_a_network_is_measured_whatever_is_around_its_stack():
    front = nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")
    network = nn.Sequential(front, conv2d_stack(0), nn.ConvTranspose2d(3, 1, 2))
    assert HardwareProfile(neurons=120).check_sizes(network, torch.randn(1, 3, 6, 5)) == [4 * 6 * 5, 4 * 3 * 3, 3 * 3 * 3]


@pytest.mark.parametrize(
    "limits", [{"weight_bits": 1}, {"fan_in": 0}, {"window": 0}, {"neurons": 0}, {"neurons": -5}, {"neurons": 1.5}]
)
def test_limits_that_no_network_keeps_to(limits):
    with pytest.raises(UserError, match=f"{next(iter(limits))} is a whole number of at least"):
        HardwareProfile(**limits)


def test_a_chip_may_take_more_bits_than_weights_ever_have():
    profile = HardwareProfile(weight_bits=32)
    settings = profile.constrained(ConversionSettings(encoder_bits=12))
    assert (settings.weight_bits, settings.encoder_bits) == (16, 12)
    assert max(row["weight_bits"] for row in profile.verify(*network(16))) <= 16


def test_conversion_keeps_to_the_tighter_limit():
    profile = HardwareProfile(weight_bits=6, fan_in=64, window=16)
    settings = profile.constrained(ConversionSettings(window=16, weight_bits=4))
    assert (settings.weight_bits, settings.encoder_bits, settings.fan_in) == (4, 6, 64)
    assert replace(settings, weight_bits=None, encoder_bits=16, fan_in=None) == ConversionSettings(window=16)
    assert HardwareProfile().constrained(settings) == settings
    with pytest.raises(UserError, match="takes 16 time steps, not 32"):
        profile.constrained(ConversionSettings(window=32))
