"""Talkers of a mixture: speakers as they come, or pairs by corpus, gender and closeness in pitch."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from separator.audio.pitch import semitones
from separator.corpora.training.bank import SpeechBank, Voice
from separator.errors import UserError

GENDER_SHARES = {"m": 0.425, "f": 0.425, "?": 0.15}  # of the talkers, where a corpus has all three
SAME_CORPUS = 0.75  # of the further talkers are of the first one's corpus for sure, the others of any
CLOSE = 4.0  # semitones; voices nearer to each other are hard to tell apart
TRIES = 100  # for a further talker as it is wanted; some speakers have none who is

Talker = tuple[int, int]  # a corpus, and one of its speakers, by number


class Talkers(Protocol):
    """Draws who talks in a mixture."""

    @property
    def banks(self) -> Sequence[SpeechBank]:
        """The corpora."""

    def draw(self, n_src: int, rng: np.random.Generator) -> list[Talker]:
        """As many different speakers."""

    def require(self, n_src: int) -> None:
        """Refuse, by a `UserError`, mixtures of more talkers than there are."""


def are_close(one: Voice, other: Voice) -> bool:
    """Tell whether two voices are of the same gender or less than 4 semitones apart, as far as either is known."""
    same_gender = one.gender == other.gender != "?"
    return same_gender or semitones(one.pitch, other.pitch) < CLOSE


def corpus_shares(banks: Sequence[SpeechBank], weights: Sequence[float] | None) -> NDArray[np.float64]:
    """Shares of corpora in the talkers, which add up to one.

    Args:
        banks: the corpora.
        weights: of each; None for hours of speech, by which every minute is heard as often as any other.

    Raises:
        UserError: there are more or fewer weights than corpora, or they are negative, not finite or all zero.
    """
    values = np.array([bank.length() for bank in banks] if weights is None else weights, dtype=np.float64)
    check_weights(values, len(banks))
    shares: NDArray[np.float64] = values / values.sum()
    return shares


def check_weights(weights: Sequence[float] | NDArray[np.float64], corpora: int) -> None:
    """Refuse weights that make no shares of so many corpora.

    Raises:
        UserError: as `corpus_shares` has it.
    """
    values = np.asarray(weights, dtype=np.float64)
    if len(values) != corpora:
        raise UserError(f"there are {len(values)} weights for {corpora} corpora; give one for each, in their order")
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        given = ", ".join(f"{value:g}" for value in values)
        raise UserError(f"weights of corpora must be 0 or more, and one of them above 0, not {given}")


class AnyTalkers:
    """Different speakers of one corpus, each as likely as any other."""

    def __init__(self, bank: SpeechBank) -> None:
        self.banks: Sequence[SpeechBank] = [bank]

    def require(self, n_src: int) -> None:
        """Refuse mixtures of more talkers than the corpus has."""
        _require(self.banks[0], n_src)

    def draw(self, n_src: int, rng: np.random.Generator) -> list[Talker]:
        """As many different speakers."""
        return [(0, int(speaker)) for speaker in rng.choice(len(self.banks[0].speakers), n_src, replace=False)]


class PairedTalkers:
    """Different speakers of one or several corpora, drawn by corpus, then gender, then name.

    Men and women are as likely, whatever the corpus has more of; speakers of unknown gender are a pool of their own. Three
    quarters of the further talkers are of the first one's corpus, the others of any, so that a corpus has its share of all
    talkers. A speaker of the same name in another corpus is taken for the same person.

    Args:
        banks: the corpora.
        weights: of each, see `corpus_shares`.
        close: share of the further talkers who are close to the first one, as `are_close` has it, the others being not; None
            for as they fall. Where a speaker has no such partner, it is anyone else.

    Raises:
        UserError: weights or share make no sense.
    """

    def __init__(self, banks: Sequence[SpeechBank], weights: Sequence[float] | None = None, close: float | None = None) -> None:
        if close is not None and not 0 <= close <= 1:
            raise UserError(f"the share of close pairs must lie between 0 and 1, not {close:g}")
        shares = corpus_shares(banks, weights)
        self.banks: Sequence[SpeechBank] = [bank for bank, share in zip(banks, shares, strict=True) if share]
        self.steps = np.cumsum(shares[shares > 0])
        self.pools = [_pools(bank) for bank in self.banks]
        self.close = close

    def require(self, n_src: int) -> None:
        """Refuse mixtures of more talkers than a corpus has."""
        for bank in self.banks:
            _require(bank, n_src)

    def draw(self, n_src: int, rng: np.random.Generator) -> list[Talker]:
        """As many different speakers."""
        home = _step(self.steps, rng)
        talkers = [self._speaker(home, rng)]
        while len(talkers) < n_src:
            close = None if self.close is None else bool(rng.random() < self.close)
            corpus = home if rng.random() < SAME_CORPUS else _step(self.steps, rng)
            talkers.append(self._further(talkers, corpus, home, close, rng))
        return talkers

    def _speaker(self, corpus: int, rng: np.random.Generator) -> Talker:
        steps, pools = self.pools[corpus]
        pool = pools[_step(steps, rng)]
        return corpus, int(pool[rng.integers(len(pool))])

    def _further(
        self, talkers: Sequence[Talker], corpus: int, home: int, close: bool | None, rng: np.random.Generator
    ) -> Talker:
        """Another speaker of a corpus, close to the first talker or not; anyone of the first one's if there is none."""
        voices = [self.banks[number].voices[speaker] for number, speaker in talkers]
        tries = 0
        while True:
            number, speaker = self._speaker(corpus if tries < TRIES else home, rng)
            voice = self.banks[number].voices[speaker]
            differs = all(voice.name != other.name for other in voices)
            if differs and (close is None or tries >= TRIES or are_close(voices[0], voice) == close):
                return number, speaker
            tries += 1


def _pools(bank: SpeechBank) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """Speakers by gender, and the running sum of the genders' shares."""
    genders = np.array([voice.gender for voice in bank.voices])
    pools = {gender: np.flatnonzero(genders == gender) for gender in GENDER_SHARES}
    present = [gender for gender, pool in pools.items() if len(pool)]
    return np.cumsum([GENDER_SHARES[gender] for gender in present]), [pools[gender] for gender in present]


def _step(steps: NDArray[np.float64], rng: np.random.Generator) -> int:
    """A number drawn by running sums of weights."""
    return int(np.searchsorted(steps, rng.random() * steps[-1], side="right"))


def _require(bank: SpeechBank, n_src: int) -> None:
    if n_src > len(bank.speakers):
        raise UserError(f"mixtures of {n_src} talkers need as many speakers, {bank.name} has {len(bank.speakers)}")
