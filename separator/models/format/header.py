"""Headers of safetensors files: what tensors there are, before any of them is read and without loading torch."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from separator.errors import UserError
from separator.models.format.text import shown
from separator.models.format.typed import check_type

ARCHIVE = b"PK\x03\x04"  # how what torch saves begins
MAX_HEADER = 2**20  # bytes; a hundred layers take 100,000


class TensorSpec(NamedTuple):
    """Type and shape of a tensor, before its numbers are read."""

    dtype: str  # as safetensors calls it, such as F32
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'}"


class Header(NamedTuple):
    """The header of a file."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, TensorSpec]


def read_header(path: Path) -> Header:
    """Header of a safetensors file; the file is as long as it says.

    Raises:
        UserError: the file cannot be read, is damaged or no such file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            if first.startswith(ARCHIVE):
                raise UserError(
                    f"{path} is a checkpoint or another archive; the model file of a training lies beside its checkpoints"
                )
            (length,) = struct.unpack("<Q", first)
            if length > size - 8:
                raise ValueError("its header is cut short")
            if length > MAX_HEADER:
                raise ValueError(f"its header has {length} bytes, and at most {MAX_HEADER} are read")
            entries = json.loads(file.read(length))
        metadata = entries.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if 8 + length + end != size:
            raise ValueError(f"it has {size} bytes where its header says {shown(8 + length + end)}")
        return Header(metadata, {name: _spec(entry) for name, entry in entries.items()})
    except OSError as error:
        raise UserError(f"cannot read the model {path}: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise UserError(f"{path} is not a model file, or a damaged one ({shown(str(error))}); get it again") from error


def _spec(entry: Mapping[str, Any]) -> TensorSpec:
    check_type("a dtype", entry["dtype"], str)
    check_type("a shape", entry["shape"], list[int])
    return TensorSpec(entry["dtype"], tuple(entry["shape"]))
