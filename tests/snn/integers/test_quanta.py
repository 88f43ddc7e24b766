from fractions import Fraction

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.integers.quanta import EXACT, divided, potential_bound, potential_quantum, snap


@given(st.floats(1e-6, 1e6), st.integers(0, 10**6))
def test_sums_on_the_grid_do_not_depend_on_order(scale, seed):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.normal(size=(4, 300)).astype(np.float32) * np.float32(scale))
    bias = weight[:, 0].clone()
    threshold = weight.abs().mean().view(1)
    step = potential_quantum(potential_bound(weight, bias, threshold, 32))
    snapped = snap(weight, step)
    integers = (snapped.double() / step[:, None]).numpy()
    assert np.array_equal(integers, np.round(integers))
    spikes = rng.integers(0, 2, size=(300, 32))
    exact = (integers.astype(np.int64) @ spikes.astype(np.int64)).sum(1)
    assert np.abs(exact).max() < EXACT
    order = torch.from_numpy(rng.permutation(300))
    total = torch.zeros(4)
    for t in range(32):
        total = total + snapped[:, order] @ torch.from_numpy(spikes[:, t]).float()[order]
    assert np.array_equal((total.double() / step).numpy(), exact.astype(np.float64))


@given(st.integers(-(2**52), 2**52), st.integers(1, 2**20))
def test_quotients_are_rounded_once(whole, number):
    for device in ("cpu", *["cuda"] * torch.cuda.is_available()):
        assert float(divided(torch.tensor([whole], dtype=torch.float64, device=device), number)) == float(
            Fraction(whole, number)
        )


@given(st.floats(1e-20, 1e20))
def test_step_is_the_smallest_power_of_two_that_fits(largest):
    step = float(potential_quantum(torch.tensor(largest, dtype=torch.float64)))
    assert np.log2(step) == round(np.log2(step))
    assert largest <= step * EXACT / 2 < largest * 2 * (1 + 1e-12)
