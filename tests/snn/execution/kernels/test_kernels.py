import importlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from separator.snn.execution import executions
from separator.snn.execution.executions import Population
from separator.snn.execution.kernels import events
from separator.snn.execution.kernels.compiled import compiled
from separator.snn.execution.kernels.events import MOST_ROWS, POSITIONS, event_layer, fire_events
from separator.snn.execution.kernels.geometry import Geometry
from separator.snn.execution.kernels.threads import in_threads
from separator.snn.execution.kernels.vectors import LANES, ROWS_AT_ONCE, WORDS, tell_runs
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.spikes.binary import BinarySpikes
from separator.snn.stack import reference
from separator.snn.synapses.affine import affine_map
from tests.snn.nets import if_numbers

RUNS_OR_NOT = -np.inf, np.inf  # what runs must save to be told from single spikes: always told, never


@given(st.integers(1, 50), st.integers(1, 5))
def test_threads_share_all_jobs_and_none_twice(jobs, threads):
    done, lock = [], threading.Lock()

    def work(first, last):
        with lock:
            done.extend(range(first, last))

    in_threads(work, jobs, threads)
    assert sorted(done) == list(range(jobs))


def test_errors_in_threads_are_raised_here():
    def work(first, last):
        raise ValueError(f"{first}")

    with pytest.raises(ValueError, match="0"):
        in_threads(work, 9, 3)


def test_number_of_threads_changes_no_bit():
    rng = np.random.default_rng(0)
    weight = rng.integers(-(2**15), 2**15, (45, 7, 1, 3), dtype=np.int32)
    bias, threshold, start = (rng.integers(low, 2**15, 45, dtype=np.int32) for low in (-(2**15), 1, 0))
    module = event_layer(weight, bias, threshold, start)
    geometry = Geometry((1, 3), before=(0, 2), dilation=(1, 2))
    words = rng.integers(0, 2**32, (3, 1, 90, 7), dtype=np.uint32)
    one, four = (fire_events(words, module, geometry, (1, 90), 32, threads) for threads in (1, 4))
    assert one.shape == (3, 1, 90, 45)
    assert np.array_equal(one, four)
    assert 0 < np.bitwise_count(one).mean() < 32


def spiking_layer(module, weight, window, bias=None, threshold=None, initial_potential=0.0):
    """A converted layer with given weights; by default each neuron's threshold is the largest weight."""
    outputs = len(weight)
    threshold = torch.full((outputs,), int(weight.abs().max())) if threshold is None else threshold
    neurons = if_numbers(threshold.int(), (threshold * initial_potential).int())
    bias = torch.zeros(outputs) if bias is None else bias
    return SpikingLayer(
        affine_map(module), "fire", weight, bias.int(), neurons, torch.ones(outputs), Dynamics(window, initial_potential)
    )


def assert_equals_reference(layer, trains):
    """Shape of the trains: (N_s, B, C_in, ...)."""
    expected = reference.fire(layer, reference.currents(layer, trains.astype(np.int64)))
    incoming = BinarySpikes.pack(torch.from_numpy(trains))
    # The kernel itself, which is right up to 2^31 quanta, beyond those that layers leave to it.
    kernel = executions.compiled(
        Population(layer.apply_affine, layer.weight, layer.bias, layer.neuron, layer.numbers), "event-driven"
    )
    for pays in RUNS_OR_NOT:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(events, "PAYS", pays)
            fired = kernel(incoming)[0]
        assert np.array_equal(fired.trains().numpy(), expected)
    assert np.array_equal(layer.fire(incoming).trains().numpy(), expected)
    assert (layer.compiled_for("event-driven", False) is None) == layer.has_long_sums
    return expected.mean()


@pytest.mark.parametrize("largest", [2**7 - 1, 2**7, 2**15 - 1, 2**15, 2**20, 2**24])
def test_weights_of_every_size_count_in_full(largest):
    """Of one byte to four, of either sign, and the largest there are."""
    weight = torch.tensor([[largest, -largest], [1 - largest, largest]])
    trains = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [1, 0]] * 5)[:, None]
    fired = assert_equals_reference(spiking_layer(nn.Linear(2, 2), weight, 25, bias=torch.ones(2)), trains)
    assert 0 < fired < 1


@pytest.mark.parametrize("inputs", [ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
@pytest.mark.parametrize("largest", [2**7 - 1, 2**15 - 1])
@pytest.mark.parametrize("outputs", [3, LANES])  # rows of one vector, and of several
def test_sums_overflow_nowhere(inputs, largest, outputs):
    """All inputs spike at all steps, and all weights are the largest, the smallest or of bytes that add up to the most."""
    kinds = torch.tensor([largest, -largest, 2 ** (largest.bit_length() - 7) - 1])
    weight = kinds[torch.arange(outputs) % len(kinds)][:, None].expand(-1, inputs)
    exact = weight.sum(1).abs().clamp(min=1)
    for threshold in (exact - 1, exact, exact + 1):
        layer = spiking_layer(nn.Linear(inputs, outputs), weight, 32, threshold=threshold.clamp(min=1))
        assert_equals_reference(layer, np.ones((32, 2, inputs), np.int64))


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 4), (2, 3), (4, 2), (6, 9), (5, 1), (1, 70)])
@pytest.mark.parametrize("rate", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("outputs", [LANES // 2 - 3, LANES + 5])
def test_layers_of_several_blocks_and_jobs(stride, dilation, rate, outputs):
    """Sizes that fill no block: of outputs, of words searched at once, of positions of a job, of rows added at once."""
    rng = np.random.default_rng(stride)
    module = nn.Conv1d(101, outputs, 3, stride=stride, dilation=dilation, padding=dilation)
    weight = torch.from_numpy(rng.integers(-127, 128, module.weight.shape))
    bias, threshold = (torch.from_numpy(rng.integers(low, 900, len(weight))) for low in (-900, 1))
    layer = spiking_layer(module, weight, 3, bias, threshold, 0.5)
    trains = (rng.random((3, 2, 101, POSITIONS * stride + 7)) < rate).astype(np.int64)
    assert 0 < assert_equals_reference(layer, trains) < 1


@given(st.integers(1, 32), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_spikes_are_single_or_in_runs(window, either, other):
    words = np.full(WORDS, (either & other if window % 2 else either | other) % 2**window, np.uint32)
    parts = np.full((3, 2, WORDS), 2**16 - 1, np.uint16)
    events_of(words, window, parts)
    single, begin, end = parts[:, 0, 0] + (parts[:, 1, 0].astype(np.int64) << 16)
    on = 0
    for t in range(window):
        on += (begin >> t & 1) - (end >> t & 1)
        assert (single >> t & 1) + on == words[0] >> t & 1
    assert max(single, begin, end) < 2**window
    assert sum(map(np.bitwise_count, (single, begin, end))) <= np.bitwise_count(words[0])
    runs = [len(run) for run in bin(words[0])[2:].zfill(window).split("0")]  # the first is the last in time
    assert np.bitwise_count(begin) == sum(run >= 3 for run in runs[1:]) + (runs[0] >= 1)


@compiled
def events_of(words, window, parts):
    tell_runs(words, 0, window, parts, WORDS)


@given(st.integers(1, 32), st.integers(0, 2**31), st.floats(0, 1))
def test_runs_make_no_difference(window, seed, going_on):
    """Trains that go on at a step as they were with some probability."""
    rng = np.random.default_rng(seed)
    module = nn.Conv1d(40, 9, 3, padding=1)
    weight = torch.from_numpy(rng.integers(-127, 128, module.weight.shape))
    layer = spiking_layer(module, weight, window, torch.from_numpy(rng.integers(-99, 99, 9)), initial_potential=0.5)
    changes = np.vstack([rng.random((1, 40 * 11)) < 0.4, rng.random((window - 1, 40 * 11)) > going_on])
    assert_equals_reference(layer, (np.cumsum(changes, 0) % 2).reshape(window, 1, 40, 11))


def test_images_are_convolved_row_by_row():
    rng = np.random.default_rng(0)
    module = nn.Conv2d(3, 6, (3, 2), stride=(2, 1), dilation=(1, 3), padding=(2, 4))
    weight = torch.from_numpy(rng.integers(-(2**12), 2**12, module.weight.shape))
    trains = (rng.random((32, 3, 3, 8, 40)) < 0.3).astype(np.int64)
    assert 0 < assert_equals_reference(spiking_layer(module, weight, 32), trains) < 1


def test_jobs_take_fewer_positions_where_lists_are_long(monkeypatch):
    monkeypatch.setattr(events, "LISTED", 2 * 2 * (9 * 3 + 1))  # two positions, two steps
    rng = np.random.default_rng(0)
    module = nn.Conv1d(9, 4, 3, dilation=3, padding=3)
    weight = torch.from_numpy(rng.integers(-127, 128, module.weight.shape))
    trains = (rng.random((2, 2, 9, 11)) < 0.5).astype(np.int64)
    assert 0 < assert_equals_reference(spiking_layer(module, weight, 2), trains) < 1


@pytest.mark.parametrize("inputs", [MOST_ROWS, MOST_ROWS + 1])
def test_layers_of_more_rows_than_numbers_are_left_to_dense_maps(inputs):
    weight = torch.zeros(1, inputs, dtype=torch.int32)
    weight[0, -3:] = torch.tensor([5, -2, 7])
    layer = spiking_layer(nn.Linear(inputs, 1), weight, 3)
    trains = torch.zeros(3, 1, inputs)
    trains[0, 0, -1] = trains[1, 0, -2] = trains[2, 0, -3] = 1
    assert (layer.compiled_for("event-driven", False) is not None) == (inputs == MOST_ROWS)
    assert layer.fire(BinarySpikes.pack(trains)).words.tolist() == [[0b001]]


EVERYWHERE = """
import numpy as np
from separator.snn.execution.kernels import events
from separator.snn.execution.kernels.events import Geometry, event_layer, fire_events
rng = np.random.default_rng(0)
weight = rng.integers(-(2**9), 2**9, (140, 90, 1, 3), dtype=np.int32)
bias, threshold, start = (rng.integers(low, 2**12, 140, dtype=np.int32) for low in (-(2**12), 1, 0))
module = event_layer(weight, bias, threshold, start)
geometry = Geometry((1, 3), before=(0, 2), dilation=(1, 2))
words = rng.integers(0, 2**32, (1, 1, 40, 90), dtype=np.uint32)
for events.PAYS in (-np.inf, np.inf):
    print(fire_events(words, module, geometry, (1, 40), 32, 1).tobytes().hex())
"""


def test_machines_with_shorter_vectors_fire_the_same_spikes(tmp_path, monkeypatch, capsys):
    plain = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    there = subprocess.run([sys.executable, "-c", EVERYWHERE], env=plain, capture_output=True, text=True, check=True).stdout
    monkeypatch.setattr(events, "PAYS", events.PAYS)  # which this changes
    exec(EVERYWHERE, {})
    assert there == capsys.readouterr().out
    assert len(set(there.splitlines())) == 1
    assert len(set(there)) == 17  # hexadecimal digits and the end of the line


def test_kept_kernels_are_not_used_after_a_change_to_what_they_use(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    lines = "from separator.snn.execution.kernels.compiled import compiled", "from used_by_kernel import FACTOR", "@compiled"
    (tmp_path / "kernel.py").write_text("\n".join([*lines, "def times(x):", "    return FACTOR * x"]))
    for factor in (2, 3):
        (tmp_path / "used_by_kernel.py").write_text(f"FACTOR = {factor}  # {'longer' * factor}")
        for _ in range(2):
            for module in ("kernel", "used_by_kernel"):
                sys.modules.pop(module, None)
            importlib.invalidate_caches()
            times = importlib.import_module("kernel").times
            assert times(7) == factor * 7
    assert sum(times.stats.cache_hits.values()) == 1


def test_kernels_compile_where_nothing_can_be_kept():
    """numba finds no place for the cache of a function that has no file."""
    namespace = {}
    exec("def double(x):\n    return 2 * x", namespace)
    assert compiled(namespace["double"])(21) == 42
