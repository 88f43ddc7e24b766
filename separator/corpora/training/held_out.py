"""Speakers kept out of training, to see how a network does on voices that it has never heard."""

import hashlib
from collections.abc import Collection, Sequence

from separator.corpora.training.bank import SpeechBank
from separator.errors import UserError


def choose_held_out(names: Collection[str], amount: float) -> set[str]:
    """Choose speakers by a hash of their names, so that neither order nor chance decides.

    Args:
        names: of all speakers.
        amount: share of them if less than 1, else how many.

    Raises:
        UserError: the amount is neither.
    """
    if not 0 <= amount < float("inf") or (amount > 1 and amount != int(amount)):
        raise UserError(f"held_out is a share of the speakers, below 1, or how many of them, not {amount:g}")
    count = round(amount * len(names)) if amount < 1 else int(amount)
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count])


def hold_out(banks: Sequence[SpeechBank], amounts: Sequence[float], n_src: int) -> tuple[list[SpeechBank], list[SpeechBank]]:
    """Divide the speakers of corpora; who is held out of one, by name, is held out of all.

    Args:
        banks: the corpora.
        amounts: what to hold out of each, see `choose_held_out`; one for all, or one for each.
        n_src: talkers of a mixture; each part of a corpus must have as many.

    Returns:
        The corpora without those held out; and of those with an amount, those held out.

    Raises:
        UserError: amounts make no sense, or leave too few speakers on either side.
    """
    if len(amounts) not in {1, len(banks)}:
        raise UserError(f"there are {len(amounts)} values of held_out for {len(banks)} corpora; give one, or one for each")
    of_each = list(amounts) if len(amounts) == len(banks) else list(amounts) * len(banks)
    names = [{voice.name for voice in bank.voices} for bank in banks]
    chosen = set().union(*(choose_held_out(known, amount) for known, amount in zip(names, of_each, strict=True)))
    kept = [bank.among(known - chosen) for bank, known in zip(banks, names, strict=True)]
    held = [bank.among(chosen) for bank, amount in zip(banks, of_each, strict=True) if amount]
    for part, verb in ((kept, "leaves"), (held, "holds out")):
        for bank in part:
            if len(bank.speakers) < n_src:
                raise UserError(f"held_out {verb} {len(bank.speakers)} speakers of {bank.name}; mixtures need at least {n_src}")
    return kept, held
