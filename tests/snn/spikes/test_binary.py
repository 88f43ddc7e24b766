import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.signed import SignedSpikes


@given(st.integers(1, 32), st.integers(0, 2**32 - 1))
def test_packing_is_lossless(window, seed):
    trains = torch.randint(0, 2, (window, 2, 3), generator=torch.Generator().manual_seed(seed)).float()
    spikes = BinarySpikes.pack(trains)
    assert spikes.words.dtype == torch.int32
    assert torch.equal(spikes.trains(), trains)
    assert torch.equal(spikes.counts, trains.sum(0).to(torch.int8))
    assert all(torch.equal(spikes.at(t), step) for t, step in enumerate(trains))
    assert spikes.events_by_step().tolist() == trains.flatten(1).sum(1).tolist()


@given(st.integers(1, 32), st.integers(0, 2**32 - 1))
def test_signed_trains_are_packed_without_loss(window, seed):
    trains = torch.randint(-1, 2, (window, 2, 3), generator=torch.Generator().manual_seed(seed)).float()
    spikes = SignedSpikes.pack(trains)
    assert torch.equal(spikes.trains(), trains)
    assert spikes.events_by_step().tolist() == trains.abs().flatten(1).sum(1).tolist()


def test_counts_stand_for_trains_whose_spikes_come_first():
    spikes = BinarySpikes(32, counts=torch.arange(33, dtype=torch.int8))
    assert [bin(word & 0xFFFFFFFF) for word in spikes.words.tolist()] == [bin((1 << n) - 1) for n in range(33)]
    assert torch.equal(BinarySpikes(32, words=spikes.words).counts, spikes.counts)


def test_long_windows_are_refused():
    with pytest.raises(ValueError, match="33"):
        BinarySpikes.pack(torch.zeros(33, 1))
