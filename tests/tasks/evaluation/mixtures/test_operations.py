from dataclasses import replace

import pytest

from separator.snn.observe.activity import Activity, LayerActivity
from separator.tasks.evaluation.mixtures.operations import (
    COUNTS,
    KEY,
    activity_rows,
    operations_markdown,
    operations_report,
    total_operations,
)

ACTIVITY = Activity(
    [
        LayerActivity("first", spikes=60, neurons=100, window=4, synaptic_operations=0, macs=1000),
        LayerActivity("middle", spikes=20, neurons=50, window=4, synaptic_operations=600, macs=2000),
        LayerActivity("last", spikes=0, neurons=30, window=4, synaptic_operations=200, macs=500),
    ],
    {"encoder": 300, "charge": 1000, "mask": 700},
)


def as_text(rows):
    """Rows as they come back from a CSV file, where columns that a row lacks are empty."""
    return [{name: str(row.get(name, "")) for name in (*KEY, *COUNTS)} for row in rows]


@pytest.fixture
def operations():
    # The same mixture of 2 s twice: rates per second stay.
    return total_operations((as_text(activity_rows(ACTIVITY)) * 2)[::-1], seconds=4.0)


def test_operations_per_second(operations):
    assert operations.window == 4
    assert operations.synaptic_operations == pytest.approx(800 / 2)
    assert operations.replaced_macs == pytest.approx(ACTIVITY.macs / 2)
    assert operations.float_macs == pytest.approx((300 + 1000 + 700) / 2)
    assert operations.ratio == pytest.approx(ACTIVITY.synaptic_operations / ACTIVITY.macs)
    assert [layer.name for layer in operations.layers] == ["first", "middle", "last", "encoder", "mask"]
    assert [layer.rate for layer in operations.layers] == [60 / 400, 20 / 200, None, None, None]
    assert operations.spikes == pytest.approx(80 / 2)
    assert operations.spikes_per_neuron == pytest.approx(80 / 150)


def test_report_and_energy(operations):
    report = operations_report(operations)
    fp32 = report["energy"][0]
    assert fp32["ann_uj_per_second"] == pytest.approx(1250 * 4.6e-6)
    assert fp32["snn_uj_per_second"] == pytest.approx(400 * 0.9e-6)
    assert report["float_energy_uj_per_second"] == pytest.approx(1000 * 4.6e-6)
    text = operations_markdown("snn (open)", report)
    assert "a ratio of **0.320**" in text
    assert "| first | floats | 0.1500 | - | 0.00 |" in text
    assert "| last | spikes | - | 0.00 | 0.00 |" in text


def test_spikes_of_the_input_drive_the_first_layer():
    rows = activity_rows(replace(ACTIVITY, float_macs={"encoder": 300, "mask": 700}, encodes=False))
    assert [row["part"] for row in rows] == ["spikes", "spikes", "readout", "float", "float"]
    operations = total_operations(as_text(rows), seconds=2.0)
    assert operations.replaced_macs == pytest.approx(3500 / 2)
    assert operations.float_macs == pytest.approx(1000 / 2)
