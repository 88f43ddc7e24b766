import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from separator import models
from separator.cli.main import main
from separator.cli.separate import entry
from separator.models import ModelCard, save_model
from separator.models.tasnet import TasNet, TasNetConfig
from separator.snn.layers.dynamics import Dynamics
from separator.snn.layers.spiking import SpikingLayer
from separator.snn.stack.connected import role_of
from separator.tasks.separation.files import SEGMENT, Separator

RATE = 8000
ROOT = Path.cwd()


CONFIG = TasNetConfig(filters=8, filter_length=4, channels=4, dilations=(1, 2))


def network(window=None):
    """A tiny untrained network, spiking if it has a window."""
    torch.manual_seed(0)
    net = TasNet(CONFIG)
    one = torch.ones(1)
    for i, layer in enumerate(net.stack.layers):
        if window is not None:
            role = role_of(i, len(net.stack.layers), Dynamics(window, 0.5), "rectified")
            net.stack.layers[i] = SpikingLayer.convert(layer, role, one / window, one / window, Dynamics(window, 0.5))
    return net


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    for name, window in [("small-ann", None), (models.DEFAULT_MODEL, 4)]:
        conversion = (
            None
            if window is None
            else {"window": window, "initial_potential": 0.5, "readout": "rectified", "schedule": "pipelined"}
        )
        scores = {"history": [{"hours": 5.0}], "SI-SDRi": 5.25, "groups": {"open": {"f-f": 4.0}}}
        card = ModelCard(name, asdict(CONFIG), conversion, f"the {name}", scores=scores)
        save_model(folder / f"{name}.safetensors", network(window), card)
    return folder


@pytest.fixture
def loaded(monkeypatch, shipped):
    """Tiny shipped models; returns what was asked of load_model."""
    asked = []
    load_model = models.load_model

    def spy(name, device, window):
        asked.append((name, device, window))
        return load_model(name, device, window)

    monkeypatch.setattr("separator.models.card.SHIPPED", shipped)
    monkeypatch.setattr(models, "load_model", spy)
    return asked


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    """Commands run in an empty folder, and what they do to signals does not outlive them."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def write(name, samples=800, rate=RATE):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, samples)
    soundfile.write(name, wave, rate, "PCM_16")


def files(folder="."):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def stdin_of(content):
    return SimpleNamespace(buffer=io.BytesIO(content))


def stdout_to(buffer):
    return SimpleNamespace(buffer=buffer, isatty=lambda: False, flush=lambda: None)


def test_sources_lie_beside_the_mixture(loaded, capsys):
    write("in/mix.flac", 801, 11025)
    assert entry(["in/mix.flac"]) == 0
    assert files() == ["in/mix.flac", "in/mix_s1.wav", "in/mix_s2.wav"]
    info = soundfile.info("in/mix_s1.wav")
    assert (info.frames, info.samplerate, info.subtype, info.channels) == (801, 11025, "PCM_16", 1)
    out, err = capsys.readouterr()
    assert out == "" and "in/mix.flac -> in/mix_s1.wav, in/mix_s2.wav" in err


def test_sources_add_up_to_the_mixture(loaded):
    write("mix.wav", 5000)
    assert entry(["mix.wav", "--float32", "-o", "out", "-q"]) == 0
    first, second = (soundfile.read(f"out/mix_s{n}.wav")[0] for n in (1, 2))
    mixture = soundfile.read("mix.wav")[0]
    # Least squares: the error is orthogonal to every source.
    for source in (first, second):
        assert abs(source @ (first + second - mixture)) < 1e-4 * np.linalg.norm(source) * np.linalg.norm(mixture)


def test_options_may_stand_between_inputs(loaded):
    write("a.wav")
    write("b.wav")
    assert entry(["a.wav", "--float32", "b.wav", "-q", "-o", "out"]) == 0
    assert files("out") == ["a_s1.wav", "a_s2.wav", "b_s1.wav", "b_s2.wav"]


def test_options_are_handed_on(loaded, capsys):
    write("mix.wav", 24_000)
    options = [
        "--model",
        models.DEFAULT_MODEL,
        "--device",
        "cpu",
        "--window",
        "4",
        "--segment",
        "1",
        "--level",
        "mixture",
        "--float32",
    ]
    assert entry(["mix.wav", *options, "-q", "--clip", "none"]) == 0
    assert loaded == [(models.DEFAULT_MODEL, "cpu", 4)]
    assert soundfile.info("mix_s2.wav").subtype == "FLOAT"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "options",
    [
        ["--clip", "loud"],
        ["--window", "0"],
        ["--window", "x"],
        ["--shifts", "0"],
        ["--segment", "-1"],
        ["--segment", "nan"],
        ["--segment", "1e9"],
        ["--level", "loud"],
        ["--timeout", "-1"],
        ["--timeout", "1e20"],
        ["--rate", "0"],
        ["--unknown"],
    ],
)
def test_wrong_options_are_refused(loaded, options):
    with pytest.raises(SystemExit, match="2"):
        entry(["mix.wav", *options])


@pytest.mark.parametrize(
    ("arguments", "reason", "status"),
    [
        ([], "nothing to separate", 2),
        (["mix.wav", "--model", "unknown"], "no model 'unknown'", 1),
        (["mix.wav", "--model", "mix.wav"], "mix.wav is not a model file", 1),
        (["mix.wav", "--model", "small-ann", "--window", "4"], "no time steps", 1),
        (["mix.wav", "--model", "small-ann", "--shifts", "99"], "takes 1 to 2 shifts", 1),
        (["mix.wav", "--device", "toaster"], "no device 'toaster'", 1),
        (["mix.wav", "--device", "meta"], "no device 'meta'", 1),
        (["mix.wav", "--segment", "0"], "holds a sample", 1),
        (["mix.wav", "--raw", "s16le"], "--raw is of live sound", 2),
        (["mix.wav", "--stream"], "leave the names of inputs out", 2),
        (["--stream", "-r"], "leave -r and --segment out", 2),
        (["--stream", "--segment", "3"], "leave -r and --segment out", 2),
        (["-", "-"], "stdin can be read once", 2),
        (["-", "mix.wav"], "only one input", 2),
        (["folder", "-r", "-o", "-"], "only one input", 2),
        (["folder"], "-r takes the sound files", 1),
        (["folder", "-r"], "no sound files", 1),
        (["mix.wav", "-o", "mix.wav"], "-o takes a folder", 2),
        (["mix.wav", "-o", "out.flac"], "make the folder out.flac", 2),
    ],
)
def test_impossible_requests_get_one_line(loaded, capsys, arguments, reason, status):
    write("mix.wav")
    Path("folder").mkdir()
    assert entry(arguments) == status
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("separate: error: ") and reason in err
    assert files() == ["mix.wav"]


def test_existing_outputs_are_kept_unless_told(loaded, capsys):
    write("mix.wav")
    Path("mix_s2.wav").write_text("precious")
    assert entry(["mix.wav"]) == 1
    assert "mix_s2.wav exists; overwrite (--overwrite) replaces it" in capsys.readouterr().err
    assert Path("mix_s2.wav").read_text() == "precious" and not Path("mix_s1.wav").exists()
    assert entry(["mix.wav", "--overwrite"]) == 0
    assert soundfile.info("mix_s2.wav").frames == 800


def test_what_another_process_writes_meanwhile_is_kept(loaded, monkeypatch, capsys):
    write("mix.wav")
    separate_file = Separator.separate_file

    def late(self, *args, **options):
        Path("mix_s2.wav").write_bytes(b"of another process")
        return separate_file(self, *args, **options)

    monkeypatch.setattr(Separator, "separate_file", late)
    assert entry(["mix.wav", "-q"]) == 1
    assert "mix_s2.wav exists; overwrite (--overwrite) replaces it" in capsys.readouterr().err
    assert files() == ["mix.wav", "mix_s2.wav"] and Path("mix_s2.wav").read_bytes() == b"of another process"


def test_named_pipes_are_read_once(loaded, capsys):
    write("mix.wav")
    os.mkfifo("pipe.wav")
    feeder = threading.Thread(target=Path("pipe.wav").write_bytes, args=(Path("mix.wav").read_bytes(),))
    feeder.start()
    assert entry(["pipe.wav", "-q"]) == 0
    feeder.join()
    Path("pipe_s2.wav").unlink()
    assert entry(["pipe.wav", "-q"]) == 1  # nobody feeds it
    assert "pipe_s1.wav exists; overwrite (--overwrite) replaces it" in capsys.readouterr().err


def test_a_folder_is_gone_on_with(loaded, capsys):
    """What was done by the same command stays as it is, what a crash left is done anew, what is new is done."""
    for name in ("in/a.wav", "in/b.wav"):
        write(name, 900)
    assert entry(["-r", "in", "-o", "out", "-q"]) == 0
    expected = {name: (Path("out") / name).read_bytes() for name in files("out")}
    kept = Path("out/a_s1.wav").stat().st_ino
    Path("out/b_s1.wav").unlink()
    write("in/c.wav")
    capsys.readouterr()
    assert entry(["-r", "in", "-o", "out", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "in/a.wav -> out/a_s1.wav, out/a_s2.wav (done before, by the same settings)\n" in err
    assert err.count("done before") == 1 and [json.loads(line).get("done_before") for line in out.splitlines()] == [
        True,
        None,
        None,
    ]
    assert Path("out/a_s1.wav").stat().st_ino == kept and len(files("out")) == 6
    assert {name: (Path("out") / name).read_bytes() for name in expected} == expected


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--model", "small-ann"], f"(model was {models.DEFAULT_MODEL} and is small-ann, window was 4 and is None)"),
        (["--window", "8"], "(window was 4 and is 8)"),
        (["--float32"], "(samples was 16-bit integers and is 32-bit floats)"),
        (["--clip", "clamp"], "(clip was rescale and is clamp)"),
        (["--segment", "0.1", "--device", "auto"], None),  # which change no sample
    ],
)
def test_outputs_of_other_settings_are_not_taken_for_done(loaded, capsys, options, reason):
    write("in/a.wav", 900)
    assert entry(["-r", "in", "-o", "out", "-q"]) == 0
    before = Path("out/a_s1.wav").read_bytes()
    assert entry(["-r", "in", "-o", "out", "-q", *options]) == (reason is not None)
    remedy = "overwrite (--overwrite) replaces it, or take another -o"
    line = f"in/a.wav: out/a_s1.wav exists and was made otherwise {reason}; {remedy}"
    assert lines_of(capsys) == [line] * (reason is not None)
    assert Path("out/a_s1.wav").read_bytes() == before
    assert entry(["-r", "in", "-o", "out", "-q", "--overwrite", *options]) == 0


def test_outputs_of_another_sound_are_not_taken_for_done(loaded, capsys):
    write("in/a.wav", 900, 16_000)
    assert entry(["-r", "in", "-q"]) == 0
    write("in/a.wav", 900)
    assert entry(["-r", "in", "-q"]) == 1
    assert "in/a_s1.wav exists and was made otherwise (another input)" in capsys.readouterr().err


def test_one_bad_file_does_not_stop_the_others(loaded, capsys):
    write("good.wav")
    write("better.wav")
    Path("text.wav").write_text("no sound")
    assert entry(["missing.wav", "good.wav", "text.wav", "better.wav", "-q"]) == 1
    assert files() == [f"{name}.wav" for name in ("better", "better_s1", "better_s2", "good", "good_s1", "good_s2", "text")]
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("separate: error: cannot read") for line in lines] == [True, True, False]
    assert "missing.wav" in lines[0] and "text.wav" in lines[1] and lines[2] == "separate: 2 of 4 inputs failed"


def test_lost_sound_is_told_even_if_quiet(loaded, capsys):
    write("whole.wav")
    write("part.wav")
    Path("part.wav").write_bytes(Path("part.wav").read_bytes()[:-800])
    assert entry(["whole.wav", "part.wav", "-q"]) == 0
    assert capsys.readouterr().err == "part.wav: cut off or damaged: 0.050 s of 0.100 s are missing\n"
    assert soundfile.info("part_s1.wav").frames == 400


def lines_of(capsys):
    return [line.removeprefix("separate: error: ") for line in capsys.readouterr().err.splitlines()]


def test_no_name_stops_a_batch(loaded, capsys):
    """Names that are no UTF-8, as long as is allowed, with outputs longer than that, and links that lead nowhere."""
    odd, long, longest = os.fsdecode(b"in/caf\xe9.wav"), f"in/{'m' * 248}.wav", f"in/{'n' * 251}.wav"
    write("in/z.wav")
    for name in (odd, long, longest):
        Path(name).write_bytes(Path("in/z.wav").read_bytes())
    Path("in/loop.wav").symlink_to("loop.wav")
    Path("in/nothing.wav").symlink_to("missing.wav")
    Path("in/a").symlink_to("b")
    Path("in/b").symlink_to("a")
    Path("in/talk.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(99))
    assert entry(["-r", "in", "-q", "--json"]) == 1
    done = {f"{name.removesuffix('.wav')}_s{n}.wav" for name in (odd, long, "in/z.wav") for n in (1, 2)}
    assert {name for name in files() if "_s" in name} == done
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 7
    *lines, last = err.splitlines()
    assert last == "separate: 4 of 7 inputs failed"
    for line, reason in zip(
        lines, ["Too many levels", "File name too long", "No such file", "ffmpeg -i in/talk.m4a"], strict=True
    ):
        assert line.startswith("separate: error: ") and reason in line
    assert entry([os.fsdecode(b"\xff.wav"), "in/a", "z" * 300, "missing.wav", "in/z.wav", "-o", "out", "-q"]) == 1
    assert files("out") == ["z_s1.wav", "z_s2.wav"]
    assert lines_of(capsys)[-1] == "separate: 4 of 5 inputs failed"


def test_names_reach_a_terminal_as_letters_alone(loaded, capsys):
    name = "a\x1b]0;owned\x07\nb.wav"
    write(name)
    Path("folder\n").mkdir()
    assert entry([name, "-o", "folder\n"]) == 0
    assert entry([f"no{name}"]) == 1 == entry([""])
    *lines, last = capsys.readouterr().err.splitlines()
    assert all(line.isprintable() for line in lines) and len(lines) == 2
    assert "a\\x1b]0;owned\\x07\\nb.wav -> folder\\n/" in lines[0] and "cannot read no" in lines[1]
    assert last == "separate: error: an input has no name"


def test_a_defect_on_one_input_does_not_stop_the_others(loaded, monkeypatch, capsys):
    for name in ("a.wav", "b.wav", "c.wav"):
        write(name)
    separate_file = Separator.separate_file

    def failing(self, source, *args, **options):
        if source == "a.wav":
            raise MemoryError
        if source == "b.wav":
            raise ZeroDivisionError("two\nlines")
        return separate_file(self, source, *args, **options)

    monkeypatch.setattr(Separator, "separate_file", failing)
    assert entry(["a.wav", "b.wav", "c.wav", "-q"]) == 1
    assert Path("c_s1.wav").exists()
    memory, defect, last = lines_of(capsys)
    assert memory == "a.wav: out of memory; take a shorter --segment"
    assert defect == "b.wav: a defect of this program, please report it: ZeroDivisionError: two lines"
    assert last == "separate: 2 of 3 inputs failed"


def test_inputs_of_one_name_do_not_share_outputs(loaded, capsys):
    write("in/a.flac")
    write("in/a.wav", 400)
    assert entry(["-r", "in", "-q", "--overwrite"]) == 1
    assert soundfile.info("in/a_s1.wav").frames == 800
    told = "in/a_s1.wav, an output of in/a.wav, is taken by in/a.flac; separate one of the two by itself, with another -o"
    assert lines_of(capsys)[0] == told


@pytest.mark.parametrize("arguments", [["-q", "--", "-mix.wav"], ["mix.wav", "-q", "--", "-mix.wav", "--json"]])
def test_what_follows_two_dashes_is_an_input(loaded, arguments):
    for name in ("mix.wav", "-mix.wav", "--json"):
        write("mix.wav")
        Path(name).write_bytes(Path("mix.wav").read_bytes())
    assert entry(arguments) == 0
    assert Path("-mix_s1.wav").exists() and Path("--json_s1.wav").exists() == ("--json" in arguments)


@pytest.mark.parametrize("options", [["--json", "-q"], ["-o", "-", "-q"]])
@pytest.mark.parametrize(("stdout", "reason"), [("/dev/full", "No space left"), (None, "Bad file descriptor")])
def test_stdout_full_or_closed_gets_one_line(loaded, monkeypatch, capsys, options, stdout, reason):
    write("mix.wav")
    monkeypatch.setattr("sys.stdout", stdout and Path(stdout).open("w"))  # noqa: SIM115
    assert entry(["mix.wav", *options]) == 1
    sys.stdout.close()  # as at the end of Python, without a complaint
    assert lines_of(capsys) == [f"mix.wav: cannot write to stdout: {reason}{' on device' * ('space' in reason)}"]
    assert Path("mix_s1.wav").exists() == ("--json" in options)


@pytest.mark.parametrize("arguments", [["separate", "--help"], ["separate", "--version"], ["separator", "--help"]])
def test_help_that_cannot_be_written_is_an_error(monkeypatch, capsys, arguments):
    command = {"separate": entry, "separator": main}[arguments[0]]
    monkeypatch.setattr("sys.stdout", Path("/dev/full").open("w"))  # noqa: SIM115
    with pytest.raises(SystemExit) as end:
        command(arguments[1:])
    assert end.value.code == 1
    sys.stdout.close()
    assert lines_of(capsys) == [
        f"{'' if arguments[0] == 'separate' else 'separator: error: '}cannot write to stdout: No space left on device"
    ]


def test_stdin_closed_gets_one_line(loaded, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    assert entry(["-", "-o", "out"]) == 1
    assert lines_of(capsys) == ["cannot read stdin: Bad file descriptor"]


@pytest.mark.parametrize("stderr", ["/dev/full", None])
def test_stderr_full_or_closed_stops_nothing(loaded, monkeypatch, capsys, stderr):
    write("mix.wav")
    monkeypatch.setattr("sys.stderr", stderr and Path(stderr).open("w"))  # noqa: SIM115
    assert entry(["missing.wav", "mix.wav", "--json"]) == 1
    assert soundfile.info("mix_s1.wav").frames == 800
    assert [json.loads(line)["input"] for line in capsys.readouterr().out.splitlines()] == ["missing.wav", "mix.wav"]


def test_no_temporary_folder_gets_one_line(loaded, monkeypatch, capsys):
    write("mix.wav")
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nowhere"])
    monkeypatch.setattr("sys.stdout", stdout_to(io.BytesIO()))
    assert entry(["mix.wav", "-o", "-"]) == 1
    assert lines_of(capsys) == ["mix.wav: No usable temporary directory found in ['/nowhere']"]


def test_folders_keep_their_structure(loaded):
    for name in ("in/a.wav", "in/deep/er/b.flac", "in/.hidden/c.wav", "in/.d.wav"):
        write(name)
    Path("in/notes.txt").write_text("not sound")
    assert entry(["-r", "in", "-o", "out", "-q"]) == 0
    assert files("out") == ["a_s1.wav", "a_s2.wav", "deep/er/b_s1.wav", "deep/er/b_s2.wav"]


def test_folders_are_not_fed_their_own_outputs(loaded):
    write("in/a.wav")
    write("in/lone_s1.wav")  # no mixture beside it: an input
    assert entry(["-r", "in", "-q"]) == 0
    expected = [f"{name}.wav" for name in ("a", "a_s1", "a_s2", "lone_s1", "lone_s1_s1", "lone_s1_s2")]
    assert files("in") == expected
    assert entry(["-r", "in", "-q", "--overwrite"]) == 0
    assert entry(["-r", "in", "-o", "in/out", "-q"]) == 0
    assert entry(["-r", "in", "-o", "in/out", "-q", "--overwrite"]) == 0
    assert files("in") == expected + [f"out/{name}.wav" for name in ("a_s1", "a_s2", "lone_s1_s1", "lone_s1_s2")]


def test_sources_in_any_folder_are_known_for_outputs(loaded):
    write("in/a.wav")
    assert entry(["-r", "in", "-o", "in/first", "-q"]) == 0
    assert entry(["-r", "in", "-o", "in/second", "-q"]) == 0
    assert files("in/second") == ["a_s1.wav", "a_s2.wav"]


def test_what_is_named_twice_is_separated_once(loaded, capsys):
    write("a.wav")
    assert entry(["a.wav", "a.wav", "-o", "out", "-q"]) == 0
    assert files("out") == ["a_s1.wav", "a_s2.wav"] and not capsys.readouterr().err


@pytest.mark.parametrize("output", [".", "a", "a/b"])
def test_folders_may_lie_in_the_output_folder(loaded, output):
    write("a/b/x.wav")
    assert entry(["-r", "a/b", "-o", output, "-q"]) == 0
    assert Path(output, "x_s1.wav").exists() and Path(output, "x_s2.wav").exists()
    assert files("a/b")[0] == "x.wav"


def test_linked_folders_are_searched_once(loaded):
    for name in ("in/b/x.wav", "else/deep/y.wav", "else/.hidden/z.wav"):
        write(name)
    for link, target in [
        ("in/a", "b"),
        ("in/c", "../else"),
        ("else/up", "../in"),
        ("in/loop", "loop"),
        ("in/b/d", "../../else"),
    ]:
        Path(link).symlink_to(target)
    assert entry(["-r", "in", "-o", "out", "-q"]) == 0
    assert files("out") == ["b/x_s1.wav", "b/x_s2.wav", "c/deep/y_s1.wav", "c/deep/y_s2.wav"]


def test_folders_that_cannot_be_read_are_told(loaded, monkeypatch, capsys):
    for name in ("in/a/x.wav", "in/a.wav", "in/b/y.wav"):
        write(name)
    scandir = os.scandir

    def refusing(path):
        if Path(path) == Path("in/a"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert entry(["-r", "in", "-q"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "separate: error: cannot read in/a: Permission denied",
        "separate: 1 of 3 inputs failed",
    ]
    assert Path("in/a_s2.wav").exists() and Path("in/b/y_s2.wav").exists()


def test_inputs_do_not_overwrite_each_other(loaded, capsys):
    for name in ("a/mix.wav", "b/mix.wav", "x.wav", "x_s1.wav"):
        write(name)
    before = Path("x_s1.wav").read_bytes()
    assert entry(["a/mix.wav", "b/mix.wav", "-o", "out", "-q", "--overwrite"]) == 1
    assert "taken by a/mix.wav" in capsys.readouterr().err
    assert entry(["x.wav", "x_s1.wav", "-q", "--overwrite"]) == 1
    assert "taken by x_s1.wav" in capsys.readouterr().err
    assert Path("x_s1.wav").read_bytes() == before and Path("x_s1_s1.wav").exists()


def test_stdin_to_stdout(loaded, monkeypatch, capsys):
    write("mix.wav", 801, 16_000)
    sink = io.BytesIO()
    monkeypatch.setattr("sys.stdin", stdin_of(Path("mix.wav").read_bytes()))
    monkeypatch.setattr("sys.stdout", stdout_to(sink))
    assert entry(["-", "--json", "-q"]) == 0
    wave, rate = soundfile.read(io.BytesIO(sink.getvalue()))
    assert wave.shape == (801, 2) and rate == 16_000
    assert json.loads(capsys.readouterr().err)["outputs"] == ["-"]
    assert files() == ["mix.wav"]


def test_file_to_stdout_is_the_same_sound_as_its_files(loaded, monkeypatch):
    write("mix.wav")
    sink = io.BytesIO()
    assert entry(["mix.wav", "-q"]) == 0
    monkeypatch.setattr("sys.stdout", stdout_to(sink))
    assert entry(["mix.wav", "-o", "-", "-q"]) == 0
    wave, _ = soundfile.read(io.BytesIO(sink.getvalue()))
    for number, channel in enumerate(wave.T, 1):
        np.testing.assert_array_equal(channel, soundfile.read(f"mix_s{number}.wav")[0])


def test_stdin_to_a_folder(loaded, monkeypatch):
    write("mix.wav")
    monkeypatch.setattr("sys.stdin", stdin_of(Path("mix.wav").read_bytes()))
    assert entry(["-", "-o", "out", "-q"]) == 0
    assert files("out") == ["stdin_s1.wav", "stdin_s2.wav"]


@pytest.mark.parametrize(("content", "reason"), [(b"", "nothing came"), (b"text, not sound" * 9, "not a sound file")])
def test_bad_stdin(loaded, monkeypatch, capsys, content, reason):
    sink = io.BytesIO()
    monkeypatch.setattr("sys.stdin", stdin_of(content))
    monkeypatch.setattr("sys.stdout", stdout_to(sink))
    assert entry(["-"]) == 1
    assert capsys.readouterr().err.startswith("separate: error: cannot read stdin: ") and sink.getvalue() == b""


def test_sound_is_not_written_to_a_terminal(loaded, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, flush=lambda: None))
    assert entry(["-"]) == 2
    assert "redirect stdout" in capsys.readouterr().err


def test_json_has_a_line_for_each_input(loaded, capsys):
    write("mix.wav", 16_000)
    assert entry(["missing.wav", "mix.wav", "--json", "--model", "small-ann"]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["input"] == "missing.wav" and "No such file" in first["error"]
    assert second["seconds"] == 2 and second["real_time_factor"] == pytest.approx(second["elapsed"] / 2)
    assert second["outputs"] == ["mix_s1.wav", "mix_s2.wav"] and second["model"] == "small-ann" and second["activity"] is None


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_drawn_on_terminals_after_two_seconds(loaded, monkeypatch):
    write("mix.wav", 200_000)
    clock = iter(range(0, 10_000, 3))  # the progress bar's clock: every look at it is 3 s later
    monkeypatch.setattr("tqdm.std.time", lambda: next(clock))
    for name, arguments, drawn in [("terminal", [], True), ("quiet", ["-q"], False)]:
        monkeypatch.setattr("sys.stderr", Terminal())
        assert entry(["mix.wav", "-o", name, *arguments]) == 0
        assert ("left" in sys.stderr.getvalue()) == drawn
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert entry(["mix.wav", "-o", "piped"]) == 0
    assert "left" not in sys.stderr.getvalue()


def test_spiking_model_reports_its_activity(loaded, capsys):
    write("mix.wav", 16_000)
    assert entry(["mix.wav", "--json", "-q", "--window", "8"]) == 0
    activity = json.loads(capsys.readouterr().out)["activity"]
    assert activity["window"] == 8 and activity["spikes"] > 0
    assert activity["synaptic_operations_per_mac"] == activity["synaptic_operations"] / activity["macs"] > 0
    assert [layer["name"] for layer in activity["layers"]] == ["layers.0", "layers.1", "layers.2"]
    assert all(0 <= layer["firing_rate"] <= 1 for layer in activity["layers"])


def test_models_are_listed(loaded, capsys):
    assert entry(["--list-models"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{models.DEFAULT_MODEL} (default): the {models.DEFAULT_MODEL}",
        "    snn, 2 talkers, 8000 Hz, 4 time steps",
        "    SI-SDRi 5.25",
        "small-ann: the small-ann",
        "    ann, 2 talkers, 8000 Hz",
        "    SI-SDRi 5.25",
    ]
    assert entry(["--list-models", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["window"], second["name"]) == (models.DEFAULT_MODEL, 4, "small-ann")
    assert loaded == []


@pytest.mark.parametrize(
    ("told", "spins"), [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_that_wait_soon_sleep_unless_told_otherwise(told, spins):
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    code = "import separator.cli.separate, os; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run([sys.executable, "-c", code], env=environment | told, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == spins


def test_listing_models_needs_no_torch():
    done = run("--list-models")
    assert done.returncode == 0 and done.stderr.strip() == "False"


def run(*arguments):
    code = "import sys; from separator.cli.separate import entry\ntry: status = entry()\n"
    code += "except SystemExit as exit: status = exit.code\nprint('torch' in sys.modules, file=sys.stderr); sys.exit(status)"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


def test_help_needs_no_torch_and_gives_the_defaults():
    done = run("--help")
    assert done.returncode == 0 and "examples:" in done.stdout and done.stderr.strip() == "False"
    assert f"(default: {SEGMENT:g})" in done.stdout


@pytest.fixture
def ctrl_c_works():
    """A suite run in the background may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_no_file(loaded, monkeypatch, capsys, ctrl_c_works, number):
    write("mix.wav", 24_000)
    monkeypatch.setattr(TasNet, "features", lambda self, *frames: signal.raise_signal(number))
    if number == signal.SIGINT:
        assert entry(["mix.wav", "-o", "out"]) == 130
        assert capsys.readouterr().err == "separate: interrupted\n"
    else:
        with pytest.raises(SystemExit, match="143"):
            entry(["mix.wav", "-o", "out"])
    assert files() == ["mix.wav"]


def test_failures_before_an_interruption_are_told(loaded, monkeypatch, capsys, ctrl_c_works):
    Path("a.wav").write_text("no sound")
    write("b.wav")
    monkeypatch.setattr(TasNet, "features", lambda self, *frames: signal.raise_signal(signal.SIGINT))
    assert entry(["missing.wav", "a.wav", "b.wav"]) == 130
    missing, no_sound, interrupted = capsys.readouterr().err.splitlines()
    assert missing.startswith("separate: error: cannot read missing.wav")
    assert no_sound.startswith("separate: error: cannot read a.wav") and interrupted == "separate: interrupted"


PROGRAM = """
import sys
sys.argv[0] = "{0}"
import separator.cli
print(flush=True)
from separator.cli.{1} import {2}
sys.exit({2}())
"""


@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.2, 0.4])
@pytest.mark.parametrize(
    ("program", "module", "function", "arguments"),
    [("separate", "separate", "entry", ["mix.wav", "-o", "out"]), ("separator", "main", "main", ["train", "--help"])],
)
def test_ctrl_c_during_imports_gets_one_line(delay, program, module, function, arguments):
    write("mix.wav", 300_000)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(program, module, function), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    process.stdout.readline()
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    if process.returncode or arguments[-1] != "--help":  # which may have been given by then
        assert (process.returncode, error.decode()) == (130, f"{program}: interrupted\n")
    assert files("out") == []


def test_programs_that_import_the_commands_keep_their_own_handling_of_ctrl_c():
    code = "import sys; sys.argv[0] = 'mine'; import signal, separator.cli.separate; "
    code += "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.stdout == "True\n"


def test_separating_at_the_models_rate_imports_neither_scipy_nor_what_training_needs():
    """Which takes half a second, and several."""
    write("mix.wav", 9000)
    code = "import sys; from separator.cli.separate import entry; status = entry(); "
    code += "heavy = {'scipy', 'matplotlib', 'asteroid', 'pytorch_lightning', 'librosa', 'torchaudio', 'pesq'}; "
    code += "print(status, *heavy & {name.partition('.')[0] for name in sys.modules})"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, "mix.wav", "-q"], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("0\n", "")
