import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from separator.cli.main import main
from separator.errors import DivergedError, UserError
from separator.models import ModelCard, load_model, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.thresholds import rules
from separator.tasks.learning.conversion import ConversionRun, TuningSettings, convert
from separator.tasks.learning.module import LearningModule
from separator.tasks.learning.settings import (
    CardSettings,
    LearningSettings,
    MachineSettings,
    OptimiserSettings,
    TrainingSettings,
)
from separator.tasks.learning.training import begin, export, precision_of, train, trains_alone
from separator.tasks.problems.mixture_data import DataSettings, MixtureData
from separator.tasks.problems.separation_loss import SeparationObjective, pit_loss
from separator.tasks.problems.speech import Speech
from tests.disks import files_of_at_most
from tests.recipes.running import quick_command

pytestmark = pytest.mark.usefixtures("blank_pictures")

TINY = TasNetConfig(filters=32, filter_length=16, channels=8, dilations=(1, 2))


@pytest.fixture
def settings(synthetic_corpus, tmp_path):
    data = DataSettings(
        synthetic_corpus / "train", synthetic_corpus / "dev", segment=0.5, epoch_mixtures=24, dev_mixtures=8, batch=4
    )
    optimiser, machine = OptimiserSettings(lr=3e-3, max_epochs=2), MachineSettings(devices=1)
    return TrainingSettings(Speech(data, TINY), optimiser, machine, device="cpu", threads=1)


def on(settings, **changes):
    """The same settings with other data."""
    return replace(settings, problem=replace(settings.problem, data=replace(settings.problem.data, **changes)))


def sized(settings, config):
    """The same settings with other sizes of the network."""
    return replace(settings, problem=replace(settings.problem, network=config))


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


def test_interrupted_training_on_mixtures_on_disk_goes_on_in_the_same_order(settings, synthetic_corpus, tmp_path):
    mixtures = tmp_path / "mixtures"
    list_ = tmp_path / "list.txt"
    main(["mix", "--corpus", str(synthetic_corpus / "train"), "--list", str(list_), "--draw", "6", "--out", str(mixtures)])
    on_disk = on(settings, train=mixtures, dev=mixtures)
    for epochs, folder in ((3, "whole"), (1, "parts"), (2, "parts"), (3, "parts")):
        train(replace(on_disk, optimiser=replace(settings.optimiser, max_epochs=epochs)), tmp_path / folder, progress=False)
    states = [torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"] for run in ("whole", "parts")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_plateau_is_remembered(settings, tmp_path, monkeypatch):
    """Where the dev loss is worse from epoch to epoch, the rate is halved after two of them."""

    def worse(self, batch):
        loss, gain = measured(self, batch)
        return loss if self.training else loss + 10 * self.trainer.current_epoch, gain

    measured = LearningModule.measured
    monkeypatch.setattr(LearningModule, "measured", worse)
    optimiser = replace(settings.optimiser, patience=2, stop_patience=20)
    for epochs, folder in ((6, "whole"), (1, "parts"), (3, "parts"), (4, "parts"), (6, "parts")):
        train(replace(settings, optimiser=replace(optimiser, max_epochs=epochs)), tmp_path / folder, progress=False)
    states = [torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "parts")]
    rates = [state["optimizer_states"][0]["param_groups"][0]["lr"] for state in states]
    assert rates == [settings.optimiser.lr / 4] * 2  # after epochs 3 and 5
    assert states[0]["halving"] == states[1]["halving"]
    assert all(torch.equal(value, states[1]["state_dict"][key]) for key, value in states[0]["state_dict"].items())


def test_the_plateau_is_of_looks_at_the_dev_mixtures(settings, tmp_path, monkeypatch):
    """Of which there may be one in two epochs."""

    def worse(self, batch):
        loss, gain = measured(self, batch)
        return loss if self.training else loss + 10 * self.trainer.current_epoch, gain

    measured = LearningModule.measured
    monkeypatch.setattr(LearningModule, "measured", worse)
    optimiser = replace(settings.optimiser, patience=1, dev_every=2, max_epochs=5)
    train(replace(settings, optimiser=optimiser), tmp_path, progress=False)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == settings.optimiser.lr / 2  # the second of two was worse
    assert state["halving"]["last_epoch"] == 2


def test_the_best_epoch_is_remembered_in_a_renamed_folder(settings, tmp_path, monkeypatch):
    train(replace(settings, optimiser=replace(settings.optimiser, max_epochs=1)), tmp_path / "old", progress=False)
    best = load_model(tmp_path / "old" / "ann.safetensors").network.state_dict()
    (tmp_path / "old").rename(tmp_path / "new")

    def worse(self, batch):
        loss, gain = measured(self, batch)
        return loss if self.training else loss + 100, gain

    measured = LearningModule.measured
    monkeypatch.setattr(LearningModule, "measured", worse)
    model = load_model(train(settings, tmp_path / "new", progress=False)).network.state_dict()
    assert all(torch.equal(value, model[key]) for key, value in best.items())


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(settings, tmp_path):
    train(replace(settings, optimiser=replace(settings.optimiser, max_epochs=1)), tmp_path, progress=False)
    before = (tmp_path / "last.ckpt").read_bytes()
    with files_of_at_most(len(before) - 100), pytest.raises(UserError, match=r"cannot write .*\.ckpt: File too large"):
        train(settings, tmp_path, progress=False)
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert not list(tmp_path.glob(".*.ckpt"))


def test_another_training_is_not_gone_on_with(settings, tmp_path):
    train(replace(settings, optimiser=replace(settings.optimiser, max_epochs=1)), tmp_path, progress=False)
    before = (tmp_path / "last.ckpt").read_bytes()
    for other, message in (
        (replace(settings, seed=5), r"\(seed was 0 and is 5\)"),
        (sized(settings, replace(TINY, channels=12)), "network.channels was 8 and is 12"),
        (on(settings, segment=0.25), "data.segment was 0.5 and is 0.25"),
        (replace(settings, optimiser=replace(settings.optimiser, lr=1.0)), "optimiser.lr was 0.003 and is 1.0"),
    ):
        with pytest.raises(UserError, match=message):
            train(other, tmp_path, progress=False)
        assert (tmp_path / "last.ckpt").read_bytes() == before
    machine = replace(settings.machine, precision="32-true")
    train(on(replace(settings, machine=machine), workers=1), tmp_path, progress=False)  # the same one


def test_a_training_that_has_had_more_epochs_than_are_asked_for_is_refused_in_one_line(settings, tmp_path):
    train(settings, tmp_path, progress=False)
    fewer = replace(settings, optimiser=replace(settings.optimiser, max_epochs=1))
    with pytest.raises(UserError, match=r"has had 2 epochs; give --optimiser.max_epochs of at least 2, or another folder"):
        train(fewer, tmp_path, progress=False)
    train(settings, tmp_path, progress=False)  # as many are none too few


def test_a_training_is_not_gone_on_with_from_another_model_of_the_name(settings, tmp_path):
    model = tmp_path / "model.safetensors"
    save_model(model, TasNet(TINY).eval(), ModelCard("ann", TINY.to_dict()))
    tuning = replace(settings, init=str(model), optimiser=replace(settings.optimiser, max_epochs=1))
    train(tuning, tmp_path / "out", progress=False)
    save_model(model, TasNet(TINY).eval(), ModelCard("ann", TINY.to_dict()))
    with pytest.raises(UserError, match="init_fingerprint was"):
        train(tuning, tmp_path / "out", progress=False)
    last = tmp_path / "out" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    del state["run"]["init_fingerprint"]  # as earlier versions left it
    torch.save(state, last)
    train(tuning, tmp_path / "out", progress=False)


def test_what_a_kill_left_half_written_is_removed(settings, tmp_path):
    (tmp_path / ".last.0123abcd.ckpt").write_bytes(b"half")
    train(replace(settings, optimiser=replace(settings.optimiser, max_epochs=1)), tmp_path, progress=False)
    assert [path.name for path in tmp_path.glob("*.ckpt")] and not list(tmp_path.glob(".*.ckpt"))


def test_training_lowers_the_loss(settings, tmp_path):
    train(replace(settings, optimiser=replace(settings.optimiser, name="muon", max_epochs=4)), tmp_path, progress=False)
    rows = np.genfromtxt(tmp_path / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
    losses = rows["dev_loss"][~np.isnan(rows["dev_loss"])]
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_trapezoid_warms_up_and_decays(settings):
    optimiser = OptimiserSettings(lr=1.0, schedule="trapezoid", warmup=4, decay=0.25)
    training = LearningModule(TasNet(TINY), SeparationObjective(), optimiser)
    training._trainer = type("Trainer", (), {"estimated_stepping_batches": 20})()
    schedule = training.configure_optimizers()["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        schedule.optimizer.step()
        schedule.step()
    expected = [0.25, 0.5, 0.75, 1.0] + [1.0] * 12 + [0.8, 0.6, 0.4, 0.2]
    assert rates == pytest.approx(expected)


@pytest.fixture
def anytime(settings):
    """A training without an end, of 24 mixtures of half a second in an epoch."""
    optimiser = replace(settings.optimiser, schedule="anytime", warmup=4, average=0.9, max_epochs=4, dev_every=2)
    return replace(settings, optimiser=optimiser)


EPOCH = 24 * 0.5 / 3600  # hours


def test_a_training_without_an_end_goes_on_exactly(anytime, tmp_path):
    train(anytime, tmp_path / "whole", progress=False)
    for epochs in (1, 3, 4):
        part = replace(anytime, optimiser=replace(anytime.optimiser, max_epochs=epochs))
        train(part, tmp_path / "parts", progress=False)
    whole, parts = (torch.load(tmp_path / run / "last.ckpt", weights_only=True) for run in ("whole", "parts"))
    for part in ("state_dict", "current_model_state"):
        assert all(torch.equal(value, parts[part][key]) for key, value in whole[part].items())
    assert whole["heard"]["hours"] == parts["heard"]["hours"] == pytest.approx(4 * EPOCH)
    assert whole["heard"] == parts["heard"] and len(whole["heard"]["history"]) == 2
    models = [load_model(tmp_path / run / "ann.safetensors") for run in ("whole", "parts")]
    assert models[0].card.scores == models[1].card.scores
    assert (tmp_path / "whole" / "hours.csv").read_text() == (tmp_path / "parts" / "hours.csv").read_text()


def test_the_model_is_the_average_with_statistics_of_its_own(anytime, tmp_path):
    model = load_model(train(anytime, tmp_path, progress=False))
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, state["state_dict"][f"network.{key}"])
    name = "network.stack.layers.1.affine.weight"
    assert not torch.equal(state["state_dict"][name], state["current_model_state"][name])
    data = MixtureData(anytime.problem.data, TINY, anytime.seed)
    assert_measured(model.network.stack.layers[0], data, model.network)


def test_an_average_that_was_not_looked_at_has_statistics_of_its_own_too(anytime, tmp_path):
    odd = replace(anytime, optimiser=replace(anytime.optimiser, max_epochs=3))
    network = load_model(train(odd, tmp_path, progress=False)).network
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[f"network.{name}"]) for name, value in network.named_parameters())
    assert_measured(network.stack.layers[0], MixtureData(odd.problem.data, TINY, odd.seed), network)


def assert_measured(layer, data, network):
    """Means of batch norm are those of training mixtures, as the network makes them of these."""
    sums = []
    with torch.no_grad():
        for sources in data.calibration(32):
            mixture = sources.sum(1)
            sums.append(layer.sums(network.stack_input(network.encode(mixture))).transpose(0, 1).flatten(1))
    means = torch.stack([batch.mean(1) for batch in sums]).mean(0)
    torch.testing.assert_close(layer.norm.running_mean, means, rtol=1e-3, atol=1e-4)


def test_the_finish_lets_the_rate_fall_to_zero_and_ends(anytime, tmp_path):
    train(replace(anytime, optimiser=replace(anytime.optimiser, max_epochs=2)), tmp_path, progress=False)
    finishing = replace(anytime, optimiser=replace(anytime.optimiser, finish=4 * EPOCH, max_epochs=-1))
    train(finishing, tmp_path, progress=False)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["finish"] == {"hours": 4 * EPOCH, "first": 2, "end": 6}
    assert state["epoch"] == 5 and state["heard"]["hours"] == pytest.approx(6 * EPOCH)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == 0
    (tmp_path / "ann.safetensors").unlink()
    train(finishing, tmp_path, progress=False)  # nothing is left to learn; the model is written all the same
    assert load_model(tmp_path / "ann.safetensors").card.scores["hours"] == pytest.approx(6 * EPOCH)


def test_the_finish_may_average_over_fewer_steps(anytime, tmp_path):
    def ending(folder, **changes):
        train(
            replace(anytime, optimiser=replace(anytime.optimiser, finish=EPOCH, max_epochs=-1, **changes)),
            folder,
            progress=False,
        )
        return torch.load(folder / "last.ckpt", weights_only=True)

    half = replace(anytime, optimiser=replace(anytime.optimiser, max_epochs=2))
    for name in ("same", "fewer"):
        train(half, tmp_path / name, progress=False)
    same, fewer = ending(tmp_path / "same"), ending(tmp_path / "fewer", average=0.1)
    for key, value in fewer["current_model_state"].items():
        assert torch.equal(value, same["current_model_state"][key])  # what learns is not touched
    weights, average = fewer["current_model_state"], fewer["state_dict"]
    name = "network.stack.layers.1.affine.weight"
    near, far = ((state["state_dict"][name] - weights[name]).abs().max() for state in (fewer, same))
    assert 0 < near < far / 4 and average.keys() == same["state_dict"].keys()
    with pytest.raises(UserError, match=r"optimiser.average was 0.1 and is 0.0"):
        ending(tmp_path / "fewer", average=0.0)
    with pytest.raises(UserError, match=r"optimiser.average was 0.1 and is 0.9"):
        train(half, tmp_path / "fewer", progress=False)


def test_from_the_exported_average_alone_it_goes_on_with_other_mixtures(anytime, tmp_path):
    first = train(anytime, tmp_path / "first", progress=False)
    card = load_model(first).card
    assert card.scores["hours"] == pytest.approx(4 * EPOCH) and card.scores["epochs"] == 4
    further = load_model(train(replace(anytime, init=str(first)), tmp_path / "further", progress=False)).card
    assert further.scores["hours"] == pytest.approx(8 * EPOCH) and further.scores["epochs"] == 8
    assert further.scores["history"][:2] == card.scores["history"] and len(further.scores["history"]) == 4
    fresh, later = (MixtureData(anytime.problem.data, TINY, 0, epoch) for epoch in (0, 4))
    assert not torch.equal(next(iter(fresh.train(0))), next(iter(later.train(0))))
    assert torch.equal(next(iter(fresh.train(4))), next(iter(later.train(0))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finish": 1.0, "schedule": "plateau"}, "finish takes hours above 0 of a training with the schedule anytime"),
        ({"finish": -1.0}, "finish takes hours above 0"),
        ({"average": 1.0}, "the average keeps a share of 0 to below 1"),
    ],
)
def test_impossible_ends_and_averages_are_refused(anytime, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(replace(anytime, optimiser=replace(anytime.optimiser, **changes)), tmp_path, progress=False)


def test_a_start_from_another_architecture_is_refused(anytime, tmp_path):
    save_model(tmp_path / "ann.safetensors", TasNet(TINY).eval(), ModelCard("ann", TINY.to_dict()))
    narrower = replace(sized(anytime, replace(TINY, channels=6)), init=str(tmp_path / "ann.safetensors"))
    with pytest.raises(UserError, match=r"channels 8 where the configuration says 6\): it grows by more channels"):
        train(narrower, tmp_path, progress=False)


def test_sizes_that_a_model_keeps_are_told(anytime, tmp_path):
    save_model(tmp_path / "tiny.safetensors", TasNet(TINY).eval(), ModelCard("ann", TINY.to_dict()))
    own = replace(anytime, init=str(tmp_path / "tiny.safetensors"), optimiser=replace(anytime.optimiser, max_epochs=1))
    for name, sizes, lines in (("usual", TasNetConfig(), 3), ("own", TINY, 2)):
        said = []
        path = train(sized(own, sizes), tmp_path / name, progress=False, log=said.append)
        assert load_model(path).network.config == TINY
        assert len(said) == lines and ("keeps its own sizes" in said[0]) == (lines == 3)


def test_without_a_bar_each_epoch_is_a_line_with_what_was_measured(settings, tmp_path):
    optimiser = replace(settings.optimiser, max_epochs=3, dev_every=2)
    varied = replace(on(settings, held_out=2.0), optimiser=optimiser)
    said = []
    train(varied, tmp_path, progress=False, log=said.append)
    assert "receptive field" in said[0] and len(said) == 4
    for epoch, line in enumerate(said[1:], 1):
        sets = ["train", "dev", "held out"] if epoch == 2 else ["train"]
        measured = [f"{name} {figure}" for name in sets for figure in (r"loss -?\d+\.\d{4}", r"SI-SDRi -?\d+\.\d\d")]
        beside = ["learning rate 0.003", f"{24 * 0.5 * epoch / 3600:.3f} hours heard", r"\d+\.\d s"]
        assert re.fullmatch(f"epoch {epoch} of 3: {', '.join([*measured, *beside])}", line), line
    logged = np.genfromtxt(tmp_path / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)["dev_loss"]
    (looked,) = logged[~np.isnan(logged)]
    assert f" dev loss {looked:.4f}," in said[2]


def test_with_a_bar_epochs_are_no_lines(settings, tmp_path):
    said = []
    train(settings, tmp_path, progress=True, log=said.append)
    assert len(said) == 1


def test_a_start_from_a_smaller_network_goes_on_with_a_larger_one(anytime, tmp_path):
    first = train(anytime, tmp_path / "first", progress=False)
    larger = replace(TINY, channels=12)
    once = replace(anytime.optimiser, max_epochs=2, dev_every=1)
    grown = replace(sized(anytime, larger), init=str(first), optimiser=once)
    model = load_model(train(grown, tmp_path / "grown", progress=False))
    assert model.network.config == larger and model.card.config == larger.to_dict()
    before, after = load_model(first).card.scores["history"], model.card.scores["history"]
    assert after[: len(before)] == before and len(after) > len(before)


def test_bfloat16_that_is_imitated_is_told(anytime, monkeypatch):
    lines = []
    monkeypatch.setattr("separator.tasks.learning.training.native_precision", lambda accelerator: "32-true")
    assert precision_of(MachineSettings(precision="bf16-mixed"), "cpu", lines.append) == "bf16-mixed"
    assert len(lines) == 1 and "no multiplication of bfloat16" in lines[0]
    assert precision_of(MachineSettings(), "cpu:0", lines.append) == "32-true"
    monkeypatch.setattr("separator.tasks.learning.training.native_precision", lambda accelerator: "bf16-mixed")
    assert precision_of(MachineSettings(), "cpu:0", lines.append) == "bf16-mixed" and len(lines) == 1


@pytest.mark.parametrize(
    ("device", "machine", "gpus", "alone"),
    [
        ("cpu", {"devices": 1}, 0, True),
        ("cpu", {"devices": 2}, 0, False),
        ("cuda", {}, 1, True),
        ("cuda", {}, 2, False),
        ("cuda", {"devices": "1"}, 2, True),
        ("cuda", {"devices": 2}, 2, False),
        ("cuda:1", {}, 2, True),
        ("cuda", {"nodes": 2}, 1, False),
    ],
)
def test_one_device_alone_has_its_batches_made_there(settings, monkeypatch, device, machine, gpus, alone):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    given = replace(settings, machine=MachineSettings(**machine))
    assert trains_alone(given, device) == alone
    if alone or not machine:  # of two GPUs one is taken
        assert trains_alone(on(given, mixing="device"), device)
    else:
        with pytest.raises(UserError, match=r"by one alone .*, not by 2 .*; leave out --machine\."):
            trains_alone(on(given, mixing="device"), device)


def test_activity_penalty_makes_activations_sparser(settings, tmp_path):
    densities = []
    for weight in (1e-9, 30.0):
        optimiser = replace(settings.optimiser, activity_penalty=weight, max_epochs=3)
        train(replace(settings, optimiser=optimiser), tmp_path / str(weight), progress=False)
        rows = np.genfromtxt(tmp_path / str(weight) / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
        densities.append(rows["activity"][~np.isnan(rows["activity"])][-1])
    assert densities[1] < densities[0]


def test_a_model_says_what_it_has_learned_from(settings, synthetic_corpus, tmp_path):
    """Its own data, behind those of the model that it comes from, whose licence holds on."""
    heard = rf"{re.escape(str(synthetic_corpus / 'train'))} \(\d+ speakers, 0\.\d h\), mixed on the fly"
    first = load_model(train(settings, tmp_path / "first", progress=False)).card
    assert re.fullmatch(heard, first.training_data) and first.licence == ""
    given = replace(settings, init=str(tmp_path / "first" / "ann.safetensors"), card=CardSettings(licence="ours"))
    again = load_model(train(given, tmp_path / "again", progress=False)).card
    assert (again.training_data, again.licence) == (first.training_data, "ours")  # the same, once
    mixtures = tmp_path / "mixtures"
    drawn = ["--list", str(tmp_path / "list.txt"), "--draw", "4", "--out", str(mixtures)]
    main(["mix", "--corpus", str(synthetic_corpus / "train"), *drawn])
    tuned = on(replace(given, init=str(tmp_path / "again" / "ann.safetensors"), card=CardSettings()), train=mixtures)
    last = load_model(train(tuned, tmp_path / "last", progress=False)).card
    assert last.training_data == f"{first.training_data}; then 4 mixtures of {mixtures}" and last.licence == "ours"


def test_an_analog_model_is_trained_further_statistics_included(settings, tmp_path):
    first = train(replace(settings, optimiser=replace(settings.optimiser, max_epochs=1)), tmp_path / "first", progress=False)
    further = train(replace(settings, init=str(first), seed=5), tmp_path / "further", progress=False)
    before, after = (load_model(path).network.stack.layers[1] for path in (first, further))
    assert not torch.equal(before.norm.running_mean, after.norm.running_mean)
    assert not torch.equal(before.affine.weight, after.affine.weight)


def test_a_spiking_model_is_tuned_and_stays_spiking(settings, tmp_path):
    conversion = TuningSettings(4, 0.5, schedule="layer-by-layer", channelwise=True, max_epochs=0, calibration_batches=2)
    save_model(tmp_path / "ann.safetensors", TasNet(TINY).eval(), ModelCard("ann", TINY.to_dict()))
    run = ConversionRun(settings.problem, str(tmp_path / "ann.safetensors"), conversion)
    converted = convert(run, tmp_path / "converted", log=lambda line: None)
    optimiser = replace(settings.optimiser, learn_thresholds=True, weight_bits=8, max_epochs=3)
    tuning = replace(settings, optimiser=optimiser, init=str(converted), card=CardSettings("tuned"))
    with pytest.raises(UserError, match="at least 2 and at most 16, not 99"):
        train(replace(tuning, optimiser=replace(optimiser, weight_bits=99)), tmp_path / "refused", progress=False)
    lines = []
    path = train(tuning, tmp_path / "tuned", progress=False, log=lines.append)
    before, after = load_model(converted), load_model(path)
    assert path.name == "snn.safetensors" and after.card.name == "tuned" and "receptive field" in lines[0]
    assert after.card.conversion == {name: value for name, value in before.card.conversion.items() if name != "hardware"} | {
        "weight_bits": 8
    }
    assert not torch.equal(after.network.stack.layers[0].threshold, before.network.stack.layers[0].threshold)
    rows = np.genfromtxt(tmp_path / "tuned" / "csv" / "version_0" / "metrics.csv", delimiter=",", names=True)
    losses = rows["dev_loss"][~np.isnan(rows["dev_loss"])]
    dev = MixtureData(settings.problem.data, TINY, settings.seed).dev_loader()

    def dev_loss(model):
        return float(torch.stack([pit_loss()(model.network(sources.sum(1)), sources) for sources in dev]).mean())

    assert dev_loss(after) == pytest.approx(losses.min(), abs=1e-4)
    assert dev_loss(after) < dev_loss(before)


def test_a_training_that_diverges_ends_with_an_error_and_without_a_model(settings, tmp_path, monkeypatch):
    def diverging(self, batch):
        loss, gain = measured(self, batch)
        return (loss * float("nan") if self.trainer.global_step == 7 else loss), gain

    measured = LearningModule.measured
    monkeypatch.setattr(LearningModule, "measured", diverging)
    with pytest.raises(DivergedError, match="the loss is no number at step 7"):
        train(settings, tmp_path, progress=False)
    assert (tmp_path / "last.ckpt").exists()  # of the first epoch, with 6 steps
    assert not (tmp_path / "ann.safetensors").exists()
    monkeypatch.undo()
    train(settings, tmp_path, progress=False)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 12


def test_no_checkpoint_means_that_training_diverged(settings, tmp_path):
    data = MixtureData(settings.problem.data, TINY, settings.seed)
    with pytest.raises(DivergedError, match="dev loss"):
        export(tmp_path / "best.ckpt", tmp_path / "ann.safetensors", settings, data)
    with pytest.raises(DivergedError, match="dev loss"):
        export(tmp_path, tmp_path / "ann.safetensors", settings, data)


def test_a_damaged_checkpoint_is_refused_in_one_line(settings, tmp_path):
    train(settings, tmp_path, progress=False)
    last = tmp_path / "last.ckpt"
    whole = last.read_bytes()
    for damaged in (whole[:1000], b"", b"no checkpoint", whole[: len(whole) // 2]):
        last.write_bytes(damaged)
        with pytest.raises(UserError, match=r"last\.ckpt is damaged; remove it") as raised:
            train(settings, tmp_path, progress=False)
        assert "\n" not in str(raised.value)
    assert last.read_bytes() == damaged


def test_a_training_of_an_earlier_version_is_refused_in_one_line(settings, tmp_path):
    train(settings, tmp_path, progress=False)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    del state["run"]["problem"]  # as its facts were
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(
        UserError, match="a training begun by an earlier version of this program, which cannot be gone on with"
    ) as raised:
        train(settings, tmp_path, progress=False)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("rule", ["tandem", "surrogate"])
def test_a_new_network_learns_as_a_spiking_one(settings, tmp_path, rule):
    neurons = ConversionSettings(4, 0.5, percentile=99.9, calibration_batches=2)
    spiking = replace(settings, learning=LearningSettings(rule), conversion=neurons)
    path = train(replace(spiking, optimiser=replace(spiking.optimiser, max_epochs=1)), tmp_path, progress=False)
    path = train(spiking, tmp_path, progress=False)  # gone on with
    model = load_model(path)
    assert path.name == "snn.safetensors" and (model.card.kind, model.card.window, model.card.name) == ("snn", 4, "snn")
    assert model.network.stack.converted == 3 and model.card.conversion["learning"] == rule
    state = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(model.network.mask.weight, state["network.mask.weight"])
    with pytest.raises(UserError, match=r"learning\.rule was .* and is analog"):
        train(settings, tmp_path, progress=False)


@pytest.mark.parametrize("rule", ["tandem", "surrogate"])
def test_an_analog_model_learns_as_a_spiking_one(anytime, tmp_path, rule):
    """Its batch norm goes on learning, and the average of its weights has statistics of its own."""
    first = train(replace(anytime, optimiser=replace(anytime.optimiser, max_epochs=2)), tmp_path / "ann", progress=False)
    neurons = ConversionSettings(4, 0.5, threshold="least-squares", channelwise=True, weight_bits=8, calibration_batches=2)
    spiking = replace(
        anytime,
        init=str(first),
        learning=LearningSettings(rule),
        conversion=neurons,
        optimiser=replace(anytime.optimiser, learn_thresholds=rule == "tandem"),
    )
    start = begin(spiking)
    model = load_model(train(spiking, tmp_path / "snn", progress=False))
    assert model.card.conversion["threshold"] == "least-squares" and model.network.stack.converted == 3
    state = torch.load(tmp_path / "snn" / "last.ckpt", weights_only=True)["state_dict"]
    for layer, found in zip(start.network.stack.layers[:-1], model.network.stack.layers[:-1], strict=True):
        assert torch.allclose(layer.threshold, found.scale, rtol=1e-2) != (rule == "tandem")
    data, network = MixtureData(anytime.problem.data, TINY, anytime.seed, first_epoch=2), TasNet(TINY).eval()
    network.load_state_dict({k.removeprefix("network.").replace(".layer.", "."): v for k, v in state.items()}, strict=False)
    layer = network.stack.layers[0]
    assert_measured(layer, data, network)
    before = load_model(first).network.stack.layers[0]
    assert not torch.allclose(layer.norm.running_mean, before.norm.running_mean, rtol=1e-2)


def test_thresholds_are_looked_for_once(anytime, tmp_path, monkeypatch):
    """Those of models written meanwhile, and of what is gone on with, are the checkpoint's."""
    first = train(replace(anytime, optimiser=replace(anytime.optimiser, max_epochs=1)), tmp_path / "ann", progress=False)
    found, search = [], rules.least_squares_bound
    monkeypatch.setattr(rules, "least_squares_bound", lambda *given, **named: found.append(1) or search(*given, **named))
    neurons = ConversionSettings(4, 0.5, threshold="least-squares", channelwise=True, calibration_batches=2)
    spiking = replace(anytime, init=str(first), learning=LearningSettings("tandem"), conversion=neurons)
    for epochs in (1, 2):
        train(replace(spiking, optimiser=replace(spiking.optimiser, max_epochs=epochs)), tmp_path / "snn", progress=False)
    whole = train(replace(spiking, optimiser=replace(spiking.optimiser, max_epochs=2)), tmp_path / "whole", progress=False)
    assert len(found) == 2 * 2  # layers that fire, of two trainings
    states = [load_model(path).network.state_dict() for path in (tmp_path / "snn" / "snn.safetensors", whole)]
    assert all(torch.equal(x, states[1][name]) for name, x in states[0].items())


def test_a_spiking_model_learns_as_what_it_is(settings):
    with pytest.raises(UserError, match="small-snn spikes, and learns in tandem as it is; leave out --learning"):
        begin(replace(settings, init="small-snn", learning=LearningSettings("tandem")))


def test_two_processes_share_an_epoch(synthetic_corpus, tmp_path):
    command = [str(quick_command() / "separator"), "train", "--out", str(tmp_path)]
    options = {
        "data.train": synthetic_corpus / "train",
        "data.dev": synthetic_corpus / "dev",
        "data.segment": 0.5,
        "data.epoch_mixtures": 24,
        "data.dev_mixtures": 8,
        "data.batch": 4,
        "network.filters": 32,
        "network.filter_length": 16,
        "network.channels": 8,
        "network.dilations": "[1,2]",
        "optimiser.max_epochs": 1,
        "device": "cpu",
        "machine.devices": 2,
        "machine.strategy": "ddp",
        "threads": 1,
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["global_step"] == 24 / 4 / 2
    assert load_model(tmp_path / "ann.safetensors").card.kind == "ann"


@pytest.mark.parametrize("machine", [{"devices": 0}, {"devices": "many"}, {"strategy": "x"}])
def test_machines_that_there_are_none_of_are_refused_in_one_line(settings, tmp_path, machine):
    asked = replace(settings, machine=MachineSettings(**({"devices": 1} | machine)))
    with pytest.raises(UserError, match=r"^no machine to train on is what --machine asks for: .+$"):
        train(asked, tmp_path / "run", progress=False)


def test_an_epoch_without_a_batch_is_refused(settings, tmp_path):
    with pytest.raises(UserError, match=r"3 mixtures make no batch of 4; take a smaller data.batch"):
        train(on(settings, epoch_mixtures=3), tmp_path / "run", progress=False)
