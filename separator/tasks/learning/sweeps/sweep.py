"""Conversions of networks for images while settings are varied, over several seeds: the paper's Tables 2 and 3 and Fig. 6."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from separator.atomic import make_folder
from separator.errors import UserError
from separator.models.card import Goal, read_card
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import load_network
from separator.parallel import map_surviving
from separator.snn.conversion.presets import preset
from separator.snn.conversion.settings import ConversionSettings
from separator.tasks.problems.image_data import SCORES, ImageSettings
from separator.tasks.images.conversion import ImageConversionRun, convert_images
from separator.tasks.evaluation.items.evaluation import operations_ratio
from separator.tasks.learning.sweeps.report import ANALOG, COLUMNS, LABELS, Swept, write_sweep
from separator.tasks.images.training import ImageOptimiserSettings, ImageTrainingSettings, train_images
from separator.tasks.journal import Journal

# Of a variant, beside fields of `ConversionSettings`:
PRESET = "preset"  # what the fields that it does not give are, in place of the common ones
QUANTISED = "quantised"  # its analog network is trained with as many levels of activation as there are steps

Log = Callable[[str], None]
Variant = dict[str, Any]  # fields of `ConversionSettings` in place of the common ones, `PRESET`, and `QUANTISED`


@dataclass(frozen=True)
class ImageSweepSettings:
    """What is trained, converted and varied."""

    data: ImageSettings
    model: FeedForwardConfig
    goal: Goal = "classify"
    optimiser: ImageOptimiserSettings = field(default_factory=ImageOptimiserSettings)
    conversion: ConversionSettings = field(default_factory=ConversionSettings)
    vary: str = "window"  # the field of `conversion` that is varied
    values: list[float] = field(default_factory=lambda: [32, 16, 8, 4, 2, 1])  # 0 weight bits are floating point
    variants: dict[str, Variant] = field(default_factory=lambda: {"snn": {}})  # each converted with each value
    seeds: int = 5  # networks trained, each converted in each way
    device: str = "auto"
    threads: int = 0  # CPU threads, 0 for all
    jobs: int = 1  # trainings and conversions at a time; of more than one, each has a thread

    def __post_init__(self) -> None:
        if self.vary not in LABELS:
            raise UserError(f"'{self.vary}' cannot be varied; take {', '.join(LABELS)}")
        if self.seeds < 1 or self.jobs < 1 or not self.values or not self.variants:
            raise UserError("a sweep has at least one seed, one job, one value and one variant")
        for work in self.conversions():
            _ = self.settings_of(work)  # refuses values that cannot be

    def conversions(self) -> "Iterator[Conversion]":
        """All that is to be converted."""
        for seed in range(self.seeds):
            for variant in self.variants:
                for value in self.values:
                    yield Conversion(seed, variant, float(value))

    def settings_of(self, work: "Conversion") -> ConversionSettings:
        """How a conversion is done.

        Raises:
            UserError: a value cannot be.
        """
        variant = {name: value for name, value in self.variants[work.variant].items() if name != QUANTISED}
        if PRESET in variant:
            variant = preset(variant.pop(PRESET)) | variant
        known = {f.name: f.type for f in fields(ConversionSettings)}
        for name in variant:
            if name not in known:
                raise UserError(f"variant {work.variant}: conversion has no '{name}'; there are {', '.join(known)}")
        whole = known[self.vary] is not float
        if whole and work.value != int(work.value):
            raise UserError(f"{self.vary} is a whole number, not {work.value:g}")
        value = int(work.value) if whole else work.value
        variant[self.vary] = None if self.vary == "weight_bits" and value == 0 else value
        if self.vary == "weight_bits" and value != 0:  # those of all layers
            variant["encoder_bits"] = value
        return replace(self.conversion, **variant)

    def analog(self, conversions: "Iterable[Conversion]") -> "list[Analog]":
        """The analog networks that conversions start from."""
        return list(dict.fromkeys(Analog(work.seed, self.levels_of(work)) for work in conversions))

    @property
    def threads_each(self) -> int:
        """CPU threads of a training or conversion, 0 for all."""
        return self.threads if self.jobs == 1 else 1

    def levels_of(self, work: "Conversion") -> int | None:
        """Levels of activation that its analog network is trained with; None for ReLU."""
        quantised = self.variants[work.variant].get(QUANTISED, False)
        return self.settings_of(work).window if quantised else self.model.levels


@dataclass(frozen=True)
class Conversion:
    """One conversion of a sweep."""

    seed: int
    variant: str
    value: float


@dataclass(frozen=True)
class Analog:
    """One analog network of a sweep."""

    seed: int
    levels: int | None


def sweep_images(settings: ImageSweepSettings, folder: Path, log: Log = print) -> Path:
    """Train and convert, or go on with what `folder` has; returns the table.

    `folder` receives the models, in a folder for each seed, and, as FIELD.csv, FIELD.md and FIELD.png, the results, written
    anew after each conversion. They are of all sweeps of the same field into the folder.

    Raises:
        UserError: of training and of conversion; `folder` holds networks that were made with other settings.
    """
    make_folder(folder)
    for network in settings.analog(settings.conversions()):
        _check_analog(settings, folder, network)
    for work in settings.conversions():
        _check_converted(settings, folder, work)
    journal = Journal(folder / f"{settings.vary}.csv", ("seed", "variant", settings.vary), COLUMNS)
    missing = [work for work in settings.conversions() if journal.find(_key(settings, work)) is None]
    analog = settings.analog(missing)
    tasks = [_Task(settings, folder, network) for network in analog if not _analog_file(folder, network).is_file()]
    for task, _ in _done(_train, tasks, settings.jobs, log):
        log(f"{task.label}: done")
    for network in analog:
        if network.levels == settings.model.levels:
            card = read_card(_analog_file(folder, network))
            key = {"seed": network.seed, "variant": "", settings.vary: ANALOG}
            journal.add([key | {"score": float(card.scores["test"]), "epochs": card.scores["epochs"]}])
    for done, row in _done(_convert, [_Task(settings, folder, work) for work in missing], settings.jobs, log):
        log(f"{done.label}: {SCORES[settings.goal]} {row['score']:.5g}")
        journal.add([_key(settings, done.work) | row])
        write_sweep(_swept(settings, journal), folder)
    journal.finish()
    write_sweep(_swept(settings, journal), folder)
    return folder / f"{settings.vary}.md"


@dataclass(frozen=True)
class _Task:
    settings: ImageSweepSettings
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


def _swept(settings: ImageSweepSettings, journal: Journal) -> Swept:
    return Swept(settings.goal, settings.vary, list(journal.rows.values()), list(settings.variants))


def _key(settings: ImageSweepSettings, work: Conversion) -> dict[str, object]:
    return {"seed": work.seed, "variant": work.variant, settings.vary: work.value}


def _analog_file(folder: Path, network: Analog) -> Path:
    name = "ann" if network.levels is None else f"ann-{network.levels}"
    return folder / f"seed-{network.seed}" / name / "ann.safetensors"


def _spiking_file(settings: ImageSweepSettings, folder: Path, work: Conversion) -> Path:
    return folder / f"seed-{work.seed}" / f"{work.variant}-{settings.vary}-{work.value:g}" / "snn.safetensors"


def _check_analog(settings: ImageSweepSettings, folder: Path, network: Analog) -> None:
    file = _analog_file(folder, network)
    if file.is_file():
        wanted = {
            "model": replace(settings.model, levels=network.levels).to_dict(),
            "goal": settings.goal,
            "optimiser": asdict(settings.optimiser),
        }
        made = read_card(file).scores["settings"]
        seen, wanted["data"] = _training_data(made["data"]), _training_data(asdict(settings.data))
        # What a card lacks was added since, and was as it is by default.
        optimiser = asdict(ImageOptimiserSettings()) | made["optimiser"]
        _check_same(file, wanted, made | {"data": seen, "optimiser": optimiser})


def _check_converted(settings: ImageSweepSettings, folder: Path, work: Conversion) -> None:
    file = _spiking_file(settings, folder, work)
    if file.is_file():
        wanted = asdict(settings.settings_of(work))
        del wanted["keep_mb"], wanted["readout"]  # of the machine, and of the network
        _check_same(file, wanted, asdict(ConversionSettings()) | (read_card(file).conversion or {}))


def _check_same(file: Path, wanted: dict[str, Any], made: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if made.get(name) != value:
            raise UserError(f"{file} was made with another {name}, {made.get(name)}, not {value}; take another --out")


def _training_data(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data.get(name) for name in ("kind", "batch", "flip", "shift", "train_limit", "resize", "crop", "random_crop")}


def _silent(line: str) -> None:
    pass


def _train(task: _Task, log: Log = _silent) -> Path:
    settings, network = task.settings, task.work
    training = ImageTrainingSettings(
        settings.data,
        replace(settings.model, levels=network.levels),
        settings.goal,
        settings.optimiser,
        "ann",
        network.seed,
        settings.device,
        settings.threads_each,
    )
    return train_images(training, _analog_file(task.folder, network).parent, settings.jobs == 1 and sys.stderr.isatty(), log)


def _convert(task: _Task, log: Log = _silent) -> dict[str, object]:
    settings, work = task.settings, task.work
    analog = _analog_file(task.folder, Analog(work.seed, settings.levels_of(work)))
    run = ImageConversionRun(
        str(analog),
        settings.data,
        settings.settings_of(work),
        name=work.variant,
        seed=work.seed + 1,
        device=settings.device,
        threads=settings.threads_each,
    )
    network, card = load_network(convert_images(run, _spiking_file(settings, task.folder, work).parent, log))
    assert isinstance(network, FeedForward)
    operations = operations_ratio(network, settings.data.read().test, settings.data.dev_batch)
    return {"score": float(card.scores["test"]), "epochs": card.scores["epochs"], "operations": operations}
