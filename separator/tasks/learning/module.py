"""Steps of a training by Lightning, the same for any problem, and the batches it takes."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from separator.errors import DivergedError
from separator.models.files import Network
from separator.snn.conversion.penalty import ActivityPenalty
from separator.tasks.learning.hours import Finish, Heard
from separator.tasks.learning.optimisers import make_optimiser
from separator.tasks.learning.schedules import Cycle, anytime, stairs, trapezoid
from separator.tasks.learning.settings import OptimiserSettings
from separator.tasks.problems.protocol import Batches, Data, Objective


class LearningData(pl.LightningDataModule):
    """The data of a problem as Lightning's loaders, the trainer's epoch for the training ones."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> Batches:
        """Batches of the trainer's current epoch."""
        return self.data.train(self.trainer.current_epoch if self.trainer else 0)

    def val_dataloader(self) -> Batches | list[Batches]:
        """Held-out data, in the order of its names."""
        loaders = list(self.data.dev().values())
        return loaders if len(loaders) > 1 else loaders[0]


class LearningModule(pl.LightningModule):
    """Training steps of a network.

    Args:
        network: with a `stack`.
        objective: what it shall do.
        optimiser: how it learns.
        sets: names of what is held out.
        heard: what it has learned from before.
        finish: when training ends, of the schedule anytime.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        optimiser: OptimiserSettings,
        sets: tuple[str, ...] = ("dev",),
        heard: Heard | None = None,
        finish: Finish | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters({"network": network.config.to_dict()})
        self.network, self.objective, self.settings, self.sets = network, objective, optimiser, sets
        self.activity = ActivityPenalty(network.stack) if optimiser.activity_penalty else None
        self.heard, self.finish = heard or Heard(), finish
        self.halving: ReduceLROnPlateau | None = None
        self.former_halving: dict[str, Any] | None = None

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Loss of one batch."""
        loss, score = self.measured(batch)
        if not torch.isfinite(loss):
            end = (
                ""
                if self.settings.keep_best
                else ", and no model was written; train in another folder with a lower --optimiser.lr"
            )
            raise DivergedError(f"the loss is no number at step {self.trainer.global_step}: training has diverged{end}")
        column, options = self.objective.score.column, self._options(batch)
        self.log(column, score, prog_bar=True, logger=False, on_step=True, on_epoch=False)
        for name, value in (("train_loss", loss), (f"train_{column}", score)):
            self.log(name, value, on_epoch=True, on_step=False, **options)
        self.heard.add(self.objective.seconds(batch) * self.trainer.world_size)
        return self._penalised(loss, "activity", on_epoch=True, on_step=False, **options)

    def on_validation_epoch_start(self) -> None:
        """Forget the activity of batches that are not of the dev set: those that batch norm was measured on."""
        if self.activity is not None:
            self.activity.pop()

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        """Loss and score on what is held out."""
        loss, score = self.measured(batch)
        name, options = self.sets[dataloader_idx], self._options(batch) | {"add_dataloader_idx": False}
        self._penalised(loss, f"{name}_activity", **options)
        self.log(f"{name}_loss", loss, prog_bar=True, **options)
        self.log(f"{name}_{self.objective.score.column}", score, prog_bar=True, **options)

    def measured(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Loss and score of a batch."""
        return self.objective.measure(self.network, batch)

    def configure_optimizers(self) -> Any:
        """Optimiser and learning-rate schedule."""
        settings = self.settings
        optimiser = make_optimiser(settings.name, dict(self.network.named_parameters()), settings.lr, settings.weight_decay)
        if settings.schedule == "plateau":
            # Stepped here: Lightning does it behind the checkpoint, and a resumed training would forget an epoch.
            self.halving = ReduceLROnPlateau(optimiser, factor=0.5, patience=settings.patience - 1)
            if self.former_halving is not None:
                self.halving.load_state_dict(self.former_halving)
            return optimiser
        if settings.schedule == "step":  # `on_train_epoch_start` sees to it
            return optimiser
        if settings.schedule == "cycle":
            schedule: LRScheduler = Cycle(optimiser, settings.lr, int(self.trainer.estimated_stepping_batches))
        else:
            schedule = LambdaLR(optimiser, self._rate())
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of the epoch, where it falls in steps.

        Lightning's schedulers by epoch are stepped behind the checkpoint, and a resumed training would forget an epoch.
        """
        settings = self.settings
        if settings.schedule == "step":
            drops = (settings.drop, settings.drop_at, settings.drop_every)
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = settings.lr * stairs(self.current_epoch, settings.max_epochs, *drops)

    def on_validation_end(self) -> None:
        """Halve the learning rate where the dev loss stays where it is; take note of what the hours so far came to."""
        if self.halving is not None:
            self.halving.step(self.trainer.callback_metrics["dev_loss"])
        column = self.objective.score.column
        names = [f"{name}_{column}" for name in self.sets]
        found = self.trainer.callback_metrics
        self.heard.note({name: float(found[name]) for name in names if name in found})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is no weight."""
        checkpoint["heard"] = self.heard.to_dict(rounded=False)
        checkpoint["halving"] = None if self.halving is None else self.halving.state_dict()
        checkpoint["finish"] = None if self.finish is None else asdict(self.finish)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting."""
        self.heard = Heard.from_dict(checkpoint.get("heard") or {})
        self.former_halving = checkpoint.get("halving")

    def _options(self, batch: Any) -> dict[str, Any]:
        return {"sync_dist": True, "batch_size": len(self.objective.inputs(batch))}

    def _penalised(self, loss: Tensor, name: str, **options: Any) -> Tensor:
        """The loss of a batch that the network has just seen, with the penalty on its activity, which goes to the log."""
        if self.activity is None:
            return loss
        activity = self.activity.pop()
        self.log(name, activity, **options)
        return loss + self.settings.activity_penalty * activity

    def _rate(self) -> Callable[[int], float]:
        """Share of the learning rate at each step."""
        settings = self.settings
        if settings.schedule == "anytime" and self.finish is None:
            return partial(anytime, warmup=settings.warmup)
        total = int(self.trainer.estimated_stepping_batches)
        if self.finish is not None:
            return partial(anytime, warmup=settings.warmup, finish=(total * self.finish.first // self.finish.end, total))
        return partial(trapezoid, total=total, warmup=settings.warmup, decay=max(1, round(settings.decay * total)))
