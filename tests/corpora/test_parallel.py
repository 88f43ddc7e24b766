import os

import pytest

from separator.corpora.parallel import parallel_map
from separator.errors import UserError


def square(number):
    return number * number


def fail_at_seven(number):
    if number == 7:
        raise UserError(f"cannot do {number}")
    return number


def die(number):
    os._exit(1)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    assert parallel_map(square, range(30), workers, "squares") == [n * n for n in range(30)]


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
