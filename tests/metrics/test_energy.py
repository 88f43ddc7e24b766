import pytest

from separator.metrics.energy import (
    COSTS,
    FLOAT32,
    INT8,
    INT32,
    dense_energy,
    energy_ratio,
    relative_cost,
    spiking_energy,
)


def test_costs_are_those_of_horowitz():
    per_mac = {cost.name: cost.multiply_accumulate for cost in COSTS}
    assert per_mac == pytest.approx({"fp32": 4.6, "int32": 3.2, "int8": 0.23})
    assert [cost.add for cost in (FLOAT32, INT32, INT8)] == [0.9, 0.1, 0.03]


def test_energy_is_operations_times_cost():
    assert dense_energy(1000, FLOAT32) == pytest.approx(4600)
    assert spiking_energy(1000, FLOAT32) == pytest.approx(900)


def test_energy_of_networks_in_additions():
    """Wu et al. 2021, section 5.5: 0.315 times the operations, each 14 times cheaper, save more than 40 times."""
    assert relative_cost().multiply_accumulate == 14
    assert energy_ratio(315, 0, 1000, relative_cost()) == pytest.approx(0.315 / 14)
    assert 1 / energy_ratio(315, 0, 1000, relative_cost()) > 40
    assert energy_ratio(300, 100, 1000, relative_cost(5)) == pytest.approx((300 + 500) / 5000)
    assert energy_ratio(300, 100, 1000, FLOAT32) == pytest.approx((300 * 0.9 + 100 * 4.6) / 4600)
