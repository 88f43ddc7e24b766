import copy

import pytest
import torch

from separator.tasks.learning.run.averaging import warming_average


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_it_is_the_exponential_average_that_forgets_faster_at_first(decay):
    torch.manual_seed(0)
    values = torch.randn(12, 3, dtype=torch.float64)
    average, expected = [values[0].clone()], values[0].clone()
    for n, value in enumerate(values[1:], 1):
        warming_average(decay)(average, [value], n)
        keep = min(decay, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * value
    torch.testing.assert_close(average[0], expected)


def test_counters_are_taken_over_as_they_are():
    average = [torch.tensor(3)]
    warming_average(0.9)(average, [torch.tensor(8)], torch.tensor(5))
    assert average[0] == 8


def test_many_are_averaged_at_once():
    torch.manual_seed(0)
    average, current = ([torch.randn(2, n) for n in (1, 3)] for _ in range(2))
    alone = copy.deepcopy(average)
    warming_average(0.9)(average, current, 10**6)
    for one, now, together in zip(alone, current, average, strict=True):
        torch.testing.assert_close(together, 0.9 * one + 0.1 * now)
