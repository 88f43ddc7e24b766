"""Kill trainings, conversions, sweeps and evaluations at random moments, go on with them, and compare what comes of it.

    python -m tests.kills --kills 100 --seed 0

Each job is run unbroken once. Then it is begun anew, killed (SIGKILL) at a moment drawn evenly over its duration, start-up
included, perhaps killed again, and at last gone on with to its end by the same command. Weights, checkpoints, tables and
reports have to be equal to the bit, but for times in them; pictures have to be there, and no other file may be left. A line for
each kill tells, and the exit status is 1 if something differs. `--only WORD` takes the jobs with the word in their names;
`--keep DIR` keeps all that was made.

Every fifth kill goes to a process of its own, `python -m separator.cli.main`; the others to children of this one, which has
imported already what takes most of a command's time. Children draw no pictures either, but leave a note in place of each.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import torch
from matplotlib.figure import Figure
from safetensors import safe_open

from tests.images.test_idx import mnist
from tests.recipes.command_server import load, run

REAL = 5  # of so many kills, one goes to a process of its own
AGAIN = {False: 0.6, True: 0.8}  # share of runs that are killed once more; of processes of their own, which begin slowly
PATIENCE = 600  # s, after which a run hangs
SIZES = ["--network.filters", "16", "--network.filter_length", "16", "--network.channels", "8", "--network.dilations", "[1]"]
MACHINE = ["--device", "cpu", "--threads", "1"]
ONE = ["--machine.devices", "1"]
# Of a checkpoint, what a training depends on; the rest has paths and counters of Lightning's in it.
OF_CHECKPOINTS = (
    "epoch",
    "global_step",
    "state_dict",
    "optimizer_states",
    "lr_schedulers",
    "heard",
    "halving",
    "finish",
    "figures",
    "run",
)
CONVERSION = ["--conversion.window", "4", "--conversion.calibration_batches", "2", "--conversion.patience", "2"]


@dataclass(frozen=True)
class Job:
    """A command, without its --out."""

    name: str
    arguments: tuple[str, ...]


def jobs(work: Path) -> list[Job]:
    """All jobs on the data in a folder; later ones begin with what earlier ones made, in its folder `whole`."""
    made = work / "whole"
    fly = ["--data.train", f"{work}/corpus/train", "--data.dev", f"{work}/corpus/dev"]
    disk = ["--data.train", f"{work}/mixtures", "--data.dev", f"{work}/mixtures"]
    short = ["--data.segment", "0.5", "--data.epoch_mixtures", "8", "--data.dev_mixtures", "4", "--data.batch", "4", *MACHINE]
    speech = [*SIZES, *ONE, *short]
    pictures = ["--problem", "images", "--data.folder", f"{work}/mnist", *MACHINE]
    images = [*pictures, "--data.batch", "16"]
    layers = ["--network.layers", "c3s2-a7-d20-10"]
    ann, seen = f"{made}/train-plateau/ann.safetensors", f"{made}/train-images/ann.safetensors"
    plateau = ["--optimiser.patience", "1", "--optimiser.stop_patience", "2", "--optimiser.lr", "0.05"]
    # 6 epochs of 8 mixtures of 0.5 s
    anytime = ["--optimiser.schedule", "anytime", "--optimiser.finish", str(6 * 8 * 0.5 / 3600), "--optimiser.dev_every", "2"]
    averaged = ["--optimiser.average", "0.9", "--optimiser.name", "muon"]
    twice = [*CONVERSION, "--conversion.passes", "2", "--conversion.max_epochs", "1"]
    spiking = ["--network.layers", "c3s2-a2-d20-10", "--network.norm", "false", "--network.bias", "false"]
    balanced = ["--preset", "hybrid", "--conversion.window", "12", "--conversion.balance_steps", "24"]
    leaky = ["--learning.rule", "stdb", "--learning.segment", "5", "--learning.leak", "0.98", "--learning.learn_leak", "true"]
    learned = ["--optimiser.learn_thresholds", "true", "--optimiser.best", "score", "--optimiser.max_epochs", "5"]
    falling = ["--optimiser.drop", "0.5", "--optimiser.drop_every", "2", "--optimiser.weight_decay", "0.001"]
    varied = ["--values", "[2]", "--conversion.max_epochs", "1", "--conversion.calibration_batches", "2"]
    swept = [*images, *layers, "--seeds", "2", *varied, "--optimiser.max_epochs", "1"]
    sets = ["--mixtures", f"open={work}/mixtures", "--limit", "4", *MACHINE]
    systems = [f"ann={ann}", f"snn={made}/convert-speech/snn.safetensors"]
    networks = [f"ann={seen}", f"snn={made}/convert-images/snn.safetensors", f"stdb={made}/train-stdb/snn.safetensors"]
    listed: dict[str, list[str]] = {
        "train-plateau": ["train", *speech, *fly, *plateau, "--optimiser.max_epochs", "9"],
        "train-anytime": ["train", *speech, *fly, *anytime, *averaged],
        "train-disk": ["train", *speech, *disk, "--optimiser.average", "0.9", "--optimiser.max_epochs", "5"],
        "train-images": ["train", *images, *layers, "--optimiser.max_epochs", "6", "--optimiser.lr", "0.01"],
        "convert-speech": ["convert", *short, *fly, "--init", ann, *twice],
        "convert-images": ["convert", *images, "--init", seen, *twice],
        "train-for-hybrid": ["train", *images, *spiking, *falling, "--optimiser.max_epochs", "4"],
        "convert-hybrid": ["convert", *images, "--init", f"{made}/train-for-hybrid/ann.safetensors", *balanced],
        "train-stdb": ["train", *images, "--init", f"{made}/convert-hybrid/snn.safetensors", *leaky, *learned, *falling],
        "sweep": ["sweep", *swept],
        "evaluate-speech": ["evaluate", *sets, "--model", *systems, "--jobs", "2"],
        "evaluate-images": ["evaluate", *pictures, "--model", *networks, "--pictures", "4"],
    }
    return [Job(name, tuple(arguments)) for name, arguments in listed.items()]


def make_data(work: Path) -> None:
    """Synthetic voices, mixtures of them on disk, and pictures of digits."""
    from separator.corpora.synthetic import make_corpus

    make_corpus(work / "corpus")
    drawn = ["--list", f"{work}/list.txt", "--draw", "6", "--out", f"{work}/mixtures"]
    assert run(["mix", "--corpus", f"{work}/corpus/dev", *drawn]) == 0
    (work / "mnist").mkdir()
    mnist(work / "mnist", 60)


class Process:
    """A running command; its output goes into a file."""

    def __init__(self, arguments: list[str], real: bool, said: Path) -> None:
        self.began = time.monotonic()
        with said.open("ab") as file:
            if real:
                command = [sys.executable, "-m", "separator.cli.main", *arguments]
                self.number = subprocess.Popen(command, stdout=file, stderr=file, cwd=Path(__file__).parents[1]).pid
            else:
                self.number = forked(lambda: undrawn(arguments), file.fileno())

    def status(self, until: float) -> int | None:
        """Exit status, negative for a signal's, once it is there; None if it is not by then, seconds from its beginning."""
        while True:
            ended, status = os.waitpid(self.number, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() - self.began > until:
                return None
            time.sleep(0.002)

    def kill(self) -> None:
        """Kill it, and nothing that it has begun."""
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)


def undrawn(arguments: list[str]) -> int:
    """Exit status of a command, run in this process, which draws no pictures."""
    sys.modules["__main__"] = ModuleType("__main__")  # as its workers would else import all of this, for nothing
    Figure.savefig = lambda figure, path, **options: Path(path).write_bytes(b"a picture")
    return run(arguments)


def forked(work: Callable[[], int], output: int) -> int:
    """Number of a child of this process that does some work, says what it says into a file, and ends."""
    if child := os.fork():
        return child
    status = 1
    try:
        for stream in (1, 2):
            os.dup2(output, stream)
        status = work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def to_the_end(job: Job, folder: Path, real: bool) -> float:
    """Run a job, or go on with it; returns seconds.

    Raises:
        RuntimeError: it fails, or hangs.
    """
    said = folder.with_suffix(".log")
    process = Process([*job.arguments, "--out", str(folder)], real, said)
    status = process.status(PATIENCE)
    if status is None:
        process.kill()
    if status != 0:
        lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RuntimeError(f"exit status {status}: {lines[-1] if lines else ''}" if status else f"hangs for over {PATIENCE} s")
    return time.monotonic() - process.began


def contents(folder: Path) -> dict[str, Any]:
    """What a folder of results holds, by file, without times; the logs of a training as one."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if "/csv/" in f"/{name}" and path.name == "metrics.csv":
            merge_log(path, found.setdefault(f"{name.partition('csv/')[0]}csv", {}))
        elif "/tensorboard/" not in f"/{name}" and path.name != "hparams.yaml":
            found[name] = content(path)
    return found


def content(path: Path) -> Any:
    """What a file holds, without times."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {"metadata": file.metadata()} | {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if path.suffix == ".ckpt":
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: state.get(name) for name in OF_CHECKPOINTS}
    if path.suffix == ".json":
        return untimed(json.loads(path.read_text(encoding="utf-8")))
    if path.name == "report.md":
        return [line.split("|")[:-2] for line in path.read_text(encoding="utf-8").splitlines()]
    return "a picture" if path.suffix == ".png" and path.stat().st_size else path.read_bytes()


def untimed(value: Any) -> Any:
    """JSON without the seconds that something took."""
    if isinstance(value, dict):
        return {name: untimed(one) for name, one in value.items() if name != "seconds"}
    return [untimed(one) for one in value] if isinstance(value, list) else value


def merge_log(path: Path, epochs: dict[tuple[int, str], str]) -> None:
    """Add the values of a log, by epoch and column; of a training that was gone on with, the later ones count."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("epoch"):  # learning rates have steps only
                epochs |= {(int(row["epoch"]), name): value for name, value in row.items() if value}


def differences(first: Any, second: Any, place: str = "") -> Iterator[str]:
    """Places where two nested values are not the same to the bit."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in dict.fromkeys([*first, *second]):
            here = f"{place}{' ' if place else ''}{name}"
            if name in first and name in second:
                yield from differences(first[name], second[name], here)
            else:
                yield f"{here} {'missing' if name in first else 'left over'}"
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for i, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{place}[{i}]")
    elif isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        if not same or first.numpy().tobytes() != second.numpy().tobytes():
            yield place
    elif repr(first) != repr(second):
        yield place


class Trial:
    """Jobs with their unbroken results, which others are compared with."""

    def __init__(self, work: Path, random: Random) -> None:
        self.work, self.random = work, random
        self.whole: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.start_up = 0.0  # s, of a process of its own

    def prepare(self, job: Job) -> None:
        """Run a job unbroken."""
        folder = self.work / "whole" / job.name
        self.seconds[job.name] = to_the_end(job, folder, real=False)
        self.whole[job.name] = contents(folder)
        print(f"{job.name}: {self.seconds[job.name]:.1f} s", flush=True)

    def measure_start_up(self, job: Job) -> None:
        """Note how much longer a process of its own takes."""
        seconds = to_the_end(job, self.work / "whole" / f"{job.name}-real", real=True)
        self.start_up = max(0.0, seconds - self.seconds[job.name])
        print(f"start-up of a process: {self.start_up:.1f} s", flush=True)

    def kill(self, job: Job, folder: Path, real: bool, most: int) -> tuple[list[float], list[str]]:
        """Kill a fresh run, go on with it; returns the seconds after which it was killed, and what differs at the end."""
        killed: list[float] = []
        duration = self.seconds[job.name] + (self.start_up if real else 0.0)
        while not killed or (len(killed) < most and self.random.random() < AGAIN[real]):
            process = Process([*job.arguments, "--out", str(folder)], real, folder.with_suffix(".log"))
            status = process.status(self.random.uniform(0, duration))
            if status is not None:  # it has come to its end before
                break
            killed.append(time.monotonic() - process.began)
            process.kill()
        try:
            to_the_end(job, folder, real)
        except RuntimeError as error:
            return killed, [str(error)]
        return killed, list(differences(self.whole[job.name], contents(folder)))


def main() -> int:
    """Run; exit status 1 if something differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", default="", metavar="WORD", help="jobs with this in their names")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there, and keep it; must be empty")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # threads would not survive in a child
    load()
    with tempfile.TemporaryDirectory() as name:
        work = (options.keep or Path(name)).resolve()
        return trial(work, options.kills, Random(options.seed), options.only)


def trial(work: Path, kills: int, random: Random, only: str) -> int:
    """Prepare the jobs, then kill in turn; returns the exit status."""
    (work / "whole").mkdir(parents=True)
    with (work / "data.log").open("wb") as file:
        assert os.waitpid(forked(lambda: make_data(work) or 0, file.fileno()), 0)[1] == 0
    listed, kept = jobs(work), Trial(work, random)
    for job in listed:
        kept.prepare(job)
    chosen = [job for job in listed if only in job.name]
    kept.measure_start_up(chosen[0])
    done = differing = reals = number = 0
    while done < kills:
        job = chosen[number % len(chosen)]
        real = reals * REAL <= done
        killed, found = kept.kill(job, work / f"{number:03d}-{job.name}", real, kills - done)
        for after in killed:
            done, reals = done + 1, reals + real
            verdict = f"DIFFERS: {'; '.join(found[:5])}" if found else "equal"
            where = "a process of its own" if real else "a child"
            print(f"kill {done}: {job.name} in {where}, after {after:.2f} s: {verdict}", flush=True)
        if found and not killed:
            print(f"{job.name}, not killed, DIFFERS: {'; '.join(found[:5])}", flush=True)
        differing += max(1, len(killed)) if found else 0
        number += 1
    print(f"{done} kills, {reals} of them of processes of their own, in {number} runs: {differing} differed")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
