"""Table of measurements on disk, which grows as they come."""

from dataclasses import asdict
from pathlib import Path

from separator.atomic import write_text
from separator.errors import UserError
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.journal import Journal

KEY = tuple(asdict(BenchmarkCase("", 0, 0)))
TRAINING = ("forward", "backward", "optimiser", "mixing", "varied")
NUMBERS = ("firing_rate", "kept", "working", *TRAINING)  # fields of a measurement that may be missing
COLUMNS = ("firing_rate", "same_spikes", "elapsed", "kept", *TRAINING, "memory", "working", "turns", "machine")
NEWER = ("batch", "device", *TRAINING, "turns")  # which tables of former versions lack
RENAMED = {"stage": "layer"}  # columns of former versions


class Record:
    """Measurements on one machine; those of another one, or of other versions, do not count.

    Args:
        path: table, whose rows are read if it exists.
        machine: see `machine`.

    Raises:
        UserError: the table cannot be read or written, or is another one.
    """

    def __init__(self, path: Path, machine: str) -> None:
        _rename_columns(path)
        self.journal, self.machine = Journal(path, KEY, COLUMNS, NEWER), machine

    def add(self, result: Measurement) -> None:
        """Keep a measurement, in the place of an earlier one of the same case; what there is not stays empty.

        Raises:
            UserError: the table cannot be written.
        """
        values = asdict(result) | asdict(result.case)
        row = {name: value for name, value in values.items() if name != "case" and value is not None}
        self.journal.add([row | {"machine": self.machine}])

    def find(self, case: BenchmarkCase) -> Measurement | None:
        """Find the measurement of a case; None if there is none."""
        row = self.journal.find({name: "" if value is None else value for name, value in asdict(case).items()})
        if row is None or row["machine"] != self.machine:
            return None
        return Measurement(
            case,
            elapsed=float(row["elapsed"]),
            memory=float(row["memory"]),
            same_spikes={"True": True, "False": False}.get(row["same_spikes"]),
            turns=int(row["turns"] or 1),
            **{name: float(row[name]) for name in NUMBERS if row[name]},
        )


def _rename_columns(path: Path) -> None:
    """Give the columns of a former version their names of today, in the file.

    Raises:
        UserError: it cannot be read or written.
    """
    try:
        head, newline, rows = path.read_text(encoding="utf-8").partition("\n") if path.exists() else ("", "", "")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    former = head.split(",")
    names = [RENAMED.get(name, name) for name in former]
    if names != former and set(names) <= {*KEY, *COLUMNS}:  # a table of this command, and no other's
        write_text(path, ",".join(names) + newline + rows)
