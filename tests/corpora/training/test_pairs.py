import math
from collections import Counter
from math import nan

import numpy as np
import pytest

from separator.corpora.training.bank import Voice
from separator.corpora.training.pairs import AnyTalkers, PairedTalkers, are_close, corpus_shares
from separator.errors import UserError
from tests.corpora.banks import make_bank

DRAWS = 2000
MEN, WOMEN = np.linspace(90, 160, 12), np.linspace(150, 260, 4)  # Hz; the deepest women are close to the highest men


def drawn(talkers, n_src=2, draws=DRAWS):
    """Voices of mixtures, each a list."""
    rng = np.random.default_rng(5)
    chosen = (talkers.draw(n_src, rng) for _ in range(draws))
    return [[talkers.banks[corpus].voices[speaker] for corpus, speaker in pair] for pair in chosen]


def near(share, draws=DRAWS):
    """Four standard deviations of a binomial share."""
    return pytest.approx(share, abs=4 * math.sqrt(max(share * (1 - share), 1e-4) / draws))


def mixed_bank(**options):
    """Three times as many men as women, and some of whom nothing is known."""
    return make_bank("m" * 12 + "f" * 4 + "?" * 3, [*MEN, *WOMEN, nan, nan, nan], **options)


def close_by_hand(one, other):
    """What are_close says, by frequency ratios."""
    if one.gender == other.gender and one.gender in {"m", "f"}:
        return True
    return not math.isnan(one.pitch + other.pitch) and max(one.pitch / other.pitch, other.pitch / one.pitch) < 2 ** (4 / 12)


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        (("m", 100.0), ("m", 200.0), True),
        (("m", nan), ("m", 200.0), True),
        (("m", 150.0), ("f", 185.0), True),
        (("f", 185.0), ("m", 150.0), True),
        (("m", 150.0), ("f", 190.0), False),
        (("?", 150.0), ("?", 151.0), True),
        (("?", 150.0), ("?", 300.0), False),
        (("?", nan), ("?", nan), False),
        (("?", nan), ("f", 200.0), False),
    ],
)
def test_voices_are_close_by_gender_or_pitch(one, other, close):
    assert are_close(Voice("a", *one), Voice("b", *other)) is close


@pytest.mark.parametrize("close", [0.0, 0.5, 0.8, 1.0])
def test_share_of_close_pairs(close):
    bank = make_bank("m" * 12 + "f" * 4, [*MEN, *WOMEN])  # everyone has close and other partners
    pairs = drawn(PairedTalkers([bank], close=close))
    assert np.mean([close_by_hand(*pair) for pair in pairs]) == near(close)


def test_without_a_share_pairs_are_as_they_fall():
    pairs = drawn(PairedTalkers([make_bank("m" * 40 + "f" * 40)]))
    same = np.mean([one.gender == other.gender for one, other in pairs])
    assert same == near(39 / 40 / 2 / (39 / 40 / 2 + 0.5))  # the same person twice does not count


def test_men_and_women_are_as_likely_and_unknown_ones_are_a_pool():
    first = Counter(pair[0].gender for pair in drawn(PairedTalkers([mixed_bank()], close=0.5)))
    assert [first[gender] / DRAWS for gender in "mf?"] == [near(0.425), near(0.425), near(0.15)]
    known = Counter(pair[0].gender for pair in drawn(PairedTalkers([make_bank("m" * 12 + "f" * 4)])))
    assert known["f"] / DRAWS == near(0.5)
    names = Counter(pair[0].name for pair in drawn(PairedTalkers([mixed_bank()])) if pair[0].gender == "f")
    assert len(names) == 4 and min(names.values()) / names.total() == near(0.25, names.total())


def test_a_corpus_without_genders_has_close_pairs_by_pitch():
    pitches = np.geomspace(100, 300, 20)
    pairs = drawn(PairedTalkers([make_bank("?" * 20, pitches)], close=0.5))
    assert np.mean([close_by_hand(*pair) for pair in pairs]) == near(0.5)
    assert len({voice.name for pair in pairs for voice in pair}) == 20


def test_corpora_have_the_shares_of_their_weights():
    banks = [mixed_bank(prefix=prefix) for prefix in "abc"]
    weights = np.array([0.5, 0.4, 0.1])
    pairs = drawn(PairedTalkers(banks, 10 * weights, close=0.5))
    for place in (0, 1):
        corpora = Counter(pair[place].name[0] for pair in pairs)
        assert [corpora[prefix] / DRAWS for prefix in "abc"] == [near(weight) for weight in weights]
    same = np.mean([one.name[0] == other.name[0] for one, other in pairs])
    assert same == near(0.75 + 0.25 * (weights**2).sum())


def test_a_corpus_of_weight_zero_is_silent():
    banks = [mixed_bank(prefix=prefix) for prefix in "ab"]
    assert {voice.name[0] for pair in drawn(PairedTalkers(banks, [0, 1]), draws=200) for voice in pair} == {"b"}


def test_corpora_weigh_by_their_speech_unless_told():
    banks = [make_bank("mf"), make_bank("mfmf", seed=1)]
    lengths = [len(bank.waves) for bank in banks]
    assert corpus_shares(banks, None) == pytest.approx(np.array(lengths) / sum(lengths))
    half = banks[1].among({"s0", "s1"})
    assert corpus_shares([banks[0], half], None)[1] == pytest.approx(half.offsets[4] / (lengths[0] + half.offsets[4]))
    assert corpus_shares(banks, [3, 1]) == pytest.approx([0.75, 0.25])


@pytest.mark.parametrize("n_src", [2, 3])
def test_talkers_are_different_people_also_across_corpora(n_src):
    banks = [make_bank("mff"), make_bank("mff", seed=1), make_bank("??", [100.0, 200.0], prefix="other", seed=2)]
    for talkers in (PairedTalkers(banks[:2], close=0.9), AnyTalkers(banks[0]), PairedTalkers(banks)):
        if n_src == 3 and isinstance(talkers, PairedTalkers) and len(talkers.banks) == 3:
            continue  # the last corpus has only two speakers
        assert all(len({voice.name for voice in voices}) == n_src for voices in drawn(talkers, n_src, 300))


def test_where_no_partner_is_close_another_one_talks():
    pairs = drawn(PairedTalkers([make_bank("mf", [100.0, 200.0])], close=1.0), draws=50)
    assert {tuple(sorted(voice.gender for voice in pair)) for pair in pairs} == {("f", "m")}
    pairs = drawn(PairedTalkers([make_bank("mm", [100.0, 200.0])], close=0.0), draws=50)
    assert all(one.name != other.name for one, other in pairs)


@pytest.mark.parametrize(
    ("weights", "close", "message"),
    [
        ([0.0, 0.0], None, "one of them above 0, not 0, 0"),
        ([1.0, -1.0], None, "must be 0 or more"),
        ([1.0, nan], None, "must be 0 or more"),
        ([1.0], None, "1 weights for 2 corpora"),
        (None, 1.5, "between 0 and 1, not 1.5"),
    ],
)
def test_shares_that_make_no_sense(weights, close, message):
    with pytest.raises(UserError, match=message):
        PairedTalkers([make_bank("mf"), make_bank("mf", prefix="t")], weights, close)


def test_every_corpus_needs_as_many_speakers_as_talk():
    with pytest.raises(UserError, match="mixtures of 3 talkers need as many speakers, second has 2"):
        PairedTalkers([make_bank("mff"), make_bank("mf", name="second", prefix="t")]).require(3)
