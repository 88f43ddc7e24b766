"""Pictures as a problem to be learned: classes, or reconstruction (Wu et al. 2021, sections 5 and 6)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from separator.errors import UserError
from separator.images.labelled import ImageSet
from separator.metrics.table import Metric
from separator.models.card import Goal, ModelCard
from separator.models.feedforward import FeedForward, FeedForwardConfig
from separator.models.files import Network
from separator.snn.layers.analog import AnalogLayer
from separator.snn.learning.tandem import TandemLayer
from separator.tasks.problems.image_data import ImageSettings, PictureData
from separator.tasks.problems.image_objectives import ImageObjective, mean_score
from separator.tasks.problems.protocol import Findings, device_of, parameters_text
from separator.tasks.problems.reconstructions import draw_reconstructions

FOR_TRAINING = ("batch", "flip", "shift", "train_limit", "watched")  # of the data's settings, those that no score depends on


@dataclass(frozen=True)
class Images:
    """Pictures that are to be told apart, or given back."""

    data: ImageSettings
    network: FeedForwardConfig = field(default_factory=lambda: Images.usual_network())
    goal: Goal = field(default="classify", metadata={"help": "classify, or reconstruct"})

    name: ClassVar[str] = "images"
    # The paper's: Adam whose rate is a tenth from half of the epochs on, for as many epochs as there are. A training that
    # diverges leaves the best network before, as depth makes some diverge that are to be compared.
    defaults: ClassVar[dict[str, dict[str, Any]]] = {
        "optimiser": {"schedule": "step", "clip": None, "stop_patience": None, "keep_best": True},
        "machine": {"devices": 1, "precision": "32-true"},
    }
    of_the_machine: ClassVar[tuple[str, ...]] = ("data.pictures.workers",)
    of_the_scores: ClassVar[tuple[str, ...]] = ("data.folder", "data.dev_batch", "data.test_limit", "data.watched")
    of_the_result: ClassVar[tuple[str, ...]] = ("data.test_limit",)
    for_training: ClassVar[frozenset[str]] = frozenset({"network", "goal", *(f"data.{name}" for name in FOR_TRAINING)})
    unshared: ClassVar[str] = "images are learned from on one device"
    in_segments: ClassVar[bool] = True
    has_sound: ClassVar[bool] = False
    item: ClassVar[str] = "image"
    charge: ClassVar[str] = "pixels"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("accuracy (%)", 2),
        "top5": Metric("top-5 accuracy (%)", 2),
        "mse": Metric("mean square error", 5),
    }

    @property
    def objective(self) -> ImageObjective:
        """Objective for the goal."""
        return ImageObjective(self.goal)

    @staticmethod
    def usual_network() -> FeedForwardConfig:
        """Sizes where none are given."""
        return FeedForwardConfig("mnist-cnn")

    def new_network(self) -> FeedForward:
        """A network of these layers."""
        return FeedForward(self.network)

    def of_model(self, network: Network, card: ModelCard) -> "Images":
        """The same problem for a model's network, with its goal.

        Raises:
            UserError: it is no network for images, or classifies where it shall reconstruct.
        """
        if not isinstance(network, FeedForward):
            raise UserError(f"{card.name} is no network for images ({card.architecture}); give one, or --problem")
        if self.goal == "reconstruct" != card.goal:  # to classify is the default, which gives way
            raise UserError(f"{card.name} was trained to {card.goal}; leave out --goal, or train a new network")
        return replace(self, network=network.config, goal=card.goal)

    def open(self, network: Network, seed: int, device: str | torch.device = "cpu", first_epoch: int = 0) -> PictureData:
        """The images, read.

        Raises:
            UserError: they cannot be read, or the network does not fit them.
        """
        images = self.data.read()
        self._check_fit(network, images)
        return PictureData(images, self.data, seed, device, first_epoch)

    def describe(self, network: Network) -> str:
        """Its size."""
        return parameters_text(network)

    def findings(self, network: Network, data: PictureData) -> Findings:
        """The score on the test images, and what was learned from."""
        scores = {"goal": self.goal, "test": mean_score(network, self.objective, data.on(device_of(network)).test())}
        return Findings(scores, training_data=data.images.train.origin)

    def result(self, network: Network, card: ModelCard, data: PictureData) -> float:
        """The score on the test images, as the card has it."""
        return float(card.scores["test"])

    def draw(self, network: Network, data: PictureData, count: int, path: Path, title: str) -> None:
        """Draw the first test images beside their reconstructions, if that is the goal.

        Raises:
            UserError: the file cannot be written.
        """
        if self.goal == "reconstruct" and count:
            ((pictures, _),) = data.test(count)
            outputs = network(pictures).view_as(pictures)
            draw_reconstructions(path, pictures.cpu().numpy(), outputs.cpu().numpy(), title)

    def _check_fit(self, network: Network, images: ImageSet) -> None:
        config = self.network
        seen, shape = (config.channels, config.height, config.width), images.train.shape
        if seen != shape:
            raise UserError(f"the network sees pictures of {seen}, but those of {images.train.origin} are {shape}")
        last = network.stack.layers[-1]
        last = last.layer if isinstance(last, TandemLayer) else last
        outputs = len(last.affine.weight if isinstance(last, AnalogLayer) else last.weight)  # type: ignore[arg-type]
        wanted = images.classes if self.goal == "classify" else math.prod(images.train.shape)
        if outputs != wanted:
            raise UserError(f"to {self.goal}, the network needs {wanted} outputs, not {outputs}")
