"""Settings of the process that are PyTorch's: threads, precision, warnings, the default type."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.devices import set_default_device
from flambeau.overloads import TensorType

__all__ = [
    "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads", "is_warn_always_enabled",
    "set_default_tensor_type", "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads",
    "set_num_threads", "set_warn_always",
]  # fmt: skip

# -- threads ---------------------------------------------------------------------------------------------------------

_threads: int | None = None  # what set_num_threads was given
_interop_threads: int | None = None


def _pools() -> Any:
    """``threadpoolctl``, which knows the thread pools of the array library; None where it is not installed."""
    try:
        import threadpoolctl
    except ImportError:
        return None
    return threadpoolctl


def get_num_threads() -> int:
    """How many threads the array library of the CPU uses for one operation (``torch.get_num_threads``).

    Exact with the package threadpoolctl; without it what the environment says, or the number of CPUs.
    """
    pools = _pools()
    if pools is not None:
        counts = [pool["num_threads"] for pool in pools.threadpool_info()]
        if counts:
            return int(max(counts))
    return worker_threads()


def worker_threads() -> int:
    """How many threads a kernel written in Python divides large arrays among: quick to ask.

    What :func:`set_num_threads` was given; before, as many as a team that was lent has, what the environment says, or
    the number of CPUs.
    """
    if _threads is not None:
        return _threads
    if _team is not None:
        return _team_threads
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_threads() -> int | None:
    """What :func:`set_num_threads` was given, or 1 in a loader's worker; None before, when the libraries choose."""
    return _threads


def keep_to_one_thread() -> None:
    """Choose 1 in this process, which is one of several that share the CPUs."""
    global _threads
    _threads = 1


#: Calls a function in this thread and in up to so many less one others at once, and raises what one of them raised.
Team = Callable[[Callable[[], None], int], None]

_team: Team | None = None
_team_threads = 1


def lend_team(team: Team | None, threads: int = 1) -> None:
    """Have the kernels written in Python compute on the threads of ``team``, a library's that kernels use besides.

    So the process has one pool of threads. Those of two take the cores from each other: the one's wait for work by
    spinning, while the other's compute. ``threads`` is how many the library has chosen to use, with the calling one.
    """
    global _team, _team_threads
    _team, _team_threads = team, threads


def lent_team() -> Team | None:
    """What :func:`lend_team` was given."""
    return _team


def set_num_threads(int: int) -> None:
    """Let the array library of the CPU, and kernels beside it, use so many threads for one operation.

    ``torch.set_num_threads``. For the array library it needs the package threadpoolctl; without it a warning says so.

    Raises:
        RuntimeError: when the number is not positive.
    """
    global _threads
    _check_positive("set_num_threads", int)
    _threads = int
    pools = _pools()
    if pools is None:
        warnings.warn(
            "set_num_threads: products of matrices keep their threads, for to change these needs the package "
            "threadpoolctl: pip install threadpoolctl "
            "(or set OPENBLAS_NUM_THREADS before the program starts)",
            stacklevel=2,
        )
        return
    pools.threadpool_limits(int)


def get_num_interop_threads() -> int:
    """What :func:`set_num_interop_threads` was given, 1 before; operations run one after the other."""
    return 1 if _interop_threads is None else _interop_threads


def set_num_interop_threads(int: int) -> None:
    """Note a number of threads between operations (``torch.set_num_interop_threads``).

    It changes nothing: operations run one after the other, in the thread that calls them.
    """
    global _interop_threads
    _check_positive("set_num_interop_threads", int)
    _interop_threads = int


def _check_positive(op: str, number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{op} expects an int, but got {type(number).__name__}")
    if number <= 0:
        raise RuntimeError(f"{op} expects a positive integer, got {number}")


# -- precision -------------------------------------------------------------------------------------------------------

_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` was given: ``"highest"`` before."""
    return _precision


def set_float32_matmul_precision(precision: str) -> None:
    """Allow float32 products less than full precision (``torch.set_float32_matmul_precision``).

    It is a permission, and backends may have no faster way: the CPU computes in float32 in any case.

    Raises:
        RuntimeError: for what is none of ``"highest"``, ``"high"`` and ``"medium"``.
    """
    global _precision
    if precision not in _PRECISIONS:
        raise RuntimeError(f"set_float32_matmul_precision: expected one of {', '.join(_PRECISIONS)}, got {precision!r}")
    _precision = precision


def set_flush_denormal(mode: bool) -> bool:
    """Return False: subnormal numbers cannot be switched off from here (``torch.set_flush_denormal``)."""
    return False


# -- warnings --------------------------------------------------------------------------------------------------------

_ALWAYS = ("always", None, UserWarning, None, 0)


def set_warn_always(b: bool) -> None:
    """Show warnings each time, where otherwise Python shows them once a place (``torch.set_warn_always``)."""
    if is_warn_always_enabled():
        warnings.filters.remove(_ALWAYS)  # type: ignore[attr-defined]
    if b:
        warnings.filterwarnings("always", category=UserWarning)


def is_warn_always_enabled() -> bool:
    """Whether :func:`set_warn_always` is on."""
    return _ALWAYS in warnings.filters


# -- the default type ------------------------------------------------------------------------------------------------


def set_default_tensor_type(t: Any) -> None:
    """Make the dtype of a tensor type the default one (``torch.set_default_tensor_type``, superseded there).

    Args:
        t: ``flambeau.FloatTensor`` or its like, or the name, ``"torch.cuda.HalfTensor"``; with ``cuda`` in it the
            default device becomes that.

    Raises:
        TypeError: when it is no floating-point type.
    """
    if isinstance(t, TensorType):
        dtypes.set_default_dtype(t.dtype)
        return
    found = TensorType.named(t.rpartition(".")[2]) if isinstance(t, str) else None
    if found is None:
        raise TypeError(f"set_default_tensor_type: invalid type object: {t!r}; give flambeau.FloatTensor or its like")
    dtypes.set_default_dtype(found.dtype)
    set_default_device("cuda" if ".cuda." in t else "cpu")
