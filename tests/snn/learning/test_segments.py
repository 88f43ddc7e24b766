import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.errors import UserError
from separator.snn.learning.segments import blocks_of, ends_of, readings_of


@given(st.integers(1, 300), st.none() | st.integers(1, 320), st.integers(1, 9))
def test_blocks_are_all_steps_in_order_and_none_is_in_two_segments(steps, segment, longest):
    ends, seen = ends_of(steps, segment), []
    for first, count, place in blocks_of(steps, ends, longest):
        assert 1 <= count <= longest
        assert ([0, *ends][place], ends[place]) == (first - first % (segment or steps), ends[place])
        assert first + count <= ends[place]
        seen += range(first, first + count)
    assert seen == list(range(steps))
    assert len(ends) == (1 if segment is None else -(-steps // segment))


def test_readings_are_means_of_the_steps_so_far_times_all_of_them():
    currents = torch.arange(1.0, 6.0).view(5, 1, 1).requires_grad_()
    readings = readings_of(list(currents), ends_of(5, 2))
    assert readings.flatten().tolist() == pytest.approx([3 * 5 / 2, 10 * 5 / 4, 15])
    (readings.flatten() * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert currents.grad.flatten().tolist() == pytest.approx([2.5, 2.5, 12.5, 12.5, 100])


def test_segments_have_steps():
    with pytest.raises(UserError, match="at least 1 step long, not 0"):
        ends_of(8, 0)
