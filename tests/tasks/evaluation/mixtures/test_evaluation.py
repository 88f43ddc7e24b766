import csv
import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.corpora.mixtures import Mixture, read_mixtures
from separator.errors import UserError
from separator.metrics.sisdr import si_sdr
from separator.models import load_model
from separator.snn.observe.activity import record_activity
from separator.tasks.evaluation.mixtures import evaluation, pitches
from separator.tasks.evaluation.mixtures.evaluation import Evaluation, balanced_subset, evaluate
from separator.tasks.evaluation.mixtures.systems import EstimateFiles, ModelSystem
from tests.tasks.mixture_sets import make_set, read, save_tiny_models, write_estimates, write_signal


@pytest.fixture
def jobs(monkeypatch):
    """Scoring in this process; the jobs that were done."""
    done = []

    def inline(work, jobs, processes):
        for job in jobs:
            done.append(job)
            yield job, work(job)

    monkeypatch.setattr(evaluation, "map_unordered", inline)
    return done


@pytest.fixture
def mixtures(tmp_path):
    return make_set(tmp_path / "set")


@pytest.fixture
def estimates(tmp_path, mixtures):
    write_estimates(tmp_path / "estimates", mixtures)
    return EstimateFiles("mine", tmp_path / "estimates")


def rows(out, name="scores.csv"):
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def done_by(jobs):
    return [(job.condition, job.system, job.mixture.id, job.metrics) for job in jobs]


def test_every_source_has_its_row(jobs, mixtures, estimates, tmp_path):
    report = evaluate(Evaluation({"open": mixtures}, [estimates]), tmp_path / "out")
    table = rows(tmp_path / "out")
    assert len(table) == 2 * 2 * 3
    mine = [row for row in table if row["system"] == "mine"]
    values = []
    for row in mine:
        mixture = mixtures[int(row["mixture"][-1])]
        number = int(row["source"])
        estimate = read(estimates.files("open", mixture)[2 - number])
        values.append(si_sdr(estimate, read(mixture.sources[number - 1])))
        assert float(row["si-sdr"]) == pytest.approx(values[-1], abs=1e-3)
        assert (int(row["estimate"]), row["speaker"]) == (3 - number, mixture.speakers[number - 1])
        assert all(math.isfinite(float(row[metric])) for metric in report.metrics)
    cells = report.summary["open"]["mine"]
    assert cells["overall"]["si-sdr"].mean == pytest.approx(np.mean(values), abs=1e-3)
    assert cells["same"]["si-sdr"].mean == pytest.approx(np.mean(values[2:]), abs=1e-3)
    assert report.notes == ("open: 3 of 3 mixtures are in no band of pitch, as a source has none that can be measured",)
    assert (tmp_path / "out" / "RESULTS.md").read_text() == report.to_markdown()
    assert (
        json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]["open"]["mixture"]["diff"]["pesq"]["count"] == 2
    )


def test_finished_mixtures_are_not_scored_again(jobs, mixtures, estimates, tmp_path):
    plan = Evaluation({"open": mixtures}, [estimates], ["si-sdr"])
    first = evaluate(plan, tmp_path / "out")
    jobs.clear()
    assert evaluate(plan, tmp_path / "out").to_json() == first.to_json()
    assert jobs == []
    # Killed in the middle of a row: only that mixture is scored again.
    path = tmp_path / "out" / "scores.csv"
    path.write_text(path.read_text()[:-10])
    assert evaluate(plan, tmp_path / "out").to_json() == first.to_json()
    assert [job[:3] for job in done_by(jobs)] == [("open", "mixture", "mix2")]


def test_only_what_has_changed_is_scored_again(jobs, mixtures, estimates, tmp_path):
    plan = Evaluation({"open": mixtures}, [estimates], ["si-sdr"])
    evaluate(plan, tmp_path / "out")
    jobs.clear()
    write_signal(estimates.files("open", mixtures[1])[0], read(mixtures[1].sources[1]))
    report = evaluate(Evaluation({"open": mixtures}, [estimates], ["si-sdr"]), tmp_path / "out")
    assert [job[:3] for job in done_by(jobs)] == [("open", "mine", "mix1")]
    assert report.summary["open"]["mine"]["overall"]["si-sdr"].failed == 1  # a perfect estimate: infinite


def test_further_metrics_are_added_to_rows(jobs, mixtures, estimates, tmp_path):
    evaluate(Evaluation({"open": mixtures}, [estimates], ["si-sdr"]), tmp_path / "out")
    before = rows(tmp_path / "out")
    jobs.clear()
    evaluate(Evaluation({"open": mixtures}, [estimates], ["stoi"]), tmp_path / "out")
    assert {job.metrics for job in jobs} == {("stoi",)}
    evaluate(Evaluation({"open": mixtures}, [estimates], ["sdr"]), tmp_path / "out")
    for old, new in zip(before, rows(tmp_path / "out"), strict=True):
        assert new | {"stoi": "", "sdr": ""} == old
        assert new["stoi"]
        assert new["sdr"]


def test_a_subset_is_told_and_reported_alone(jobs, mixtures, estimates, tmp_path):
    evaluate(Evaluation({"open": mixtures}, [estimates], ["si-sdr"]), tmp_path / "out")
    report = evaluate(Evaluation({"open": mixtures}, [estimates], ["si-sdr"], limit=2), tmp_path / "out")
    assert report.summary["open"]["mine"]["overall"]["si-sdr"].count == 4
    assert "SUBSET of 2 of 3 mixtures" in (tmp_path / "out" / "RESULTS.md").read_text()


def test_a_crash_counts_as_failed_pesq(mixtures, estimates, tmp_path, monkeypatch):
    def crashing(work, jobs, processes):
        for job in jobs:
            yield job, None if "pesq" in job.metrics and job.mixture.id == "mix1" else work(job)

    monkeypatch.setattr(evaluation, "map_unordered", crashing)
    report = evaluate(Evaluation({"open": mixtures}, [estimates], ["pesq"]), tmp_path / "out")
    assert report.summary["open"]["mine"]["overall"]["pesq"].failed == 2
    assert report.summary["open"]["mine"]["overall"]["si-sdr"].failed == 0
    assert "PESQ of mine (open): 2 of 6 sources could not be measured" in report.to_markdown()
    assert Counter(row["pesq"] for row in rows(tmp_path / "out"))["nan"] == 4


def test_a_process_that_always_dies_ends_the_evaluation(mixtures, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "map_unordered", lambda work, jobs, processes: ((job, None) for job in jobs))
    with pytest.raises(UserError, match="fewer --jobs"):
        evaluate(Evaluation({"open": mixtures}, [], ["si-sdr"]), tmp_path / "out")


def test_operations_are_those_of_the_network(jobs, mixtures, tmp_path):
    ann, snn = (load_model(path) for path in save_tiny_models(tmp_path))
    report = evaluate(
        Evaluation({"open": mixtures}, [ModelSystem("ann", ann), ModelSystem("snn", snn)], ["si-sdr"]), tmp_path / "out"
    )
    with torch.no_grad(), record_activity(snn.network) as activity:
        for mixture in mixtures:
            snn.network(torch.from_numpy(read(mixture.mixture)).float()[None])
    assert set(report.operations["open"]) == {"snn"}
    counted = report.operations["open"]["snn"]
    assert counted["synaptic_operations_per_mac"] == pytest.approx(activity.synaptic_operations / activity.macs)
    assert counted["float_macs_per_second"] == pytest.approx(sum(activity.float_macs.values()) / 4.5)
    assert counted["seconds"] == pytest.approx(4.5)
    assert list(report.differences["open"]) == ["snn - ann"]
    assert "snn (open), 4 time steps" in report.to_markdown()
    fired = activity.layers[:-1]  # the last one is read out
    (row,) = [row for row in rows(tmp_path / "out", "spikes.csv") if row["system"] == "snn"]
    assert float(row["spikes_per_neuron"]) == pytest.approx(activity.spikes / sum(layer.neurons for layer in fired))
    assert float(row["spikes_per_second"]) == pytest.approx(activity.spikes / 4.5)
    assert [row[name] for name in ("window", "latency_steps", "bits_per_spike", "against")] == ["4", "4", "1", "ann"]
    assert float(row["difference"]) == report.differences["open"]["snn - ann"]["overall"]["si-sdri"].mean
    again = evaluate(Evaluation({"open": mixtures}, [ModelSystem("snn", snn)], ["si-sdr"]), tmp_path / "out")
    assert again.operations == report.operations


def test_operations_of_another_subset_are_counted_though_all_is_scored(jobs, mixtures, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "COUNTED", 1)
    _, snn = save_tiny_models(tmp_path)
    system = ModelSystem("snn", load_model(snn))
    evaluate(Evaluation({"open": mixtures}, [system], ["si-sdr"]), tmp_path / "out")
    (counted,) = {row["mixture"] for row in rows(tmp_path / "out", "operations.csv")}
    before = rows(tmp_path / "out")
    jobs.clear()
    others = Evaluation({"open": [mixture for mixture in mixtures if mixture.id != counted]}, [system], ["si-sdr"])
    report = evaluate(others, tmp_path / "out")
    assert report.operations["open"]["snn"]["seconds"] > 0
    assert [job[1] for job in done_by(jobs)] == ["snn"]
    assert rows(tmp_path / "out") == before
    jobs.clear()
    assert evaluate(others, tmp_path / "out").operations == report.operations
    assert jobs == []


def test_spiking_networks_are_compared_with_the_analog_one_listed_before(jobs, mixtures, tmp_path):
    ann, snn = (load_model(path) for path in save_tiny_models(tmp_path))
    systems = [ModelSystem(name, snn if "snn" in name else ann) for name in ("snn0", "ann1", "snn1", "ann2", "snn2", "snn3")]
    report = evaluate(Evaluation({"open": mixtures}, systems, ["si-sdr"]), tmp_path / "out")
    assert {row["system"]: row["against"] for row in report.spiking} == {
        "snn0": None,
        "ann1": None,
        "snn1": "ann1",
        "ann2": None,
        "snn2": "ann2",
        "snn3": "ann2",
    }
    assert list(report.differences["open"])[:2] == ["ann1 - snn0", "snn1 - snn0"]
    assert {"snn1 - ann1", "snn2 - ann2", "snn3 - ann2"} <= set(report.differences["open"])


def test_a_changed_model_is_scored_again(jobs, mixtures, tmp_path):
    ann, snn = save_tiny_models(tmp_path)
    evaluate(Evaluation({"open": mixtures}, [ModelSystem("x", load_model(snn))], ["si-sdr"]), tmp_path / "out")
    jobs.clear()
    report = evaluate(Evaluation({"open": mixtures}, [ModelSystem("x", load_model(ann))], ["si-sdr"]), tmp_path / "out")
    assert [job[1] for job in done_by(jobs)] == ["x"] * 3
    assert report.operations == {}


def test_mistakes_are_told_before_any_work(mixtures, tmp_path):
    with pytest.raises(UserError, match="no metric 'snr'"):
        Evaluation({"open": mixtures}, [], ["snr"])
    for names in (["a", "a"], ["mixture"]):
        with pytest.raises(UserError, match="a name of its own"):
            Evaluation({"open": mixtures}, [EstimateFiles(name, tmp_path) for name in names])
    with pytest.raises(UserError, match="no estimates of mix0 by a"):
        evaluate(Evaluation({"open": mixtures}, [EstimateFiles("a", tmp_path)]), tmp_path / "out")


def test_a_missing_library_is_named(mixtures, monkeypatch):
    monkeypatch.setitem(evaluation.LIBRARIES, "pesq", "no_such_module")
    assert Evaluation({"open": mixtures}, [], ["stoi"]).measured == ("si-sdr", "si-sdri", "oracle-si-sdri", "stoi")
    with pytest.raises(UserError, match="pesq needs the Python package no_such_module"):
        Evaluation({"open": mixtures}, [])


@pytest.mark.parametrize("module", ["parselmouth", "matplotlib"])
def test_a_library_that_the_report_lacks_is_named_before_any_work(mixtures, monkeypatch, module):
    monkeypatch.setattr(evaluation, "find_spec", lambda name: None if name == module else True)
    package = evaluation.REPORT_LIBRARIES[module]
    with pytest.raises(UserError, match=f"the report needs the Python package {package}: pip install"):
        Evaluation({"open": mixtures}, [], ["si-sdr"])


PITCHES = ((100, 200), (100, 115), (220, 236))  # 12, 2.4 and 1.2 semitones


@pytest.fixture
def voiced(tmp_path):
    return make_set(tmp_path / "voiced", pitches=PITCHES)


@pytest.fixture
def swapping(tmp_path, voiced):
    """Estimates that change places after two thirds of each mixture."""
    rng = np.random.default_rng(0)
    for mixture in voiced:
        sources = np.stack([read(path) for path in mixture.sources])
        estimates = np.concatenate([sources[:, :8000], sources[::-1, 8000:]], 1)
        for number, samples in enumerate(estimates + 1e-3 * rng.standard_normal(estimates.shape), 1):
            write_signal(tmp_path / "swapping" / f"{mixture.id}_s{number}.wav", samples)
    return EstimateFiles("swapping", tmp_path / "swapping")


def test_genders_pitches_and_swaps_are_told_apart(jobs, voiced, swapping, tmp_path):
    report = evaluate(Evaluation({"open": voiced}, [swapping], ["si-sdr"]), tmp_path / "out")
    assert report.notes == ()
    groups = {"mix0": ("diff", "f-m", 12.0), "mix1": ("same", "m-m", 2.42), "mix2": ("same", "f-f", 1.216)}
    table = [row for row in rows(tmp_path / "out") if row["system"] == "swapping"]
    for row in table:
        group, pair, semitones = groups[row["mixture"]]
        assert (row["group"], row["pair"]) == (group, pair)
        assert float(row["semitones"]) == pytest.approx(semitones, abs=0.03)
    cells, swaps = report.summary["open"]["swapping"], report.swaps["open"]["swapping"]
    for names, mixture in ((("f-m", "pitch over 8"), "mix0"), (("m-m", "pitch 2-4"), "mix1"), (("f-f", "pitch 0-2"), "mix2")):
        plain, oracle = (
            np.mean([float(row[metric]) for row in table if row["mixture"] == mixture])
            for metric in ("si-sdri", "oracle-si-sdri")
        )
        for name in names:
            assert cells[name]["si-sdri"].mean == pytest.approx(plain, abs=1e-4)
            assert cells[name]["oracle-si-sdri"].mean == pytest.approx(oracle, abs=1e-4)
            assert swaps[name]["swaps"].mean == pytest.approx(oracle - plain, abs=1e-4)
            assert swaps[name]["swaps"].mean > 3
    saved = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert saved["mixtures"]["open"] == report.mixtures["open"]
    assert report.mixtures["open"]["pitch 0-2"] == report.mixtures["open"]["f-f"] == 1
    assert saved["swaps"]["open"]["swapping"]["overall"]["swaps"]["count"] == 6
    text = report.to_markdown()
    assert "| Condition | System | f-f | f-m | m-m | pitch 0-2 | pitch 2-4 | pitch over 8 | Overall |" in text
    assert "| Open | (mixtures) | 1 | 1 | 1 | 1 | 1 | 1 | 3 |" in text
    part = text[text.index("## Where separation fails") :]
    assert "| Open | swapping |" in part
    assert "| Open | mixture |" not in part
    assert (tmp_path / "out" / "pitch.png").is_file() and "(pitch.png)" in part


def test_pitch_is_measured_once(jobs, voiced, swapping, tmp_path, monkeypatch):
    first = evaluate(Evaluation({"open": voiced}, [], ["si-sdr"]), tmp_path / "out")
    assert [float(row["pitch"]) for row in rows(tmp_path / "out", "pitch.csv")] == pytest.approx(
        [frequency for pair in PITCHES for frequency in pair], rel=0.002
    )
    monkeypatch.setattr(pitches, "mean_pitch", None)  # would fail if it were called
    again = evaluate(Evaluation({"open": voiced}, [swapping], ["si-sdr"]), tmp_path / "out")
    assert repr(again.summary["open"]["mixture"]) == repr(first.summary["open"]["mixture"])  # NaN is no other NaN


def test_sets_without_genders_have_no_columns_of_genders(jobs, voiced, tmp_path):
    (tmp_path / "voiced" / "mixtures.tsv").unlink()
    report = evaluate(Evaluation({"open": read_mixtures(tmp_path / "voiced")}, [], ["si-sdr"]), tmp_path / "out")
    assert report.notes == ("open: 3 of 3 mixtures are in no column of genders, as those of their talkers are unknown",)
    assert {(row["group"], row["pair"]) for row in rows(tmp_path / "out")} == {("", "")}
    assert "| Condition | System | pitch 0-2 | pitch 2-4 | pitch over 8 | Overall |" in report.to_markdown()


def test_scores_of_former_versions_are_gone_on_with(jobs, mixtures, estimates, tmp_path):
    plan = Evaluation({"open": mixtures}, [estimates], ["stoi"])
    expected = evaluate(plan, tmp_path / "out")
    path = tmp_path / "out" / "scores.csv"
    table = rows(tmp_path / "out")
    with path.open("w", newline="") as file:
        former = [name for name in table[0] if name not in ("pair", "semitones", "oracle-si-sdri")]
        writer = csv.DictWriter(file, former, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    jobs.clear()
    assert evaluate(plan, tmp_path / "out").to_json() == expected.to_json()
    assert {job.metrics for job in jobs} == {("oracle-si-sdri",)}  # what is there is kept
    assert rows(tmp_path / "out") == table


GENDERS = st.lists(st.sampled_from([("m", "m"), ("m", "f"), ("f", "m"), ("f", "f"), None]), min_size=1, max_size=60)


@given(GENDERS, st.integers(1, 70))
def test_subsets_are_even_and_balanced(genders, count):
    everything = [Mixture(str(i), None, (), None, pair) for i, pair in enumerate(genders)]
    subset = balanced_subset(everything, count)
    assert len({mixture.id for mixture in subset}) == min(count, len(everything))
    assert [int(mixture.id) for mixture in subset] == sorted(int(mixture.id) for mixture in subset)
    share = len(subset) / len(everything)
    for pair in {tuple(sorted(pair or ())) for pair in genders}:
        members, chosen = (sum(tuple(sorted(m.genders or ())) == pair for m in group) for group in (everything, subset))
        assert abs(chosen - share * members) < 1
