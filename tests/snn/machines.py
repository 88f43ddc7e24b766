"""Machines with and without instructions for products of 8-bit integers, whichever the tests run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from separator.snn.integers.products import adds_exactly, multiplies_integers


@contextmanager
def machine(multiplies: bool) -> Iterator[None]:
    """Within, layers are laid out as on an x86 machine that multiplies 8-bit integers, or on one that does not.

    Layers keep how they were laid out; take new ones.
    """

    def exact(x: Tensor, weight: Tensor) -> Tensor:
        return (x.double() @ weight.double()).to(torch.int32)

    with (
        mock.patch("platform.machine", lambda: "x86_64"),
        mock.patch.object(torch.cpu, "_is_vnni_supported", lambda: multiplies),
        mock.patch.object(torch.cpu, "_is_amx_tile_supported", lambda: False),
        mock.patch.object(torch, "_int_mm", exact),
    ):
        _ask_anew()
        assert multiplies_integers("cpu") == multiplies
        try:
            yield
        finally:
            _ask_anew()


def _ask_anew() -> None:
    for question in (multiplies_integers, adds_exactly):
        question.cache_clear()
