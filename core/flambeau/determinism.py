"""Deterministic mode: whether ops whose results differ from run to run raise an error (``torch``).

A backend names such ops (:attr:`flambeau.dispatch.Backend.nondeterministic`). Random numbers are no matter of this: the
same seed gives the same numbers on every device.
"""

from __future__ import annotations

import math
import threading
import warnings
from typing import Any

from flambeau.dispatch import Backend, Kernel, stand_around, step_aside
from flambeau.dtypes import FLOATING, dtype, iinfo
from flambeau.ops.declare import OPS

_lock = threading.Lock()
_LEVELS = ("default", "warn", "error")
_level = 0
#: What ``utils.deterministic.fill_uninitialized_memory`` is.
fill_uninitialized_memory = True


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Refuse ops that are not deterministic, with ``warn_only`` warn of them (``torch.use_deterministic_algorithms``).

    In this mode memory that nobody has initialised, as ``flambeau.empty`` gives, is filled with NaN (integers: their
    largest value), unless ``flambeau.utils.deterministic.fill_uninitialized_memory`` is False.
    """
    global _level
    level = 0 if not mode else 1 if warn_only else 2
    with _lock:
        if level and not _level:
            stand_around(_checked)
        elif _level and not level:
            step_aside(_checked)
        _level = level


def are_deterministic_algorithms_enabled() -> bool:
    """Whether the mode is on, with errors or with warnings."""
    return _level > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether the mode is on and only warns."""
    return _level == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """:func:`use_deterministic_algorithms` by a number or word: 0 ``"default"``, 1 ``"warn"``, 2 ``"error"``.

    Raises:
        RuntimeError: for any other.
    """
    level = _LEVELS.index(debug_mode) if debug_mode in _LEVELS else debug_mode
    if level not in (0, 1, 2):
        raise RuntimeError(
            f"set_deterministic_debug_mode: expected 0, 1, 2, 'default', 'warn' or 'error', got {debug_mode!r}"
        )
    use_deterministic_algorithms(bool(level), warn_only=level == 1)


def get_deterministic_debug_mode() -> int:
    """0 when the mode is off, 1 when it warns, 2 when it raises."""
    return _level


def unspecified(kind: dtype) -> Any:
    """What memory that nobody has initialised is filled with: zeros, in the mode something that shows."""
    if not _level or not fill_uninitialized_memory:
        return 0
    if kind.category >= FLOATING:
        return math.nan
    return 1 if kind.name == "bool" else iinfo(kind).max


def _checked(backend: Backend, name: str, kernel: Kernel) -> Kernel:
    """``kernel``, behind a check where the backend says that it needs one."""
    if name not in backend.nondeterministic:
        return kernel
    op = OPS[name.removesuffix("_")]
    accumulate = op.positions.get("accumulate")

    def check(*args: Any) -> Any:
        writes_only = accumulate is not None and not (accumulate < len(args) and args[accumulate])
        # Sums of integers do not depend on their order.
        if not writes_only and backend.dtype_of(args[0]).category >= FLOATING:
            _complain(name, backend.name)
        return kernel(*args)

    return check


def _complain(op: str, device_type: str) -> None:
    text = (
        f"{op} does not have a deterministic implementation on {device_type!r}, but you set "
        "'flambeau.use_deterministic_algorithms(True"
    )
    if _level == 1:
        warnings.warn(f"{text}, warn_only=True)'", UserWarning, stacklevel=4)
    elif _level == 2:
        raise RuntimeError(
            f"{text})'. Turn it off for this operation, pass warn_only=True, or compute this part on the CPU"
        )
