from dataclasses import replace

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator.errors import UserError
from separator.models import ModelCard, SeparationModel, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.execution.chosen import execution
from separator.snn.layers.dynamics import Dynamics
from separator.tasks.separation.files import Separator
from separator.tasks.separation.live import report_live, separate_live
from tests.snn.nets import randomised

CONFIG = TasNetConfig(filters=32, filter_length=16, channels=6, dilations=(1, 2))


@pytest.fixture(scope="module", params=[False, True], ids=["both-sided", "causal"])
def separator(request):
    torch.manual_seed(0)
    config = TasNetConfig(**(CONFIG.to_dict() | {"causal": request.param}))
    network = TasNet(config).eval().requires_grad_(False)
    network.stack.convert(
        network.stack_input(network.encode(0.1 * torch.randn(1, 4000))), Dynamics(4, 0.5, "layer-by-layer", 8)
    )
    return Separator(SeparationModel(network, ModelCard("tiny", config.to_dict(), gain=1.5)), level="model")


def noise(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, samples).astype(np.float32)


def streamed(separator, wave, rate, sizes):
    """Sources of a wave pushed in blocks of these sizes, each pulled at once; the stream."""
    stream, pulled = separator.stream(rate), []
    for block in np.split(wave, np.cumsum(sizes)):
        stream.push(block)
        pulled.append(stream.pull())
        assert stream.pulled == max(0, stream.pushed - stream.latency)
    stream.finish()
    pulled.append(stream.pull())
    return np.concatenate(pulled, -1), stream


sizes_of_blocks = st.lists(st.integers(0, 400), max_size=8)


@given(st.integers(1, 3000), sizes_of_blocks)
def test_live_sound_is_what_the_whole_gives_to_the_bit(separator, samples, sizes):
    wave = noise(samples)
    live, _ = streamed(separator, wave, 8000, sizes)
    assert np.array_equal(live, separator.separate(wave, 8000))


@pytest.mark.parametrize("neuron", ["double-threshold", "augmented"])
@pytest.mark.parametrize("schedule", ["pipelined", "layer-by-layer"])
def test_spikes_of_either_sign_are_separated_alike_live_from_a_file_and_by_every_execution(neuron, schedule, tmp_path):
    torch.manual_seed(0)
    network = TasNet(replace(CONFIG, slope=0.5)).eval()
    for layer in network.stack.layers:
        randomised(layer)
    dynamics = Dynamics(4, 0.5, schedule, 8, neuron=neuron)
    network.stack.convert(network.stack_input(network.encode(0.1 * torch.randn(1, 4000))), dynamics)
    conversion = {"readout": "rectified"} | vars(dynamics)
    save_model(tmp_path / "model", network, ModelCard("signed", network.config.to_dict(), conversion, gain=1.5))
    wave, found = noise(2500), []
    for name in ("fastest", "dense", "event-driven"):
        separator = Separator.from_pretrained(str(tmp_path / "model"), level="model")
        with execution(name):
            found += [separator.separate(wave, 8000), streamed(separator, wave, 8000, [1, 300, 7, 900])[0]]
    assert np.abs(found[0]).max() > 0 and all(np.array_equal(found[0], other) for other in found)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_blocks_of_all_layouts_are_taken(separator, rate):
    wave = noise(2000)
    expected, _ = streamed(separator, wave, rate, [])
    for same in (wave[::-1].copy()[::-1], np.repeat(wave, 2)[::2], wave.astype(">f4")):
        assert np.array_equal(streamed(separator, same, rate, [700])[0], expected)


@given(st.integers(1, 3000), sizes_of_blocks, st.sampled_from([16_000, 44_100, 11_025]))
def test_at_other_rates_neither_blocks_nor_length_matter(separator, samples, sizes, rate):
    wave = noise(samples)
    live, stream = streamed(separator, wave, rate, sizes)
    assert live.shape == (2, samples)
    assert np.array_equal(live, streamed(separator, wave, rate, [])[0])
    assert stream.latency_seconds < separator.model.network.config.look_ahead / 8000 + 0.01


def test_at_other_rates_sources_are_those_of_the_resampled_mixture(separator):
    time = np.arange(16_000) / 16_000
    wave = sum(0.1 * np.sin(2 * np.pi * f * time) for f in (200, 900, 2500))
    live, _ = streamed(separator, wave, 16_000, [333] * 20)
    expected = soxr.resample(separator.separate(soxr.resample(wave, 16_000, 8000), 8000).T, 8000, 16_000).T
    error = (live - expected)[:, 500:-500]
    assert np.square(error).mean() < 1e-3 * np.square(expected).mean()


def test_latency_is_the_look_ahead(separator):
    assert separator.stream(8000).latency == separator.model.network.config.look_ahead


def test_pulling_less_than_there_is(separator):
    wave, stream = noise(2000), separator.stream(8000)
    stream.push(wave)
    stream.finish()
    assert stream.pull(0).shape == (2, 0)
    parts = [stream.pull(700), stream.pull(700), stream.pull(), stream.pull()]
    assert [part.shape[-1] for part in parts] == [700, 700, 600, 0]
    assert np.array_equal(np.concatenate(parts, -1), separator.separate(wave, 8000))


@pytest.mark.parametrize("rate", [8000, 48_000])
def test_an_empty_stream_gives_nothing(separator, rate):
    stream = separator.stream(rate)
    stream.push(np.zeros(0))
    stream.finish()
    stream.finish()
    assert stream.pull().shape == (2, 0)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (np.zeros((1, 5)), r"not float64 of shape \(1, 5\)"),
        (np.zeros(5, np.int16), "not int16"),
        (np.array([0, np.nan]), "sample 11 of the stream is NaN"),
        (np.array([1e300]), "sample 10 of the stream is NaN or infinite"),
    ],
)
def test_bad_blocks_are_refused(separator, block, reason):
    stream = separator.stream(8000)
    stream.push(np.zeros(10))
    with pytest.raises(UserError, match=reason):
        stream.push(block)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_blocks_may_be_tensors(separator, dtype):
    wave = torch.from_numpy(noise(2000)).to(dtype).requires_grad_()
    stream = separator.stream(8000)
    stream.push(wave)
    stream.finish()
    np.testing.assert_array_equal(stream.pull(), separator.separate(wave.detach().float().numpy(), 8000))


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_all_samples_before_one_that_is_no_number_come_out(separator, rate):
    wave = np.random.default_rng(0).normal(size=5000).astype(np.float32) / 10
    expected = separator.stream(rate)
    expected.push(wave[:3210])
    expected.finish()
    wave[3210] = np.nan
    written = []
    with pytest.raises(UserError, match="sample 3210 of the stream is NaN"):
        separate_live(separator.stream(rate), [wave[:1000], wave[1000:]], written.append)
    np.testing.assert_array_equal(np.concatenate(written, -1), expected.pull())


def test_a_finished_stream_takes_no_more(separator):
    stream = separator.stream(8000)
    stream.finish()
    with pytest.raises(UserError, match="finished"):
        stream.push(np.zeros(3))


@pytest.mark.parametrize("rate", [0, -1, 0.5])
def test_impossible_rates_are_refused(separator, rate):
    with pytest.raises(UserError, match="whole number of Hz"):
        separator.stream(rate)


@pytest.mark.parametrize("end", [UserError("the sound ends"), KeyboardInterrupt()])
def test_what_came_before_the_end_is_written(separator, end):
    def blocks():
        yield noise(500)
        yield noise(500)
        raise end

    written = []
    stream = separator.stream(8000)
    with pytest.raises(type(end)):
        separate_live(stream, blocks(), written.append)
    expected = separator.separate(np.tile(noise(500), 2), 8000)
    assert np.array_equal(np.concatenate(written, -1), expected)
    report = report_live(stream, "tiny", 3, None).to_dict()
    assert (report["seconds"], report["cut"], report["activity"]) == (1000 / 8000, 3, None)
    assert report["elapsed"] > 0


def test_nothing_more_is_written_where_nobody_reads(separator):
    def write(sources):
        calls.append(sources)
        raise BrokenPipeError

    calls = []
    with pytest.raises(BrokenPipeError):
        separate_live(separator.stream(8000), [noise(5000)], write)
    assert len(calls) == 1
