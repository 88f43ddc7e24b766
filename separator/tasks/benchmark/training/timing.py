"""Time of one step of training, as Lightning takes it, and of making the mixtures for it."""

import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from separator.corpora.training.on_the_fly import MixturesOnTheFly
from separator.models.tasnet import TasNet
from separator.tasks.benchmark.measurement import LONG, ROUNDS, BenchmarkCase
from separator.tasks.benchmark.systems import parse_system
from separator.tasks.benchmark.training.mixtures import noise_mixtures
from separator.tasks.benchmark.training.recipes import network_sizes, recipe_of
from separator.tasks.learning.module import LearningModule
from separator.tasks.learning.run.averaging import AveragedWeights
from separator.tasks.learning.settings import OptimiserSettings
from separator.tasks.problems.separation_loss import SeparationObjective

# As medium.yaml has it; the other recipes take a part of this.
OPTIMISER = OptimiserSettings("muon", lr=0.005, schedule="anytime", warmup=200, average=0.9995)


def measure_training(case: BenchmarkCase) -> dict[str, Any]:
    """Train a network by its name in `RECIPES` on noise, in this process.

    It is the training of `separator train` itself, on the CPU: `LearningModule` in a trainer of Lightning's, with Muon and
    the average of the weights; `bf16:NAME` learns in bfloat16. Before each step its batch is made in this thread, as a data
    worker makes it, plainly and with all augmentations, of which the step gets the latter. The batch is the same every time, so
    that the fastest round counts.

    Returns:
        Fields of a `Measurement`: `elapsed` and its parts `forward`, `backward` and `optimiser`; `mixing` and `varied`.

    Raises:
        UserError: there is no such recipe.
    """
    recipe = recipe_of(case.system)
    backend, name, _ = parse_system(case.system)
    torch.manual_seed(0)
    config, count = network_sizes(name, case.width), case.batch or recipe.batch
    plain, varied = (noise_mixtures(config, case.seconds, count, everything) for everything in (False, True))
    clock, batches = Clock(), TimedBatches(plain, varied)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        precision="bf16-mixed" if backend == "bf16" else "32-true",
        max_epochs=1,
        gradient_clip_val=OPTIMISER.clip,
        callbacks=[AveragedWeights(OPTIMISER.average, "network", None), clock],  # the clock last: averaging counts
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    objective = SeparationObjective(config.n_src, config.sample_rate)
    trainer.fit(LearningModule(TasNet(config), objective, OPTIMISER), batches.until(clock))
    forward, backward, optimiser = min(clock.steps, key=sum)
    step = {"elapsed": forward + backward + optimiser, "forward": forward, "backward": backward, "optimiser": optimiser}
    return step | {"mixing": min(batches.plain_times), "varied": min(batches.varied_times)}


class Clock(pl.Callback):
    """Seconds of the parts of each step of a trainer.

    They are the network with its loss; the way back; clipping, the optimiser and what callbacks before this one do at a step's
    end.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[float, float, float]] = []
        self._marks: list[float] = []

    @property
    def elapsed(self) -> float:
        """Seconds of all steps so far."""
        return sum(map(sum, self.steps))

    def on_train_batch_start(self, *_: Any) -> None:
        """Start."""
        self._marks = [time.perf_counter()]

    def on_before_backward(self, *_: Any) -> None:
        """The loss is there."""
        self._marks.append(time.perf_counter())

    def on_after_backward(self, *_: Any) -> None:
        """The gradient is there."""
        self._marks.append(time.perf_counter())

    def on_train_batch_end(self, *_: Any) -> None:
        """All is done."""
        start, loss, gradient = self._marks
        self.steps.append((loss - start, gradient - loss, time.perf_counter() - gradient))


class TimedBatches:
    """Batches for a trainer, all of the same mixtures, each made anew and plainly too.

    Args:
        plain: mixtures of a batch that are not varied.
        varied: mixtures of a batch that are.
    """

    def __init__(self, plain: MixturesOnTheFly, varied: MixturesOnTheFly) -> None:
        self.plain, self.varied = plain, varied
        self.plain_times: list[float] = []  # s, of a batch
        self.varied_times: list[float] = []

    def until(self, clock: Clock) -> Iterator[Tensor]:
        """As many batches as rounds are wanted; the trainer asks for one ahead, so that it takes two steps or more."""
        while len(clock.steps) < ROUNDS - 1 and clock.elapsed < LONG:
            _made(self.plain, self.plain_times)
            yield _made(self.varied, self.varied_times)


def _made(mixtures: MixturesOnTheFly, times: list[float]) -> Tensor:
    """A batch of these, (B, rows, T), as `mixture_and_sources` takes it; the seconds it took go to `times`."""
    start = time.perf_counter()
    batch = torch.stack([mixtures[i] for i in range(len(mixtures))])
    times.append(time.perf_counter() - start)
    return batch
