from itertools import permutations

import numpy as np
import pytest
import soundfile

from separator.corpora.training.surroundings import Rooms, load_noise, load_rooms
from separator.errors import UserError


@pytest.fixture
def noises(tmp_path):
    """A noise of 50 values above zero, one below zero, and silence."""
    (tmp_path / "audio").mkdir()
    steps = np.arange(1, 51, dtype=np.int16)
    for name, wave in (("up", steps), ("down", -3 * steps), ("silent", 0 * steps)):
        soundfile.write(tmp_path / "audio" / f"{name}.wav", wave, 8000)
    (tmp_path / "readme.txt").write_text("not a sound\n")
    return tmp_path


def test_noise_is_repeated_from_a_random_place_on(noises):
    bank = load_noise(noises, 8000)
    assert len(bank.scales) == 2
    rng = np.random.default_rng(0)
    starts, signs = set(), set()
    for _ in range(100):
        wave = bank.joined(bank.draw(120, rng))
        steps = np.round(np.abs(wave) * 50).astype(int)
        assert wave.shape == (120,) and ((steps[1:] - steps[:-1]) % 50 == 1).all()
        starts.add(steps[0])
        signs.add(float(np.sign(wave[0])))
    assert len(starts) > 30 and signs == {-1.0, 1.0}


def test_a_list_of_noises_goes_before_what_lies_there(noises):
    (noises / "noise.tsv").write_text("audio/down.wav\tsomewhere\tCC0\n\n")
    assert (load_noise(noises, 8000).waves < 0).all()
    (noises / "noise.tsv").write_text("audio/gone.wav\n")
    with pytest.raises(UserError, match=r"gone.wav"):
        load_noise(noises, 8000)
    (noises / "noise.tsv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UserError, match=r"noise.tsv: not a text file"):
        load_noise(noises, 8000)


def test_folders_that_are_no_noises(noises, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        load_noise(tmp_path / "absent", 8000)
    with pytest.raises(UserError, match="8000 Hz, not 16000 Hz"):
        load_noise(noises, 16000)
    (noises / "audio" / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"broken.wav"):
        load_noise(noises, 8000)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no noises"):
        load_noise(tmp_path / "empty", 8000)


def test_two_rows_are_a_room(tmp_path):
    rir = np.arange(1, 25, dtype=np.float16).reshape(6, 4)
    np.savez(tmp_path / "rooms.npz", rir=rir, rt60=np.zeros(3))
    rooms = load_rooms(tmp_path / "rooms.npz", 8000)
    assert rooms.responses.dtype == np.float32 and rooms.responses.shape == (3, 2, 4)
    rng = np.random.default_rng(0)
    assert rooms.responses[:, :, 0].tolist() == [[1, 5], [9, 13], [17, 21]]
    drawn = {rooms.draw(2, rng) for _ in range(200)}
    assert drawn == {(room, places) for room in range(3) for places in ((0, 1), (1, 0))}
    with pytest.raises(UserError, match="too few for 3"):
        rooms.require(3)


def test_responses_have_the_rate_of_the_network(tmp_path):
    """8 kHz where the file does not say."""
    path, rir = tmp_path / "rooms.npz", np.ones((2, 4))
    np.savez(path, rir=rir)
    load_rooms(path, 8000)
    with pytest.raises(UserError, match="holds no rate, which the network's of 16000 Hz needs"):
        load_rooms(path, 16000)
    np.savez(path, rir=rir, rate=16000)
    load_rooms(path, 16000)
    for rate, found in ((16000, "16000"), ([8000], r"\[8000\]"), ("8 kHz", "8 kHz")):
        np.savez(path, rir=rir, rate=rate)
        with pytest.raises(UserError, match=f"has the rate {found}"):
            load_rooms(path, 8000)


@pytest.mark.parametrize(
    "arrays",
    [
        {"other": np.ones((2, 4))},
        {"rir": np.ones((3, 4))},
        {"rir": np.ones(4)},
        {"rir": np.ones((0, 4))},
        {"rir": np.array([[1.0, np.nan], [1.0, 0.0]])},
        {"rir": np.array([[1.0, 0.0], [0.0, 0.0]])},
        {"rir": np.array(["a", "b"])},
        {"rir": np.array([None, "b"], dtype=object)},
    ],
)
def test_arrays_that_are_no_rooms(tmp_path, arrays):
    np.savez(tmp_path / "rooms.npz", **arrays)
    with pytest.raises(UserError, match=r"rooms.npz.*rir"):
        load_rooms(tmp_path / "rooms.npz", 8000)


def test_files_that_are_no_rooms(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*absent\.npz: No such file"):
        load_rooms(tmp_path / "absent.npz", 8000)
    np.savez(tmp_path / "cut.npz", rir=np.ones((2, 400)))
    whole = (tmp_path / "cut.npz").read_bytes()
    for damaged in (whole[:500], b"", b"no zip", whole[:100] + bytes(50) + whole[150:]):
        (tmp_path / "cut.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"cut.npz"):
            load_rooms(tmp_path / "cut.npz", 8000)
    np.save(tmp_path / "one.npy", np.ones((2, 4)))
    for path, reason in ((tmp_path / "one.npy", "no npz file"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=reason):
            load_rooms(path, 8000)


def test_rooms_may_have_more_places_than_talkers():
    rooms = Rooms(np.arange(12, dtype=np.float32).reshape(1, 3, 4))
    drawn = {rooms.draw(2, rng) for rng in map(np.random.default_rng, range(50))}
    assert drawn == {(0, places) for places in permutations(range(3), 2)}
