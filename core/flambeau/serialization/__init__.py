"""Saving and loading: PyTorch's checkpoint format, read and written without PyTorch.

:func:`save` and :func:`load` are ``torch.save`` and ``torch.load``; each reads what the other wrote. By the extension
of a path they also know ``.safetensors``, and whatever formats plugins bring.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.serialization._options import (
    LoadEndianness,
    get_crc32_options,
    get_default_load_endianness,
    get_default_mmap_options,
    options,
    register_package,
    set_crc32_options,
    set_default_load_endianness,
    set_default_mmap_options,
    skip_data,
)

__all__ = [
    "LoadEndianness", "add_safe_globals", "clear_safe_globals", "get_crc32_options", "get_default_load_endianness",
    "get_default_mmap_options", "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "register_package",
    "safe_globals", "save", "set_crc32_options", "set_default_load_endianness", "set_default_mmap_options", "skip_data",
]  # fmt: skip

# Extensions for which no plugin is asked.
_OWN_EXTENSIONS = frozenset({"", ".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar"})


def save(
    obj: Any,
    f: str | os.PathLike[str] | Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write ``obj`` to a file that :func:`load` and ``torch.load`` read (``torch.save``).

    Tensors that share memory share it again after loading; a view takes only the part of its base into the file that
    the saved tensors use. A path is written whole or not at all: when something fails, an older file stays.

    Args:
        obj: tensors, containers of them, modules ... anything that can be pickled.
        f: a path, or an object with ``write``. The extension ``.safetensors`` (for a dict of tensors) and those of
            plugins choose another format.
        pickle_module: :mod:`pickle`; there is no other way here.
        pickle_protocol: ``torch.load`` with ``weights_only=True`` reads 2 only.
        _use_new_zipfile_serialization: False warns: the format of PyTorch before 1.6 is read and not written.

    Raises:
        ValueError: for another ``pickle_module``.
        RuntimeError: when the folder does not exist, or tensors of different dtypes share memory.
        TypeError: when ``f`` is neither, or ``obj`` does not fit the format.
        pickle.PicklingError: when ``obj`` holds what cannot be pickled.
    """
    if pickle_module is not pickle:
        raise ValueError(
            f"save: pickle_module should be pickle, got {pickle_module!r}; other picklers are not supported"
        )
    if not _use_new_zipfile_serialization:
        warnings.warn(
            "save: the format of PyTorch before 1.6 is not written; the file gets the zip format, which every PyTorch "
            "since 1.6 reads",
            stacklevel=2,
        )
    if not isinstance(f, (str, os.PathLike)):
        if not hasattr(f, "write"):
            raise TypeError(f"save: expected 'f' to be a path or an object with a write method, got {type(f).__name__}")
        _write(obj, f, "archive", pickle_protocol)
        return
    from flambeau.serialization._files import whole_file

    path = os.fspath(f)
    save_other = _other_format(path)[0]
    with whole_file(path) as temporary:
        if save_other is not None:
            save_other(obj, temporary)
        else:
            with open(temporary, "wb") as stream:
                _write(obj, stream, os.path.splitext(os.path.basename(path))[0] or "archive", pickle_protocol)


def load(
    f: str | os.PathLike[str] | Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Read what :func:`save` or ``torch.save`` wrote (``torch.load``).

    Args:
        f: a path, or a seekable binary file.
        map_location: where tensors go. None: where they were; a device or its name; a dict from old to new location;
            or a function from ``(storage, location)`` to the storage, moved, or to None for "where it was". On
            ``"meta"`` no data is read.
        pickle_module: with ``weights_only=False`` a module whose ``Unpickler`` is used; :mod:`pickle` unless given.
        weights_only: build tensors, containers, numbers and the like, and no other objects; no code of the file can
            run. True unless given (or unless ``pickle_module`` is). False loads anything that can be pickled, and
            *runs whatever code the file contains*.
        mmap: let the tensors be the file's pages, read when they are first touched, instead of copying them. Writing
            into the tensors does not change the file (see :class:`set_default_mmap_options`). The checksums of the
            tensors are not compared then.
        pickle_load_args: ``encoding`` and ``errors`` for the strings of Python 2, with ``weights_only=False``.

    Raises:
        pickle.UnpicklingError: when the file asks for objects that are not allowed, see :func:`add_safe_globals`.
        RuntimeError: when it is cut off, damaged or no checkpoint, or its device is not available.
    """
    from flambeau.serialization._reader import Reading

    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only and pickle_module is not None:
        raise RuntimeError(
            "load: Can not safely load weights when explicit pickle_module is specified; leave it out, or pass "
            "weights_only=False"
        )
    trusting = None if weights_only else (pickle_module or pickle).Unpickler
    reading = (map_location, trusting, dict(_users), {"encoding": "utf-8", **pickle_load_args})

    if not isinstance(f, (str, os.PathLike)):
        if mmap:
            raise ValueError("load: f must be a file path in order to use mmap=True")
        _check_seekable(f)
        return Reading("the given file object", *reading).read(f, False)
    path = os.fspath(f)
    load_other = _other_format(path)[1]
    if load_other is not None:
        return load_other(path, map_location)
    with open(path, "rb") as stream:
        return Reading(repr(path), *reading).read(stream, bool(mmap))


def _write(obj: Any, stream: Any, folder: str, protocol: int) -> None:
    import numpy

    from flambeau.serialization._archive import ALIGNMENT, ArchiveWriter
    from flambeau.serialization._pickler import dump

    pickled, spans = dump(obj, protocol)
    archive = ArchiveWriter(stream, folder)
    archive.write("data.pkl", pickled)
    archive.write(".format_version", b"1")
    archive.write(".storage_alignment", str(ALIGNMENT).encode())
    archive.write("byteorder", sys.byteorder.encode())
    for span in spans:
        archive.write(
            f"data/{span.key}", numpy.zeros(span.high - span.low, "u1") if options.skip_data else span.content()
        )
    archive.close()


def _check_seekable(f: Any) -> None:
    missing = [name for name in ("read", "seek", "tell") if not hasattr(f, name)]
    if missing:
        raise AttributeError(
            f"load: 'f' is a path or a seekable binary file; {type(f).__name__} has no {', '.join(missing)}. "
            "Read it into an io.BytesIO first"
        )
    try:
        f.seek(f.tell())
    except OSError:  # io.UnsupportedOperation is one
        raise io.UnsupportedOperation(
            "load: only seekable files can be loaded; read this one into an io.BytesIO first"
        ) from None


# -- other formats -----------------------------------------------------------------------------------------------------


def _other_format(path: str) -> tuple[Callable[..., None] | None, Callable[..., Any] | None]:
    extension = os.path.splitext(path)[1].lower()
    if extension in _OWN_EXTENSIONS:
        return None, None
    if extension == ".safetensors":
        from flambeau.serialization import _safetensors

        return _safetensors.save, _safetensors.load
    from flambeau import plugins

    found = plugins.collect("flambeau_file_formats").get(extension)
    if found is None:
        return None, None

    def load_other(path: str, map_location: Any) -> Any:
        return _moved(found[1](path), map_location)

    return found[0], load_other


def _moved(obj: Any, map_location: Any) -> Any:
    """What a plugin loaded, with its tensors on the device asked for."""
    from flambeau.devices import device
    from flambeau.tensor import Tensor

    if map_location is None:
        return obj
    if not isinstance(map_location, (str, device)):
        raise RuntimeError(
            f"load: with a plugin's format map_location is a device or its name, got a {type(map_location).__name__}"
        )
    if isinstance(obj, Tensor):
        return obj.to(map_location)
    if isinstance(obj, Mapping):
        return {key: _moved(value, map_location) for key, value in obj.items()}
    if type(obj) in (list, tuple):
        return type(obj)(_moved(value, map_location) for value in obj)
    return obj


# -- what weights_only=True may build ----------------------------------------------------------------------------------

_users: dict[str, Any] = {}


def _named(entry: Any) -> tuple[str, Any]:
    if isinstance(entry, tuple):
        if len(entry) != 2 or not isinstance(entry[1], str):
            raise ValueError(f"add_safe_globals: expected (object, 'module.name'), got {entry!r}")
        return entry[1], entry[0]
    return f"{entry.__module__}.{entry.__qualname__}", entry


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Let :func:`load` build these classes and call these functions (``torch.serialization.add_safe_globals``).

    Args:
        safe_globals: classes and functions, or ``(object, "module.name")`` for one that the file knows by another name.
    """
    _users.update(_named(entry) for entry in safe_globals)


def get_safe_globals() -> list[Any]:
    """What :func:`add_safe_globals` added."""
    return list(_users.values())


def clear_safe_globals() -> None:
    """Take back all that :func:`add_safe_globals` added."""
    _users.clear()


class safe_globals:
    """Allow classes and functions inside a ``with`` block; the argument is :func:`add_safe_globals`'s."""

    def __init__(self, safe_globals: Sequence[Any]) -> None:
        self._added = dict(_named(entry) for entry in safe_globals)

    def __enter__(self) -> None:
        self._before = dict(_users)
        _users.update(self._added)

    def __exit__(self, *error: object) -> None:
        _users.clear()
        _users.update(self._before)


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike[str]) -> list[str]:
    """The full names that a checkpoint asks for and that ``weights_only=True`` refuses, found without loading it.

    Raises:
        RuntimeError: when the file is cut off, damaged, or not in the zip format.
    """
    from flambeau.serialization._archive import ArchiveReader
    from flambeau.serialization._rebuild import GLOBALS
    from flambeau.serialization._unpickler import Looker

    with open(f, "rb") as stream:
        looker = Looker(ArchiveReader(stream, repr(os.fspath(f))).read("data.pkl").tobytes(), lambda saved_id: None)
    looker.load()
    return sorted(looker.globals - GLOBALS.keys() - _users.keys())
