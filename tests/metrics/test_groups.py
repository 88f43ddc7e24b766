import math

import pytest

from separator.metrics.groups import gender_group, gender_pair, groups_of, pitch_band


@pytest.mark.parametrize(
    ("genders", "group", "pair"),
    [
        (("m", "f"), "diff", "f-m"),
        (("f", "m"), "diff", "f-m"),
        (("f", "f"), "same", "f-f"),
        (("m", "m"), "same", "m-m"),
        (("m", "m", "f"), "diff", "f-m-m"),
        (None, None, None),
        (("m", "-"), None, None),
    ],
)
def test_groups_by_gender(genders, group, pair):
    assert gender_group(genders) == group
    assert gender_pair(genders) == pair


@pytest.mark.parametrize(
    ("difference", "band"),
    [
        (0.0, "pitch 0-2"),
        (1.999, "pitch 0-2"),
        (2.0, "pitch 2-4"),
        (3.999, "pitch 2-4"),
        (4.0, "pitch 4-8"),
        (7.999, "pitch 4-8"),
        (8.0, "pitch over 8"),
        (40.0, "pitch over 8"),
        (math.nan, None),
    ],
)
def test_every_difference_is_in_one_band(difference, band):
    assert pitch_band(difference) == band


def test_all_groups_of_a_mixture():
    assert groups_of(("m", "f"), 5.0) == ("diff", "f-m", "pitch 4-8")
    assert groups_of(None, 1.0) == ("pitch 0-2",)
    assert groups_of(("m", "m"), math.nan) == ("same", "m-m")
    assert groups_of(None, math.nan) == ()
