import os
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import pytest

from separator import parallel
from separator.errors import UserError
from separator.parallel import LOOKS, QUEUED, THREAD_LIMITS, idle_cores, map_unordered, parallel_map


def square(number):
    return number * number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def fail(number):
    raise ValueError(f"bad number {number}")


def environment(name):
    return os.environ.get(name)


def fail_at_seven(number):
    if number == 7:
        raise UserError(f"cannot do {number}")
    return number


def die(number):
    os._exit(1)


def test_every_job_gets_its_result():
    assert sorted(map_unordered(square, range(20), 2)) == [(n, n * n) for n in range(20)]


def test_no_jobs():
    assert list(map_unordered(square, [], 2)) == []


def test_a_job_that_kills_its_process_gets_none_and_spoils_no_other():
    results = dict(map_unordered(die_at_three, range(2, 6), 1))
    assert results == {2: 4, 3: None, 4: 16, 5: 25}


def test_exceptions_are_raised_here():
    with pytest.raises(ValueError, match="bad number 7"):
        list(map_unordered(fail, [7], 1))


def test_jobs_are_taken_only_a_few_ahead():
    taken = []
    jobs = (taken.append(n) or n for n in count())
    results = map_unordered(square, jobs, 1)
    assert len(list(islice(results, 5))) == 5
    assert len(taken) <= 5 + QUEUED
    results.close()


def test_workers_have_one_thread_each_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv(THREAD_LIMITS[0], "7")
    monkeypatch.delenv(THREAD_LIMITS[1], raising=False)
    assert dict(map_unordered(environment, THREAD_LIMITS, 1)) == dict.fromkeys(THREAD_LIMITS, "1")
    assert (os.environ[THREAD_LIMITS[0]], THREAD_LIMITS[1] in os.environ) == ("7", False)


PARENT = """
import os, signal
from separator.parallel import map_unordered
from tests.test_parallel import own_id
if __name__ == "__main__":
    for _, process in map_unordered(own_id, [1, 2, 3], 1):
        print(process, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def own_id(_):
    return os.getpid()


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_leave_when_their_parent_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run([sys.executable, tmp_path / "parent.py"], capture_output=True, text=True, env=environment)
    assert killed.returncode == -signal.SIGKILL
    worker = int(killed.stdout)
    deadline = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


WORK = """
import sys, time
from pathlib import Path
with Path("imports").open("a") as file:
    print(sys.argv[0], file=file, flush=True)
if sys.argv[0] == "-c":  # in the server
    time.sleep({pause})
def work(number):
    return number
"""
USER = """
from separator.parallel import map_unordered
from work import work
if __name__ == "__main__":
    try:
        print(sorted(number for _, number in map_unordered(work, range(9), 3)))
    except KeyboardInterrupt:
        print("interrupted")
"""


def started(folder, pause):
    """A program of a session of its own, with work in a module that takes note of each import, and takes long for one."""
    (folder / "work.py").write_text(WORK.format(pause=pause))
    (folder / "user.py").write_text(USER)
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{folder}"}
    return subprocess.Popen(
        [sys.executable, "user.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_what_the_work_needs_is_imported_once_for_all_workers(tmp_path):
    assert started(tmp_path, 0).communicate() == (f"{[*range(9)]}\n", "")
    assert (tmp_path / "imports").read_text().splitlines() == ["user.py", "-c"]


def test_ctrl_c_while_it_is_imported_is_heard_by_the_parent_alone(tmp_path):
    process = started(tmp_path, 1)
    while not (tmp_path / "imports").is_file() or "-c" not in (tmp_path / "imports").read_text():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == ("interrupted\n", "")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    assert parallel_map(square, range(30), workers, "squares") == [n * n for n in range(30)]


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_a_few_ahead_of_the_work(workers):
    taken = []

    def items():
        for n in range(10_000):
            taken.append(n)
            yield n

    with pytest.raises(UserError, match="cannot do 7"):
        parallel_map(fail_at_seven, items(), workers, "numbers")
    assert 8 <= len(taken) < 100


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_error_ends_it(workers):
    with pytest.raises(UserError, match="cannot do 7"):
        parallel_map(fail_at_seven, range(30), workers, "numbers")


def test_a_killed_process_is_one_clear_line():
    with pytest.raises(UserError, match="a worker process was killed"):
        parallel_map(die, range(30), 2, "deaths")


def test_nothing_is_printed_without_a_terminal(capfd):
    parallel_map(square, range(3), 1, "squares")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("running", "machine", "mine", "idle"),
    [
        ([1] * LOOKS, 4, 4, 4),  # this thread alone
        ([3] * LOOKS, 4, 4, 2),
        ([9] * LOOKS, 4, 4, 1),
        ([3] * LOOKS, 8, 2, 2),  # the others find a core elsewhere
        ([8] * LOOKS, 8, 2, 1),
        ([1, 9, 1, 9, 1, 1, 1], 4, 4, 4),  # what comes and goes
        ([None], 4, 3, 3),  # a system that does not tell
    ],
)
def test_cores_that_others_compute_on_are_not_idle(running, machine, mine, idle, monkeypatch):
    looks = iter(running)
    monkeypatch.setattr(parallel, "_running", lambda: next(looks))
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    monkeypatch.setattr(parallel, "cores", lambda: mine)
    assert idle_cores() == idle


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="a system that does not tell what runs")
def test_a_busy_machine_has_one_core_at_most():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() + 1)]
    try:
        time.sleep(0.5)
        assert idle_cores() == 1
    finally:
        for process in busy:
            process.kill()
            process.wait()
