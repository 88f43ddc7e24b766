import pytest

from separator.metrics.energy import COSTS, FLOAT32, INT8, INT32, dense_energy, spiking_energy


def test_costs_are_those_of_horowitz():
    per_mac = {cost.name: cost.multiply_accumulate for cost in COSTS}
    assert per_mac == pytest.approx({"fp32": 4.6, "int32": 3.2, "int8": 0.23})
    assert [cost.add for cost in (FLOAT32, INT32, INT8)] == [0.9, 0.1, 0.03]


def test_energy_is_operations_times_cost():
    assert dense_energy(1000, FLOAT32) == pytest.approx(4600)
    assert spiking_energy(1000, FLOAT32) == pytest.approx(900)
