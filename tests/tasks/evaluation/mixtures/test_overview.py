from separator.metrics.table import Score, summarise
from separator.tasks.evaluation.mixtures.overview import overview_table

SCORES = [
    Score("open", system, mixture, (band,), {"si-sdri": value, "pesq": 2.0})
    for system, values in {"mixture": (0.0, 0.0), "ann": (6.0, 4.0), "snn": (5.5, 4.1), "files": (9.0, 9.5)}.items()
    for mixture, band, value in zip("ab", ("pitch 0-2", "pitch over 8"), values, strict=True)
]
COSTS = {"synaptic_operations_per_second": 6e7, "float_macs_per_second": 2e7, "replaced_macs_per_second": 1e8}


def lines(metrics=("si-sdri", "pesq"), operations=COSTS, speeds=()):
    found = overview_table(summarise(SCORES), metrics, {"open": {"snn": operations}}, {"snn": "ann"}, dict(speeds))
    return found.splitlines()


def test_each_system_has_its_row():
    heads, _, mixture, ann, snn, files, *_ = lines(speeds={"ann": 0.01, "snn": 0.0055})
    assert heads == (
        "| Condition | System | SI-SDRi | pitch 0-2 | pitch over 8 | PESQ | Real-time factor | M operations/s | M MACs/s |"
    )
    assert mixture == "| Open | mixture | 0.00 ± 0.00 | 0.00 | 0.00 | 2.00 ± 0.00 | - | - | - |"
    # Its twin's multiply-accumulates: those that spikes replace, and those that stay.
    assert ann == "| Open | ann | 5.00 ± 12.71 | 6.00 | 4.00 | 2.00 ± 0.00 | 0.0100 | - | 120.0 |"
    assert snn == "| Open | snn | 4.80 ± 8.89 | 5.50 | 4.10 | 2.00 ± 0.00 | 0.0055 | 60.0 | 20.0 |"
    assert files == "| Open | files | 9.25 ± 3.18 | 9.00 | 9.50 | 2.00 ± 0.00 | - | - | - |"


def test_metrics_that_were_not_measured_have_no_column():
    assert "PESQ" not in lines(metrics=("si-sdri",))[0]
    assert "STOI" not in lines()[0]
