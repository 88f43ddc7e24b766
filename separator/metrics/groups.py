"""Groups of mixtures that are scored apart: by the talkers' genders, and by how close their pitches are."""

import math
from collections.abc import Sequence

# Groups by the difference of the talkers' pitches: from, and below, in semitones.
BANDS = {
    "pitch 0-2": (0.0, 2.0),
    "pitch 2-4": (2.0, 4.0),
    "pitch 4-8": (4.0, 8.0),
    "pitch over 8": (8.0, math.inf),
}


def gender_group(genders: Sequence[str] | None) -> str | None:
    """The column of Table 4 a mixture of these genders belongs to: "same", "diff", or None where a gender is unknown."""
    if genders is None or not set(genders) <= {"m", "f"}:
        return None
    return "same" if len(set(genders)) == 1 else "diff"


def gender_pair(genders: Sequence[str] | None) -> str | None:
    """The genders of a mixture in alphabetical order, such as "f-m"; None where one is unknown."""
    return None if genders is None or gender_group(genders) is None else "-".join(sorted(genders))


def pitch_band(difference: float) -> str | None:
    """The band that a difference in semitones lies in; None where there is none (NaN)."""
    return next((name for name, (low, high) in BANDS.items() if low <= difference < high), None)


def groups_of(genders: Sequence[str] | None, difference: float) -> tuple[str, ...]:
    """All groups that a mixture belongs to, but for that of all mixtures; `difference` is in semitones, NaN if unknown."""
    names = (gender_group(genders), gender_pair(genders), pitch_band(difference))
    return tuple(name for name in names if name is not None)
