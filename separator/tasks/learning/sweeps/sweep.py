"""Conversions while settings are varied, over several seeds: the paper's Tables 2 and 3 and Fig. 6, for any problem."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from separator.atomic import write_text
from separator.errors import UserError
from separator.models.files import load_network
from separator.parallel import map_surviving
from separator.resume import differences, facts_of, read_facts, refuse_differences
from separator.snn.observe.activity import record_activity
from separator.tasks.journal import Journal
from separator.tasks.learning.conversion import conversion_state, convert, refuse_earlier
from separator.tasks.learning.run.checkpoints import load_checkpoint
from separator.tasks.learning.sweeps.report import ANALOG, COLUMNS, Swept, write_sweep
from separator.tasks.learning.sweeps.settings import LABELS, Analog, Conversion, SweepSettings
from separator.tasks.learning.training import known_facts, train
from separator.tasks.problems.protocol import Data, Objective
from separator.writer import sole_writer

Log = Callable[[str], None]


def sweep(settings: SweepSettings, folder: Path, log: Log = print) -> Path:
    """Train and convert, or go on with what `folder` has; returns the table.

    `folder` receives the models, in a folder for each seed, and, as FIELD.csv, FIELD.md and FIELD.png, the results, written
    anew after each conversion. They are of all sweeps of the same field into the folder.

    Raises:
        UserError: of training and of conversion; `folder` holds networks that were made with other settings, or
            rows of other test items, or another process is at it.
    """
    with sole_writer(folder):
        return _sweep(settings, folder, log)


def _sweep(settings: SweepSettings, folder: Path, log: Log) -> Path:
    for network in settings.analog(settings.conversions()):
        _check_analog(settings, folder, network)
    for work in settings.conversions():
        _check_converted(settings, folder, work)
    _check_result(settings, folder)
    journal = Journal(folder / f"{settings.vary}.csv", ("seed", "variant", settings.vary), COLUMNS)
    missing = [work for work in settings.conversions() if journal.find(_key(settings, work)) is None]
    analog = settings.analog(missing)
    tasks = [_Task(settings, folder, network) for network in analog if not _analog_file(folder, network).is_file()]
    for task, _ in _done(_train, tasks, settings.jobs, log):
        log(f"{task.label}: done")
    for network in analog:
        key = {"seed": network.seed, "variant": "", settings.vary: ANALOG}
        if network.levels == settings.levels and journal.find(key) is None:
            journal.add([key | _analog_row(settings, _analog_file(folder, network), network.seed)])
    for done, row in _done(_convert, [_Task(settings, folder, work) for work in missing], settings.jobs, log):
        log(f"{done.label}: {settings.problem.objective.score.title} {row['score']:.5g}")
        journal.add([_key(settings, done.work) | row])
        write_sweep(_swept(settings, journal), folder)
    journal.finish()
    if not missing:  # else it is written
        write_sweep(_swept(settings, journal), folder)
    return folder / f"{settings.vary}.md"


@dataclass(frozen=True)
class _Task:
    settings: SweepSettings
    folder: Path
    work: Any  # Analog or Conversion

    @property
    def label(self) -> str:
        """For messages."""
        if isinstance(self.work, Analog):
            return f"seed {self.work.seed}: training"
        return f"seed {self.work.seed}: {self.work.variant}, {LABELS[self.settings.vary]} {self.work.value:g}"


def _done(work: Callable[..., Any], tasks: Iterable[_Task], jobs: int, log: Log) -> Iterator[tuple[_Task, Any]]:
    """Results as they come; what the work itself says is heard of one job at a time only."""
    if jobs == 1:
        for task in tasks:
            log(task.label)
            yield task, work(task, log)
        return
    yield from map_surviving(work, tasks, jobs)


def _swept(settings: SweepSettings, journal: Journal) -> Swept:
    return Swept(settings.problem.objective.score, settings.vary, list(journal.rows.values()), list(settings.variants))


def _key(settings: SweepSettings, work: Conversion) -> dict[str, object]:
    return {"seed": work.seed, "variant": work.variant, settings.vary: work.value}


def _analog_file(folder: Path, network: Analog) -> Path:
    name = "ann" if network.levels is None else f"ann-{network.levels}"
    return folder / f"seed-{network.seed}" / name / "ann.safetensors"


def _spiking_file(settings: SweepSettings, folder: Path, work: Conversion) -> Path:
    return folder / f"seed-{work.seed}" / f"{work.variant}-{settings.vary}-{work.value:g}" / "snn.safetensors"


def _check_analog(settings: SweepSettings, folder: Path, network: Analog) -> None:
    """Hold a network that is there against what would be made, as its checkpoint tells it, the number of epochs included."""
    file = _analog_file(folder, network)
    if file.is_file():
        last = file.parent / "last.ckpt"
        if not last.is_file():
            raise UserError(f"{file.parent} has no last.ckpt, which tells how its network was made; take another --out")
        _check_same(file, settings.training_of(network).facts, known_facts(load_checkpoint(last), file.parent))


def _check_converted(settings: SweepSettings, folder: Path, work: Conversion) -> None:
    file = _spiking_file(settings, folder, work)
    if file.is_file():
        refuse_earlier(file.parent)
        state = conversion_state(file.parent)
        if state is None:
            raise UserError(f"{file.parent} has no state that tells how its network was made; take another --out")
        _check_same(file, facts_of(settings.settings_of(work), ["keep_mb"]), state["settings"])


def _check_result(settings: SweepSettings, folder: Path) -> None:
    """Keep what results are of, and refuse a table whose rows are of other items; an earlier version did not keep that."""
    kept, problem = folder / f"{settings.vary}.json", settings.problem
    facts = {name: value for name, value in facts_of(problem).items() if name in problem.of_the_result}
    if kept.exists():
        refuse_differences(read_facts(kept), facts, folder)
    write_text(kept, json.dumps(facts) + "\n")


def _check_same(file: Path, wanted: dict[str, Any], made: dict[str, Any]) -> None:
    for name, was, value in differences(made, wanted):
        raise UserError(f"{file} was made with another {name}, {was}, not {value}; take another --out")


def _silent(line: str) -> None:
    pass


def _train(task: _Task, log: Log = _silent) -> Path:
    settings, folder = task.settings, _analog_file(task.folder, task.work).parent
    return train(settings.training_of(task.work), folder, settings.jobs == 1 and sys.stderr.isatty(), log)


def _convert(task: _Task, log: Log = _silent) -> dict[str, object]:
    settings, work = task.settings, task.work
    analog = _analog_file(task.folder, Analog(work.seed, settings.levels_of(work)))
    path = convert(settings.run_of(work, str(analog)), _spiking_file(settings, task.folder, work).parent, log)
    network, card = load_network(path)
    problem = settings.problem.of_model(network, card)
    data = problem.open(network, work.seed)
    assert card.conversion is not None
    return {
        "score": problem.result(network, card, data),
        "epochs": card.conversion["epochs"],
        "operations": operations_ratio(network, problem.objective, data),
    }


def _analog_row(settings: SweepSettings, file: Path, seed: int) -> dict[str, object]:
    network, card = load_network(file)
    problem = settings.problem.of_model(network, card)
    return {"score": problem.result(network, card, problem.open(network, seed)), "epochs": card.scores["epochs"]}


@torch.no_grad()
def operations_ratio(network: torch.nn.Module, objective: Objective, data: Data) -> float:
    """Synaptic operations over the ANN's multiply-accumulates, in the layers that spikes drive, on a few batches."""
    with record_activity(network) as activity:
        for batch in data.counted():
            network(objective.inputs(batch))
    return activity.synaptic_operations / activity.macs
