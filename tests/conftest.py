"""Settings of the whole suite; what its tests share is in `tests.fixtures`."""

import gc
import os
from pathlib import Path

import pytest

from tests.recipes.running import SHARED, quick_command

# Rooms with files that take long, which begin first: one that begins last would keep a core waiting for the other.
FIRST = ("tasks/learning", "recipes", "cli", "snn", "tasks", "egs")


def pytest_configure(config: pytest.Config) -> None:
    """Let workers take files in the order of `FIRST`, and not those with many tests first, which are quick ones."""
    config.option.loadscopereorder = False
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):  # others run no tests, and import nothing
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put rooms in the order of `FIRST`, and the others behind them."""

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.relative_to(Path(__file__).parent)
        return next((number for number, room in enumerate(FIRST) if folder.is_relative_to(room)), len(FIRST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that lives until the end, and processes forked from this one a copy of it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Start one server of commands for all workers."""
    os.environ[SHARED] = str(quick_command())
