"""Goals of a network for images: tell classes apart, or give back what it sees."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from separator.models.card import Goal
from separator.models.feedforward import FeedForward
from separator.tasks.problems.image_data import Batch
from separator.tasks.problems.protocol import Batches, Score

SCORES: dict[Goal, Score] = {"classify": Score("accuracy (%)", 2), "reconstruct": Score("mean square error", 5, higher=False)}
BEST = 5  # the top-5 accuracy is measured where there are more than twice as many classes


@dataclass(frozen=True)
class ImageObjective:
    """Cross entropy and accuracy, or mean square error and nothing else."""

    goal: Goal

    @property
    def score(self) -> Score:
        """Accuracy, or the error itself."""
        return SCORES[self.goal]

    def inputs(self, batch: Batch) -> Tensor:
        """Pictures, (B, C, H, W)."""
        return batch[0]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Loss, which is minimised."""
        return self._summed(outputs_of(network, batch[0]), batch)

    def measure(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss, which is minimised, and accuracy in % or the mean square error."""
        readings = outputs_of(network, batch[0])
        loss, outputs = self._summed(readings, batch), readings[-1]
        return loss, accuracy(outputs, batch[1]) if self.goal == "classify" else loss.detach()

    def upstream(self, network: nn.Module) -> list[nn.Module]:
        """Nothing: the stack sees the pictures."""
        return []

    def seconds(self, batch: Batch) -> float:
        """Pictures make no sound."""
        return 0.0

    def judge(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Results of each image, (B,): told right or not, and among the five best or not; or its mean square error."""
        pictures, labels = batch
        outputs = network(pictures)
        if self.goal == "reconstruct":
            found = {"mse": (outputs.double() - pictures.flatten(1)).square().mean(1)}
        else:
            found = {"accuracy": outputs.argmax(1) == labels}
            if outputs.shape[1] > 2 * BEST:
                best = (outputs.topk(BEST).indices == labels[:, None]).any(1)
                found["top5"] = best | found["accuracy"]  # of equal outputs, both may choose others
        return found

    def _summed(self, readings: list[Tensor], batch: Batch) -> Tensor:
        """Losses at the ends of all segments together, so that their gradients are summed."""
        return torch.stack([self._loss(outputs, batch) for outputs in readings]).sum()

    def _loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        pictures, labels = batch
        return F.cross_entropy(outputs, labels) if self.goal == "classify" else F.mse_loss(outputs, pictures.flatten(1))


def outputs_of(network: nn.Module, pictures: Tensor) -> list[Tensor]:
    """Outputs of a network at the end of each segment that it learns in, one where there are none. Shape: (B, ...) each."""
    return network.over_segments(pictures) if isinstance(network, FeedForward) else [network(pictures)]


def accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of the largest outputs that are at the labels, in %, a scalar. Shapes: (B, classes), (B,)."""
    hits = outputs.argmax(1) == labels
    return 100 * hits.float().mean()


@torch.no_grad()
def mean_score(network: nn.Module, objective: ImageObjective, batches: Batches) -> float:
    """Accuracy in %, or mean square error, over all images; the network is in evaluation mode afterwards."""
    network.eval()
    name, scale = ("accuracy", 100) if objective.goal == "classify" else ("mse", 1)
    total, count = 0.0, 0
    for batch in batches:
        values = objective.judge(network, batch)[name]
        total, count = total + scale * float(values.sum()), count + len(values)
    return total / count
