import numpy as np
import pytest
from matplotlib.image import imread

from separator.errors import UserError
from separator.tasks.evaluation.items.report import LayerFigures
from separator.tasks.evaluation.items.spikes_picture import draw_spikes, spikes_figure


def layer(spikes, threshold):
    return LayerFigures("x", 5, None if spikes is None else spikes / 10, spikes, threshold, None, 1.0)


NETWORKS = {
    "converted": [layer(3.0, 4.849), layer(2.0, 1.4), layer(None, None)],
    "tuned": [layer(1.5, 4.851), layer(2.5, 1.5), layer(0.5, 0.4), layer(None, None)],
}


def bars(axes):
    return [[(bar.get_x(), bar.get_width(), bar.get_height()) for bar in container] for container in axes.containers]


def test_a_bar_for_each_network_stands_in_the_group_of_its_layer():
    figure = spikes_figure(NETWORKS)
    (axes,) = figure.axes
    converted, tuned = bars(axes)
    assert [height for *_, height in converted] == [3.0, 2.0] and [height for *_, height in tuned] == [1.5, 2.5, 0.5]
    for group in range(2):
        (left, width, _), (right, _, _) = converted[group], tuned[group]
        assert left + width == pytest.approx(right) == pytest.approx(group)  # side by side, about the middle of the group
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["converted", "tuned"]


def test_thresholds_stand_where_networks_agree():
    (axes,) = spikes_figure(NETWORKS).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0\nV=4.85", "1", "2\nV=0.40"]


def test_the_file_shows_bars_in_their_colours(tmp_path):
    draw_spikes(tmp_path / "spikes.png", NETWORKS)
    pixels = np.round(imread(tmp_path / "spikes.png")[..., :3] * 255).astype(int)
    areas = [(pixels == colour).all(-1).sum() for colour in ((31, 119, 180), (255, 127, 14))]  # matplotlib's first two
    assert areas[0] / areas[1] == pytest.approx(5 / 4.5, rel=0.05)  # as the spikes of the two
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        draw_spikes(tmp_path / "file" / "x.png", NETWORKS)
