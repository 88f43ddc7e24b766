from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.neurons.integrate_and_fire import IntegrateAndFire
from separator.snn.spikes.binary import BinarySpikes
from tests.snn.nets import if_numbers

# Multiples of 1/64 well below 2^24 of them: exact in float32, so that equality can be asked for.
grid = st.integers(-2000, 2000).map(lambda n: n / 64)
thresholds = st.integers(1, 500).map(lambda n: n / 64)


def stepwise(currents, numbers):
    """Spikes of each step; more steps than a window has as a chain of windows."""
    state, trains = None, []
    for window in currents.split(32):
        spikes, state = IntegrateAndFire().run(window, numbers, state)
        trains.append(spikes.trains())
    return torch.cat(trains)


def published_spikes(currents, threshold, start):
    """Eq. 4 and 5 as printed, in rational arithmetic: the threshold of the last spike is subtracted with the next current."""
    v, s, spikes = Fraction(start), 0, []
    for z in currents:
        v = v + Fraction(z) - Fraction(threshold) * s
        s = int(v - Fraction(threshold) >= 0)
        spikes.append(s)
    return spikes


@given(st.lists(grid, min_size=1, max_size=40), thresholds, st.sampled_from([0.0, 0.5]))
def test_spikes_are_those_of_the_published_equations(currents, threshold, start):
    neurons = if_numbers(torch.tensor([threshold]), torch.tensor([threshold * start]))
    trains = stepwise(torch.tensor(currents)[:, None], neurons)
    assert trains[:, 0].tolist() == published_spikes(currents, threshold, threshold * start)


@given(grid, thresholds, st.sampled_from([0.0, 0.5]), st.integers(1, 32))
def test_charge_fires_its_floor_first(charge, threshold, start, window):
    neurons = if_numbers(torch.tensor([threshold]), torch.tensor([threshold * start]))
    spikes = BinarySpikes(window, counts=IntegrateAndFire().settle(torch.tensor([charge]), neurons, window))
    currents = torch.zeros(window, 1)
    currents[0] = charge
    assert torch.equal(spikes.trains(), stepwise(currents, neurons))
    count = max(0, min(window, (Fraction(charge) + Fraction(threshold * start)) // Fraction(threshold)))
    assert spikes.trains()[:, 0].tolist() == [1.0] * count + [0.0] * (window - count)


@given(st.integers(-800, 800), st.integers(-60, 60), st.integers(1, 100), st.integers(1, 32))
def test_count_of_a_charge_with_constant_current(charge, current, threshold, window):
    """Closed forms: clip(floor((V + bT) / theta), 0, T) for 0 <= b <= theta, clip(floor(V / (theta - b)), 0, T) for b < 0."""
    current = min(current, threshold)
    currents = torch.full((window, 1), float(current))
    currents[0] += charge
    neurons = if_numbers(torch.tensor([float(threshold)]), torch.zeros(1))
    floor = (charge + current * window) // threshold if current >= 0 else charge // (threshold - current)
    assert int(stepwise(currents, neurons).sum()) == max(0, min(window, floor))
