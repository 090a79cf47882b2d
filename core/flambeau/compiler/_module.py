"""A compiled module."""

from __future__ import annotations

from typing import Any

from flambeau.compiler._compiled import CompiledFunction
from flambeau.nn import Module


class OptimizedModule(Module):
    """A module whose calls are compiled, around the one that it was made from (``_orig_mod``).

    Attributes are those of the module inside; its parameters are the same, with ``_orig_mod.`` in front of their names.
    """

    _orig_mod: Module

    def __init__(self, module: Module, settings: tuple[bool, bool, int]) -> None:
        super().__init__()
        self._orig_mod = module
        self.__dict__["training"] = module.training
        self.__dict__["_settings"] = settings
        self.__dict__["_compiled"] = CompiledFunction(module, *settings)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The forward of the module inside, compiled."""
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self.__dict__["_modules"]["_orig_mod"]
        return getattr(self._orig_mod, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_orig_mod", "training"):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._orig_mod, name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *dir(self._orig_mod)})

    def __reduce__(self) -> Any:
        return OptimizedModule, (self._orig_mod, self._settings)
