"""Models and weights from the web and from folders (``torch.hub``).

Files are kept below ``$TORCH_HOME/hub``, by default ``~/.cache/torch/hub``, as PyTorch keeps them: what one has
fetched the other finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlparse

import flambeau

__all__ = ["download_url_to_file", "get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

#: The beginning of a file's SHA-256, in its name: ``resnet18-f37072fd.pth``.
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_BLOCK = 1 << 17
_hub_dir: str | None = None


def get_dir() -> str:
    """The folder for what is downloaded: what :func:`set_dir` has set, else ``$TORCH_HOME/hub``."""
    return os.path.join(_get_torch_home(), "hub") if _hub_dir is None else _hub_dir


def _get_torch_home() -> str:
    """The folder for all that is kept. Programs know it by this name."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return os.path.expanduser(os.environ.get("TORCH_HOME") or os.path.join(cache, "torch"))


def set_dir(d: str | os.PathLike[str]) -> None:
    """Set the folder for what is downloaded."""
    global _hub_dir
    _hub_dir = os.path.expanduser(os.fspath(d))


# -- files -----------------------------------------------------------------------------------------------------------


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download a file (``http``, ``https``, ``ftp``, ``file``); it is there whole or not at all.

    Args:
        url: where it is.
        dst: where it shall be.
        hash_prefix: how its SHA-256 begins, as hexadecimal digits.
        progress: show a bar, where tqdm is installed.

    Raises:
        RuntimeError: when the hash is another one.
        OSError: when it cannot be had, with the reason.
    """
    folder = os.path.dirname(os.path.abspath(os.path.expanduser(dst)))
    digest = hashlib.sha256()
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".flambeau-", suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file, _opened(url) as response:
            length = response.headers.get("Content-Length")
            with _bar(int(length) if length else None, progress) as advance:
                while block := response.read(_BLOCK):
                    file.write(block)
                    digest.update(block)
                    advance(len(block))
        if hash_prefix is not None and not digest.hexdigest().startswith(hash_prefix):
            raise RuntimeError(
                f'invalid hash value of {url} (expected "{hash_prefix}", got "{digest.hexdigest()}"): the file is '
                "damaged or another one; nothing was kept"
            )
        os.chmod(temporary, 0o644)
        os.replace(temporary, os.path.expanduser(dst))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _opened(url: str) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": f"flambeau/{flambeau.__version__}"})
    try:
        return urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        raise OSError(f"{url} cannot be downloaded: the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise OSError(
            f"{url} cannot be downloaded: {error.reason}. Without a network, put the file where it is looked for, or "
            "give a file:// address"
        ) from error


@contextlib.contextmanager
def _bar(total: int | None, wanted: bool) -> Any:
    """What to call with the number of bytes that have arrived; a progress bar where tqdm is there."""
    if wanted:
        with contextlib.suppress(ImportError):
            from tqdm.auto import tqdm

            with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024) as bar:
                yield bar.update
            return
    yield lambda count: None


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
) -> Any:
    """What a file on the web holds, downloaded once (``torch.hub.load_state_dict_from_url``).

    Args:
        url: where it is.
        model_dir: the folder to keep it in, ``checkpoints`` below :func:`get_dir` unless given.
        map_location: as of :func:`flambeau.load`.
        progress: show a bar, where tqdm is installed.
        check_hash: the file's name has the beginning of its SHA-256 (``resnet18-f37072fd.pth``); compare.
        file_name: its name in the folder, the one of the address unless given.
        weights_only: as of :func:`flambeau.load`; True unless given, while PyTorch runs what is in the file.

    Raises:
        RuntimeError: when the hash is another one.
        OSError: when it cannot be had.
    """
    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else os.path.expanduser(model_dir)
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(unquote(urlparse(url).path))
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        print(f'Downloading: "{url}" to {path}', file=sys.stderr)
        found = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, found[1] if found else None, progress)
    return flambeau.load(path, map_location=map_location, weights_only=weights_only)


# -- repositories ----------------------------------------------------------------------------------------------------


def load(
    repo_or_dir: str,
    model: str,
    *args: Any,
    source: str = "github",
    trust_repo: bool | str | None = None,
    force_reload: bool = False,
    verbose: bool = True,
    skip_validation: bool = False,
    **kwargs: Any,
) -> Any:
    """Call an entry point of a repository's ``hubconf.py``: this runs its code (``torch.hub.load``).

    Args:
        repo_or_dir: a folder for ``source="local"``, else ``"owner/name"`` or ``"owner/name:branch"``.
        model: the entry point, with the arguments that follow.
        source: ``"github"`` or ``"local"``.
        trust_repo: True to run code from the web without being asked, ``"check"`` (the default) to be asked once a
            repository, False to be asked each time. Programs without a terminal have to say True.
        force_reload: download again.
        verbose: say when a repository that is there already is used.
        skip_validation: accepted; a repository that is not there is an error when it is downloaded.

    Raises:
        RuntimeError: when the repository has no such entry point, or needs packages that are missing.
        ValueError: for another source.
        OSError: when the repository cannot be had.
    """
    folder = _folder(repo_or_dir, source, trust_repo, force_reload, verbose)
    return _entry(_hubconf(folder), model)(*args, **kwargs)


def list(
    github: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: bool | str | None = None,
    verbose: bool = True,
    source: str = "github",
) -> Any:
    """The names of the entry points of a repository's ``hubconf.py``, which is run (``torch.hub.list``)."""
    module = _hubconf(_folder(github, source, trust_repo, force_reload, verbose))
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]


def help(
    github: str,
    model: str,
    force_reload: bool = False,
    skip_validation: bool = False,
    trust_repo: bool | str | None = None,
    source: str = "github",
) -> str | None:
    """The docstring of an entry point of a repository's ``hubconf.py``, which is run (``torch.hub.help``)."""
    return _entry(_hubconf(_folder(github, source, trust_repo, force_reload, True)), model).__doc__


def _folder(repository: str, source: str, trust: bool | str | None, reload: bool, verbose: bool) -> Path:
    if source not in ("github", "local"):
        raise ValueError(f"hub: unknown source {source!r}; it is 'github' or 'local'")
    if source == "local":
        return Path(repository).expanduser()
    owner, name, branch = _parsed(repository)
    folder = Path(get_dir(), f"{owner}_{name}_{(branch or 'HEAD').replace('/', '_')}")
    _ask(f"{owner}/{name}", trust)
    if folder.exists() and not reload:
        if verbose:
            print(f"Using cache found in {folder}", file=sys.stderr)
        return folder
    Path(get_dir()).mkdir(parents=True, exist_ok=True)
    archive = f"{folder}.zip"
    download_url_to_file(f"https://github.com/{owner}/{name}/zipball/{branch or 'HEAD'}", archive, progress=verbose)
    try:
        _unpack(archive, folder)
    finally:
        os.unlink(archive)
    return folder


def _parsed(repository: str) -> tuple[str, str, str | None]:
    found = re.fullmatch(r"([\w.-]+)/([\w.-]+)(?::([\w./-]+))?", repository)
    if found is None:
        raise ValueError(f"hub: expected a repository as 'owner/name' or 'owner/name:branch', got {repository!r}")
    return found[1], found[2], found[3]


def _ask(repository: str, trust: bool | str | None) -> None:
    """Ask whether code from the web may run, as ``trust_repo`` says."""
    listed = Path(get_dir(), "trusted_list")
    known = listed.read_text().split() if listed.exists() else []
    marker = repository.replace("/", "_")
    trusted = trust is True or (trust is not False and marker in known)
    if not trusted:
        if sys.stdin is None or not sys.stdin.isatty():
            raise RuntimeError(
                f"hub: {repository} is code from the web, which nobody here has said to trust; pass trust_repo=True"
            )
        if input(f"{repository} is code from the web. Do you trust it and want to run it? (y/N) ") not in ("y", "Y"):
            raise RuntimeError(f"hub: {repository} is not trusted")
    if marker not in known:
        listed.parent.mkdir(parents=True, exist_ok=True)
        with listed.open("a") as file:
            file.write(f"{marker}\n")


def _unpack(archive: str, folder: Path) -> None:
    """Put what is in an archive's one folder at ``folder``."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary, zipfile.ZipFile(archive) as opened:
        opened.extractall(temporary)
        (inner,) = Path(temporary).iterdir()
        shutil.rmtree(folder, ignore_errors=True)
        inner.rename(folder)


def _hubconf(folder: Path) -> ModuleType:
    path = folder / "hubconf.py"
    if not path.exists():
        raise FileNotFoundError(f"hub: there is no {path}")
    spec: ModuleSpec | None = spec_from_file_location("hubconf", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"hub: {path} cannot be imported")
    module = module_from_spec(spec)
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def _entry(module: ModuleType, name: str) -> Callable[..., Any]:
    needed = getattr(module, "dependencies", [])
    lacking = [package for package in needed if package != "torch" and find_spec(package) is None]
    if lacking:
        raise RuntimeError(f"Missing dependencies: {', '.join(lacking)}")
    found = getattr(module, name, None)
    if not callable(found) or name.startswith("_"):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return found
