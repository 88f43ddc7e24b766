import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from separator.errors import UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.settings import ConversionSettings
from separator.tasks.conversion import ConversionRun, convert
from separator.tasks.mixture_data import DataSettings, MixtureData
from separator.tasks.training import (
    CardSettings,
    MachineSettings,
    OptimiserSettings,
    SeparationTraining,
    TrainingSettings,
    export,
    improvement,
    pit_loss,
    train,
)

TINY = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))


@pytest.fixture
def settings(synthetic_corpus, tmp_path):
    return TrainingSettings(
        data=DataSettings(
            synthetic_corpus / "train", synthetic_corpus / "dev", segment=0.5, epoch_mixtures=24, dev_mixtures=8, batch=4
        ),
        model=TINY,
        optimiser=OptimiserSettings(lr=3e-3, max_epochs=2),
        machine=MachineSettings(accelerator="cpu", devices=1, threads=1),
    )


def si_sdr(estimate, source):
    """Eq. 14 in double precision."""
    estimate, source = (x - x.mean() for x in (estimate, source))
    target = (estimate @ source) / (source @ source) * source
    return 10 * np.log10((target @ target) / ((target - estimate) @ (target - estimate)))


def test_loss_is_the_best_permutations_si_sdr():
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(3, 2, 500))
    estimates = sources[:, ::-1] + 0.3 * rng.normal(size=sources.shape) + 0.1
    best = np.mean(
        [
            max(np.mean([si_sdr(e[p[i]], s[i]) for i in (0, 1)]) for p in ((0, 1), (1, 0)))
            for e, s in zip(estimates, sources, strict=True)
        ]
    )
    loss = pit_loss()(torch.from_numpy(estimates.copy()), torch.from_numpy(sources))
    assert float(loss) == pytest.approx(-best, abs=1e-4)
    mixture = sources.sum(1)
    unprocessed = np.mean([si_sdr(m, s[i]) for m, s in zip(mixture, sources, strict=True) for i in (0, 1)])
    gain = improvement(loss, torch.from_numpy(mixture), torch.from_numpy(sources))
    assert float(gain) == pytest.approx(best - unprocessed, abs=1e-4)


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_interrupted_training_goes_on_exactly(settings, tmp_path, name):
    optimiser = replace(settings.optimiser, name=name)
    train(replace(settings, optimiser=optimiser), tmp_path / "whole", progress=False)
    train(replace(settings, optimiser=replace(optimiser, max_epochs=1)), tmp_path / "parts", progress=False)
    train(replace(settings, optimiser=optimiser), tmp_path / "parts", progress=False)
    states = [torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "parts")]
    assert states[0]["global_step"] == states[1]["global_step"] == 12
    for key, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][key]), key
    model = load_model(tmp_path / "parts" / "ann.safetensors")
    best = torch.load(tmp_path / "parts" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, best[f"network.{key}"]) for key, value in model.network.state_dict().items())


def test_training_lowers_the_loss(settings, tmp_path):
    train(replace(settings, optimiser=replace(settings.optimiser, name="muon", max_epochs=4)), tmp_path, progress=False)
    rows = np.genfromtxt(tmp_path / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
    losses = rows["dev_loss"][~np.isnan(rows["dev_loss"])]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_trapezoid_warms_up_and_decays(settings):
    training = SeparationTraining(TasNet(TINY), OptimiserSettings(lr=1.0, schedule="trapezoid", warmup=4, decay=0.25))
    training._trainer = type("Trainer", (), {"estimated_stepping_batches": 20})()
    schedule = training.configure_optimizers()["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    expected = [0.25, 0.5, 0.75, 1.0] + [1.0] * 12 + [0.8, 0.6, 0.4, 0.2]
    assert rates == pytest.approx(expected)


def test_activity_penalty_makes_activations_sparser(settings, tmp_path):
    densities = []
    for weight in (1e-9, 30.0):
        optimiser = replace(settings.optimiser, activity_penalty=weight, max_epochs=3)
        train(replace(settings, optimiser=optimiser), tmp_path / str(weight), progress=False)
        rows = np.genfromtxt(tmp_path / str(weight) / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
        densities.append(rows["activity"][~np.isnan(rows["activity"])][-1])
    assert densities[1] < densities[0]


def test_an_analog_model_is_trained_further_statistics_included(settings, tmp_path):
    first = train(replace(settings, optimiser=replace(settings.optimiser, max_epochs=1)), tmp_path / "first", progress=False)
    further = train(replace(settings, init=str(first), seed=5), tmp_path / "further", progress=False)
    before, after = (load_model(path).network.stack.stages[1] for path in (first, further))
    assert not torch.equal(before.norm.running_mean, after.norm.running_mean)
    assert not torch.equal(before.affine.weight, after.affine.weight)


def test_a_spiking_model_is_tuned_and_stays_spiking(settings, tmp_path):
    conversion = ConversionSettings(4, 0.5, schedule="layer-by-layer", channelwise=True, max_epochs=0, calibration_batches=2)
    save_model(tmp_path / "ann.safetensors", TasNet(TINY).eval(), ModelCard("ann", TINY.to_dict()))
    run = ConversionRun(str(tmp_path / "ann.safetensors"), settings.data, conversion)
    converted = convert(run, tmp_path / "converted", log=lambda line: None)
    optimiser = replace(settings.optimiser, learn_thresholds=True, weight_bits=8, max_epochs=3)
    tuning = replace(settings, optimiser=optimiser, init=str(converted), card=CardSettings("tuned"))
    with pytest.raises(UserError, match="2 to 16 bits, not 99"):
        train(replace(tuning, optimiser=replace(optimiser, weight_bits=99)), tmp_path / "refused", progress=False)
    lines = []
    path = train(tuning, tmp_path / "tuned", progress=False, log=lines.append)
    before, after = load_model(converted), load_model(path)
    assert path.name == "snn.safetensors" and after.card.name == "tuned" and "receptive field" in lines[0]
    assert after.card.conversion == before.card.conversion | {"weight_bits": 8}
    assert not torch.equal(after.network.stack.stages[0].threshold, before.network.stack.stages[0].threshold)
    rows = np.genfromtxt(tmp_path / "tuned" / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
    losses = rows["dev_loss"][~np.isnan(rows["dev_loss"])]
    dev = MixtureData(settings.data, TINY, settings.seed).val_dataloader()

    def dev_loss(model):
        return float(torch.stack([pit_loss()(model.network(sources.sum(1)), sources) for sources in dev]).mean())

    assert dev_loss(after) == pytest.approx(losses.min(), abs=1e-4)
    assert dev_loss(after) < dev_loss(before)


def test_no_checkpoint_means_that_training_diverged(settings, tmp_path):
    data = MixtureData(settings.data, TINY, settings.seed)
    with pytest.raises(UserError, match="dev loss"):
        export(tmp_path / "best.ckpt", tmp_path / "ann.safetensors", settings, data)
    with pytest.raises(UserError, match="dev loss"):
        export(tmp_path, tmp_path / "ann.safetensors", settings, data)


def test_two_processes_share_an_epoch(synthetic_corpus, tmp_path):
    command = [sys.executable, "-m", "separator.cli.main", "train", "--out", str(tmp_path)]
    options = {
        "data.train": synthetic_corpus / "train",
        "data.dev": synthetic_corpus / "dev",
        "data.segment": 0.5,
        "data.epoch_mixtures": 24,
        "data.dev_mixtures": 8,
        "data.batch": 4,
        "model.filters": 32,
        "model.filter_length": 16,
        "model.channels": 8,
        "model.dilations": "[1,2]",
        "optimiser.max_epochs": 1,
        "machine.accelerator": "cpu",
        "machine.devices": 2,
        "machine.strategy": "ddp",
        "machine.threads": 1,
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 24 / 4 / 2
    assert load_model(tmp_path / "ann.safetensors").card.kind == "ann"
