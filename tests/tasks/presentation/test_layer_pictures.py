import pytest

from separator.tasks.presentation.layer_pictures import BARS, activations_figure, layers_figure, progress_figure
from tests.tasks.reports import ACTIVATIONS, LAYERS, history


def points(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_losses_and_agreement_are_drawn_over_the_layers():
    losses, agreement = layers_figure(LAYERS).axes
    assert points(losses) == {
        "before": [[0, 1.5], [1, 1.75], [2, 1.875]],
        "converted": [[0, 2.5], [1, 2.75], [2, 1.9375]],
        "tuned": [[0, 1.75], [1, 1.875], [2, 1.90625]],
    }
    assert points(agreement)["rate"] == [[0, 0.1], [1, 0.3]]  # the readout does not fire
    assert list(points(agreement)) == ["rate", "negative", "silent", "saturated", "below", "correlation", "error"]
    assert (losses.get_xlabel(), losses.get_ylabel(), agreement.get_xlabel()) == ("layer", "loss on dev batches", "layer")
    assert list(losses.get_xticks()) == [0, 1, 2]


def test_scores_are_drawn_over_the_epochs_and_every_other_layer_is_shaded():
    (axes,) = progress_figure(history("dev", "test"), "accuracy (%)").axes
    dev, test = points(axes).values()
    assert list(points(axes)) == [text.get_text() for text in axes.get_legend().texts] == ["dev", "test"]
    assert dev[:4] == [[0, 18], [0, 16], [1, 14], [2, 12]]
    assert [y for _, y in test] == [1.5 * y for _, y in dev]
    assert [(span.get_x(), span.get_width()) for span in axes.patches] == [(2, 2)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy (%)")


def test_the_loss_is_drawn_where_there_are_no_scores():
    (axes,) = progress_figure(history()).axes
    assert points(axes)["dev"][-1] == [6, 0.5]
    assert axes.get_ylabel() == "loss"


def test_neurons_are_drawn_by_their_activation():
    (axes,) = activations_figure(ACTIVATIONS).axes
    first, silent = (patch.get_data() for patch in axes.patches)
    counts = dict.fromkeys(range(BARS), 0) | {0: 900, BARS // 2: 95, BARS - 1: 5}
    assert list(first.values) == list(counts.values())
    assert (first.edges[0], first.edges[-1]) == (0, 4)
    assert silent.values[0] == 60
    assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx([2, 0], abs=0.001)
    assert [text.get_text() for text in axes.get_legend().texts] == ["layer 0", "layer 1"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("activation", "neurons", "log")
