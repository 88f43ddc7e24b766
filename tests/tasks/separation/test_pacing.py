import pytest
import torch

from separator.parallel import THREAD_LIMITS
from separator.tasks.separation import pacing
from separator.tasks.separation.pacing import keeping_up, leave_busy_cores


@pytest.fixture(autouse=True)
def same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def threads_while(cost, most=4, seconds=20):
    """Threads at each half second of sound that takes `cost[threads]` times its length to compute."""
    done, seen = [0.0, 0.0], []
    for _ in keeping_up(range(2 * seconds), lambda: tuple(done), most=most):
        threads = torch.get_num_threads()
        seen.append(threads)
        done[0] += 0.5
        done[1] += 0.5 * cost(threads)
    return seen


@pytest.mark.parametrize(("idle", "told", "threads"), [(1, None, 1), (2, None, 2), (9, None, 3), (1, "3", 3)])
def test_files_are_computed_on_idle_cores_unless_the_environment_tells(idle, told, threads, monkeypatch):
    for name in THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setattr(pacing, "idle_cores", lambda: idle)
    torch.set_num_threads(3)
    leave_busy_cores()
    assert torch.get_num_threads() == threads


def test_one_thread_is_enough_where_it_keeps_up():
    assert set(threads_while(lambda threads: 0.8)) == {1}


def test_threads_are_added_until_the_stream_keeps_up():
    seen = threads_while(lambda threads: 2.5 / threads)
    assert seen == sorted(seen) and seen[0] == 1 and seen[-1] == 3


def test_no_more_threads_than_cores():
    assert max(threads_while(lambda threads: 9.0, most=2)) == 2
