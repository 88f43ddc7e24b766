"""One mixture scored: the work of one process of an evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from separator.audio.files import Samples, open_audio
from separator.corpora.mixtures import Mixture
from separator.errors import UserError
from separator.metrics.oracle import BLOCK, oracle_si_sdr
from separator.metrics.pesq import SAMPLE_RATES, pesq
from separator.metrics.sdr import sdr
from separator.metrics.sisdr import permutation_invariant_si_sdr, si_sdr
from separator.metrics.stoi import stoi


@dataclass(frozen=True)
class ScoringJob:
    """One system's estimates for one mixture."""

    condition: str
    system: str
    mixture: Mixture
    estimates: NDArray[np.float32] | tuple[Path, ...] | None  # (n_src, T), files, or None: the mixture in each one's place
    metrics: tuple[str, ...]  # beside SI-SDR, SI-SDRi and the oracle's, which every job measures


@dataclass(frozen=True)
class SourceScore:
    """Measurements of one source; NaN where they failed."""

    estimate: int  # index of the estimate that was assigned to the source
    seconds: float
    values: dict[str, float]


def score(job: ScoringJob) -> list[SourceScore]:
    """Score a mixture's estimates against its sources, after the assignment with the best SI-SDR.

    Raises:
        UserError: a file cannot be read, lengths, sample rates or numbers of signals differ, or the sample rate is not
            one that a metric is defined at.
    """
    mixture, rate = read_signal(job.mixture.mixture)
    sources = read_alike(job.mixture.sources, job.mixture.mixture, len(mixture), rate)
    estimates = _estimates(job, mixture, rate)
    if "pesq" in job.metrics and rate not in SAMPLE_RATES:
        raise UserError(
            f"{job.mixture.mixture}: PESQ is defined at 8000 and 16000 Hz, not at {rate} Hz; leave it out (--metrics)"
        )
    improved, permutation = (batch[0] for batch in permutation_invariant_si_sdr(estimates[None], sources[None]))
    estimates = estimates[permutation]
    before = si_sdr(mixture, sources)
    oracle = oracle_si_sdr(estimates, sources, mixture, round(BLOCK * rate))
    columns = {"si-sdr": improved, "si-sdri": improved - before, "oracle-si-sdri": oracle - before}
    measures: dict[str, Any] = {
        "sdr": lambda: sdr(estimates, sources),
        "stoi": lambda: stoi(estimates, sources, rate),
        "pesq": lambda: pesq(estimates, sources, rate),
    }
    columns |= {metric: measures[metric]() for metric in job.metrics if metric in measures}
    return [
        SourceScore(int(estimate), len(mixture) / rate, {metric: float(values[i]) for metric, values in columns.items()})
        for i, estimate in enumerate(permutation)
    ]


def read_signal(path: Path) -> tuple[Samples, int]:
    """A whole sound file as one channel, shape (T,), and its sample rate in Hz.

    Raises:
        UserError: the file cannot be used.
    """
    with open_audio(path) as reader:
        return reader.whole(), reader.sample_rate


def read_alike(paths: tuple[Path, ...], mixture: Path, samples: int, rate: int) -> Samples:
    """Sound files of the mixture's length and rate. Shape (len(paths), samples).

    Raises:
        UserError: a file cannot be used, or differs from the mixture in length or sample rate.
    """
    signals = []
    for path in paths:
        signal, own_rate = read_signal(path)
        if (len(signal), own_rate) != (samples, rate):
            raise UserError(f"{path} has {len(signal)} samples at {own_rate} Hz, its mixture {mixture} {samples} at {rate} Hz")
        signals.append(signal)
    return np.stack(signals)


def _estimates(job: ScoringJob, mixture: Samples, rate: int) -> Samples:
    """Estimates of a job, (n_est, T)."""
    n_src = len(job.mixture.sources)
    if job.estimates is None:
        return np.tile(mixture, (n_src, 1))
    if isinstance(job.estimates, tuple):
        return read_alike(job.estimates, job.mixture.mixture, len(mixture), rate)
    if job.estimates.shape != (n_src, len(mixture)):
        raise UserError(
            f"{job.system} gives signals of shape {job.estimates.shape} for {job.mixture.mixture}, "
            f"which has {n_src} sources of {len(mixture)} samples"
        )
    return job.estimates
