import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from separator import models
from separator.errors import UserError
from separator.snn.observe.activity import Activity, LayerActivity
from separator.tasks.devices import resolve_device
from separator.tasks.separation.files import Separator, output_paths


class HalfWaves(torch.nn.Module):
    """Separates positive from negative samples, at wrong levels: exact, without context, easy to check."""

    levels = torch.tensor([2e-4, 3e3])[:, None]

    def __init__(self):
        super().__init__()
        self.lengths = []

    def forward(self, mixture):
        assert mixture.dtype == torch.float32
        self.lengths.append(mixture.shape[-1])
        return torch.stack([mixture.clamp(min=0), mixture.clamp(max=0)], dim=1) * self.levels


class Late:
    """A stream of estimates that come three samples late."""

    look_ahead = 3

    def __init__(self, network):
        self.network, self.held = network, None

    def push(self, mixture, last):
        held = mixture if self.held is None else torch.cat([self.held, mixture], -1)
        ready = held.shape[-1] if last else max(0, held.shape[-1] - self.look_ahead)
        self.held = held[..., ready:]
        return self.network(held[..., :ready])


def model(network=None, kind="ann", causal=False, gain=None):
    card = SimpleNamespace(name="halves", kind=kind, sample_rate=8000, n_src=2, causal=causal, gain=gain)
    network = network or HalfWaves()
    return SimpleNamespace(network=network, card=card, stream=lambda live=False, shifts=1: Late(network))


def separator(**options):
    return Separator(model(), **{"segment": 0.5} | options)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-0.4, 0.4, shape).astype(np.float32)


def halves(wave):
    return np.stack([wave.clip(min=0), wave.clip(max=0)], axis=-2)


def write(path, wave, rate=8000, subtype="FLOAT"):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, wave, rate, subtype)
    return path


def read_sources(report):
    return np.stack([soundfile.read(path, dtype="float32")[0] for path in report.outputs])


@pytest.mark.parametrize("length", [1, 2, 999, 4000, 4001, 20_000])
def test_array_is_separated_to_its_own_level(length):
    wave = noise(length)
    sources = separator().separate(wave, 8000)
    assert sources.dtype == np.float32
    np.testing.assert_allclose(sources, halves(wave), atol=1e-5)


def test_batch_items_are_separated_as_by_themselves():
    batch = noise(3, 9000) * np.array([[1], [0.01], [100]], np.float32)
    sources = separator().separate(batch, 8000)
    assert sources.shape == (3, 2, 9000)
    for item, alone in zip(sources, batch, strict=True):
        np.testing.assert_allclose(item, separator().separate(alone, 8000), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensor_in_tensor_out(dtype):
    wave = torch.from_numpy(noise(2, 500)).to(dtype).requires_grad_()
    sources = separator().separate(wave, 8000)
    assert isinstance(sources, torch.Tensor) and sources.dtype == dtype and sources.shape == (2, 2, 500)
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-3
    torch.testing.assert_close(sources.sum(1), wave.detach(), atol=tolerance, rtol=tolerance)


@given(st.integers(1, 30_000), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 192_000]))
def test_any_rate_keeps_its_exact_length(length, rate):
    wave = noise(length)
    assert separator().separate(wave.astype(np.float64), rate).shape == (2, length)


def test_sources_at_another_rate_add_up_to_the_mixture():
    time = np.arange(44_100) / 44_100
    wave = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    sources = separator().separate(wave, 44_100)
    np.testing.assert_allclose(sources.sum(0)[1000:-1000], wave[1000:-1000], atol=1e-3)


def test_silence_and_one_sample():
    assert not separator().separate(np.zeros(9000), 8000).any()
    np.testing.assert_allclose(separator().separate(np.array([0.25]), 192_000).shape, (2, 1))


@pytest.mark.parametrize(
    ("wave", "reason"),
    [
        (np.zeros(0), "at least one sample"),
        (np.zeros((2, 0)), "at least one sample"),
        (np.zeros((1, 2, 3)), r"\(T,\) or \(B, T\)"),
        (np.zeros(()), r"\(T,\) or \(B, T\)"),
        (np.zeros(9, np.int16), "divide 16-bit samples by 32768"),
        (torch.zeros(9, dtype=torch.int32), "must be floats"),
        (np.zeros(9, complex), "must be floats"),
        (np.array([0, np.nan]), "NaN"),
        (torch.tensor([0, torch.inf]), "infinite"),
        (np.array([1e300]), "infinite"),
        (np.zeros(9, bool), "must be floats"),
        (torch.zeros(9, dtype=torch.complex64), "must be floats"),
        (np.zeros((9000, 2)), r"\(9000, 2\) is \(T, channels\).*\.mean\(1\).*\.T"),
        (torch.zeros(33, 32), r"\.T"),
        (np.zeros((9000, 1)), r"\.mean\(1\)"),
        (np.zeros(9, np.uint8), "not uint8"),
        ([[0.5, 0.25], [0.5]], "list of lists of several lengths"),
        ("mix.wav", "must be floats"),
        (None, "must be floats"),
        (np.ma.masked_greater(np.zeros(9), 1), "masked array"),
        (torch.zeros(9).to_sparse(), "not a torch.sparse_coo tensor"),
        (torch.zeros(9, device="meta"), "tensor on meta"),
    ],
)
def test_bad_arrays_are_refused(wave, reason):
    with pytest.raises(UserError, match=reason):
        separator().separate(wave, 8000)


@pytest.mark.parametrize("rate", [0, 1, True, 10**12, -8000, 0.5, 44_100.5, float("nan"), float("inf"), "8000", None])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(UserError, match="whole number of Hz"):
        separator().separate(noise(9), rate)


@pytest.mark.parametrize("rate", [16_000.0, np.float32(16_000), np.int16(16_000), torch.tensor(16_000)])
def test_rates_of_all_kinds_of_numbers_are_the_same(rate):
    wave = noise(4000)
    np.testing.assert_array_equal(separator().separate(wave, rate), separator().separate(wave, 16_000))


def test_arrays_of_all_layouts_are_the_same_and_stay_as_they_are():
    wave = noise(9000)
    expected = separator().separate(wave, 8000)
    fixed = wave.copy()
    fixed.flags.writeable = False
    for same in (fixed, wave[::-1].copy()[::-1], np.repeat(wave, 2)[::2], wave.astype(">f4"), wave.tolist()):
        np.testing.assert_array_equal(separator().separate(same, 8000), expected)
    half = wave.astype(np.float16)
    sources = separator().separate(half, 8000)
    assert sources.dtype == np.float16
    np.testing.assert_allclose(sources.sum(0), half, atol=1e-3)
    np.testing.assert_array_equal(wave, noise(9000))


FORKED = """
import multiprocessing, sys
import numpy as np
from separator import Separator
wave = np.random.default_rng(0).normal(size=16_000) / 10
separator = Separator.from_pretrained(sys.argv[1])
expected = separator.separate(wave, 8000)
with multiprocessing.get_context("fork").Pool(1) as pool:
    sources = pool.apply_async(separator.separate, (wave, 8000)).get(60)
    later = pool.apply_async(Separator.from_pretrained, (sys.argv[1],)).get(60)
print(np.abs(sources - expected).max() < 1e-4, later.n_src)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_forked_children_do_not_hang():
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED, "small-ann"], capture_output=True, text=True, check=True, env=environment, timeout=200
    )
    assert done.stdout.split() == ["True", "2"]


def test_threads_share_a_separator():
    chosen, waves = Separator.from_pretrained("small-snn"), noise(4, 9000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda wave: chosen.separate(wave, 8000), waves))
    for wave, sources in zip(waves, found, strict=True):
        np.testing.assert_array_equal(sources, chosen.separate(wave, 8000))


class Levelled(HalfWaves):
    """Drowns quiet sound in a constant, as the norms of networks do."""

    def forward(self, mixture):
        return super().forward(mixture) * (mixture.abs() > 1e-3)


@pytest.mark.parametrize("loudness", [1, 3e-5, 1e-9])
@pytest.mark.parametrize("offset", [0, 0.3])
def test_neither_loudness_nor_an_offset_changes_what_is_heard(tmp_path, loudness, offset):
    wave = (noise(9000).astype(np.float64) - noise(9000).mean(dtype=np.float64)) * loudness
    expected = halves(wave) * (np.abs(wave) > 2e-2 * loudness)
    sources = Separator(model(Levelled())).separate(wave + offset, 8000)
    rounding = 1e-7 * bool(offset) + 1e-4 * loudness
    clear = (np.abs(wave) > 2e-2 * loudness) & (np.abs(wave) > 10 * rounding)
    np.testing.assert_allclose(sources[:, clear], expected[:, clear], atol=rounding)
    report = Separator(model(Levelled())).separate_file(
        write(tmp_path / "mix.wav", wave + offset, subtype="DOUBLE"), float32=True
    )
    np.testing.assert_allclose(read_sources(report)[:, clear], expected[:, clear], atol=rounding)
    assert [note.split(":")[0] for note in report.notes] == ["a constant offset of 0.3 of full scale taken out"] * bool(
        offset
    ) + ["very quiet"] * (loudness < 1)


def test_floats_scaled_as_integers_are_heard_at_full_scale(tmp_path):
    wave = noise(9000) * np.float32(2.0**31)
    report = separator().separate_file(write(tmp_path / "mix.wav", wave), float32=True, clip="none")
    np.testing.assert_allclose(read_sources(report), halves(wave), rtol=1e-4, atol=1e-4 * 2.0**31)
    assert report.notes[0] == "very loud: lowered by 187 dB while it was separated, not in the sources"


@pytest.mark.parametrize("offset", [0, 0.3])
@pytest.mark.parametrize("loudness", [1, 2.0**-12, 2.0**20])
def test_sound_at_the_models_level_is_heard_without_offset_at_a_usual_level(tmp_path, loudness, offset):
    chosen = Separator(model(Levelled(), gain=10.0), level="model")
    wave = (noise(9000).astype(np.float64) - noise(9000).mean(dtype=np.float64)) * loudness
    expected = halves(wave) * 10 * HalfWaves.levels.numpy()
    clear = np.abs(wave) > 1e-2 * loudness
    rounding = 1e-3 * loudness * 10 * HalfWaves.levels.numpy()
    sources = chosen.separate(wave + offset * loudness, 8000)
    assert (np.abs(sources - expected) <= rounding)[:, clear].all()
    path = write(tmp_path / "mix.wav", wave + offset * loudness, subtype="DOUBLE")
    report = chosen.separate_file(path, float32=True, clip="none")
    assert (np.abs(read_sources(report) - expected) <= rounding)[:, clear].all()


def test_stereo_of_opposite_polarity_is_separated(tmp_path):
    wave = noise(9000)
    report = separator().separate_file(write(tmp_path / "mix.wav", np.stack([wave, -wave], 1)))
    np.testing.assert_allclose(read_sources(report), halves(wave), atol=4e-5)
    assert report.notes == ("2 channels of opposite polarity, which would cancel: channel 1 taken",)


def test_network_that_overflows_is_reported():
    with pytest.raises(UserError, match="overflows"):
        separator().separate(np.full(9, -1e38), 8000)


@pytest.mark.parametrize("segment", [0, -1, 1e-5, float("nan"), float("inf"), "1"])
def test_impossible_segments_are_refused(segment):
    with pytest.raises(UserError, match="segment is a number of seconds that holds a sample"):
        separator(segment=segment)
    with pytest.raises(UserError, match=r"shifts are a whole number, not 1\.5"):
        separator(shifts=1.5)


def test_network_sees_no_more_than_a_segment_and_what_waits():
    chosen = model()
    Separator(chosen, segment=0.5).separate(noise(50_000), 8000)
    assert chosen.network.lengths == [3997, *[4000] * 11, 2003]


@pytest.mark.parametrize(
    ("causal", "level", "fitted"), [(False, None, True), (True, None, False), (True, "mixture", True), (False, "model", False)]
)
def test_level_is_the_mixtures_or_the_models(causal, level, fitted):
    wave = noise(9000)
    sources = Separator(model(causal=causal, gain=10.0), level=level).separate(wave, 8000)
    gains = np.ones(2) if fitted else 10 * HalfWaves.levels[:, 0].numpy()
    np.testing.assert_allclose(sources, halves(wave) * gains[:, None], rtol=1e-5, atol=1e-6)


def test_options_of_no_known_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="level must be None, 'mixture' or 'model', not 'loud'"):
        separator(level="loud")
    with pytest.raises(UserError, match="clip must be 'rescale', 'clamp' or 'none', not 'loud'"):
        separator().separate_file(write(tmp_path / "mix.wav", noise(500)), clip="loud")


def test_files_of_impossible_rates_are_refused(tmp_path):
    with pytest.raises(UserError, match="whole number of Hz from 100"):
        separator().separate_file(write(tmp_path / "mix.wav", noise(500), rate=1))


def test_models_level_has_to_be_known():
    with pytest.raises(UserError, match="halves has no gain"):
        Separator(model(causal=True))
    with pytest.raises(UserError, match="halves has no gain"):
        separator().stream(8000)


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_file_gives_what_the_array_gives(tmp_path, rate):
    wave = noise(30_001)
    report = separator().separate_file(write(tmp_path / "mix.wav", wave, rate), float32=True)
    assert report.outputs == (str(tmp_path / "mix_s1.wav"), str(tmp_path / "mix_s2.wav"))
    assert [soundfile.info(path).samplerate for path in report.outputs] == [rate, rate]
    np.testing.assert_allclose(read_sources(report), separator().separate(wave, rate), atol=1e-5)
    assert report.seconds == 30_001 / rate and report.real_time_factor > 0 and report.notes == ()
    assert report.activity is None


def test_shifts_serve_arrays_and_files_in_segments(tmp_path):
    wave = noise(12_001)
    shifted = Separator.from_pretrained("small-snn", segment=0.3, shifts=2)
    sources = shifted.separate(wave, 8000)
    once = Separator.from_pretrained("small-snn").separate(wave, 8000)
    report = shifted.separate_file(write(tmp_path / "mix.wav", wave), float32=True)
    np.testing.assert_allclose(read_sources(report), sources, atol=1e-6)
    whole = Separator.from_pretrained("small-snn", shifts=2).separate(wave, 8000)
    np.testing.assert_array_equal(sources, whole)
    assert sources.shape == once.shape and 0 < np.abs(sources - once).max() < np.abs(once).max()


def test_output_folder_and_overwriting(tmp_path):
    mixture = write(tmp_path / "mix.wav", noise(500))
    first = separator().separate_file(mixture, tmp_path / "a" / "b")
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["mix_s1.wav", "mix_s2.wav"]
    with pytest.raises(UserError, match=r"mix_s1.wav exists; overwrite"):
        separator().separate_file(mixture, tmp_path / "a" / "b")
    write(mixture, 0.5 * noise(500))
    second = separator().separate_file(mixture, tmp_path / "a" / "b", overwrite=True)
    assert first.outputs == second.outputs
    np.testing.assert_allclose(read_sources(second), 0.5 * halves(noise(500)), atol=4e-5)


@pytest.mark.parametrize("overwrite", [False, "same"])
def test_what_another_process_wrote_meanwhile_is_kept(tmp_path, overwrite):
    source = write(tmp_path / "mix.wav", noise(9000))

    def interfere(*_):
        (tmp_path / "mix_s2.wav").write_bytes(b"of another process")

    with pytest.raises(UserError, match=r"mix_s2\.wav exists; overwrite \(--overwrite\) replaces it"):
        separator().separate_file(source, overwrite=overwrite, progress=interfere)
    assert (tmp_path / "mix_s2.wav").read_bytes() == b"of another process"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mix.wav", "mix_s2.wav"]
    separator().separate_file(source, overwrite=True, progress=interfere)
    kept = (tmp_path / "mix_s2.wav").read_bytes()
    separator().separate_file(source, overwrite="same")
    assert (tmp_path / "mix_s2.wav").read_bytes() == kept
    with pytest.raises(UserError, match="samples was 16-bit integers and is 32-bit floats"):
        separator().separate_file(source, overwrite="same", float32=True)


def test_8_channels_are_averaged(tmp_path):
    wave = noise(800, 8)
    report = separator().separate_file(write(tmp_path / "wide.wav", wave))
    assert report.notes == ("8 channels averaged to one",)
    np.testing.assert_allclose(read_sources(report), halves(wave.mean(1)), atol=4e-5)


def test_192_khz(tmp_path):
    report = separator().separate_file(write(tmp_path / "fast.wav", noise(192_001), 192_000))
    assert read_sources(report).shape == (2, 192_001)


@pytest.mark.parametrize("wave", [np.zeros(9000), np.array([0.5])])
def test_silent_and_one_sample_files(tmp_path, wave):
    report = separator().separate_file(write(tmp_path / "small.wav", wave))
    np.testing.assert_allclose(read_sources(report), halves(wave), atol=4e-5)


class Loud:
    wave = np.array([2.0, -0.5, 1.0, -1.5], np.float32).repeat(50)

    @classmethod
    def separate(cls, tmp_path, **options):
        return separator().separate_file(write(tmp_path / "loud.wav", cls.wave), **options)


@pytest.mark.parametrize("float32", [False, True])
def test_rescaling_keeps_relative_levels(tmp_path, float32):
    report = Loud.separate(tmp_path, float32=float32)
    np.testing.assert_allclose(read_sources(report), halves(Loud.wave) * 32767 / 65536, atol=4e-5)
    assert report.peak == pytest.approx(2)
    assert report.notes == ("all sources lowered by 6.0 dB to fit full scale",)


@pytest.mark.parametrize("float32", [False, True])
def test_clamping_cuts_peaks_only(tmp_path, float32):
    report = Loud.separate(tmp_path, clip="clamp", float32=float32)
    np.testing.assert_allclose(read_sources(report), halves(Loud.wave).clip(-1, 1), atol=4e-5)
    assert report.notes == ("peaks of up to 6.0 dB over full scale were cut",)


def test_no_clipping_leaves_float_samples_alone(tmp_path):
    report = Loud.separate(tmp_path, clip="none", float32=True)
    np.testing.assert_allclose(read_sources(report), halves(Loud.wave), atol=4e-5)
    assert report.notes == ()


@pytest.mark.parametrize(("peak", "float32", "told"), [(16, False, True), (16, True, False), (64, False, False)])
def test_sources_that_16_bits_hardly_hold_are_told(tmp_path, peak, float32, told):
    path = write(tmp_path / "faint.wav", Loud.wave / 2 * peak / 2**15)
    notes = [note for note in separator().separate_file(path, float32=float32).notes if "--float32 keeps them whole" in note]
    assert len(notes) == told and all("peak at 16 steps of 16 bits" in note for note in notes)


def test_no_clipping_tells_what_16_bits_cut(tmp_path):
    report = Loud.separate(tmp_path, clip="none")
    np.testing.assert_allclose(read_sources(report), halves(Loud.wave).clip(-1, 1), atol=4e-5)
    assert report.notes == ("peaks of up to 6.0 dB over full scale were cut",)


def test_progress_reaches_the_end(tmp_path):
    seen = []
    wave = np.zeros(200_000)
    separator().separate_file(write(tmp_path / "mix.wav", wave), progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 2 and seen == sorted(seen) and seen[-1] == (25, 25)


def break_off(path):
    path.write_bytes(path.read_bytes()[:30])


@pytest.mark.parametrize("spoil", [break_off, lambda path: path.unlink()])
def test_failure_leaves_nothing(tmp_path, spoil):
    mixture = write(tmp_path / "in" / "mix.wav", noise(500))
    spoil(mixture)
    with pytest.raises(UserError, match=r"mix\.wav"):
        separator().separate_file(mixture, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_what_is_there_of_a_cut_off_file_is_separated(tmp_path):
    wave = noise(1000)
    mixture = write(tmp_path / "mix.wav", wave)
    mixture.write_bytes(mixture.read_bytes()[:-800])
    seen = []
    report = separator().separate_file(mixture, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(read_sources(report), halves(wave[:800]), atol=2e-5)
    assert report.notes == ("cut off or damaged: 0.025 s of 0.125 s are missing",) and not report.complete
    assert seen[-1] == (0.1, 0.1)


def test_interruption_leaves_nothing(tmp_path):
    class Interrupted(HalfWaves):
        def forward(self, mixture):
            if len(self.lengths) == 2:
                raise KeyboardInterrupt
            return super().forward(mixture)

    mixture = write(tmp_path / "mix.wav", noise(50_000))
    with pytest.raises(KeyboardInterrupt):
        Separator(model(Interrupted()), segment=0.5).separate_file(mixture)
    assert list(tmp_path.iterdir()) == [mixture]


def test_unwritable_output_is_refused_before_any_work(tmp_path):
    mixture = write(tmp_path / "mix.wav", noise(500))
    chosen = model()
    with pytest.raises(UserError, match="there is a file of that name"):
        Separator(chosen).separate_file(mixture, mixture)
    assert chosen.network.lengths == []


def test_output_names(tmp_path):
    assert [str(path) for path in output_paths("a/b.c.flac", None, 3)] == [f"a/b.c_s{n}.wav" for n in (1, 2, 3)]
    assert [str(path) for path in output_paths("a/b.flac", "o", 1)] == ["o/b_s1.wav"]
    assert [str(path) for path in output_paths("-", "o", 1)] == ["o/stdin_s1.wav"]
    assert output_paths("-", None, 2) == output_paths("a.wav", "-", 2) == []


def recorded():
    first = LayerActivity("layers.0", spikes=60, neurons=10, window=8, macs=1000)
    last = LayerActivity("layers.1", spikes=30, neurons=15, window=8, synaptic_operations=300, macs=500)
    return Activity([first, last], {"encoder": 70, "mask": 30})


@pytest.mark.parametrize(("kind", "wanted"), [("snn", True), ("snn", False), ("ann", True)])
def test_activity_is_recorded_of_spiking_networks_if_asked_for(tmp_path, monkeypatch, kind, wanted):
    monkeypatch.setattr("separator.snn.observe.activity.record_activity", lambda network: nullcontext(recorded()))
    report = Separator(model(kind=kind)).separate_file(write(tmp_path / "mix.wav", noise(500)), activity=wanted)
    assert report.activity == (recorded() if kind == "snn" and wanted else None)
    assert report.to_dict()["activity"] == (recorded().to_dict() if kind == "snn" and wanted else None)


def test_from_pretrained_hands_its_options_on(monkeypatch):
    asked = []

    def load_model(name, device, window):
        asked.append((name, device, window))
        return model()

    monkeypatch.setattr(models, "load_model", load_model)
    Separator.from_pretrained()
    chosen = Separator.from_pretrained("other", device="cpu", window=4, segment=2, level="mixture")
    assert asked == [(models.DEFAULT_MODEL, "cpu", None), ("other", "cpu", 4)]
    assert (chosen.segment, chosen.level, chosen.sample_rate, chosen.n_src) == (16_000, "mixture", 8000, 2)


def test_devices():
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("toaster", "cuda:99"):
        with pytest.raises(UserError, match="no device"):
            resolve_device(name)
