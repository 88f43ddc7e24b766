"""A conversion of three layers, made up, that tables and pictures can be checked against."""

import torch

from separator.snn.observe.distribution import BINS, Distribution
from separator.snn.observe.report import LayerReport, Noted


def agreement(rate):
    return {
        "rate": rate,
        "negative": 0.0,
        "coefficient": 1.0,
        "highest": 1.0,
        "largest": 0.5,
        "silent": 0.25,
        "saturated": 0.125,
        "below": 0.0,
        "correlation": 0.975,
        "error": 0.0625,
    }


LAYERS = [
    LayerReport(0, "encode", 1.5, 2.5, 1.75, 3, [0.25], agreement(0.1), 12.4),
    LayerReport(1, "fire", 1.75, 2.75, 1.875, 2, [0.125, 0.5], agreement(0.3), 9.6),
    LayerReport(2, "readout", 1.875, 1.9375, 1.90625, 1, [1.0], {}, 5.0),
]


def history(*subsets):
    """Two epochs of each layer; the score on a subset is a multiple of the loss."""
    losses = {0: (8.0, 7.0, 6.0), 1: (5.0, 4.0, 3.0), 2: (2.0, 1.0, 0.5)}
    return [
        Noted(layer, epoch, loss, {name: factor * loss for factor, name in enumerate(subsets, 2)})
        for layer, converted in losses.items()
        for epoch, loss in [(None, 9.0), *enumerate(converted)]
    ]


def distribution(layer, counts, largest):
    """Of neurons by the bin that they are in."""
    bins = torch.zeros(BINS, dtype=torch.float64)
    for place, count in counts.items():
        bins[place] = count
    return Distribution(layer, bins, largest, counts.get(0, 0) / sum(counts.values()))


# Neurons of layer 0 are silent, at half and at all of the largest activation; layer 1 is silent altogether.
ACTIVATIONS = [distribution(0, {0: 900, BINS // 2: 95, BINS - 1: 5}, 4.0), distribution(1, {0: 60}, 0.0)]
