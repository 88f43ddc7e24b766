"""Whole trainings, from one measured step of each way."""

import pytest

from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.sweeps.plan import Curve
from separator.tasks.benchmark.unrolled.figures import unrolled_rows
from separator.tasks.benchmark.unrolled.trainings import TRAININGS, set_seconds, training_seconds, whole_rows
from separator.tasks.benchmark.unrolled.ways import WAYS

# Seconds of an epoch of training, and of inferring the test pictures, and GB, by appendix B of Rathi et al. 2020.
PAPER = {
    "analog": (0.57 * 60, 1.47),
    "unrolled": (78 * 60, 9.36),
    "analog-inference": (0.05 * 60, 1.15),
    "spiking-inference": (11.39 * 60, 1.37),
}


def measured(seconds=0.0, batch=32):
    """The paper's figures as those of one batch; from bits a step takes a quarter of the time and a third of the memory."""
    results = {}
    for way in WAYS:
        taken, memory = PAPER.get(way, (PAPER["unrolled"][0] / 4, PAPER["unrolled"][1] / 3))
        pictures = 10_000 if WAYS[way].infers else 50_000
        case = BenchmarkCase(f"{way}:hybrid-vgg16@100", seconds, 1, batch=batch)
        results[way] = Measurement(case, taken * batch / pictures, memory * 1000)
    return results


def test_trainings_are_so_many_epochs_of_the_measured_step():
    results = measured()
    assert set_seconds(results["unrolled"], 50_000) == pytest.approx(78 * 60)
    seconds = [training_seconds(training, results) / 60 for training in TRAININGS]
    analog = 250 * 0.57
    assert seconds == pytest.approx([analog, 250 * 78, analog + 20 * 78, analog + 20 * 78 / 4])


def test_tables_equal_the_papers_arithmetic():
    (said, trainings), (_, inferences) = whole_rows(measured(), 100)
    assert "100 steps" in said and "50,000 pictures" in said
    assert [float(row[3]) for row in trainings[1:]] == pytest.approx([2.375, 325, 28.375, 8.875], rel=3e-3)
    epochs = ["250 analog", "250 unrolled", "250 analog + 20 unrolled", "250 analog + 20 bits"]
    assert [row[1] for row in trainings[1:]] == epochs
    assert [row[2] for row in trainings[1:]] == ["34.2", "4,680", "4,680", "1,170"]
    assert [row[4] for row in trainings[1:]] == ["1.00", "136.84", "11.95", "3.74"]
    assert [row[5] for row in trainings[1:]] == ["1470", "9360", "9360", "3120"]  # of the hybrid that of its second part
    assert [row[6] for row in trainings[1:]] == ["1.00", "6.37", "6.37", "2.12"]
    assert [row[1:] for row in inferences[1:]] == [["3", "1.00", "1150", "1.00"], ["683", "227.80", "1370", "1.19"]]
    assert all(len(row) == len(rows[0]) for rows in (trainings, inferences) for row in rows)


def test_they_are_those_with_the_most_steps_of_pictures_alone():
    for seconds, tables in ((0.0, 6), (2.0, 4)):  # mixtures have no epochs of so many pictures
        curves = []
        for way, result in measured(seconds).items():
            fewer = Measurement(result.case, result.elapsed / 7, result.memory / 7)
            curves.append(Curve(f"{way}:hybrid-vgg16", (10, 100), (fewer, result)))
        rows = unrolled_rows(curves, 1000, 32)
        assert len(rows) == tables
        assert rows[4:] == (whole_rows(measured(), 100) if tables == 6 else [])
