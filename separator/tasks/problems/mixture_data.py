"""Data for separation networks to learn from: mixtures made on the fly or read from disk, in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from separator.corpora.kaldi import read_corpus
from separator.corpora.mixtures import read_mixtures
from separator.corpora.training.augmentation import AugmentationSettings
from separator.corpora.training.bank import SpeechBank, load_bank
from separator.corpora.training.from_disk import MixturesFromDisk
from separator.corpora.training.held_out import hold_out
from separator.corpora.training.on_device import BatchesOnDevice, DeviceMixer, DeviceStore, PlansOf
from separator.corpora.training.on_the_fly import MixturesOnTheFly
from separator.corpora.training.pairs import AnyTalkers, PairedTalkers, Talkers, check_weights
from separator.corpora.training.plans import Variation
from separator.corpora.training.surroundings import load_noise, load_rooms
from separator.errors import UserError
from separator.models.tasnet import TasNetConfig
from separator.parallel import leave_with_parent_alone
from separator.ranges import MOST, check_numbers

COUNTED = 32  # dev mixtures that operations are counted on
DEV_SEED = 1_000_003  # mixtures made on the fly for the dev loss; the same in every epoch


@dataclass(frozen=True)
class DataSettings:
    """Data to train on."""

    train: list[Path] | Path  # Kaldi data folders (mixed on the fly), one or several, or one folder of mixtures
    dev: Path  # Kaldi data folder or folder of mixtures
    segment: float = 4.0  # s, length of a mixture to learn from
    epoch_mixtures: int = 20_000  # mixtures in an epoch when mixed on the fly
    dev_mixtures: int = 3_000  # at most so many for the dev loss, and for that of speakers held out
    batch: int = 8  # mixtures of a step
    workers: int = 0  # processes that make mixtures while the network learns; 0 for none beside its own
    # Where mixtures are made on the fly: cpu, in the workers; device, in batches where the network learns, with all speech kept
    # there; auto for device where that is a GPU with room for it.
    mixing: Literal["auto", "cpu", "device"] = "auto"
    cache: Path | None = None  # folder for decoded speech
    weights: list[float] | None = None  # of the corpora in `train`; by hours of speech if not given
    held_out: list[float] | float = 0.0  # share or number of speakers kept out of training, of each corpus or one for all
    # Share of pairs of one gender or under 4 semitones apart, talkers drawn by gender; if not given, one corpus's speakers are
    # drawn alike.
    close_pairs: float | None = None
    augment: AugmentationSettings = field(default_factory=AugmentationSettings)
    rooms: Path | None = None  # npz file of impulse responses, for augment.rooms
    noise: Path | None = None  # folder of noises, for augment.noise

    def __post_init__(self) -> None:
        check_numbers(self, segment=(0.001, MOST), epoch_mixtures=(1, MOST), dev_mixtures=(1, MOST))
        check_numbers(
            self, batch=(1, MOST), workers=(0, MOST), held_out=(0.0, MOST), weights=(0.0, MOST), close_pairs=(0.0, 1.0)
        )

    @property
    def train_folders(self) -> list[Path]:
        """All of `train`."""
        return self.train if isinstance(self.train, list) else [self.train]

    def check_sources(self) -> None:
        """Refuse rooms or noise asked for in a share of its own, and not given; the usual share asks for nothing.

        Raises:
            UserError: one of them is.
        """
        usual = AugmentationSettings()
        for name, source in (("rooms", self.rooms), ("noise", self.noise)):
            share: float = getattr(self.augment, name)
            if source is None and share not in (0, getattr(usual, name)):
                raise UserError(f"augment.{name} {share:g} needs --data.{name}; give it, or leave out --data.augment.{name}")

    @property
    def on_the_fly_only(self) -> list[str]:
        """Options given that mean nothing for mixtures on disk."""
        held_out = self.held_out if isinstance(self.held_out, list) else [self.held_out]
        given = {
            "weights": self.weights is not None,
            "held_out": any(held_out),
            "close_pairs": self.close_pairs is not None,
            "augment": self.augment != AugmentationSettings(),
            "rooms": self.rooms is not None,
            "noise": self.noise is not None,
        }
        return [name for name, is_given in given.items() if is_given]


Loader = DataLoader[Tensor] | BatchesOnDevice


class MixtureData:
    """Loaders over mixtures; on the fly, each epoch has its own.

    Args:
        settings: which mixtures.
        model: whose talkers and sample rate they have.
        seed: of all that is drawn.
        first_epoch: that epochs are counted from.
        device: where the network learns, and batches are made if `settings.mixing` has it so; all others lie on the CPU.

    Raises:
        UserError: no mixtures can be made on that device.
    """

    def __init__(
        self,
        settings: DataSettings,
        model: TasNetConfig,
        seed: int,
        first_epoch: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.settings, self.model, self.seed, self.first_epoch = settings, model, seed, first_epoch
        self.device = torch.device(device)
        if settings.mixing == "device" and self.device.type == "mps":
            raise UserError("mixtures take 64-bit numbers, which mps has none of; leave out --data.mixing device")
        self.samples = round(settings.segment * model.sample_rate)
        self.banks: dict[Path, SpeechBank] = {}
        self.store = DeviceStore(self.device)

    def train(self, epoch: int) -> Loader:
        """Mixtures of an epoch of training; those on disk are the same in each, in another order."""
        epoch += self.first_epoch
        dataset = self._train_mixtures(epoch)
        if len(dataset) < self.settings.batch:  # type: ignore[arg-type]
            raise UserError(f"{len(dataset)} mixtures make no batch of {self.settings.batch}; take a smaller data.batch")  # type: ignore[arg-type]
        order = ShuffledOnce(len(dataset), self.seed + epoch) if isinstance(dataset, MixturesFromDisk) else None
        return self._loader(dataset, sampler=order, drop_last=True)

    @property
    def epoch_seconds(self) -> float:
        """Seconds of mixtures in an epoch, which has whole batches only; a mixture on disk may make several segments."""
        return len(self.train(0)) * self.settings.batch * self.settings.segment

    @property
    def origin(self) -> str:
        """The speech in training, or mixtures of it, for people."""
        talkers, rate, settings = self._talkers[0], self.model.sample_rate, self.settings
        if talkers is None:
            folder = settings.train_folders[0]
            return f"{len(self._read_mixtures(folder))} mixtures of {folder}"
        spoken = [f"{bank.name} ({len(bank.speakers)} speakers, {bank.length() / rate / 3600:.1f} h)" for bank in talkers.banks]
        rooms = f" in rooms of {settings.rooms}" if settings.rooms else ""
        noise = f" with noises of {settings.noise}" if settings.noise else ""
        return f"{', '.join(spoken)}, mixed on the fly{rooms}{noise}"

    def layer(self, layer: int) -> Loader:
        """Training mixtures of a layer of a conversion; the same for all layers would teach them by heart."""
        return self._fixed_loader(self._train_mixtures(layer), self.settings.epoch_mixtures)

    def calibration(self, batches: int) -> Loader:
        """So many batches of training mixtures, the same in the same order every time."""
        return self._fixed_loader(self._train_mixtures(0), batches * self.settings.batch)

    def dev(self) -> dict[str, Loader]:
        """The dev mixtures; behind them, if some speakers are held out of training, mixtures of these."""
        held_out = self._held_out_loader()
        return {"dev": self.dev_loader()} | ({} if held_out is None else {"held_out": held_out})

    def watched(self) -> dict[str, Loader]:
        """Nothing more."""
        return {}

    def counted(self) -> Iterator[Tensor]:
        """Up to `COUNTED` dev mixtures, one by one."""
        yield from islice((row[None] for batch in self.dev_loader() for row in batch), COUNTED)

    def dev_loader(self) -> Loader:
        """The same dev mixtures every time, neither varied nor with noise."""
        folder, count = self.settings.dev, self.settings.dev_mixtures
        if not _is_corpus(folder):
            return self._fixed_loader(self._from_disk(folder), count)
        return self._fixed_loader(MixturesOnTheFly(self._bank(folder), count, self.samples, self.model.n_src, DEV_SEED), count)

    def _held_out_loader(self) -> Loader | None:
        """The same mixtures of speakers held out of training every time, as pairs like the training's, but not varied."""
        held_out = self._talkers[1]
        if held_out is None:
            return None
        count = self.settings.dev_mixtures
        return self._fixed_loader(MixturesOnTheFly(held_out, count, self.samples, self.model.n_src, DEV_SEED), count)

    def _train_mixtures(self, epoch: int) -> Dataset[Tensor]:
        talkers = self._talkers[0]
        if talkers is None:
            return self._from_disk(self.settings.train_folders[0])
        count, n_src = self.settings.epoch_mixtures, self.model.n_src
        return MixturesOnTheFly(talkers, count, self.samples, n_src, self.seed, epoch, self._variation)

    @cached_property
    def _talkers(self) -> tuple[Talkers | None, Talkers | None]:
        """Talkers in training, None for mixtures on disk; and the speakers held out of it, if any."""
        settings = self.settings
        folders = settings.train_folders
        if not folders:
            raise UserError("data.train names no folder")
        on_disk = [folder for folder in folders if not _is_corpus(folder)]
        if len(folders) == 1 and on_disk:
            if settings.on_the_fly_only and (on_disk[0] / "mix").is_dir():
                wrong = ", ".join(settings.on_the_fly_only)
                raise UserError(f"{on_disk[0]} holds mixtures, which are taken as they are; leave out data options: {wrong}")
            return None, None
        self._check_before_reading(folders)
        banks = [self._bank(folder) for folder in folders]
        amounts = settings.held_out if isinstance(settings.held_out, list) else [settings.held_out]
        kept, held_out = hold_out(banks, amounts, self.model.n_src)
        return self._drawn_from(kept, settings.weights), self._drawn_from(held_out, None) if held_out else None

    def _check_before_reading(self, corpora: list[Path]) -> None:
        """Refuse at once what else were found out after minutes of decoding and of measuring pitch."""
        if self.settings.weights is not None:
            check_weights(self.settings.weights, len(corpora))
        _ = self._variation
        for folder in corpora:
            read_corpus(folder)
        dev = self.settings.dev
        if _is_corpus(dev):
            read_corpus(dev)
        else:
            self._read_mixtures(dev)

    def _drawn_from(self, banks: list[SpeechBank], weights: list[float] | None) -> Talkers:
        close = self.settings.close_pairs
        if close is None and weights is None and len(banks) == 1:
            return AnyTalkers(banks[0])
        return PairedTalkers(banks, weights, close)

    @cached_property
    def _variation(self) -> Variation:
        settings, rate = self.settings, self.model.sample_rate
        settings.check_sources()
        rooms = load_rooms(settings.rooms, rate) if settings.rooms else None
        noise = load_noise(settings.noise, rate) if settings.noise else None
        return Variation(settings.augment, rate, rooms, noise)

    def _bank(self, folder: Path) -> SpeechBank:
        if folder not in self.banks:
            pitch = self.settings.close_pairs is not None and folder in self.settings.train_folders
            self.banks[folder] = load_bank(folder, self.model.sample_rate, self.settings.cache, pitch)
        return self.banks[folder]

    def _from_disk(self, folder: Path) -> MixturesFromDisk:
        return MixturesFromDisk(self._read_mixtures(folder), self.samples, self.model.sample_rate)

    def _read_mixtures(self, folder: Path) -> list[tuple[Path, ...]]:
        """Source files of each mixture of a set.

        Raises:
            UserError: there is no such set, or one of its mixtures has another number of talkers than the network separates.
        """
        sources = [mixture.sources for mixture in read_mixtures(folder)]
        if wrong := {len(one) for one in sources} - {self.model.n_src}:
            n_src = self.model.n_src
            raise UserError(f"{folder} has mixtures of {max(wrong)} talkers; take some of {n_src}, or give --network.n_src")
        return sources

    def _fixed_loader(self, dataset: Dataset[Tensor], count: int) -> Loader:
        """At most `count` mixtures, the same in the same order every time."""
        size = len(dataset)  # type: ignore[arg-type]
        return self._loader(dataset, [i * size // count for i in range(count)] if size > count else None)

    def _loader(self, dataset: Dataset[Tensor], chosen: list[int] | None = None, **options: Any) -> Loader:
        """Batches of the mixtures, or of those chosen."""
        settings = self.settings
        options |= {"batch_size": settings.batch, "num_workers": settings.workers, "worker_init_fn": leave_with_parent_alone}
        if isinstance(dataset, MixturesOnTheFly) and self._mixes_on_device(dataset):
            plans = DataLoader(_chosen(PlansOf(dataset), chosen), collate_fn=list, **options)
            return BatchesOnDevice(plans, lambda: DeviceMixer(dataset.talkers.banks, dataset.variation, self.store))
        return DataLoader(_chosen(dataset, chosen), **options)

    def _mixes_on_device(self, mixtures: MixturesOnTheFly) -> bool:
        if self.settings.mixing != "auto" or self.device.type != "cuda":
            return self.settings.mixing == "device"
        return self.store.has_room([bank.waves for bank in mixtures.talkers.banks])


def _chosen(dataset: Dataset[Any], chosen: list[int] | None) -> Dataset[Any]:
    return dataset if chosen is None else Subset(dataset, chosen)


class ShuffledOnce(Sampler[int]):
    """Numbers in an order of the seed, the same however often it is asked for, as it is where a training is resumed."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.size, generator=torch.Generator().manual_seed(self.seed)).tolist()


def _is_corpus(folder: Path) -> bool:
    return (folder / "wav.scp").exists()
