import gzip
import hashlib
import io
import os
import signal
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from separator.cli.main import main
from separator.errors import UserError
from separator.images import downloads
from separator.images.cifar import BATCHES, read_cifar10
from separator.images.downloads import PublishedSet, fetch
from separator.images.idx import FILES, read_mnist
from tests.images.test_cifar import write_batches
from tests.images.test_idx import idx

NAMES = [f"{name}.gz" for names in FILES.values() for name in names]
MEMBERS = [f"cifar-10-batches-bin/{name}" for names in BATCHES.values() for name in names]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; below `broken/` it promises more than it sends."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if not self.path.startswith("/broken/"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"0123456789")

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server's folder with both sets, its URL, and the list of paths that it was asked for."""
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    for pixels, labels in FILES.values():
        (folder / f"{pixels}.gz").write_bytes(gzip.compress(idx(rng.integers(0, 256, (20, 28, 28), np.uint8))))
        (folder / f"{labels}.gz").write_bytes(gzip.compress(idx(rng.integers(0, 10, 20).astype(np.uint8))))
    write_batches(folder / "cifar-10-batches-bin")
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
        archive.add(folder / "cifar-10-batches-bin", "cifar-10-batches-bin")
        extra = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
        archive.addfile(extra, io.BytesIO())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.asked = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", server.asked
    server.shutdown()
    server.server_close()


def published(folder, *mirrors):
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in NAMES}
    return PublishedSet(mirrors, sums, read_mnist)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def test_files_arrive_as_they_are_served_and_only_once(served, tmp_path):
    folder, url, asked = served
    said = []
    images = fetch(published(folder, url), tmp_path / "mnist", log=said.append)
    assert files(tmp_path / "mnist") == sorted(NAMES)
    assert all((tmp_path / "mnist" / name).read_bytes() == (folder / name).read_bytes() for name in NAMES)
    assert (len(images.train), len(images.dev), len(images.test)) == (18, 2, 20)
    (tmp_path / "mnist" / NAMES[1]).unlink()
    asked.clear()
    fetch(published(folder, url), tmp_path / "mnist", log=said.append)
    assert asked == [f"/{NAMES[1]}"]
    assert len(said) == 8 and sum("already" in line for line in said) == 3


def test_of_an_archive_the_images_are_kept(served, tmp_path):
    folder, url, asked = served
    checksum = hashlib.sha256((folder / "cifar.tar.gz").read_bytes()).hexdigest()
    cifar = PublishedSet((url,), {"cifar.tar.gz": checksum}, read_cifar10, tuple(MEMBERS))
    for times in (1, 1):
        images = fetch(cifar, tmp_path, log=lambda line: None)
        assert files(tmp_path) == sorted(MEMBERS)
        assert asked.count("/cifar.tar.gz") == times
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in MEMBERS)
    assert np.array_equal(images.test.labels, read_cifar10(folder).test.labels)


def test_what_is_not_whole_and_right_is_not_kept(served, tmp_path):
    folder, url, _ = served
    wrong = published(folder, url)
    wrong.checksums[NAMES[2]] = "0" * 64
    digest = hashlib.sha256((folder / NAMES[2]).read_bytes()).hexdigest()
    with pytest.raises(UserError, match=f"cannot get {NAMES[2]}: 127.0.0.1:.* has another file, of SHA-256 {digest}; "):
        fetch(wrong, tmp_path / "wrong", log=lambda line: None)
    assert files(tmp_path / "wrong") == sorted(NAMES[:2])
    with pytest.raises(UserError, match="broke off after 10 of 1000 bytes") as error:
        fetch(published(folder, f"{url}/broken"), tmp_path / "broken", log=lambda line: None)
    assert "\n" not in str(error.value) and files(tmp_path / "broken") == []


def test_the_next_mirror_is_tried_and_all_failures_are_told(served, tmp_path):
    folder, url, _ = served
    fetch(published(folder, f"{url}/broken", f"{url}/nowhere/", f"{url}/"), tmp_path / "a", log=lambda line: None)
    assert files(tmp_path / "a") == sorted(NAMES)
    nobody = "http://127.0.0.1:1"
    with pytest.raises(UserError, match=r":1 cannot be read \(Connection refused\); 127.*answers 404 File not found; without"):
        fetch(published(folder, nobody, f"{url}/nowhere"), tmp_path / "b", log=lambda line: None)
    assert files(tmp_path / "b") == []


def test_an_interrupted_download_leaves_nothing(served, tmp_path, monkeypatch):
    folder, url, _ = served

    def interrupted(url):
        yield b"the first block"
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_blocks", interrupted)
    archive = PublishedSet((url,), {"cifar.tar.gz": "0" * 64}, read_cifar10, tuple(MEMBERS))
    for images in (published(folder, url), archive):
        with pytest.raises(KeyboardInterrupt):
            fetch(images, tmp_path, log=lambda line: None)
        assert files(tmp_path) == []


@pytest.mark.parametrize("unpacked", [(), tuple(MEMBERS)])
def test_a_killed_download_leaves_nothing_for_good(served, tmp_path, monkeypatch, unpacked):
    folder, url, _ = served
    images = published(folder, url)
    if unpacked:
        checksum = hashlib.sha256((folder / "cifar.tar.gz").read_bytes()).hexdigest()
        images = PublishedSet((url,), {"cifar.tar.gz": checksum}, read_cifar10, unpacked)

    def killed(url):
        yield b"the first block"
        os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        monkeypatch.setattr(downloads, "_blocks", killed)
        fetch(images, tmp_path, log=lambda line: None)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    fetch(images, tmp_path, log=lambda line: None)
    assert files(tmp_path) == sorted(unpacked or NAMES)


def test_mistakes_are_one_line(served, tmp_path, capsys):
    _, url, _ = served
    (tmp_path / "file").touch()
    for arguments, message in (
        (("mnist", tmp_path / "a", "--mirror", url), f"127.0.0.1:{url.rpartition(':')[2]} has another file"),
        (("cifar10", tmp_path / "a", "--mirror", url), "cannot get cifar-10-binary.tar.gz: "),
        (("mnist", tmp_path / "a", "--mirror", "file:///etc"), "a mirror is the URL of a folder"),
        (("mnist", tmp_path / "file", "--mirror", url), "cannot make the folder"),
    ):
        assert main(["fetch-images", *map(str, arguments)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("separator fetch-images: error: ") and error.count("\n") == 1
        assert message in error
    assert files(tmp_path) == ["file"]


def test_a_folder_that_is_complete_is_only_read(served, tmp_path, capsys):
    folder, _, _ = served
    assert main(["fetch-images", "mnist", str(folder), "--mirror", "http://127.0.0.1:1"]) == 0
    assert capsys.readouterr().out == f"{folder}: 18 to train on, 2 held out, 20 to test on\n"
