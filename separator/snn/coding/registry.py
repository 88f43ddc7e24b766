"""Input codings by name."""

from collections.abc import Callable, Mapping

from separator.snn.coding.inputs import Charge, Constant, InputCoding
from separator.snn.coding.poisson import Poisson
from separator.snn.registry import Registry, made_by

# What makes a coding from its options, plain numbers by name.
CODINGS: Registry[Callable[..., InputCoding]] = Registry(
    "input coding", {"charge": Charge, "constant": Constant, "poisson": Poisson}
)


def coding_of(name: str, options: Mapping[str, float]) -> InputCoding:
    """The coding of a name, made with options.

    Raises:
        UserError: there is no such coding, or it has no such option.
    """
    return made_by(CODINGS, name, options)
