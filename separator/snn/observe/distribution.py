"""Distributions of the activations of analog layers, which thresholds are taken from (Wu et al. 2021, Fig. 1)."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

BINS = 10_000  # that neurons are counted in


@dataclass(frozen=True)
class Distribution:
    """Magnitudes of the activations of the neurons of one layer, zeros included."""

    layer: int
    counts: Tensor  # neurons by activation, in `BINS` bins of one width from 0 to the largest, (BINS,)
    largest: float
    silent: float  # share of neurons whose activation is 0

    def percentile(self, percentile: float) -> float:
        """Activation that so many percent of the neurons do not exceed, to a bin: its upper end."""
        reached = self.counts.cumsum(0) >= percentile / 100 * self.counts.sum()
        return (int(reached.to(torch.uint8).argmax()) + 1) * self.largest / BINS


def distributions(layers: Sequence[nn.Module], run: Callable[[], None]) -> list[Distribution]:
    """Count the activations that layers put out.

    Args:
        layers: analog ones.
        run: calls each of them, on batch after batch. It is called twice, for the same batches: what is largest has to be known
            before anything is counted.
    """
    histograms = [_Histogram() for _ in layers]
    for see in (_Histogram.look, _Histogram.count):
        with ExitStack() as hooks:
            for layer, histogram in zip(layers, histograms, strict=True):
                hooks.callback(layer.register_forward_hook(partial(see, histogram)).remove)
            run()
    return [Distribution(i, h.counts, h.largest, h.silent / max(1.0, float(h.counts.sum()))) for i, h in enumerate(histograms)]


class _Histogram:
    """Counts the neurons of a layer by their activations."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self.silent = 0

    def look(self, layer: nn.Module, inputs: tuple[Tensor], activation: Tensor) -> None:
        self.largest = max(self.largest, float(activation.abs().max()))

    def count(self, layer: nn.Module, inputs: tuple[Tensor], activation: Tensor) -> None:
        # A layer without any activation has all of its neurons in the first bin.
        self.counts += torch.histc(activation.abs().double().cpu(), BINS, 0, self.largest or 1.0)
        self.silent += int((activation == 0).sum())
