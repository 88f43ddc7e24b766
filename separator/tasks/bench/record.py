"""What was measured, kept in a table as it comes."""

from dataclasses import asdict
from pathlib import Path

from separator.tasks.bench.measurement import Case, Measurement
from separator.tasks.journal import Journal

KEY = tuple(asdict(Case("", 0, 0)))
TRAINING = ("forward", "backward", "optimiser", "mixing", "varied")
NUMBERS = ("firing_rate", "kept", "working", *TRAINING)  # fields of a measurement that may be missing
COLUMNS = ("firing_rate", "same_spikes", "elapsed", "kept", *TRAINING, "memory", "working", "turns", "machine")
NEWER = ("batch", *TRAINING, "turns")  # which tables of former versions lack


class Record:
    """Measurements on one machine; those of another one, or of other versions, do not count.

    Args:
        path: table, whose rows are read if it exists.
        machine: see `machine`.

    Raises:
        UserError: the table cannot be read or written, or is another one.
    """

    def __init__(self, path: Path, machine: str) -> None:
        self.journal, self.machine = Journal(path, KEY, COLUMNS, NEWER), machine

    def add(self, result: Measurement) -> None:
        """Keep a measurement, in the place of an earlier one of the same case; what there is not stays empty.

        Raises:
            UserError: the table cannot be written.
        """
        values = asdict(result) | asdict(result.case)
        row = {name: value for name, value in values.items() if name != "case" and value is not None}
        self.journal.add([row | {"machine": self.machine}])

    def find(self, case: Case) -> Measurement | None:
        """What is known of a case."""
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
