import pytest

from separator.tasks.benchmark.measurement import BenchmarkCase, Measurement
from separator.tasks.benchmark.sweeps.pictures import sweep_figure
from separator.tasks.benchmark.sweeps.plan import Curve


def curve(system, values, times, **fields):
    """Memory is 100 MB and 10 more for each value."""
    results = [
        Measurement(BenchmarkCase(system, 4.0, 2), time, 100.0 + 10 * n, **{name: each[n] for name, each in fields.items()})
        for n, time in enumerate(times)
    ]
    return Curve(system, tuple(values), tuple(results))


def points(axis):
    return {line.get_label(): line.get_xydata().tolist() for line in axis.lines}


def widths(axis):
    return [[bar.get_width() for bar in bars] for bars in axis.containers]


def test_time_is_drawn_as_a_multiple_of_the_first_system():
    curves = [curve("paper-ann", (2, 8), (0.5, 2.0)), curve("dense:paper-snn", (2, 8), (1.5, 3.0))]
    ratio, memory = sweep_figure("window", curves).axes
    assert points(ratio) == {"ANN": [[2, 1], [8, 1]], "layer by layer, dense": [[2, 3], [8, 1.5]]}
    assert points(memory)["ANN"] == [[2, 100], [8, 110]]
    assert ratio.get_ylabel() == "time / time of ANN"
    assert {axis.get_xlabel() for axis in (ratio, memory)} == {"time window (steps)"}
    assert [label.get_text() for label in ratio.get_xticklabels()] == ["2", "8"]
    for axis in (ratio, memory):
        low, high = axis.get_ylim()
        assert axis.get_yscale() == "log"
        assert high / low >= 9.99  # numbers that hardly differ do not look as if they did


def test_spiking_networks_stand_at_the_rates_they_fired_at():
    curves = [curve("paper-ann", (0.1, 0.3), (1, 1)), curve("paper-snn", (0.1, 0.3), (1, 2), firing_rate=(0.12, 0.26))]
    ratio, _ = sweep_figure("rate", curves).axes
    assert points(ratio) == {"ANN": [[0.1, 1], [0.3, 1]], "layer by layer": [[0.12, 1], [0.26, 2]]}


@pytest.mark.parametrize(
    ("working", "label", "taken"), [((7.0, 9.0), "that separating took", [7, 9]), (None, "alone is known", [100, 110])]
)
def test_comparisons_are_bars_for_each_system_and_length(working, label, taken):
    fields = {"working": working} if working else {}
    curves = [curve("paper-ann", (4.0, 60.0), (2.0, 8.0), **fields), curve("paper-snn@4", (4.0, 60.0), (3.0, 4.0), **fields)]
    ratio, memory = sweep_figure("published", curves).axes
    assert widths(ratio) == [[1, 1.5], [1, 0.5]]  # 4 s of both, then 60 s
    assert widths(memory) == [[taken[0]] * 2, [taken[1]] * 2]
    assert label in memory.get_xlabel()
    assert [text.get_text() for text in ratio.get_yticklabels()] == ["paper-ann", "paper-snn@4"]
    assert [text.get_text() for text in ratio.figure.legends[0].texts] == ["4 s of noise", "60 s of noise"]


def test_a_panel_for_each_network_that_is_converted():
    pairs = [
        curve(f"{backend}{name}", (0, 1, 2), [time * slow for time in (1, 2, 3)], kept=[slow, slow, slow])
        for name in ("small-ann", "paper-ann")
        for backend, slow in (("", 1), ("dense:", 4))
    ]
    panels = sweep_figure("layer", pairs).axes
    assert [axis.get_title() for axis in panels] == ["small-ann", "paper-ann"]
    assert points(panels[1]) == {
        "before: dense": [[0, 4], [1, 8], [2, 12]],
        "before: dense, frozen spikes kept": [[0, 4], [1, 4], [2, 4]],
        "after: fastest": [[0, 1], [1, 2], [2, 3]],
        "after: fastest, frozen spikes kept": [[0, 1], [1, 1], [2, 1]],
    }


def test_parts_of_a_training_step_add_up_to_all_of_it():
    parts = {"forward": 0.5, "backward": 1.25, "optimiser": 0.25, "mixing": 0.1, "varied": 3.0}
    result = Measurement(BenchmarkCase("bf16:small", 2.0, 4, batch=8), 2.0, 100.0, **parts)
    share, speed = sweep_figure("train", [Curve("bf16:small", (4,), (result,))]).axes
    assert widths(share) == [[25.0], [62.5], [12.5], [150.0]]  # the last of making the mixtures, beside the step
    assert [bars[0].get_x() for bars in share.containers] == [0, 25, 87.5, 100]
    assert widths(speed) == [[8.0]]  # 16 s of mixtures in 2 s
    assert [text.get_text() for text in share.get_yticklabels()] == ["small, bf16-mixed, threads: 4"]
