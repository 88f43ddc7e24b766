import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.kernels.compiled import compiled
from separator.snn.kernels.events import event_layer, fire_events
from separator.snn.kernels.geometry import Geometry
from separator.snn.kernels.threads import in_threads


@given(st.integers(1, 50), st.integers(1, 5))
def test_threads_share_all_jobs_and_none_twice(jobs, threads):
    done, lock = [], threading.Lock()

    def work(first, last):
        with lock:
            done.extend(range(first, last))

    in_threads(work, jobs, threads)
    assert sorted(done) == list(range(jobs))


def test_errors_in_threads_are_raised_here():
    def work(first, last):
        raise ValueError(f"{first}")

    with pytest.raises(ValueError, match="0"):
        in_threads(work, 9, 3)


def test_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(0)
    weight = rng.integers(-(2**15), 2**15, (45, 7, 1, 3), dtype=np.int32)
    bias, threshold, start = (rng.integers(low, 2**15, 45, dtype=np.int32) for low in (-(2**15), 1, 0))
    layer = event_layer(Geometry((1, 3), before=(0, 2), dilation=(1, 2)), weight, bias, threshold, start)
    words = rng.integers(0, 2**32, (3, 1, 90, 7), dtype=np.uint32)
    one, four = (fire_events(words, layer, (1, 90), 32, threads) for threads in (1, 4))
    assert one.shape == (3, 1, 90, 45)
    assert np.array_equal(one, four)
    assert 0 < np.bitwise_count(one).mean() < 32


@pytest.mark.parametrize("weight", [127, 128, 2**15, 2**23, 2**24])
def test_weights_of_every_size_count_in_full(weight):
    """Those that are summed in 16 bits, and the largest there are."""
    one = np.ones(1, np.int32)
    layer = event_layer(Geometry(), np.full((1, 1, 1, 1), weight, np.int32), 0 * one, weight * one, 0 * one)
    words = np.array([0b1011], np.uint32).reshape(1, 1, 1, 1)
    assert fire_events(words, layer, (1, 1), 4, 1).item() == 0b1011


def test_kernels_compile_where_nothing_can_be_kept():
    """numba finds no place for the cache of a function that has no file."""
    namespace = {}
    exec("def double(x):\n    return 2 * x", namespace)
    assert compiled(namespace["double"])(21) == 42
