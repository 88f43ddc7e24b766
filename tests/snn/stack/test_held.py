import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.snn.spikes.augmented import AugmentedSpikes
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.spikes.signed import SignedSpikes
from separator.snn.stack.held import ROOM, SMALL, Held, silence

WINDOW = 4


def trains(positions, least, most, seed):
    """Random spikes, time steps in front. Shape: (N_s, B, C, 1, n)."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(least, most + 1, (WINDOW, 2, 3, 1, positions), generator=rng).float()


def numbers(piece):
    return piece if isinstance(piece, torch.Tensor) else piece.trains()


KINDS = {
    "analog": lambda steps: steps.sum(0),
    "binary": lambda steps: BinarySpikes.pack(steps.clamp(0, 1)),
    "signed": lambda steps: SignedSpikes.pack(steps),
    "augmented": AugmentedSpikes.pack,
}
IN_FRONT = {
    "binary": lambda steps: BinarySpikes.in_front(steps.sum(0).clamp(0, WINDOW).to(torch.int8), WINDOW),
    "signed": lambda steps: SignedSpikes.in_front(steps.sum(0).to(torch.int8), WINDOW),
    "augmented": lambda steps: AugmentedSpikes.in_front(steps.sum(0), WINDOW, 1),
}


@given(
    st.sampled_from(list(KINDS)),
    st.integers(1, 3 * SMALL),
    st.lists(st.integers(1, 2 * SMALL), min_size=1, max_size=12),
    st.integers(0, 10**6),
    st.sampled_from(["each step", "in front", "both"]),
)
def test_a_piece_is_given_behind_the_end_of_those_before_and_stays_as_it_is(kind, reach, sizes, seed, coded):
    held, expected, given, whole = Held(reach), [], [], None
    for number, size in enumerate(sizes):
        in_front = kind in IN_FRONT and (coded == "in front" or (coded == "both" and (seed + number) % 3 == 0))
        piece = (IN_FRONT if in_front else KINDS)[kind](trains(size, -1, 1, seed + number))
        whole = numbers(piece) if whole is None else torch.cat([whole, numbers(piece)], -1)
        given.append(held.add(piece))
        expected.append(whole[..., max(0, whole.shape[-1] - size - reach) :])
    assert all(torch.equal(numbers(one), other) for one, other in zip(given, expected, strict=True))


@pytest.mark.parametrize("size", [1, SMALL, SMALL + 1, 1000])
def test_memory_does_not_grow(size):
    held = Held(50)
    for _ in range(300):
        held.add(torch.zeros(1, 2, size, dtype=torch.int32))
    room = ROOM + SMALL if size <= SMALL else 0
    assert held.memory.untyped_storage().nbytes() <= 2 * (50 + room) * 2 * 4


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_of_the_same_kind(kind):
    like = KINDS[kind](trains(5, -1, 1, 0))
    silent = silence(like, 7)
    assert type(silent) is type(like) and numbers(silent).shape[-1] == 7 and not numbers(silent).any()
