import re
from dataclasses import dataclass

import pytest

from separator.errors import UserError
from separator.ranges import MOST, check_flags, check_numbers
from separator.tasks.learning.settings import OptimiserSettings
from separator.tasks.problems.mixture_data import DataSettings


@dataclass
class Settings:
    whole: object = 1
    real: object = 1.0
    flag: object = True


@pytest.mark.parametrize("value", [0, 5, 10, None, [0, 10], []])
def test_numbers_within_are_taken(value):
    check_numbers(Settings(whole=value, real=value), whole=(0, 10), real=(0.0, 10.0))


@pytest.mark.parametrize("value", [-1, 11, True, "5", float("nan"), float("inf"), [5, 11], [None, -1], {}])
def test_numbers_beyond_and_what_is_no_number_are_refused(value):
    for ranges in ({"whole": (0, 10)}, {"whole": (0.0, 10.0)}):
        with pytest.raises(UserError, match=r"whole is a .*number of at least 0 and at most 10, not"):
            check_numbers(Settings(whole=value), **ranges)


def test_fractions_are_no_whole_numbers():
    check_numbers(Settings(real=2.5), real=(0.0, MOST))
    with pytest.raises(UserError, match=r"real is a whole number of at least 0, not 2.5"):
        check_numbers(Settings(real=2.5), real=(0, MOST))


@pytest.mark.parametrize("value", [1e30, float("inf")])
def test_what_is_too_large_is_told_the_most(value):
    with pytest.raises(UserError, match=f"real is a number of at least 0 and at most 1000000000, not {re.escape(str(value))}"):
        check_numbers(Settings(real=value), real=(0.0, MOST))


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_flags_are_true_or_false(value):
    check_flags(Settings(flag=False))
    with pytest.raises(UserError, match="flag is true or false"):
        check_flags(Settings(flag=value))


@pytest.mark.parametrize(
    ("make", "changes", "reason"),
    [
        (OptimiserSettings, {"lr": -1.0}, "lr"),
        (OptimiserSettings, {"max_epochs": -2}, "max_epochs"),
        (OptimiserSettings, {"dev_every": 0}, "dev_every"),
        (OptimiserSettings, {"decay": 2.0}, "decay is a number of at least 0 and at most 1"),
        (OptimiserSettings, {"activity_penalty": float("nan")}, "activity_penalty"),
        (OptimiserSettings, {"schedule": "anytime", "finish": 1e300}, "finish is a number of at least 0 and at most 1"),
        (OptimiserSettings, {"patience": 0}, "patience is a whole number of at least 1"),
        (OptimiserSettings, {"stop_patience": 0}, "stop_patience is a whole number of at least 1"),
        (OptimiserSettings, {"schedule": "trapezoid", "max_epochs": -1}, "the schedule trapezoid needs an end"),
        (OptimiserSettings, {"schedule": "step", "max_epochs": -1}, "the schedule step needs an end"),
        (DataSettings, {"batch": 0}, "batch"),
        (DataSettings, {"segment": 0.0}, "segment"),
        (DataSettings, {"segment": float("nan")}, "segment"),
        (DataSettings, {"epoch_mixtures": 0}, "epoch_mixtures"),
        (DataSettings, {"dev_mixtures": -3}, "dev_mixtures"),
        (DataSettings, {"workers": -1}, "workers"),
        (DataSettings, {"held_out": [0.1, -1.0]}, "held_out"),
    ],
)
def test_settings_of_learning_that_cannot_be(tmp_path, make, changes, reason):
    folders = {"train": tmp_path, "dev": tmp_path} if make is DataSettings else {}
    make(**folders)
    with pytest.raises(UserError, match=reason):
        make(**folders, **changes)
