import pytest

from separator.tasks.learning.schedules import anytime, trapezoid


def test_trapezoid_rises_stays_and_falls_to_zero():
    rates = [trapezoid(step, 20, 4, 5) for step in range(21)]
    assert rates == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 13 + [0.8, 0.6, 0.4, 0.2, 0.0])


def test_a_training_without_an_end_keeps_its_rate():
    assert [anytime(step, 4) for step in (0, 1, 3, 4, 10**9)] == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_the_finish_falls_from_where_it_begins():
    assert [anytime(step, 4, (100, 110)) for step in (99, 100, 105, 109, 110, 200)] == pytest.approx([1, 1, 0.5, 0.1, 0, 0])


def test_a_finish_from_the_first_step_on_still_warms_up():
    assert [anytime(step, 2, (0, 4)) for step in range(5)] == pytest.approx([0.5, 0.75, 0.5, 0.25, 0.0])
