"""Courses of spiking networks over the test items, beside the analog network that they were converted from."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from separator.arrays import read_arrays
from separator.atomic import atomic_path, make_folder, write_text
from separator.errors import UserError
from separator.models.feedforward import FeedForward
from separator.models.files import load_network
from separator.parallel import cores, parallel_map
from separator.resume import read_facts, refuse_differences
from separator.tasks.courses.measures import Steps, check_course, course_of
from separator.tasks.courses.picture import draw
from separator.tasks.courses.report import SUMMARY, TOLERANCES, CourseReport, write_tables
from separator.tasks.devices import resolve_device
from separator.tasks.fingerprints import model_fingerprint
from separator.tasks.problems.images import Images
from separator.writer import sole_writer


@dataclass(frozen=True)
class CourseSettings:
    """Networks that are followed over the time steps of a run.

    Raises:
        UserError: there is none, two have one name, or one that of the table of all; a batch or a loss of accuracy is no such.
    """

    problem: Images
    init: str  # the analog network
    models: Sequence[tuple[str, str]]  # names and models
    batch: int = 50  # items at a time
    device: str = "auto"
    threads: int = 0  # batches that are simulated side by side on a CPU; 0 for as many as cores
    tolerances: Sequence[float] = TOLERANCES  # accepted losses of accuracy in %, of early decisions

    def __post_init__(self) -> None:
        names = [name for name, _ in self.models]
        if not names or len(set(names)) < len(names):
            raise UserError("give spiking models, each with a name of its own (NAME=MODEL)")
        if SUMMARY in names:
            raise UserError(f"{SUMMARY}.csv is the table of all models; give the one called so another name, NAME=MODEL")
        if self.batch < 1:
            raise UserError(f"a batch has at least 1 item, not {self.batch}")
        for tolerance in self.tolerances:
            if not 0 <= tolerance <= 100:
                raise UserError(f"accepted losses of accuracy are from 0 to 100 %, not {tolerance:g}")


def follow(settings: CourseSettings, folder: Path, log: Callable[[str], None] = print) -> list[CourseReport]:
    """Follow all models over their time steps; what is there of an earlier call is not computed anew.

    `folder` receives for each model `NAME.csv`, a row for each time step, and of all of them `course.md`, `course.csv` (when
    the analog accuracy is reached, by which definition, and at what cost) and `course.png`.

    Raises:
        UserError: a model or the data cannot be used, or `folder` holds courses of others.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    _networks.cache_clear()  # files may have changed
    analog, card = load_network(settings.init, device)
    problem = settings.problem.of_model(analog, card)
    problem = replace(problem, data=replace(problem.data, dev_batch=settings.batch))
    if card.kind == "snn" or not isinstance(analog, FeedForward):
        raise UserError(f"{settings.init} is spiking; --init takes the analog network that the others were converted from")
    data = problem.open(analog, 0)
    windows = {name: _window(name, model, analog, settings.init, device) for name, model in settings.models}
    facts = {"init": model_fingerprint(settings.init), "origin": data.origin, "batch": settings.batch}
    batches = data.test()
    facts["items"] = len(batches.labels)
    reports = []
    with sole_writer(folder):
        for name, model in settings.models:
            parts = folder / "parts" / name
            make_folder(parts)
            _same(parts / "facts.json", facts | {"model": model_fingerprint(model), "window": windows[name]}, folder)
            log(f"following {name} over {windows[name]} time steps")
            tasks = (
                _Part(parts / f"{number:05d}.npz", settings.init, model, device, x.numpy(), labels.numpy())
                for number, (x, labels) in enumerate(batches)
            )
            at_once = (settings.threads or cores()) if device == "cpu" else 1
            reports.append(CourseReport(name, reduce(add, parallel_map(_steps_of, tasks, at_once, "batches", len(batches)))))
        write_tables(reports, folder, settings.tolerances)
        draw(reports, folder / f"{SUMMARY}.png", settings.tolerances)
    return reports


def _window(name: str, model: str, analog: FeedForward, init: str, device: str) -> int:
    """Time steps of a model, which must be a conversion of the analog network."""
    network, _ = load_network(model, device)
    if not isinstance(network, FeedForward) or network.config != analog.config:
        raise UserError(f"{name} was not converted from {init}: it has other layers")
    try:
        check_course(network.stack)
    except UserError as error:
        raise UserError(f"{name} cannot be followed: {error}") from error
    return network.stack.spiking_layers()[0].window


def _same(path: Path, facts: dict[str, Any], folder: Path) -> None:
    if path.exists():
        refuse_differences(read_facts(path), facts, folder)
    write_text(path, json.dumps(facts, indent=1))


class _Part(NamedTuple):
    """A course on one batch, for a process that may be another one."""

    path: Path  # of its file
    init: str
    model: str
    device: str
    x: NDArray[np.float32]
    labels: NDArray[np.int64]


@torch.no_grad()
def _steps_of(part: _Part) -> Steps:
    """The course on one batch, from its file if there is one."""
    if part.path.exists():
        kept: dict[str, Any] = read_arrays(part.path, "remove it, and it will be made again")
        return Steps(**kept)
    network, analog, rectified = _networks(part.init, part.model, part.device)
    x, labels = torch.from_numpy(part.x).to(part.device), torch.from_numpy(part.labels)
    steps = course_of(network.stack, network.seen(x), labels, analog(x), rectified(x))
    with atomic_path(part.path) as temporary, temporary.open("wb") as file:
        np.savez(file, **vars(steps))
    return steps


@lru_cache(maxsize=1)
def _networks(init: str, model: str, device: str) -> tuple[FeedForward, FeedForward, FeedForward]:
    """The spiking network, the analog one, and this with ReLU in place of LeakyReLU."""
    network, analog = (load_network(name, device)[0] for name in (model, init))
    assert isinstance(network, FeedForward) and isinstance(analog, FeedForward)
    rectified = FeedForward(replace(analog.config, slope=0.0)).eval()
    rectified.load_state_dict(analog.state_dict())
    return network, analog, rectified
