import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from separator.tasks.learning.schedules import Cycle, anytime, stairs, trapezoid


def test_trapezoid_rises_stays_and_falls_to_zero():
    rates = [trapezoid(step, 20, 4, 5) for step in range(21)]
    assert rates == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 13 + [0.8, 0.6, 0.4, 0.2, 0.0])


def test_a_training_without_an_end_keeps_its_rate():
    assert [anytime(step, 4) for step in (0, 1, 3, 4, 10**9)] == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_the_finish_falls_from_where_it_begins():
    assert [anytime(step, 4, (100, 110)) for step in (99, 100, 105, 109, 110, 200)] == pytest.approx([1, 1, 0.5, 0.1, 0, 0])


def test_a_finish_from_the_first_step_on_still_warms_up():
    assert [anytime(step, 2, (0, 4)) for step in range(5)] == pytest.approx([0.5, 0.75, 0.5, 0.25, 0.0])


def adam():
    return torch.optim.Adam(nn.Linear(1, 1).parameters(), 0.5)


@pytest.mark.parametrize(
    ("epochs", "drops", "expected"),
    [
        (4, (0.1, (0.5,), None), [1, 1, 0.1, 0.1]),
        (5, (0.1, (0.5,), None), [1, 1, 0.1, 0.1, 0.1]),
        (1, (0.1, (0.5,), None), [1]),
        (10, (0.1, (0.6, 0.8, 0.9), None), [1] * 6 + [0.1] * 2 + [0.01, 0.001]),
        (100, (0.5, (0.29,), None), [1] * 29 + [0.5] * 71),  # 0.29 x 100 is 28.999999999999996 in floating point
        (12, (0.5, (0.1,), 5), [1] * 5 + [0.5] * 5 + [0.25] * 2),
    ],
)
def test_stairs(epochs, drops, expected):
    assert [stairs(epoch, epochs, *drops) for epoch in range(epochs)] == pytest.approx(expected)


def rates(schedule, steps):
    """Learning rates and first momenta of the next steps."""
    found = []
    for _ in range(steps):
        group = schedule.optimizer.param_groups[0]
        found.append((group["lr"], group["betas"][0]))
        schedule.optimizer.step()
        schedule.step()
    return found


def along_a_cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def one_cycle(step, total, highest):
    """Smith's one cycle as torch has it: up over 0.3 of the steps, then down; the momentum goes the other way."""
    top, low = 0.3 * total - 1, highest / 25
    if step <= top:
        return along_a_cosine(low, highest, step / top), along_a_cosine(0.95, 0.85, step / top)
    share = (step - top) / (total - 1 - top)
    return along_a_cosine(highest, low / 1e4, share), along_a_cosine(0.85, 0.95, share)


def test_the_cycle_is_the_published_one():
    found = rates(Cycle(adam(), 0.5, 40), 40)
    assert found == rates(OneCycleLR(adam(), 0.5, 40), 40)
    assert [rate for rate, _ in found] == pytest.approx([one_cycle(step, 40, 0.5)[0] for step in range(40)])
    assert [momentum for _, momentum in found] == pytest.approx([one_cycle(step, 40, 0.5)[1] for step in range(40)])


@pytest.mark.parametrize("total", [20, 60])
def test_a_cycle_that_is_gone_on_with_has_the_length_that_is_asked_for_then(total):
    before = Cycle(adam(), 0.5, 40)
    rates(before, 10)
    after = Cycle(adam(), 0.5, total)
    after.load_state_dict(before.state_dict())
    rates(after, 1)  # the first rate is in the optimiser's own state
    assert rates(after, total - 11) == rates(Cycle(adam(), 0.5, total), total)[11:]
