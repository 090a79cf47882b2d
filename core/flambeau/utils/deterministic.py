"""Switches of deterministic mode (``torch.utils.deterministic``).

``fill_uninitialized_memory``: whether the mode fills what ``flambeau.empty`` returns, True by default.
"""

from __future__ import annotations

import sys
from types import ModuleType

from flambeau import determinism


class _Switches(ModuleType):
    @property
    def fill_uninitialized_memory(self) -> bool:
        """Whether the mode fills memory that nobody has initialised."""
        return determinism.fill_uninitialized_memory

    @fill_uninitialized_memory.setter
    def fill_uninitialized_memory(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"fill_uninitialized_memory: expected a bool, got {value!r}")
        determinism.fill_uninitialized_memory = value


sys.modules[__name__].__class__ = _Switches
