"""Files of NumPy arrays that may be damaged."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from separator.errors import UserError

Arrays = dict[str, NDArray[Any]]


def read_arrays(path: str | Path, advice: str) -> Arrays:
    """Read all arrays of an npz file.

    Args:
        path: of the file.
        advice: what to do if it is not there or not usable, for the message.

    Raises:
        UserError: it is missing, damaged, or no npz file.
    """
    try:
        with np.load(path) as saved:
            return dict(saved)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {advice}") from None
    except MemoryError:
        raise
    except Exception:  # of damaged files NumPy says what its parsers happen to say, tokenize's errors among others
        raise UserError(f"{path} is damaged, or no npz file; {advice}") from None
