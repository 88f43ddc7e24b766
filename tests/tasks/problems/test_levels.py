import pytest
import torch
from torch import nn

from separator.tasks.problems.levels import output_gain


class Scaled(nn.Module):
    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, mixture):
        return torch.stack([mixture.clamp(min=0), mixture.clamp(max=0)], 1) * self.level


@pytest.mark.parametrize("level", [1e-3, 1.0, 60.0])
def test_gain_brings_estimates_to_the_mixtures_level(level):
    torch.manual_seed(0)
    batches = [torch.randn(3, 2, 500) * 0.1, torch.randn(1, 2, 500)]
    assert output_gain(Scaled(level), batches) == pytest.approx(1 / level, rel=1e-5)


def test_loud_mixtures_count_as_much_as_soft_ones():
    """Of two mixtures of which one is returned at half its level, whichever it is."""

    class Halving(Scaled):
        def forward(self, mixture):
            return super().forward(mixture) * torch.tensor([1.0, 0.5]).view(2, 1, 1)

    sources = torch.randn(2, 2, 500) * torch.tensor([1.0, 100.0]).view(2, 1, 1)
    assert output_gain(Halving(1.0), [sources]) == pytest.approx((1 + 0.5) / (1 + 0.25), rel=1e-5)
    assert output_gain(Halving(1.0), [sources.flip(0)]) == pytest.approx((1 + 0.5) / (1 + 0.25), rel=1e-5)


@pytest.mark.parametrize("level", [0.0, -1.0])
def test_there_is_no_gain_for_silence_or_opposites(level):
    assert output_gain(Scaled(level), [torch.randn(2, 2, 100)]) is None


def test_silent_mixtures_do_not_matter():
    assert output_gain(Scaled(0.5), [torch.zeros(1, 2, 100), torch.ones(1, 2, 100)]) == pytest.approx(2)
