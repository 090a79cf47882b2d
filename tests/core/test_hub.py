"""``flambeau.hub``: downloads that are whole or not there, weights, entry points of repositories."""

from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import flambeau
from flambeau import hub


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    yield
    hub._hub_dir = None


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a server shows it."""
    folder = tmp_path / "web"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.get_dir() == str(tmp_path / "home" / "hub")
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert hub.get_dir() == "/cache/torch/hub" and hub._get_torch_home() == "/cache/torch"
    hub.set_dir(tmp_path)
    assert hub.get_dir() == str(tmp_path)


def test_download(web: tuple[Path, str], tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (web[0] / "file.bin").write_bytes(content)
    target = tmp_path / "target.bin"
    hub.download_url_to_file(f"{web[1]}/file.bin", str(target), hashlib.sha256(content).hexdigest()[:8], progress=False)
    assert target.read_bytes() == content
    hub.download_url_to_file((web[0] / "file.bin").as_uri(), str(target))
    assert target.read_bytes() == content


def test_nothing_is_left_of_a_bad_download(web: tuple[Path, str], tmp_path: Path) -> None:
    (web[0] / "file.bin").write_bytes(b"abc")
    folder = tmp_path / "empty"
    folder.mkdir()
    target = str(folder / "file.bin")
    with pytest.raises(RuntimeError, match=r'invalid hash value .* \(expected "00000000", got "ba7816bf'):
        hub.download_url_to_file(f"{web[1]}/file.bin", target, "00000000", progress=False)
    with pytest.raises(OSError, match="the server says 404"):
        hub.download_url_to_file(f"{web[1]}/nothing.bin", target, progress=False)
    with pytest.raises(OSError, match="cannot be downloaded: .*Without a network, put the file where"):
        hub.download_url_to_file("http://127.0.0.1:9/x", target, progress=False)
    assert list(folder.iterdir()) == []


def test_weights(web: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flambeau.save({"a": flambeau.ones(2)}, web[0] / "w.pt")
    digest = hashlib.sha256((web[0] / "w.pt").read_bytes()).hexdigest()[:8]
    (web[0] / "w.pt").rename(web[0] / f"w-{digest}.pt")
    for _ in range(2):
        found = hub.load_state_dict_from_url(f"{web[1]}/w-{digest}.pt", check_hash=True, progress=False)
        assert found["a"].tolist() == [1, 1]
    assert capsys.readouterr().err.count("Downloading") == 1
    assert (Path(hub.get_dir()) / "checkpoints" / f"w-{digest}.pt").exists()
    (web[0] / "w-00000000.pt").write_bytes((web[0] / f"w-{digest}.pt").read_bytes())
    with pytest.raises(RuntimeError, match="invalid hash value"):
        hub.load_state_dict_from_url(f"{web[1]}/w-00000000.pt", check_hash=True, progress=False)
    assert flambeau.utils.model_zoo.load_url is hub.load_state_dict_from_url


HUBCONF = '''
dependencies = ["math"]
from beside import scale

def model(size=1, pretrained=False):
    """A model."""
    return [size * scale, pretrained]

def _hidden():
    pass
'''


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "hubconf.py").write_text(HUBCONF)
    (folder / "beside.py").write_text("scale = 10\n")
    return folder


def test_local_repository(tmp_path: Path) -> None:
    folder = str(repository(tmp_path / "repo"))
    assert hub.load(folder, "model", 2, source="local", pretrained=True) == [20, True]
    assert hub.list(folder, source="local") == ["model"]
    assert hub.help(folder, "model", source="local") == "A model."
    with pytest.raises(RuntimeError, match="Cannot find callable nothing in hubconf"):
        hub.load(folder, "nothing", source="local")
    (tmp_path / "repo" / "hubconf.py").write_text("dependencies = ['no_such_package']\ndef model(): pass\n")
    with pytest.raises(RuntimeError, match="Missing dependencies: no_such_package"):
        hub.load(folder, "model", source="local")
    with pytest.raises(FileNotFoundError, match=r"hubconf\.py"):
        hub.load(str(tmp_path), "model", source="local")
    with pytest.raises(ValueError, match="unknown source 'ftp'"):
        hub.load(folder, "model", source="ftp")


def test_repository_from_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "archive.zip"
    inside = repository(tmp_path / "owner-name-0123abc")
    with zipfile.ZipFile(archive, "w") as file:
        for path in inside.iterdir():
            file.write(path, path.relative_to(tmp_path))
    asked: list[str] = []

    def download(url: str, dst: str, **options: object) -> None:
        asked.append(url)
        Path(dst).write_bytes(archive.read_bytes())

    monkeypatch.setattr(hub, "download_url_to_file", download)
    with pytest.raises(RuntimeError, match="owner/name is code from the web, .* pass trust_repo=True"):
        hub.load("owner/name", "model")
    assert asked == []
    assert hub.load("owner/name:v1", "model", trust_repo=True) == [10, False]
    assert hub.load("owner/name:v1", "model", verbose=False) == [10, False]  # trusted once, and there
    assert asked == ["https://github.com/owner/name/zipball/v1"]
    assert hub.list("owner/name:v1", force_reload=True) == ["model"]
    assert len(asked) == 2
    with pytest.raises(RuntimeError, match="trust_repo=True"):
        hub.load("owner/name:v1", "model", trust_repo=False)
    with pytest.raises(ValueError, match="expected a repository as 'owner/name'"):
        hub.load("../../etc", "model", trust_repo=True)
