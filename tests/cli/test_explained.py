from dataclasses import dataclass, field

from separator.cli.options.explained import explanations


@dataclass(frozen=True)
class Inner:
    depth: int = 1  # m


@dataclass(frozen=True)
class Base:
    """What it has."""

    first: int = 1  # of all, at 50 %
    # A longer one,
    # on two lines.
    second: float = 2.0
    silent: int = 0
    third: tuple[int, ...] = field(  # begins here
        default=(1, 2),
    )

    def nothing(self) -> None:
        """No setting."""
        local: int = 1  # no setting either
        del local


@dataclass(frozen=True)
class Derived(Base):
    first: int = 3  # of another kind
    odd: str = "#"  # type: ignore[assignment]
    inner: Inner = Inner()  # a group


def test_comments_say_what_settings_are_for():
    assert explanations(Derived, "it") == {
        "it.first": "of another kind",
        "it.second": "A longer one, on two lines.",
        "it.third": "begins here",
        "it.inner": "a group",
        "it.inner.depth": "m",
    }


def test_what_has_no_source_is_not_explained():
    assert explanations(dataclass(type("Made", (), {"__annotations__": {"x": int}, "x": 1})), "it") == {}
