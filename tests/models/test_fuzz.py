"""Damaged files open or are refused in one line; `python -m tests.models.fuzz` tries more of them, with little memory."""

from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from separator.errors import UserError
from separator.models.files import load_network
from tests.models.mutations import mutated
from tests.models.tiny import save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    for name, spiking in {"ann": False, "snn": True}.items():
        save_tiny(folder / name, spiking)
    return folder


@settings(max_examples=200)
@given(kind=st.sampled_from(["ann", "snn"]), seed=st.integers(0, 2**32 - 1))
def test_damaged_files_open_or_are_refused(folder, kind, seed):
    _, raw = mutated((folder / kind).read_bytes(), Random(seed))
    path = folder / "mutated"
    path.write_bytes(raw)
    try:
        network, _ = load_network(path)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert network(torch.linspace(-1, 1, 400)[None]).isfinite().all()
