"""Finding out where a program waits for its device (``torch.cuda.set_sync_debug_mode``).

A device does what it is given while Python goes on. What looks at a value, ``item()``, ``nonzero()``, a copy to the
host, waits until all that came before is done, and the device has nothing to do meanwhile. A backend says where that
is: it names the kernels (:attr:`flambeau.dispatch.Backend.synchronizing`), and calls :func:`waits` where it copies to
the host.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

from flambeau.dispatch import Backend, Kernel, stand_around, step_aside

_lock = threading.Lock()
_LEVELS = ("default", "warn", "error")
_level = 0


class _Inside(threading.local):
    """Whether this thread is in a kernel that has been reported, so that what it does itself is not."""

    reported = False


_inside = _Inside()


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Warn of what waits for a device, or refuse it.

    Args:
        debug_mode: 0 or ``"default"`` for neither, 1 or ``"warn"``, 2 or ``"error"``.

    Raises:
        RuntimeError: for any other.
    """
    global _level
    level = _LEVELS.index(debug_mode) if isinstance(debug_mode, str) and debug_mode in _LEVELS else debug_mode
    if level not in (0, 1, 2):
        raise RuntimeError(f"set_sync_debug_mode: expected 0, 1, 2, 'default', 'warn' or 'error', got {debug_mode!r}")
    with _lock:
        if level and not _level:
            stand_around(_watched)
        elif _level and not level:
            step_aside(_watched)
        _level = int(level)


def get_sync_debug_mode() -> int:
    """0 when nothing is said, 1 when it is warned of, 2 when it is an error."""
    return _level


def waits(what: str) -> None:
    """Say that the host is about to wait for a device; for backends, where they copy to the host.

    Raises:
        RuntimeError: in the mode ``"error"``.
    """
    if not _level or _inside.reported:
        return
    text = f"called a synchronizing operation: {what} waits for the device (see flambeau.cuda.set_sync_debug_mode)"
    if _level == 2:
        raise RuntimeError(text)
    warnings.warn(text, UserWarning, stacklevel=3)


def _watched(backend: Backend, name: str, kernel: Kernel) -> Kernel:
    """``kernel``, behind a report where the backend says that it waits."""
    if name not in backend.synchronizing:
        return kernel

    def watched(*args: Any, **kwargs: Any) -> Any:
        waits(f"{name} on {backend.name!r}")
        before, _inside.reported = _inside.reported, True
        try:
            return kernel(*args, **kwargs)
        finally:
            _inside.reported = before

    return watched
