"""Each case measured in a process of its own, so that none finds the memory or the threads of another."""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from separator.errors import UserError
from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.unrolled.ways import names_way


def benchmark(systems: Sequence[str], lengths: Sequence[float], threads: int) -> list[Measurement]:
    """Measure every system on every length, one after another.

    Args:
        systems: shipped models, model files (`NAME@4` for 4 time steps), networks of the published size with random weights
            (`paper-ann`, `paper-snn` and `paper-snn-pipelined`, of 8-bit weights), each also by another backend (`bf16:NAME`;
            `dense:NAME`, without event-driven kernel and 8-bit products; `spikingjelly:NAME`), or `ASTEROID`.
        lengths: seconds of sound.
        threads: CPU threads.

    Raises:
        UserError: a system cannot be loaded, or fires other spikes than it should.
    """
    return [measure_in_process(BenchmarkCase(system, seconds, threads)) for seconds in lengths for system in systems]


def measure_in_process(case: BenchmarkCase) -> Measurement:
    """Measure a case in a process of its own.

    Raises:
        UserError: it cannot be measured.
    """
    command = [sys.executable, "-m", "separator.tasks.benchmark.processes", json.dumps(asdict(case))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"its process ended with status {done.returncode} (out of memory?)"]
        raise UserError(f"{case.system} cannot be measured: {lines[-1]}")
    return Measurement(case, **json.loads(done.stdout))


def measure(case: BenchmarkCase) -> dict[str, Any]:
    """Measure a case in this process; the fields of `Measurement` other than the case."""
    import torch

    torch.set_num_threads(case.threads)
    if names_way(case.system):
        from separator.tasks.benchmark.unrolled.timing import measure_unrolled

        values = measure_unrolled(case)
    elif case.batch is not None:
        from separator.tasks.benchmark.training.timing import measure_training

        values = measure_training(case)
    elif case.layer is None:
        from separator.tasks.benchmark.separation.timing import measure_separation

        values = measure_separation(case)
    else:
        from separator.tasks.benchmark.conversion.timing import measure_conversion

        values = measure_conversion(case)
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in KiB elsewhere
    return {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit} | values  # a GPU's own, where it is measured


if __name__ == "__main__":
    try:
        print(json.dumps(measure(BenchmarkCase(**json.loads(sys.argv[1])))))
    except UserError as error:
        sys.exit(str(error))
