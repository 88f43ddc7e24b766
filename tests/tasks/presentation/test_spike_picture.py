import numpy as np
import pytest
import torch
from matplotlib.image import imread

from separator.errors import UserError
from separator.models import load_model
from separator.snn.stack import reference
from separator.tasks.presentation.spike_picture import draw_spikes, layer_spikes, spike_figure
from tests.metrics.signals import speechlike
from tests.tasks.mixture_sets import RATE, save_tiny_models

MIXTURE = speechlike(3, 0.5)
SPIKES = np.zeros((6, 40), int)
SPIKES[2, 10] = 4


@pytest.fixture
def network(tmp_path):
    return load_model(save_tiny_models(tmp_path)[1]).network


def test_counts_are_those_of_the_reference_in_integers(network):
    few = MIXTURE[2000:2400]
    with torch.no_grad():
        seen = network.stack_input(network.encode(torch.from_numpy(few).float()[None]))
    first, second, _ = network.stack.layers
    encoded = reference.fire(first, reference.at_once(reference.first_charge(first, seen), first.window))
    fired = reference.fire(second, reference.currents(second, encoded))
    for layer, expected in enumerate((encoded, fired)):
        counts = layer_spikes(network, few, layer)
        assert counts.shape == (6, network.config.frames(len(few)))
        assert counts.any()
        np.testing.assert_array_equal(counts, expected.sum(0)[0, :, 0])
    assert network.stack.observer is None


def test_the_readout_fires_no_spikes(network):
    with pytest.raises(ValueError, match="layer 2 fires no spikes"):
        layer_spikes(network, MIXTURE, 2)


def test_figure_has_spikes_beneath_the_talkers_on_one_time_axis():
    axes = spike_figure(MIXTURE, np.stack([MIXTURE, MIXTURE]), SPIKES, RATE, "layer 1 of 3 of tiny", 4).axes[:4]
    titles = ["mixture", "talker 1, as separated", "talker 2, as separated", "spikes of layer 1 of 3 of tiny, 6 neurons"]
    assert [panel.get_title() for panel in axes] == titles
    np.testing.assert_array_equal(axes[3].images[0].get_array(), SPIKES)
    assert {panel.get_xlim() for panel in axes} == {(0, 0.5)}


def test_a_spike_is_a_dark_spot_in_the_file(tmp_path):
    sources = np.stack([MIXTURE, MIXTURE])
    for name, spikes in (("with", SPIKES), ("without", np.zeros_like(SPIKES))):
        draw_spikes(tmp_path / f"{name}.png", MIXTURE, sources, spikes, RATE, "a layer", 4)
    changed = (imread(tmp_path / "with.png") != imread(tmp_path / "without.png")).any(-1)
    rows, columns = np.nonzero(changed)
    height, width = changed.shape
    assert changed.any() and rows.min() > 0.7 * height and np.ptp(columns) < 0.1 * width


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        draw_spikes(tmp_path / "file" / "x.png", MIXTURE, np.stack([MIXTURE]), SPIKES, RATE, "a layer", 4)
