import random

import pytest

from separator.corpora.training.held_out import choose_held_out, hold_out
from separator.errors import UserError
from tests.corpora.banks import make_bank

NAMES = [f"speaker{i}" for i in range(200)]


def test_choice_is_by_name_not_by_order():
    chosen = choose_held_out(NAMES, 0.1)
    shuffled = random.Random(0).sample(NAMES, len(NAMES))
    assert len(chosen) == 20 and chosen == choose_held_out(shuffled, 0.1) == choose_held_out(NAMES, 20)
    assert chosen != set(NAMES[:20])


def test_choice_stays_from_version_to_version():
    """Another one would let a training that goes on hear whom it had held out."""
    digests = {"a": "ca978112", "b": "3e23e816", "c": "2e7d2c03", "d": "18ac3e73"}  # of sha256sum
    assert [name for name in "abcd" if name in choose_held_out(digests, 2)] == ["c", "d"]


def test_a_larger_share_has_the_smaller_one_in_it():
    assert choose_held_out(NAMES, 0.05) < choose_held_out(NAMES, 0.2)
    assert choose_held_out(NAMES, 0) == set()


def names(banks):
    return [{voice.name for voice in bank.voices} for bank in banks]


def test_speakers_are_on_one_side_or_the_other():
    banks = [make_bank("mf" * 10, prefix="a"), make_bank("m" * 10, prefix="b", seed=1)]
    kept, held = hold_out(banks, [0.2], 2)
    for whole, part, out in zip(names(banks), names(kept), names(held), strict=True):
        assert part | out == whole and not part & out
    assert [len(part) for part in names(held)] == [4, 2]
    for bank, part in zip(banks, kept, strict=True):
        for group, voice in zip(part.speakers, part.voices, strict=True):
            original = next(i for i, other in enumerate(bank.voices) if other == voice)
            assert (bank.speakers[original] == group).all()


def test_amounts_for_each_corpus():
    banks = [make_bank("mf" * 10, prefix="a"), make_bank("m" * 10, prefix="b", seed=1)]
    kept, held = hold_out(banks, [0, 3], 2)
    assert [len(part) for part in names(kept)] == [20, 7]
    assert [len(part) for part in names(held)] == [3]
    assert hold_out(banks, [0.0], 2)[1] == []


def test_who_is_held_out_of_one_corpus_is_held_out_of_all():
    kept, held = hold_out([make_bank("m" * 10), make_bank("m" * 20, seed=1)], [3, 0], 2)
    assert not names(held)[0] & (names(kept)[0] | names(kept)[1])
    assert [len(part) for part in names(kept)] == [7, 17]


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ([-0.1], "not -0.1"),
        ([2.5], "not 2.5"),
        ([float("nan")], "not nan"),
        ([0.1, 0.1, 0.1], "3 values of held_out for 2 corpora"),
        ([0.05], "holds out 0 speakers of bank; mixtures need at least 2"),
        ([9], "leaves 1 speakers of bank"),
        ([0, 11], "leaves 0 speakers of bank"),
    ],
)
def test_amounts_that_make_no_sense(amounts, message):
    with pytest.raises(UserError, match=message):
        hold_out([make_bank("m" * 10), make_bank("m" * 10, prefix="t")], amounts, 2)
