import csv

import pytest

from separator.errors import UserError
from separator.tasks.benchmark.measurement import Measurement
from separator.tasks.evaluation.mixtures import speed
from separator.tasks.evaluation.mixtures.speed import measure_speeds
from tests.tasks.mixture_sets import save_tiny_models


@pytest.fixture
def measured(monkeypatch):
    """Cases that were measured; the first turn of each takes 6 s, later ones half of the one before."""
    cases = []

    def measure(case):
        cases.append(case)
        return Measurement(case, 6.0 / 2 ** (sum(other.system == case.system for other in cases) - 1), 100.0)

    monkeypatch.setattr(speed, "measure_in_process", measure)
    return cases


@pytest.fixture
def models(tmp_path):
    ann, snn = save_tiny_models(tmp_path)
    return {"ann": str(ann), "snn": f"{snn}@2"}


def test_models_are_timed_in_turns_and_the_fastest_counts(measured, models, tmp_path):
    assert measure_speeds(models, tmp_path / "speed.csv", 2) == {"ann": 0.05, "snn": 0.05}
    assert [(case.system, case.seconds, case.threads) for case in measured] == 2 * [(m, 60.0, 2) for m in models.values()]
    with (tmp_path / "speed.csv").open(newline="") as file:
        assert [(row["system"], row["threads"], row["seconds"]) for row in csv.DictReader(file)] == [
            ("ann", "2", "60"),
            ("snn", "2", "60"),
        ]


def test_what_is_known_is_not_measured_again(measured, models, tmp_path):
    first = measure_speeds(models, tmp_path / "speed.csv", 2)
    measured.clear()
    assert measure_speeds(models, tmp_path / "speed.csv", 2) == first
    assert measure_speeds({"ann": models["ann"]}, tmp_path / "speed.csv", 2) == {"ann": first["ann"]}
    assert measured == []


@pytest.mark.parametrize("change", ["threads", "window", "machine"])
def test_all_are_measured_again_if_one_has_to_be(measured, models, tmp_path, monkeypatch, change):
    measure_speeds(models, tmp_path / "speed.csv", 2)
    measured.clear()
    if change == "window":
        models["snn"] = models["snn"].replace("@2", "@3")
    if change == "machine":
        monkeypatch.setattr(speed, "machine", lambda: "another one")
    measure_speeds(models, tmp_path / "speed.csv", 1 if change == "threads" else 2)
    assert [case.system for case in measured] == 2 * list(models.values())


def test_a_missing_model_is_told(models, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        measure_speeds(models | {"lost": "nowhere.safetensors"}, tmp_path / "speed.csv", 2)
