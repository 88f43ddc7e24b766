import fcntl
import io
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from separator import Separator
from separator.cli.separate import entry

COMMAND = [sys.executable, "-m", "separator.cli.separate", "--stream", "--model", "small-snn"]


def speechlike(samples=9000, seed=0):
    return (np.random.default_rng(seed).normal(size=samples) * 1000).astype(np.int16)


def wav(wave, rate=8000):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, "PCM_16", format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def expected():
    """16-bit sources of `speechlike()`, by the file path of the separator."""
    separator = Separator.from_pretrained("small-snn", level="model")
    return np.rint(separator.separate(speechlike() / np.float32(32768), 8000) * 32768).clip(-32768, 32767).astype(np.int16)


class Done(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command in this process, between two pipes, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(data, *options):
        incoming, given = map(os.fdopen, os.pipe(), ("r", "wb"))
        made, outgoing = map(os.fdopen, os.pipe(), ("rb", "w"))
        with ThreadPoolExecutor(2) as threads, made, incoming, monkeypatch.context() as patched:
            threads.submit(feed_all, given, data)
            sources = threads.submit(made.read)
            patched.setattr(sys, "stdin", incoming)
            patched.setattr(sys, "stdout", outgoing)
            with outgoing:
                status = entry(["--stream", "--model", "small-snn", *options])
            return Done(status, sources.result(), capsys.readouterr().err.encode())

    return run


def feed_all(file, data):
    with suppress(BrokenPipeError), file:
        file.write(data)


def test_wav_in_wav_out(run, expected):
    done = run(wav(speechlike()))
    sources, rate = soundfile.read(io.BytesIO(done.stdout), dtype="int16")
    assert done.returncode == 0 and rate == 8000
    assert np.array_equal(sources.T, expected)
    assert b"8000 Hz, 1 channel, s16le; small-snn, sources 1099.9 ms late" in done.stderr


def test_sources_of_the_default_network_are_8_ms_late():
    """Causal, so that nothing of what is to come is waited for."""
    command = [part for part in COMMAND if part not in ("--model", "small-snn")]
    process = subprocess.Popen([*command, "--raw", "s16le"], bufsize=0, **dict.fromkeys(("stdin", "stdout", "stderr"), -1))
    process.stdin.write(speechlike(1000).tobytes())
    first = process.stdout.read(4 * (1000 - 63))
    rest, errors = process.communicate()
    assert len(first) == 4 * (1000 - 63) and len(rest) == 4 * 63
    assert b"small-causal-snn, sources 7.9 ms late" in errors


def test_samples_in_samples_out_while_they_come(expected):
    """What is due comes before the next samples have to be given."""
    process = subprocess.Popen([*COMMAND, "-q", "--raw", "s16le"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    process.stdin.write(speechlike()[:8900].tobytes())
    process.stdin.flush()
    due = 8900 - 8799
    first = process.stdout.read(4 * due)
    rest, _ = process.communicate(speechlike()[8900:].tobytes())
    assert np.array_equal(np.frombuffer(first + rest, np.int16).reshape(-1, 2).T, expected)


def test_two_named_pipes(run, tmp_path, expected):
    pipes, found = [tmp_path / "one", tmp_path / "two"], {}
    for pipe in pipes:
        os.mkfifo(pipe)
    threads = [threading.Thread(target=lambda pipe=pipe: found.update({pipe: pipe.read_bytes()})) for pipe in pipes]
    for thread in threads:
        thread.start()
    done = run(speechlike().tobytes(), "--raw", "s16le", "--to", *map(str, pipes))
    for thread in threads:
        thread.join()
    assert done.returncode == 0 and done.stdout == b""
    assert np.array_equal([np.frombuffer(found[pipe], np.int16) for pipe in pipes], expected)


def test_folder_report_and_the_end_within_a_sample(run, tmp_path, expected):
    done = run(speechlike().tobytes()[:-1], "--raw", "s16le", "-o", "out", "--json")
    assert done.returncode == 1
    assert b"ended in the middle of a sample" in done.stderr.splitlines()[-1]
    assert b'"latency_steps": 40' in done.stderr and b"Traceback" not in done.stderr
    found = [np.frombuffer((tmp_path / "out" / f"stdin_s{i}.raw").read_bytes(), np.int16) for i in (1, 2)]
    assert len(found[0]) == len(found[1]) == 8999
    again = run(b"", "-o", "out", "--raw", "s16le")
    assert again.returncode == 1 and b"stdin_s1.raw exists; overwrite" in again.stderr


@pytest.mark.parametrize(
    ("data", "options", "reason", "status"),
    [
        (b"", [], "nothing came", 1),
        (b"hello, is this a wav file?", [], "not a wav stream", 1),
        (wav(speechlike()) + wav(speechlike(), 16_000), [], "changes from 8000 Hz", 1),
        (b"", ["--rate", "8000"], "--rate and --channels are of --raw", 2),
        (b"", ["--raw", "s16le", "--float32"], "leave --float32 out", 2),
        (b"", ["--level", "mixture"], "leave --level out", 2),
        (b"", ["--shifts", "2"], "leave --shifts out", 2),
        (b"", ["--clip", "none"], "leave --clip out", 2),
        (b"", ["--raw", "s16le", "--to", "a"], "--to takes 2 files", 1),
        (b"", ["--to", "a", "b", "-o", "c"], "one of --to and -o", 2),
        (b"", ["--raw", "s16le", "--to", "/dev/null/a", "/dev/null/b"], "cannot write /dev/null/a", 1),
    ],
)
def test_bad_streams_and_options_end_with_one_line(data, options, reason, status, tmp_path, monkeypatch, capsys):
    (tmp_path / "sound").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    with Path("sound").open() as sound:
        monkeypatch.setattr(sys, "stdin", sound)
        with Path("sources").open("w") as sources:
            monkeypatch.setattr(sys, "stdout", sources)
            assert entry(["--stream", "--model", "small-snn", *options]) == status
    assert reason in capsys.readouterr().err.splitlines()[-1]


def test_stereo_of_opposite_polarity_is_separated_as_its_first_channel(run, expected):
    wave = speechlike()
    done = run(wav(np.stack([wave, -wave], 1)))
    sources, _ = soundfile.read(io.BytesIO(done.stdout), dtype="int16")
    assert np.array_equal(sources.T, expected)
    assert done.stderr.count(b"2 channels of opposite polarity, which would cancel: channel 1 taken") == 1


def test_whispers_keep_their_level_and_length(run):
    """What is raised for the network is lowered again: the sources add up to about the whisper."""
    wave = (speechlike(24_000) / 32768 * 3e-4).astype("<f4")
    done = run(wave.tobytes(), "--raw", "f32le")
    sources = np.frombuffer(done.stdout, "<f4").reshape(-1, 2)
    assert len(sources) == 24_000 and done.stderr.count(b"very quiet: raised by") == 1
    loudness = np.square(sources.sum(1)[8000:]).mean() / np.square(wave[8000:]).mean()
    assert 0.1 < loudness < 10


@pytest.mark.parametrize(("number", "status", "to"), [(signal.SIGINT, 130, "pipes"), (signal.SIGTERM, 143, "stdout")])
def test_a_reader_that_stalls_keeps_no_process_alive(tmp_path, number, status, to):
    pipes = [tmp_path / "one", tmp_path / "two"] if to == "pipes" else []
    for pipe in pipes:
        os.mkfifo(pipe)
    command = [part for part in COMMAND if part not in ("--model", "small-snn")]
    process = subprocess.Popen(
        [*command, "--raw", "s16le", *(["--to", *pipes] if pipes else [])],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
    )
    readers = [pipe.open("rb") for pipe in pipes] or [process.stdout]
    for reader in readers:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)  # which is full soon
    feeder = threading.Thread(target=feed, args=(process.stdin, speechlike(400_000).tobytes()))
    feeder.start()
    fill(readers[0])
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    feeder.join()
    assert b"Traceback" not in process.stderr.read()
    for file in (*readers, process.stdin, process.stdout, process.stderr):
        file.close()


def feed(file, data):
    with suppress(BrokenPipeError):
        file.write(data)
        file.flush()


def fill(pipe):
    """Wait until nothing more goes into a pipe, since nobody reads."""
    held, since = -1, time.monotonic()
    while held <= 0 or time.monotonic() - since < 0.5:
        waiting = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
        if waiting != held:
            held, since = waiting, time.monotonic()
        time.sleep(0.05)


def test_threads_that_wait_use_no_core():
    """All time of all threads is that of the one which computes."""
    code = (
        "import sys, time\nfrom separator.cli.separate import entry\nstatus = entry()\n"
        "print(time.process_time(), time.thread_time(), file=sys.stderr)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code, "--stream", "--raw", "s16le", "-q"],
        input=speechlike(40_000).tobytes(),
        capture_output=True,
        env=environment,
    )
    process, thread = map(float, done.stderr.split())
    assert len(done.stdout) == 160_000 and process < 1.3 * thread


def test_interruption_loses_nothing(expected):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([*COMMAND, "--raw", "s16le"], bufsize=0, **pipes)
    process.stdin.write(speechlike().tobytes())
    process.stdin.flush()
    first = process.stdout.read(4)  # all has been read by then
    process.send_signal(2)
    rest, errors = process.communicate()
    assert process.returncode == 130 and errors.endswith(b"interrupted\n")
    assert np.array_equal(np.frombuffer(first + rest, np.int16).reshape(-1, 2).T, expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--to", "a", "a"], "two sources would go to one file"),
        (["--to", "a", "./a"], "two sources would go to one file"),
        (["--to", "in.wav", "b", "--overwrite"], "in.wav is the input"),
        (["-o", ".", "--overwrite"], "stdin_s1.wav is the input"),
    ],
)
def test_sources_go_neither_to_one_file_nor_to_the_input(tmp_path, monkeypatch, capsys, options, reason):
    monkeypatch.chdir(tmp_path)
    Path("in.wav").write_bytes(wav(speechlike()))
    Path("stdin_s1.wav").hardlink_to("in.wav")
    with Path("in.wav").open() as sound:
        monkeypatch.setattr(sys, "stdin", sound)
        assert entry(["--stream", "--model", "small-snn", *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert Path("in.wav").read_bytes() == wav(speechlike()) and not Path("a").exists()


@pytest.mark.parametrize("impossible", ["folder", "kept/b.wav"])
def test_nothing_is_lost_or_made_where_one_output_cannot_be_opened(run, tmp_path, impossible):
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    for other in ("kept", "new"):
        done = run(wav(speechlike()), "--overwrite", "--to", other, impossible)
        assert done.returncode == 1 and f"cannot write {impossible}".encode() in done.stderr
    assert (tmp_path / "kept").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "kept"]


def test_what_is_replaced_leaves_nothing_behind(run, tmp_path, expected):
    (tmp_path / "a").write_bytes(bytes(1_000_000))
    assert run(wav(speechlike()), "--overwrite", "--to", "a", "b").returncode == 0
    for name, source in zip("ab", expected, strict=True):
        assert np.array_equal(soundfile.read(tmp_path / name, dtype="int16")[0], source)
        assert (tmp_path / name).stat().st_size == 44 + 2 * len(source)


def test_all_before_a_sample_that_is_no_number_comes_out(run, expected):
    wave = np.append(speechlike().astype("<f4") / 32768, [np.nan, 0]).astype("<f4")
    done = run(wave.tobytes(), "--raw", "f32le")
    sources = np.frombuffer(done.stdout, "<f4").reshape(-1, 2).T
    assert done.returncode == 1 and b"error: sample 9000 of the stream is NaN" in done.stderr
    np.testing.assert_allclose(sources * 32768, expected, atol=0.51)
