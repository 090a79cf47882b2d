"""``autocast``: listed ops run in a dtype of their own, in the thread that asks for it.

What casts stands before the ops (:func:`flambeau.ops.entry.intercept`), and only while a thread is inside.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flambeau.amp._lists import lists_of
from flambeau.autograd.grad_mode import state as recording
from flambeau.devices import device
from flambeau.dispatch import backends, load
from flambeau.dtypes import FLOATING, bfloat16, float16, float32, float64
from flambeau.dtypes import dtype as DType
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS, Op
from flambeau.ops.entry import intercept
from flambeau.tensor import Tensor

_FAST_DTYPES = (bfloat16, float16)


class _State(threading.local):
    """A thread's modes."""

    def __init__(self) -> None:
        self.enabled: set[str] = set()
        self.dtypes: dict[str, DType] = {}
        self.cache_enabled = True
        self.nesting = 0
        # True while a listed op runs: what it is made of takes its inputs as they are.
        self.suspended = False
        # Parameters already cast, by id and dtype: (the parameter, its version then, the result).
        self.cache: dict[tuple[int, DType], tuple[Tensor, int, Tensor]] = {}


_state = _State()
_lock = threading.Lock()
# In how many threads a device type's mode is on, and the policies of the ops that are intercepted for that.
_threads: Counter[str] = Counter()
_policies: dict[str, dict[Op, str]] = {}


# -- the mode --------------------------------------------------------------------------------------------------------


def is_autocast_available(device_type: str) -> bool:
    """Whether there is an ``autocast`` for this device type (``torch.amp.is_autocast_available``)."""
    return device_type in backends() or device_type == "cuda"


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread is inside ``autocast`` for a device type (``torch.is_autocast_enabled``)."""
    return device_type in _state.enabled and not _state.suspended


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch this thread's mode for a device type (``torch.set_autocast_enabled``)."""
    if enabled == (device_type in _state.enabled):
        return
    with _lock:
        if enabled:
            _state.enabled.add(device_type)
            _threads[device_type] += 1
        else:
            _state.enabled.discard(device_type)
            _threads[device_type] -= 1
        if _threads[device_type] == int(enabled):
            _stand_before_ops()


def get_autocast_dtype(device_type: str) -> DType:
    """The fast dtype of a device type: bfloat16 for the CPU, else float16, unless it was set."""
    return _state.dtypes.get(device_type, bfloat16 if device_type == "cpu" else float16)


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """Set this thread's fast dtype for a device type (``torch.set_autocast_dtype``)."""
    _state.dtypes[device_type] = dtype


def is_autocast_cache_enabled() -> bool:
    """Whether parameters are cast once, not at every use (``torch.is_autocast_cache_enabled``)."""
    return _state.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set whether parameters are cast once, not at every use, in this thread."""
    _state.cache_enabled = enabled


def clear_autocast_cache() -> None:
    """Forget the cast parameters of this thread."""
    _state.cache.clear()


class autocast:
    """Run listed ops in a lower precision inside, others in float32 (``torch.autocast``).

    A context manager and a decorator. Matrix products, convolutions, linear layers and attention run in ``dtype``;
    losses and what else needs range or digits in float32; ``cat`` and its kin in the widest dtype of their inputs; all
    other ops in the dtype that they are given. Tensors of float64 and of other device types stay as they are. The lists
    are PyTorch's, one for the CPU and one for accelerators. In-place forms and ``out=`` keep their dtypes.

    Modes nest (``enabled=False`` switches off inside), and belong to the thread.

    Args:
        device_type: ``"cpu"``, ``"cuda"`` ...
        dtype: bfloat16 or float16; what :func:`get_autocast_dtype` says unless given.
        enabled: False for no effect.
        cache_enabled: whether a parameter that is used several times is cast once, until the outermost mode ends.

    Raises:
        ValueError: when ``device_type`` is no string.
        RuntimeError: for a device type that no plugin provides, or that cannot hold ``dtype``.
    """

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'; there are: {sorted(backends())}"
            )
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        self._enabled = enabled and _usable(device_type, self.fast_dtype)
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        # As a decorator of a recursive function, one object is entered several times.
        self._before: list[tuple[bool, DType, bool]] = []

    def __enter__(self) -> autocast:
        self._before.append((self.device in _state.enabled, get_autocast_dtype(self.device), _state.cache_enabled))
        set_autocast_enabled(self.device, self._enabled)
        set_autocast_dtype(self.device, self.fast_dtype)
        set_autocast_cache_enabled(self._cache_enabled)
        _state.nesting += 1
        return self

    def __exit__(self, *error: object) -> None:
        _state.nesting -= 1
        if _state.nesting == 0:
            clear_autocast_cache()
        enabled, fast_dtype, cache_enabled = self._before.pop()
        set_autocast_enabled(self.device, enabled)
        set_autocast_dtype(self.device, fast_dtype)
        set_autocast_cache_enabled(cache_enabled)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(function):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(function).__name__}. Did you mean to use "
                "autocast as a context manager, `with flambeau.autocast(device_type=...):`?"
            )

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapped


def modes() -> tuple[Any, ...]:
    """What is on in this thread: ``(device type, fast dtype)`` pairs; nothing outside of ``autocast``."""
    if not _state.enabled:
        return ()
    return tuple([(device_type, get_autocast_dtype(device_type)) for device_type in sorted(_state.enabled)])


class Modes:
    """A thread's modes at the time when this was made; a ``with`` block has them again, wherever it runs.

    Inside, parameters are cast anew: what is recorded does not depend on what was cast before.
    """

    def __init__(self) -> None:
        self._modes = set(_state.enabled), dict(_state.dtypes), _state.cache_enabled

    def __enter__(self) -> None:
        self._outside = Modes(), _state.cache
        self._set()
        _state.cache = {}
        _state.nesting += 1

    def __exit__(self, *error: object) -> None:
        _state.nesting -= 1
        before, _state.cache = self._outside
        before._set()

    def _set(self) -> None:
        enabled, fast_dtypes, cache_enabled = self._modes
        for device_type in _state.enabled | enabled:
            set_autocast_enabled(device_type, device_type in enabled)
        _state.dtypes = dict(fast_dtypes)
        _state.cache_enabled = cache_enabled


def _usable(device_type: str, fast_dtype: DType) -> bool:
    """Whether the mode can be on; a warning where PyTorch warns, an error with a hint where a package is missing."""
    backend = backends()[device_type][0] if device_type in backends() else None
    if backend is None or not backend.is_available():
        name = device_type.upper()
        warnings.warn(f"User provided device_type of '{device_type}', but {name} is not available. Disabling autocast.",
                      stacklevel=3)  # fmt: skip
        return False
    if fast_dtype not in _FAST_DTYPES:
        name = device_type.upper()
        warnings.warn(
            f"In {name} autocast, but the target dtype {fast_dtype} is not supported. Disabling autocast.\n"
            f"{name} Autocast only supports dtypes of {', '.join(map(str, _FAST_DTYPES))} currently.",
            stacklevel=3,
        )
        return False
    load(device(device_type))  # only then a backend knows what it holds
    if fast_dtype.name not in backend.dtypes:
        hint = ": pip install 'flambeau[bfloat16]', or use dtype=flambeau.float16" if device_type == "cpu" else ""
        raise RuntimeError(f"autocast: the device type '{device_type}' has no {fast_dtype} here{hint}")
    return True


# -- casting -----------------------------------------------------------------------------------------------------------


def _stand_before_ops() -> None:
    """Intercept the ops on the lists of the device types that are on in some thread, and no others."""
    global _policies
    before = {op for policies in _policies.values() for op in policies}
    # A new dictionary in one go: other threads are reading the old one.
    _policies = {
        device_type: {
            OPS[name]: policy for policy, names in lists_of(device_type).items() for name in names if name in OPS
        }
        for device_type, threads in _threads.items()
        if threads > 0
    }
    now = {op for policies in _policies.values() for op in policies}
    for op in before - now:
        intercept(op, None)
    for op in now - before:
        intercept(op, functools.partial(_run, op))


def _run(op: Op, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The call of a listed op with its inputs cast, or NotImplemented where this thread's mode leaves it alone."""
    state = _state
    if not state.enabled or state.suspended or kwargs.get("out") is not None:
        return NotImplemented
    device_type = next((tensor._device.type for tensor in _tensors((*args, *kwargs.values()))), None)
    if device_type not in state.enabled:
        return NotImplemented
    policy = _policies[device_type].get(op)
    if policy is None or (policy == "float32" and kwargs.get("dtype") is not None):
        return NotImplemented
    if policy == "refused":
        raise RuntimeError(
            f"{op.name}: unsafe to autocast; its gradients overflow in {get_autocast_dtype(device_type)}. Use "
            "binary_cross_entropy_with_logits (BCEWithLogitsLoss), which takes what comes before the sigmoid"
        )
    target: DType | None = float32
    if policy == "fast":
        target = get_autocast_dtype(device_type)
    elif policy == "widest":
        found = {tensor._dtype for tensor in _tensors((*args, *kwargs.values())) if _eligible(tensor, device_type)}
        target = float32 if len(found) > 1 else None
    elif policy == "as given":
        target = None
    if target is not None:
        args = tuple([_cast(value, device_type, target) for value in args])
        kwargs = {name: _cast(value, device_type, target) for name, value in kwargs.items()}
    state.suspended = True
    try:
        return call(*args, **kwargs)
    finally:
        state.suspended = False


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _eligible(tensor: Tensor, device_type: str) -> bool:
    own = tensor._dtype
    return own.category == FLOATING and own is not float64 and tensor._device.type == device_type


def _cast(value: Any, device_type: str, target: DType) -> Any:
    if isinstance(value, Tensor):
        if value._dtype is target or not _eligible(value, device_type):
            return value
        return _cast_tensor(value, target)
    if isinstance(value, (list, tuple)) and any(isinstance(item, (Tensor, list, tuple)) for item in value):
        return type(value)([_cast(item, device_type, target) for item in value])
    return value


def _cast_tensor(tensor: Tensor, target: DType) -> Tensor:
    parameter = tensor._node is not None and tensor.is_leaf and tensor._dtype is float32
    if not (parameter and _state.cache_enabled and recording.enabled):
        return TENSORS.to_dtype(tensor, target)
    key = id(tensor), target
    found = _state.cache.get(key)
    # An optimizer's step inside the mode makes what was cast before it useless.
    if found is None or found[0] is not tensor or found[1] != _version(tensor):
        result = TENSORS.to_dtype(tensor, target)
        found = _state.cache[key] = tensor, _version(tensor), result
    return found[2]


def _version(tensor: Tensor) -> int:
    return 0 if tensor._version is None else tensor._version[0]


# -- functions with a backward pass of their own -----------------------------------------------------------------------


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: DType | None = None
) -> Callable[..., Any]:
    """Decorate ``forward`` of an :class:`autograd.Function` for use inside ``autocast`` (``torch.amp.custom_fwd``).

    Args:
        device_type: whose mode is meant.
        cast_inputs: cast floating-point tensors to this dtype and switch the mode off inside; where it is None,
            ``forward`` runs in the mode that there is. Outside ``autocast`` nothing happens.
    """
    _check_device_type(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    forward = fwd

    @functools.wraps(forward)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        enabled = is_autocast_enabled(device_type)
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return forward(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return forward(
                ctx,
                *[_cast_all(value, device_type, cast_inputs) for value in args],
                **{name: _cast_all(value, device_type, cast_inputs) for name, value in kwargs.items()},
            )

    return decorated


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorate ``backward`` to run in the mode that ``forward`` ran in (``torch.amp.custom_bwd``)."""
    _check_device_type(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    backward = bwd

    @functools.wraps(backward)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return backward(ctx, *args, **kwargs)

    return decorated


def _check_device_type(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def _cast_all(value: Any, device_type: str, target: DType) -> Any:
    """Tensors in containers of any kind, cast; strings and arrays are no containers."""
    if isinstance(value, Tensor):
        return value.to(target) if _eligible(value, device_type) else value
    if isinstance(value, Mapping):
        return {key: _cast_all(item, device_type, target) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_cast_all(item, device_type, target) for item in value])
    return value
