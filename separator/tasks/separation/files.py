"""Separation of sound: arrays, files and streams, with any network of `separator.models`."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from separator import models
from separator.audio.blocks import in_blocks_of, marking_the_last
from separator.audio.files import STANDARD_STREAM, AudioReader, Spool, is_stream, open_audio, refuse_folders, write_wavs
from separator.audio.level import ClipPolicy, NormalEquations, fit_peak, mixture_gains, normal_equations
from separator.audio.resample import resample_blocks
from separator.audio.survey import Condition, Survey
from separator.errors import UserError
from separator.ranges import MOST, is_number, is_whole
from separator.tasks.devices import resolve_device
from separator.tasks.fingerprints import network_fingerprint
from separator.tasks.separation.live import EstimateStream, SeparationStream, require_rate
from separator.tasks.separation.outputs import Origin, output_paths, refuse_existing, refuse_others

if TYPE_CHECKING:
    from separator.models import SeparationModel
    from separator.snn.observe.activity import Activity

# The published size takes more time from 16 s on, as glibc asks the system for new pages for every tensor over 32 MiB (a fifth
# more with 24 s, as an analog network); small ones do below 12 s, as it gives back pages that the next segment needs again.
SEGMENT = 12.0  # seconds
FEW_STEPS = 32  # of 16 bits, under which the rounding of a peak is heard

# What sources are scaled to: to add up to the mixture as well as possible, which takes all of it, or by the one gain in the
# model's card, which live sound takes too.
Level = Literal["mixture", "model"]

# An array of no more samples than this in each of more mixtures is one with its axes the other way round.
MOST_CHANNELS = 32

Array = NDArray[np.float32]
Wave = TypeVar("Wave", NDArray[Any], torch.Tensor)


@dataclass(frozen=True)
class SeparationReport:
    """Report of what was done to one file."""

    input: str
    outputs: tuple[str, ...]
    model: str
    sample_rate: int  # Hz
    seconds: float  # length of the sound
    elapsed: float  # seconds that separating took
    gains: tuple[float, ...]  # what each source was multiplied with, the clip policy's gain included
    peak: float  # of the sources at the mixture's level, before the clip policy; full scale is 1
    notes: tuple[str, ...]  # what the listener should know, one line each
    complete: bool  # whether all was read that the file's header states
    activity: "Activity | None"  # of a spiking network, if asked for

    @property
    def real_time_factor(self) -> float:
        """Time taken over the length of the sound."""
        return self.elapsed / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        activity = None if self.activity is None else self.activity.to_dict()
        return asdict(self) | {"real_time_factor": self.real_time_factor, "activity": activity}


class Separator:
    """Separates the talkers of a mixture with one network.

    Args:
        model: a network and its card, already on `device`.
        device: where it is.
        segment: seconds computed at a time, which memory depends on; the network carries its state on, so that it changes no
            bit of what a spiking network gives.
        level: what sources are scaled to; None for `model` if the network is causal, so that files give what live sound gives,
            else `mixture`.
        shifts: delays of the mixture that estimates are averaged over, the delay of 0 included: 2 take twice the time and
            separate a little better. Live sound does without.

    Raises:
        UserError: the segment is not positive, the level unknown, the network does not take so many shifts, or the model's card
            has no gain for the level `model`.
    """

    def __init__(
        self,
        model: "SeparationModel",
        device: str = "cpu",
        segment: float = SEGMENT,
        level: Level | None = None,
        shifts: int = 1,
    ) -> None:
        self.model = model
        self.device = device
        self.shifts = shifts
        if not is_whole(shifts):
            raise UserError(f"shifts are a whole number, not {shifts}")
        if shifts != 1:
            model.stream(shifts=shifts)  # which tells if it takes so many
        if not is_number(segment) or not 0.5 <= segment * self.sample_rate < MOST:
            raise UserError(f"the segment is a number of seconds that holds a sample, not {segment}")
        self.segment = round(segment * self.sample_rate)
        _require_one_of("level", level, (None, *get_args(Level)))
        self.level: Level = level or ("model" if model.card.causal else "mixture")
        if self.level == "model":
            self._model_gain()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path | None = None,
        device: str = "cpu",
        window: int | None = None,
        segment: float = SEGMENT,
        level: Level | None = None,
        shifts: int = 1,
    ) -> "Separator":
        """Load a shipped model by its name, or a model file.

        Args:
            name_or_path: None for the shipped spiking model.
            device: `cpu`, `cuda`, `cuda:1`, ..., or `auto` for a GPU if there is one.
            window: of a spiking model that can run with another number than its own; None keeps its own.
            segment: seconds computed at a time.
            level: what sources are scaled to, see `Separator`.
            shifts: delays of the mixture that estimates are averaged over.

        Raises:
            UserError: the model is unknown, damaged, foreign or newer, or an option does not fit it.
        """
        device = resolve_device(device)
        model = models.load_model(name_or_path or models.DEFAULT_MODEL, device=device, window=window)
        return cls(model, device, segment, level, shifts)

    @property
    def sample_rate(self) -> int:
        """The model's own rate, Hz; mixtures of any rate are taken."""
        return int(self.model.card.sample_rate)

    @property
    def n_src(self) -> int:
        """Number of talkers."""
        return int(self.model.card.n_src)

    def separate(self, wave: Wave, sample_rate: int) -> Wave:
        """Separate a mixture or a batch of mixtures.

        The sources keep the mixture's rate, length, floating type and device. A constant offset is taken out, and what is very
        quiet or very loud is heard at a usual level by the network, whose sources are as quiet or loud as the mixture.

        Args:
            wave: (T,) or (B, T), real floating-point samples; (T, channels) is refused.
            sample_rate: of `wave`, Hz.

        Returns:
            Sources, (n_src, T) or (B, n_src, T).

        Raises:
            UserError: `wave` is empty, of another shape or type, or has NaN or infinite samples; the rate is no rate.
        """
        sample_rate = require_rate(sample_rate)
        wave = wave if isinstance(wave, torch.Tensor) else _array(wave)
        mixture = np.atleast_2d(_samples(wave))
        conditions = [_condition(item, sample_rate) for item in mixture]
        conditioned = np.stack([_conditioned(*pair) for pair in zip(mixture, conditions, strict=True)])
        pieces = list(self._stream([conditioned], sample_rate))
        heard = np.concatenate([piece for piece, _ in pieces], axis=-1)
        estimates = np.concatenate([piece for _, piece in pieces], axis=-1)
        gains = [
            self._gains(normal_equations(*pair)) / condition.scale
            for *pair, condition in zip(heard, estimates, conditions, strict=True)
        ]
        scaled = estimates * np.array(gains, np.float32)[..., None]
        flat = scaled.reshape(-1, scaled.shape[-1])
        resampled = np.concatenate(list(resample_blocks([flat], self.sample_rate, sample_rate, mixture.shape[-1])), axis=-1)
        sources = resampled.reshape(*wave.shape[:-1], self.n_src, -1)
        if isinstance(wave, torch.Tensor):
            return torch.from_numpy(sources).to(wave)
        return sources.astype(wave.dtype)

    def stream(self, sample_rate: int) -> SeparationStream:
        """Separate live sound, in blocks of any size, with a fixed latency.

        Args:
            sample_rate: of the blocks and the sources, Hz.

        Raises:
            UserError: the rate is no rate, or the model's card has no gain to bring its output to the mixture's level.
        """
        network = EstimateStream(self.model, self.device, live=True)
        return SeparationStream(network, self.n_src, self._model_gain(), self.sample_rate, sample_rate)

    def separate_file(
        self,
        source: str | Path,
        output_dir: str | Path | None = None,
        *,
        clip: ClipPolicy = "rescale",
        float32: bool = False,
        overwrite: bool | Literal["same"] = False,
        activity: bool = False,
        progress: Callable[[float, float], None] | None = None,
    ) -> SeparationReport:
        """Separate a sound file into wav files `NAME_s1.wav`, `NAME_s2.wav`, ..., all of them or none.

        Memory does not grow with the length of the file; estimates wait on disk, in the output folder, until their level
        is known.

        Args:
            source: a sound file, or `-` for stdin.
            output_dir: the input's folder if None; `-` for one wav of n_src channels on stdout, as is usual for stdin.
            clip: sources over full scale are lowered by one gain (`rescale`), cut (`clamp`), or left to the format (`none`).
            float32: 32-bit floats instead of 16-bit integers.
            overwrite: replace files that exist; `same` for those of the same sound, network and options alone, and none
                where the source is stdin or a named pipe.
            activity: count spikes, if the network has any.
            progress: called with the seconds separated so far and the seconds in all.

        Raises:
            UserError: the input cannot be used or the output cannot be written; no output is left then.
        """
        started = time.perf_counter()
        _require_one_of("clip", clip, get_args(ClipPolicy))
        paths = output_paths(source, output_dir, self.n_src)
        refuse_folders(paths)
        if not overwrite or (overwrite == "same" and is_stream(source)):
            refuse_existing(paths)
        with open_audio(source) as reader, Spool(paths[0].parent if paths else None) as spool:
            require_rate(reader.sample_rate)
            survey = reader.survey()
            condition = survey.condition()
            with self.recorder(activity) as record:
                blocks = (_conditioned(block, condition) for block in _reporting(reader, progress))
                gains = self._gains(self._fill(spool, self._stream(blocks, reader.sample_rate))) / condition.scale
            sources = _Sources(spool, gains, self.sample_rate, reader.sample_rate, reader.frames_read)
            sources = sources.clipped(clip, peak := sources.peak())
            if paths:
                origin = self._origin(reader, clip, float32)
                # Another process may have written them meanwhile.
                if overwrite == "same":
                    refuse_others(paths, origin)
                elif not overwrite:
                    refuse_existing(paths)
                comment = origin.to_comment()
                write_wavs(paths, sources.blocks(), sources.rate, sources.frames, float32=float32, comment=comment)
            else:
                _write_stdout(sources, float32)
            return SeparationReport(
                input=str(source),
                outputs=tuple(map(str, paths)) or (STANDARD_STREAM,),
                model=str(self.model.card.name),
                sample_rate=reader.sample_rate,
                seconds=reader.frames_read / reader.sample_rate,
                elapsed=time.perf_counter() - started,
                gains=tuple(map(float, sources.gains)),
                peak=peak,
                notes=(*reader.notes, *condition.notes(), *_level_notes(clip, peak, float32)),
                complete=reader.complete,
                activity=record,
            )

    def has_separated(
        self, source: str | Path, output_dir: str | Path | None = None, *, clip: ClipPolicy = "rescale", float32: bool = False
    ) -> bool:
        """True if `separate_file` has been here: all its outputs exist, made of the same sound by the same network and options.

        False where some of them are missing, as after a crash; those that are there may be replaced then. Of stdin and
        named pipes it is not known.

        Raises:
            UserError: one exists that was made otherwise; the input cannot be read.
        """
        paths = output_paths(source, output_dir, self.n_src)
        existing = [path for path in paths if path.exists()]
        if not existing or is_stream(source):
            return False
        with open_audio(source) as reader:
            refuse_others(existing, self._origin(reader, clip, float32))
        return len(existing) == len(paths)

    def _origin(self, reader: AudioReader, clip: ClipPolicy, float32: bool) -> Origin:
        card = self.model.card
        return Origin(
            input=reader.fingerprint(),
            model=str(card.name),
            weights=network_fingerprint(self.model.network),
            window=getattr(card, "window", None),
            level=self.level,
            clip=clip,
            samples="32-bit floats" if float32 else "16-bit integers",
            shifts=self.shifts,
        )

    def _stream(self, blocks: Iterable[Array], sample_rate: int) -> Iterator[tuple[Array, Array]]:
        """Mixture (B, k) at any rate to pieces of mixture (B, k') and estimates (B, n_src, k') at the model's rate."""
        network = EstimateStream(self.model, self.device, shifts=self.shifts)
        waiting: Array | None = None
        segments = in_blocks_of(self.segment, resample_blocks(blocks, sample_rate, self.sample_rate))
        for block, last in marking_the_last(segments):
            estimates = network.push(block, last)
            waiting = block if waiting is None else np.concatenate([waiting, block], -1)
            ready = estimates.shape[-1]
            yield waiting[:, :ready], estimates
            waiting = waiting[:, ready:]

    def _gains(self, equations: NormalEquations) -> NDArray[np.float64]:
        if self.level == "model":
            return np.full(self.n_src, self._model_gain())
        return mixture_gains(equations)

    def _model_gain(self) -> float:
        card = self.model.card
        if card.gain is None:
            raise UserError(
                f"the card of {card.name} has no gain to bring its output to the mixture's level; train or tune it anew"
            )
        return float(card.gain)

    def _fill(self, spool: Spool, pieces: Iterable[tuple[Array, Array]]) -> NormalEquations:
        """Keep the estimates of a stream of one mixture in `spool`; return what least squares needs of them."""
        zeros = np.zeros((self.n_src, self.n_src))
        equations = NormalEquations(zeros, zeros[0], 0.0)
        for mixture, estimates in pieces:
            spool.append(estimates[0])
            equations += normal_equations(mixture[0], estimates[0])
        return equations

    def recorder(self, wanted: bool) -> "AbstractContextManager[Activity | None]":
        """Context that counts spikes; it yields None if that is not wanted or the network has none."""
        if not wanted or self.model.card.kind != "snn":
            return nullcontext()
        from separator.snn.observe.activity import record_activity  # analog networks run without the spiking engine

        return record_activity(self.model.network)


@dataclass(frozen=True)
class _Sources:
    """Sources waiting at the model's rate, to be read at the output's rate and level."""

    spool: Spool
    gains: NDArray[np.float64]  # (n_src,)
    model_rate: int  # Hz
    rate: int  # of the output, Hz
    frames: int  # of the output
    limit: float | None = None  # amplitude that samples are held within

    def blocks(self) -> Iterator[Array]:
        gains = self.gains[:, None].astype(np.float32)
        for block in resample_blocks(self.spool.blocks(), self.model_rate, self.rate, self.frames):
            yield block * gains if self.limit is None else (block * gains).clip(-self.limit, self.limit)

    def peak(self) -> float:
        return max(float(np.abs(block).max()) for block in self.blocks())

    def clipped(self, clip: ClipPolicy, peak: float) -> "_Sources":
        if clip == "rescale":
            return replace(self, gains=self.gains * fit_peak(peak))
        return replace(self, limit=1.0 if clip == "clamp" else None)


def _level_notes(clip: ClipPolicy, peak: float, float32: bool) -> list[str]:
    steps = peak * 2**15
    if not float32 and 0 < steps < FEW_STEPS:
        return [f"the sources are so quiet that they peak at {steps:.2g} steps of 16 bits; --float32 keeps them whole"]
    if fit_peak(peak) == 1:
        return []
    if clip == "rescale":
        return [f"all sources lowered by {-20 * np.log10(fit_peak(peak)):.1f} dB to fit full scale"]
    if clip == "clamp" or not float32:
        return [f"peaks of up to {20 * np.log10(peak):.1f} dB over full scale were cut"]
    return []


def _condition(wave: Array, sample_rate: int) -> Condition:
    """Condition to put a wave (T,) in before the network."""
    survey = Survey(1, sample_rate)
    survey.add(wave[:, None].astype(np.float64))
    return survey.condition()


def _conditioned(wave: Array, condition: Condition) -> Array:
    """A wave as the network is to hear it; not touched where there is nothing to do."""
    if condition == Condition():
        return wave
    conditioned: Array = ((wave.astype(np.float64) - condition.offset) * condition.scale).astype(np.float32)
    return conditioned


def _reporting(reader: AudioReader, progress: Callable[[float, float], None] | None) -> Iterator[Array]:
    """Yield the reader's blocks and tell `progress` how far they are used up."""
    for block in reader.blocks():
        yield block
        if progress is not None:
            progress(reader.frames_read / reader.sample_rate, max(reader.frames_read, reader.frames) / reader.sample_rate)


def _write_stdout(sources: _Sources, float32: bool) -> None:
    """One wav on stdout, a channel for each source; written to disk first, since its header needs its length."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sources.wav"
        write_wavs([path], sources.blocks(), sources.rate, sources.frames, float32=float32)
        with path.open("rb") as file:
            try:
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise UserError(f"cannot write to stdout: {error.strerror or error}") from error


def _require_one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} must be {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, not {value!r}")


def _array(wave: Any) -> NDArray[Any]:
    if isinstance(wave, np.ma.MaskedArray):
        raise UserError("a masked array has samples that are not there; fill them with .filled(0), or cut them out")
    try:
        return np.asarray(wave)
    except ValueError as error:
        raise UserError("a mixture must be an array, (T,) or (B, T), not a list of lists of several lengths") from error


def _samples(wave: NDArray[Any] | torch.Tensor) -> Array:
    """Check a mixture or batch and give it as float32 samples."""
    if isinstance(wave, torch.Tensor) and (wave.layout != torch.strided or wave.device.type == "meta"):
        raise UserError(f"samples must be in memory one behind the other, not a {wave.layout} tensor on {wave.device}")
    floating = wave.is_floating_point() if isinstance(wave, torch.Tensor) else np.issubdtype(wave.dtype, np.floating)
    if not floating:
        raise UserError(f"samples must be floats with full scale at 1, not {wave.dtype}; divide 16-bit samples by 32768")
    array = wave.detach().cpu().float().numpy() if isinstance(wave, torch.Tensor) else wave
    if array.ndim not in (1, 2) or not array.size:
        raise UserError(f"a mixture must be (T,) or (B, T) with at least one sample, not {tuple(array.shape)}")
    if array.ndim == 2 and array.shape[1] <= MOST_CHANNELS and array.shape[0] > array.shape[1]:
        raise UserError(
            f"{tuple(array.shape)} is (T, channels), as soundfile reads it: give .mean(1) for one mixture, "
            "or .T for each channel as a mixture of its own"
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
        samples: Array = array.astype(np.float32)
    if not np.isfinite(samples).all():
        raise UserError("the mixture has NaN or infinite samples")
    return samples
