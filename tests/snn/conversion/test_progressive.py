import copy
import json
import math
from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch
from torch import nn

from separator.atomic import write_text
from separator.errors import UserError
from separator.snn.conversion import progressive
from separator.snn.conversion.penalty import ActivityPenalty
from separator.snn.conversion.progressive import STATE, Patience, ProgressiveTandemLearning, adam, check_convertible
from separator.snn.conversion.settings import ConversionSettings
from separator.snn.layers.analog import AnalogLayer, layers_of
from separator.snn.layers.fan_in import fan_in
from separator.snn.layers.quantised import BOUND, QuantisedReLU
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.observe.activity import record_activity
from separator.snn.stack.stack import Stack
from tests.disks import files_of_at_most

LINES: list[str] = []


class Autoencoder(nn.Module):
    """Something without any speech in it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        widths = (8, 16, 12, 16)
        self.scale = nn.Linear(8, 8)
        self.stack = Stack([AnalogLayer(nn.Linear(a, b), nn.BatchNorm1d(b)) for a, b in pairwise(widths)])
        self.out = nn.Linear(16, 8)

    def forward(self, x):
        return self.out(self.stack(self.scale(x)))


def loss(network, x):
    return (network(x) - x).square().mean()


def batches(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(3, 8, generator=torch.Generator().manual_seed(7))
    return [torch.rand(32, 3, generator=generator) @ basis for _ in range(count)]


@pytest.fixture(scope="module")
def trained():
    network = Autoencoder()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(30):
        for x in batches(1, 6):
            optimiser.zero_grad()
            loss(network, x).backward()
            optimiser.step()
    return network.eval().state_dict()


TRAIN = batches(1)


def engine(trained, folder=None, train=lambda layer: TRAIN, optimiser=adam, **settings):
    network = Autoencoder()
    network.load_state_dict(trained)
    return ProgressiveTandemLearning(
        network,
        network.stack,
        [network.scale],
        loss,
        train,
        batches(2, 2),
        ConversionSettings(**({"window": 8, "lr": 1e-3, "max_epochs": 4, "calibration_batches": 3} | settings)),
        folder,
        LINES.append,
        optimiser,
    )


def dev_loss(network):
    network.eval()
    with torch.no_grad():
        return float(torch.stack([loss(network, x) for x in batches(2, 2)]).mean())


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_every_layer_becomes_spiking_and_tuning_mends_the_loss(trained, schedule):
    tuned, plain = engine(trained, schedule=schedule), engine(trained, schedule=schedule, max_epochs=0)
    reports = tuned.run()
    untuned = plain.run()
    assert all(isinstance(layer, SpikingLayer) for layer in tuned.stack.layers)
    assert [r.role for r in reports] == ["encode", "fire", "readout"]
    assert reports[-1].loss_tuned == pytest.approx(dev_loss(tuned.network), rel=1e-6)
    assert untuned[-1].loss_tuned == pytest.approx(dev_loss(plain.network), rel=1e-5)
    assert reports[-1].loss_tuned < untuned[-1].loss_tuned
    assert all(r.loss_tuned <= r.loss_converted for r in reports)
    for earlier, later in pairwise(reports):
        assert later.loss_before == pytest.approx(earlier.loss_tuned, rel=1e-4)


def test_upstream_and_finished_layers_do_not_learn(trained):
    run = engine(trained)
    before = run.network.scale.weight.clone()
    frozen = []
    for _ in run.layers():
        layer = run.stack.layers[len(frozen)]
        frozen.append({name: value.clone() for name, value in layer.state_dict().items()})
        assert not list(layer.parameters())
    assert torch.equal(run.network.scale.weight, before)
    for layer, state in zip(run.stack.layers, frozen, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())


def test_a_full_disk_gets_one_line_and_leaves_nothing_half_written(trained, tmp_path):
    with files_of_at_most(1000), pytest.raises(UserError, match=r"cannot write .*layer-01\.safetensors: File too large"):
        engine(trained, tmp_path, max_epochs=0).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep_mb", [0, 0.01])
@pytest.mark.parametrize("train", [lambda layer: TRAIN, lambda layer: batches(10 + layer)], ids=["same", "renewed"])
def test_kept_trains_change_nothing(trained, keep_mb, train):
    """Keep none, or those of some batches only."""
    kept, simulated = engine(trained, train=train), engine(trained, train=train, keep_mb=keep_mb)
    assert [r.loss_tuned for r in kept.run()] == [r.loss_tuned for r in simulated.run()]
    assert not simulated.prefixes


def test_layers_learn_from_batches_of_their_own(trained):
    seen = []

    def train(layer):
        seen.append(layer)
        return batches(10 + layer)

    renewed, same = engine(trained, train=train), engine(trained, train=lambda layer: batches(10))
    losses = [[r.loss_tuned for r in run.run()] for run in (renewed, same)]
    assert seen == [0, 1, 2]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


@pytest.mark.parametrize("statistics", ["none", "analog", "all"])
def test_batch_norm_learns_of_batches_in_the_layers_that_shall(trained, statistics):
    run = engine(trained, statistics=statistics)
    tandem = run.put_in_tandem(0)
    norm, analog = tandem.layer.norm, [layer.norm.running_mean.clone() for layer in run.stack.layers[1:]]
    expected = norm.running_mean.clone()
    if statistics == "all":
        for x in TRAIN:
            expected = (1 - norm.momentum) * expected + norm.momentum * tandem.layer.affine(run.network.scale(x)).mean(0)
    optimiser = torch.optim.SGD(tandem.parameters(), 0.0)
    run.train_epoch(optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser))
    assert torch.allclose(norm.running_mean, expected, atol=1e-6)
    kept = [torch.equal(a, layer.norm.running_mean) for a, layer in zip(analog, run.stack.layers[1:], strict=True)]
    assert kept == [statistics == "none"] * 2


class Noted(torch.optim.SGD):
    """Notes its parameters and the learning rate of every step."""

    def __init__(self, parameters, lr):
        super().__init__(parameters.values(), lr)
        self.names, self.rates = list(parameters), []

    def step(self, closure=None):
        self.rates.append(self.param_groups[0]["lr"])
        return super().step(closure)


@pytest.mark.parametrize("anneal", [False, True])
def test_each_layer_has_an_optimiser_whose_rate_may_fall(trained, anneal):
    made = []

    def optimiser(parameters, lr):
        made.append(Noted(parameters, lr))
        return made[-1]

    engine(trained, optimiser=optimiser, anneal=anneal, lr=0.01, max_epochs=2).run()
    for layer, noted in enumerate(made):
        assert noted.rates == pytest.approx([0.01 * (1 - i / 6 if anneal else 1) for i in range(6)])
        assert {int(name.split(".")[2]) for name in noted.names if name.startswith("stack.")} == set(range(layer, 3))


@pytest.mark.parametrize(("lr", "expected"), [(0.01, [0.01] * 3), ([0.01, 0.005], [0.01, 0.005, 0.005])])
def test_each_layer_has_its_learning_rate(trained, lr, expected):
    made = []

    def optimiser(parameters, lr):
        made.append(lr)
        return adam(parameters, lr)

    engine(trained, optimiser=optimiser, lr=lr, max_epochs=1).run()
    assert made == expected


def test_each_layer_has_its_number_of_epochs(trained):
    assert [report.epochs for report in engine(trained, max_epochs=[2, 1, 0, 3], patience=9, passes=2).run()] == [
        2,
        1,
        0,
        3,
        3,
        3,
    ]


def test_thresholds_learn_on_demand(trained):
    fixed, learned = engine(trained, window=2), engine(trained, window=2, learn_thresholds=True)
    calibrated, tuned = (next(iter(run.layers()))[0].threshold for run in (fixed, learned))
    torch.testing.assert_close(learned.stack.layers[0].scale, torch.tensor(tuned).expand(16), rtol=1e-5, atol=0)
    assert abs(tuned[0] / calibrated[0] - 1) > 1e-3


@pytest.mark.parametrize("layers", [1, 2])
def test_interrupted_conversion_goes_on_to_the_same_network(trained, tmp_path, layers):
    whole = engine(trained)
    whole.run()
    first = engine(trained, tmp_path).layers()
    for _ in range(layers):
        next(first)
    resumed = engine(trained, tmp_path)
    reports = resumed.run()
    assert len(reports) == 3
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name


@pytest.mark.parametrize(("passes", "before"), [(1, 1), (2, 1), (2, 3)])
def test_interrupted_conversion_of_a_stack_converted_in_part_goes_on_to_the_same_network(trained, tmp_path, passes, before):
    def begun(folder=None):
        first = engine(trained)
        for _ in islice(first.layers(), before):
            pass
        network = first.network.requires_grad_(True)
        settings = replace(first.settings, passes=passes, lr=5e-3)
        return ProgressiveTandemLearning(
            network, network.stack, [network.scale], loss, lambda i: TRAIN, batches(2, 2), settings, folder, LINES.append
        )

    whole = begun()
    expected = whole.run()
    for done in range(1, 3 * passes - before):
        folder = tmp_path / str(done)
        for _ in islice(begun(folder).layers(), done):
            pass
        resumed = begun(folder)
        assert [(r.turn, r.index, r.loss_tuned) for r in resumed.run()] == [(r.turn, r.index, r.loss_tuned) for r in expected]
        for name, value in whole.network.state_dict().items():
            assert torch.equal(resumed.network.state_dict()[name], value), name


def test_interrupted_conversion_of_a_stack_by_itself_goes_on(trained, tmp_path):
    def begun():
        stack = engine(trained).stack
        settings = ConversionSettings(window=8, lr=1e-3, max_epochs=2)
        return ProgressiveTandemLearning(
            stack, stack, [], lambda net, x: net(x).square().mean(), lambda i: TRAIN, TRAIN, settings, tmp_path, LINES.append
        )

    next(begun().layers())
    resumed = begun()
    assert len(resumed.run()) == 3 and resumed.stack.converted == 3


@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_a_second_pass_tunes_spiking_layers_again(trained, tmp_path, schedule):
    train = batches(1, 6)  # enough for a second pass to mend something
    options = {"train": lambda layer: train, "schedule": schedule}
    once, twice = engine(trained, **options), engine(trained, **options, passes=2)
    first, reports = once.run(), twice.run()
    assert [r.loss_tuned for r in reports[:3]] == [r.loss_tuned for r in first]
    assert [(r.index, r.turn) for r in reports] == [(i, turn) for turn in (0, 1) for i in range(3)]
    assert all(isinstance(layer, SpikingLayer) for layer in twice.stack.layers)
    assert reports[-1].loss_tuned == pytest.approx(dev_loss(twice.network), rel=1e-6)
    assert reports[3].loss_before == pytest.approx(first[-1].loss_tuned, rel=1e-6)  # put in tandem, it spikes as it did
    assert reports[-1].loss_tuned < first[-1].loss_tuned
    interrupted = engine(trained, tmp_path, **options, passes=2).layers()
    for _ in range(5):
        next(interrupted)
    resumed = engine(trained, tmp_path, **options, passes=2)
    resumed.run()
    for name, value in twice.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    assert resumed.history == twice.history


@pytest.mark.parametrize("killed_at", [2, 5])
def test_a_kill_between_weights_and_index_repeats_the_layer_from_where_it_began(trained, tmp_path, monkeypatch, killed_at):
    whole = engine(trained, passes=2)
    whole.run()
    written = []

    def killed(path, text):
        written.append(path)
        if len(written) == killed_at:
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(progressive, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        engine(trained, tmp_path, passes=2).run()
    monkeypatch.undo()
    resumed = engine(trained, tmp_path, passes=2)
    assert len(resumed.run()) == 6
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    assert resumed.history == whole.history


def test_fan_in_is_limited_in_every_layer_and_pass(trained):
    run = engine(trained, fan_in=5, passes=2, weight_bits=4)
    reports = run.run()
    assert [fan_in(layer.weight) for layer in run.stack.spiking_layers()] == [5, 5, 5]
    assert reports[-1].loss_tuned < engine(trained, fan_in=5, weight_bits=4, max_epochs=0).run()[-1].loss_tuned


def test_a_further_pass_leaves_pooled_connections_as_many_as_they_were():
    torch.manual_seed(0)
    modules = [nn.Conv1d(2, 6, 3), nn.ReLU(), nn.AvgPool1d(2), nn.Conv1d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(15, 3)]
    x = torch.rand(9, 2, 12)
    runs = []
    for passes in (1, 2):
        network = nn.Sequential(Stack(layers_of(copy.deepcopy(modules)), "potential")).eval()
        settings = ConversionSettings(window=8, max_epochs=0, fan_in=12, passes=passes)
        ProgressiveTandemLearning(
            network, network[0], [], lambda net, x: net(x).square().mean(), lambda i: [x], [x], settings, None, LINES.append
        ).run()
        runs.append(network)
        assert [fan_in(layer.weight) for layer in network[0].spiking_layers()] == [6, 12, 12]
    assert torch.equal(*(network(x) for network in runs))


def test_bounds_of_quantised_activations_are_the_thresholds(trained):
    network = Autoencoder()
    network.load_state_dict(trained)
    layers = [AnalogLayer(s.affine, s.norm, activation=QuantisedReLU(4)) for s in network.stack.layers]
    with torch.no_grad():
        layers[1].activation.gain.fill_(0.25)
    network.stack = Stack(layers)
    settings = ConversionSettings(window=4, initial_potential=0.5, schedule="layer-by-layer", max_epochs=0)
    run = ProgressiveTandemLearning(
        network, network.stack, [network.scale], loss, lambda i: TRAIN, TRAIN, settings, None, LINES.append
    )
    thresholds = [report.threshold for report in run.run()[:2]]
    assert thresholds == [[BOUND / 4], pytest.approx([BOUND / 4 * math.exp(0.25)])]


def test_epochs_are_noted_with_scores_of_what_is_watched(trained):
    test, run = batches(3, 2), engine(trained, max_epochs=2)
    run.measure, run.held_out["test"] = lambda network, x: (loss(network, x), 1 + loss(network, x)), test
    reports = run.run()
    assert [(noted.layer, noted.epoch) for noted in run.history] == [(i, e) for i in range(3) for e in (None, 0, 1, 2)]
    assert all(noted.scores["dev"] == pytest.approx(1 + noted.loss) for noted in run.history)
    tuned = [min(noted.loss for noted in run.history if noted.layer == i and noted.epoch is not None) for i in range(3)]
    assert tuned == [report.loss_tuned for report in reports]
    best = next(noted for noted in run.history if noted.layer == 2 and noted.epoch is not None and noted.loss == tuned[2])
    with torch.no_grad():
        after = float(torch.stack([loss(run.network.eval(), x) for x in test]).mean())
    assert best.scores["test"] == pytest.approx(1 + after, rel=1e-6)


def test_a_penalty_lowers_firing_rates_and_counts_for_what_is_best(trained):
    """It is in the loss that is minimised and that epochs are judged by, not in the one that is noted."""
    rates, noted = [], []
    for penalty in (0.0, 2.0):
        run = engine(trained, activity_penalty=penalty, passes=2)
        reports = run.run()
        with record_activity(run.stack) as activity:
            dev_loss(run.network)
        rates.append([layer.rate for layer in activity.layers[:-1]])
        noted.append(run.history[-1].loss)
        assert reports[-1].loss_tuned == pytest.approx(dev_loss(run.network), rel=1e-5)  # only the readout learns by then
    assert all(penalised < 0.8 * free for free, penalised in zip(*rates, strict=True))
    assert noted[1] > noted[0]
    plain, penalised = (engine(trained, activity_penalty=penalty, max_epochs=0) for penalty in (0.0, 3.0))
    before = [run.run()[0].loss_before for run in (plain, penalised)]
    assert plain.history[0].loss == penalised.history[0].loss
    network = Autoencoder()
    network.load_state_dict(trained)
    with torch.no_grad(), ActivityPenalty(network.eval().stack) as activity:
        seen = [(loss(network, x), activity.pop())[1] for x in batches(2, 2)]
    assert before[1] == pytest.approx(before[0] + 3.0 * float(torch.stack(seen).mean()))


def test_looking_at_activations_changes_nothing(trained):
    run, looked = engine(trained), engine(trained)
    state = torch.get_rng_state()
    found = looked.activations()
    assert torch.equal(torch.get_rng_state(), state)
    assert [d.layer for d in found] == [0, 1]
    run.run(), looked.run()
    assert run.history == looked.history


def test_conversion_with_other_settings_is_not_gone_on_with(trained, tmp_path):
    next(engine(trained, tmp_path).layers())
    with pytest.raises(UserError, match="other settings"):
        engine(trained, tmp_path, window=4).run()


@pytest.mark.parametrize(
    "changed", [{"neuron_options": {}}, {"neuron_options": {"leak": 0.5}}, {"coding_options": {"seed": 1}}]
)
def test_other_options_are_other_settings(trained, tmp_path, changed):
    options = {"neuron": "leaky", "neuron_options": {"leak": 0.75}, "coding": "poisson", "max_epochs": 0}
    next(engine(trained, tmp_path, **options).layers())
    with pytest.raises(UserError, match=f"other settings .{next(iter(changed))} was"):
        engine(trained, tmp_path, **options | changed).run()
    assert len(engine(trained, tmp_path, **options).run()) == 3


def test_memory_for_kept_trains_may_differ_on_resume(trained, tmp_path):
    next(engine(trained, tmp_path, keep_mb=100).layers())
    assert len(engine(trained, tmp_path, keep_mb=0).run()) == 3


def test_damaged_state_is_refused(trained, tmp_path):
    next(engine(trained, tmp_path).layers())
    weights = tmp_path / json.loads((tmp_path / STATE).read_text())["weights"]
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        engine(trained, tmp_path).run()


def test_patience_counts_epochs_without_improvement():
    patience = Patience(3)
    states = [(patience.improved(value), patience.exhausted) for value in (5.0, 4.0, 4.5, 4.0, 3.9, 6, 6, 6)]
    assert [improved for improved, _ in states] == [True, True, False, False, True, False, False, False]
    assert [exhausted for _, exhausted in states] == [False] * 7 + [True]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (AnalogLayer(nn.ConvTranspose1d(2, 2, 3)), "layer 1 .* has a ConvTranspose1d"),
        (AnalogLayer(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)), "layer 1 .* without running statistics"),
        (AnalogLayer(nn.Conv1d(2, 2, 3, padding=1, padding_mode="reflect")), "layer 1 .* pads with 'reflect'"),
    ],
)
def test_what_cannot_be_converted_is_named_with_what_can(layer, words):
    with pytest.raises(UserError, match=words) as error:
        check_convertible(Stack([AnalogLayer(nn.Linear(2, 2)), layer]))
    assert "supported are Linear, Conv1d and Conv2d" in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        *({"window": 0}, {"window": 8193}, {"initial_potential": 1.0}, {"percentile": 0}, {"lr": []}, {"max_epochs": []}),
        *({"weight_bits": 99}, {"encoder_bits": 1}, {"passes": 0}, {"fan_in": 0}, {"activity_penalty": -1}),
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(UserError):
        ConversionSettings(**settings).check_window()


def test_report_tells_silence_and_saturation(trained):
    run = engine(trained, max_epochs=0, percentile=50.0)
    reports = run.run()
    firing = [r.agreement for r in reports if r.agreement]
    assert len(firing) == 2
    spiking = run.stack.spiking_layers()
    counts = torch.cat([spiking[0].encode(run.network.scale(x)).counts for x in batches(1)[:3]])
    assert firing[0]["saturated"] == pytest.approx(float((counts == 8).float().mean()))
    assert firing[0]["silent"] == pytest.approx(float((counts == 0).float().mean()))
    assert firing[0]["rate"] == pytest.approx(float(counts.double().mean() / 8), rel=1e-5)
