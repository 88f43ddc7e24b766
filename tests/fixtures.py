"""What the tests of the whole suite share."""

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

settings.register_profile("separator", deadline=None, max_examples=20)  # machines differ in speed
settings.load_profile("separator")
torch.set_num_threads(1)  # the networks here are tiny; threads would only wait for each other


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    """What is written here need not outlive a power cut."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda file: None)
        yield


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
