import math

import numpy as np
import pytest
from matplotlib.image import imread

from separator.errors import UserError
from separator.metrics.breakdown import count_mixtures
from separator.metrics.table import Score, summarise
from separator.tasks.evaluation.mixtures.pitch_picture import draw_pitch_picture, pitch_figure


def score(condition, system, mixture, band, value):
    return Score(condition, system, mixture, (band,) if band else (), {"si-sdri": value})


SCORES = [
    score("open", "ann", "a", "pitch 0-2", 1.0),
    score("open", "ann", "b", "pitch 0-2", 3.0),
    score("open", "ann", "c", "pitch 4-8", 6.0),
    score("open", "ann", "d", "pitch over 8", 9.0),
    score("open", "snn", "a", "pitch 0-2", 0.5),
    score("open", "snn", "b", "pitch 0-2", 1.5),
    score("open", "snn", "c", "pitch 4-8", math.inf),
    score("open", "snn", "d", "pitch over 8", 8.0),
    score("far", "ann", "e", None, 2.0),
    score("far", "snn", "e", None, 1.0),
]
SUMMARY, COUNTS = summarise(SCORES), count_mixtures(SCORES)


@pytest.fixture
def panels():
    return pitch_figure(SUMMARY, COUNTS).axes


def test_a_panel_for_each_condition_and_a_line_for_each_system(panels):
    assert [panel.get_title() for panel in panels] == ["open", "far"]
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["ann", "snn"]
    assert [len(panel.containers) for panel in panels] == [2, 2]


def test_points_are_the_means_of_the_bands(panels):
    (ann, _, _), (snn, _, _) = panels[0].containers
    assert list(ann.get_ydata()) == [2.0, 6.0, 9.0]
    np.testing.assert_array_equal(np.array(snn.get_ydata(), float), [1.0, math.nan, 8.0])
    assert [round(place) for place in ann.get_xdata()] == [round(place) for place in snn.get_xdata()] == [0, 2, 3]
    assert (ann.get_xdata() != snn.get_xdata()).all()  # beside each other, so that no interval hides another
    assert ann.get_color() != snn.get_color()


def test_bars_are_the_95_percent_intervals(panels):
    _, _, (bars,) = panels[0].containers[0]
    # Values 1 and 3 have a standard error of 1; Student's quantile of one degree of freedom is 12.706.
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [2 - 12.706, 2 + 12.706], atol=1e-3)


def test_ticks_tell_bands_and_numbers_of_mixtures(panels):
    labels = [label.get_text() for label in panels[0].get_xticklabels()]
    assert labels == ["0-2\n(2)", "2-4\n(0)", "4-8\n(1)", "over 8\n(1)"]
    assert "semitones (number of mixtures)" in panels[0].figure.get_supxlabel() and "SI-SDRi (dB)" in panels[0].get_ylabel()


def test_a_condition_without_pitches_says_so(panels):
    assert [text.get_text() for text in panels[1].texts] == ["no pitch could be measured"]
    assert list(panels[0].texts) == []


def test_the_file_shows_the_lines_in_their_colours(tmp_path):
    draw_pitch_picture(tmp_path / "pitch.png", SUMMARY, COUNTS)
    pixels = np.round(imread(tmp_path / "pitch.png")[..., :3] * 255).astype(int)
    for colour in ((31, 119, 180), (255, 127, 14)):  # matplotlib's first two
        assert (pixels == colour).all(-1).sum() > 100


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        draw_pitch_picture(tmp_path / "file" / "x.png", SUMMARY, COUNTS)
