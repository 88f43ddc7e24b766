"""Settings and fixtures of the whole suite."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from matplotlib.figure import Figure

from separator.corpora.synthetic import make_corpus
from tests.corpora.fake_wsj0 import FakeWsj0, make_fake_wsj0
from tests.pictures import leave_blank
from tests.recipes.running import SHARED, quick_command

settings.register_profile("separator", deadline=None, max_examples=40)  # machines differ in speed
settings.load_profile("separator")
torch.set_num_threads(1)  # the networks here are tiny; threads would only wait for each other

# Rooms with files that take long, which begin first: one that begins last would keep a core waiting for the other.
FIRST = ("tasks/learning", "recipes", "cli", "snn", "tasks", "egs")


def pytest_configure(config: pytest.Config) -> None:
    """Let workers take files in the order of `FIRST`, and not those with many tests first, which are quick ones."""
    config.option.loadscopereorder = False


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


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures in the order in which they are saved; they are saved all the same."""
    figures: list[Figure] = []
    save = Figure.savefig

    def kept(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


@pytest.fixture(scope="module")
def blank_pictures() -> Iterator[None]:
    """See `leave_blank`; they are rendered by the tests of presentation, and from end to end by those of two recipes."""
    with pytest.MonkeyPatch.context() as patched:
        leave_blank(patched)
        yield


@pytest.fixture(scope="session")
def fake_wsj0(tmp_path_factory: pytest.TempPathFactory) -> FakeWsj0:
    """A tiny imitation of WSJ0; read only."""
    return make_fake_wsj0(tmp_path_factory.mktemp("wsj0"))


@pytest.fixture(scope="session")
def synthetic_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kaldi data folders train, dev and test of synthetic voices, 8 kHz; read only."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder
