"""A table of results that grows row by row on disk and survives being killed."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from separator.atomic import atomic_path
from separator.errors import UserError

Row = dict[str, str]
Key = tuple[str, ...]


class Journal:
    """CSV file whose rows are known by the values of their first columns; a later row replaces an earlier one of its key.

    Rows are appended as they come and can be read back after a crash; `finish` writes the file anew, without replaced rows.

    Args:
        path: CSV file; its rows are read if it exists.
        key: the first columns.
        values: the other columns.
        newer: those of all columns that files of former versions lack; they are read as empty.

    Raises:
        UserError: the file cannot be read or written, or has other columns.
    """

    def __init__(self, path: Path, key: Sequence[str], values: Sequence[str], newer: Sequence[str] = ()) -> None:
        self.path, self.key, self.columns, self.newer = path, tuple(key), (*key, *values), frozenset(newer)
        self.rows: dict[Key, Row] = {}
        if path.exists():
            self._read()
        self.finish()  # a row that was cut off must not be continued by the next one

    def add(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Append rows; they are on disk when this returns. Columns that a row lacks stay empty.

        Raises:
            UserError: the file cannot be written.
        """
        texts = [{name: _text(row.get(name, "")) for name in self.columns} for row in rows]
        self.rows |= {self._key(row): row for row in texts}
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                self._writer(file).writerows(texts)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error

    def find(self, key: Mapping[str, object]) -> Row | None:
        """The row of a key, given by its columns; None if there is none."""
        return self.rows.get(tuple(_text(key[name]) for name in self.key))

    def finish(self) -> None:
        """Write the file anew, sorted by key, as rows are from then on: as where they are read back."""
        self.rows = {key: self.rows[key] for key in sorted(self.rows)}
        with atomic_path(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(self.rows.values())

    def _read(self) -> None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {self.path}: {error}") from error
        complete = text[: text.rfind("\n") + 1]  # the last row may have been cut off by a crash
        reader = csv.DictReader(io.StringIO(complete))
        names = tuple(reader.fieldnames or self.columns)
        if names != tuple(name for name in self.columns if name in names or name not in self.newer):
            raise UserError(f"{self.path} is not a table of this command: take another --out or remove it")
        empty = dict.fromkeys(self.columns, "")
        rows = [empty | row for row in reader]
        self.rows = {self._key(row): row for row in rows}

    def _writer(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self.columns, lineterminator="\n")

    def _key(self, row: Mapping[str, str]) -> Key:
        return tuple(row[name] for name in self.key)


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
