"""Real-time factors of the models of an evaluation, measured side by side."""

from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from separator.models.card import split_steps
from separator.tasks.benchmark.machine import machine
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement, merge_turns
from separator.tasks.benchmark.processes import measure_in_process
from separator.tasks.fingerprints import model_fingerprint
from separator.tasks.journal import Journal

SECONDS = 60.0  # of noise that is separated
TURNS = 2  # of each model, so that none has all of the machine's good moments
TABLE = "speed.csv"
VALUES = ("fingerprint", "seconds", "threads", "real_time_factor", "machine")


def measure_speeds(models: Mapping[str, str], path: Path, threads: int, progress: bool = False) -> dict[str, float]:
    """Time that models take to separate noise over its length, on a CPU; the fastest round of all turns.

    Models that the file tells of, on this machine and with as many threads, are not measured again, unless another one has to
    be: times are compared, so they are of one hour.

    Args:
        models: shipped models or model files, `NAME@WINDOW` too, by the names of their systems.
        path: CSV file of what was measured, written.
        threads: CPU threads.
        progress: show a progress bar on stderr.

    Raises:
        UserError: a model cannot be loaded, or the file cannot be read or written.
    """
    journal, host = Journal(path, ("system",), VALUES), machine()
    measuring = f"{threads} threads, {SECONDS:g} s, {host}"
    fingerprints = {name: f"{model_fingerprint(model)}@{split_steps(model)[1]} {measuring}" for name, model in models.items()}
    known = {name: row["fingerprint"] for name in models if (row := journal.find({"system": name}))}
    if known != fingerprints:
        measured = _measure(models, threads, progress)
        journal.add(
            {
                "system": name,
                "fingerprint": fingerprints[name],
                "seconds": SECONDS,
                "threads": threads,
                "real_time_factor": result.real_time_factor,
                "machine": host,
            }
            for name, result in measured.items()
        )
        journal.finish()
    return {name: float(journal.rows[name,]["real_time_factor"]) for name in models}


def _measure(models: Mapping[str, str], threads: int, progress: bool) -> dict[str, Measurement]:
    results: dict[str, Measurement] = {}
    turns = [name for _ in range(TURNS) for name in models]
    for name in tqdm(turns, desc="timing", unit="turn", disable=None if progress else True, leave=False):
        result = measure_in_process(BenchmarkCase(models[name], SECONDS, threads))
        results[name] = merge_turns(results.get(name), result)
    return results
