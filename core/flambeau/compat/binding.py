"""The import hook: a finder that stands before all others and answers for PyTorch's names."""

from __future__ import annotations

import importlib.abc
import multiprocessing.spawn
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from flambeau.compat.names import STAND_INS, VERSIONS, missing, module_for, own_name, pytorch_name
from flambeau.compat.version import TorchVersion


def install() -> None:
    """Bind ``torch``, ``torchvision``, ``torchaudio`` and ``torchtext`` to Flambeau's modules from here on.

    Nothing is imported yet. A PyTorch that is installed too is not touched.

    Raises:
        RuntimeError: when the program has imported PyTorch already: it would hold modules of both.
    """
    if is_installed():
        return
    loaded = [name for name in STAND_INS if name in sys.modules]
    if loaded:
        raise RuntimeError(f"flambeau.compat: {loaded[0]} is imported already; call install() before")
    sys.meta_path.insert(0, _finder)
    multiprocessing.spawn.get_preparation_data = _preparation_data


def uninstall() -> None:
    """Undo :func:`install`. What a program has imported it keeps."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    multiprocessing.spawn.get_preparation_data = _plain_preparation_data
    for name in [name for name in sys.modules if name.partition(".")[0] in STAND_INS]:
        del sys.modules[name]
    _finder.release()


@contextmanager
def installed() -> Iterator[None]:
    """Bind the names inside a ``with`` block; where they were bound before, they stay so after it."""
    before = is_installed()
    install()
    try:
        yield
    finally:
        if not before:
            uninstall()


def is_installed() -> bool:
    """Whether the names are bound."""
    return _finder in sys.meta_path


# -- finding and loading -----------------------------------------------------------------------------------------------


class _Finder(importlib.abc.MetaPathFinder):
    """Finds PyTorch's modules in ours, and says so where one of ours lacks a name."""

    def __init__(self) -> None:
        self.bound: dict[str, Callable[..., Any] | None] = {}  # our modules, and the `__getattr__` that each had

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in STAND_INS:
            own = module_for(name)
            if own is None:
                # Under another `name` than was asked for, or `from torch import Missing` would go on without it.
                raise ModuleNotFoundError(missing(name), name=own_name(name))
            return ModuleSpec(name, _Loader(own), is_package=True)
        # `from torch.nn import Missing` asks for `flambeau.nn.Missing` in the end: there is no module of that name.
        if name.rpartition(".")[0] in self.bound and PathFinder.find_spec(name, path) is None:
            raise ImportError(missing(pytorch_name(name)), name=name)
        return None

    def bind(self, module: ModuleType) -> None:
        """Let a module that lacks a name say so by the name that the program used."""
        if module.__name__ in self.bound or not module.__name__.startswith(tuple(STAND_INS.values())):
            return
        ask = self.bound[module.__name__] = module.__dict__.get("__getattr__")

        def look_up(name: str) -> Any:
            try:
                if ask is not None:
                    return ask(name)
            except AttributeError:
                pass
            if not name.startswith("__"):
                found = _submodule(f"{module.__name__}.{name}")
                if found is not None:
                    return found
            raise AttributeError(missing(f"{pytorch_name(module.__name__)}.{name}"), name=name, obj=module)

        module.__dict__["__getattr__"] = look_up

    def release(self) -> None:
        """Leave the modules as they were."""
        for name, ask in self.bound.items():
            namespace = sys.modules[name].__dict__
            if ask is None:
                del namespace["__getattr__"]
            else:
                namespace["__getattr__"] = ask
        self.bound.clear()


def _submodule(name: str) -> ModuleType | None:
    """PyTorch imports its submodules with itself, ours are imported when asked for: ``torch.nn.utils.prune``."""
    parent, _, child = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", None)
    if child.startswith("_") or path is None or PathFinder.find_spec(name, path) is None:
        return None
    return import_module(name)


class _Loader(importlib.abc.Loader):
    """Loads a module of PyTorch's name: it is ours, imported under its own name."""

    def __init__(self, own: str) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(self.own)
        if spec.name in STAND_INS:
            return _Package(spec.name, module)
        self.spec, self.search = getattr(module, "__spec__", None), getattr(module, "__path__", None)
        return module

    def exec_module(self, module: ModuleType) -> None:
        if isinstance(module, _Package):
            return
        # The machinery has marked the module as PyTorch's; it stays what it is.
        module.__spec__ = self.spec
        if self.search is None:
            module.__path__ = []  # so that `import torch.X.Y` gets as far as the finder
        _finder.bind(module)


class _Package(ModuleType):
    """``torch`` itself: what the package that stands in has, and a version of PyTorch's."""

    def __init__(self, name: str, own: ModuleType) -> None:
        super().__init__(name, own.__doc__)
        self.__dict__["_own"] = own
        self.__file__ = own.__file__
        version = VERSIONS.get(name)
        if version:
            self.__version__ = TorchVersion(f"{version}+flambeau")

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__["_own"]
        try:
            found = getattr(own, name)
        except AttributeError:
            found = None if name.startswith("__") else _submodule(f"{own.__name__}.{name}")
            if found is None:
                raise AttributeError(missing(f"{self.__name__}.{name}"), name=name, obj=self) from None
        if isinstance(found, ModuleType):
            _finder.bind(found)
        self.__dict__[name] = found  # found at once from now on
        return found

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_own"])


_finder = _Finder()


# -- processes that are started anew -----------------------------------------------------------------------------------


class _Installed:
    """Binds the names where it is unpickled: what a spawned process reads first, before it imports the program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return install, ()


_plain_preparation_data = multiprocessing.spawn.get_preparation_data


def _preparation_data(name: str) -> dict[str, Any]:
    return {"flambeau.compat": _Installed(), **_plain_preparation_data(name)}
