"""Backends and their frozen kernel tables.

Plugins hand over kernels through hooks; here they become, once a device type, one list (``table``, indexed by an
op's number: what a call of an op reads) and one namespace (``xp``, with a kernel as each attribute: what
decompositions and gradient formulas run over). Nothing on the path of an op looks at a plugin again.

A kernel may have an attribute ``bare``: a callable that does the same with less ado, but only for arrays, none of them
large (:data:`flambeau.tensor.LARGE`). Calls of elementwise ops know when it will do; the list ``bare`` has it.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau import devices
from flambeau.devices import device
from flambeau.dtypes import USUAL, dtype
from flambeau.offers import check_backend, check_offer, warn_of_ties, warn_of_unknown
from flambeau.ops.declare import OPS, Op

__all__ = ["Backend", "available", "backends", "kernel_origins", "over"]

if TYPE_CHECKING:
    from flambeau.device_runtime import DeviceRuntime

Kernel = Callable[..., Any]


class Backend:
    """A device type: where arrays live, and the kernels that compute on them.

    A subclass gives ``name`` and ``array_type``, the methods below and, from :meth:`kernels`, every primitive
    (``docs/ops.md`` has them). Composites run through their decompositions unless :meth:`kernels` has them too.

    Attributes:
        name: the device type, ``"cpu"``, ``"opencl"`` ...
        array_type: the class of its raw arrays. They have ``shape``, a tuple of ints.
        dtypes: the names of the dtypes that it can hold.
        install: what to tell the user who asks for this device where it is not available.
        dlpack_type: the device type's number in DLPack (1 for CPU, 2 for CUDA), None where no arrays are taken over.
        nondeterministic: the kernels whose floating-point results depend on the order in which threads run (one with an
            argument ``accumulate`` only where that is true).
        synchronizing: the kernels that wait for the device, because a shape or a check depends on values there.
        runtime: what the device type has beside kernels: streams, counts of memory, graphs ...; None where it has none.
            Asked for when :meth:`kernels` has been called.
    """

    name: str
    array_type: type
    dtypes: frozenset[str] = USUAL
    install: str = ""
    dlpack_type: int | None = None
    nondeterministic: frozenset[str] = frozenset()
    synchronizing: frozenset[str] = frozenset()
    runtime: DeviceRuntime | None = None
    #: Whether ``add_`` takes every sum of gradients into the memory of the first (not so under ``vmap``).
    sums_in_place = True

    def is_available(self) -> bool:
        """Whether the device type can be used here. Called before anything else; must not raise."""
        return True

    def device_count(self) -> int:
        """How many devices of this type there are."""
        return 1

    def device_name(self, index: int) -> str:
        """A device's name, for people."""
        return self.name

    def kernels(self) -> Mapping[str, Kernel]:
        """The kernels by op name, called once."""
        raise NotImplementedError

    def libraries(self) -> Mapping[str, int]:
        """The versions of libraries that kernels use where they are there, by name. Asked where devices are."""
        return {}

    def dtype_of(self, array: Any) -> dtype:
        """The dtype of a raw array."""
        raise NotImplementedError

    def device_of(self, array: Any) -> device:
        """The device that holds a raw array; to be given by a device type with several devices."""
        return load(device(self.name))

    def as_array(self, value: Any) -> Any:
        """Turn what a kernel returned into ``array_type`` (NumPy ufuncs give scalars for 0-dim results)."""
        return value

    def from_numpy(self, array: Any, device: device) -> Any:
        """A raw array with the contents of a ``numpy.ndarray``; may share its memory."""
        raise NotImplementedError

    def to_numpy(self, array: Any) -> Any:
        """A ``numpy.ndarray`` with the contents of a raw array; may share its memory."""
        raise NotImplementedError

    def is_shared(self, array: Any) -> bool:
        """Whether memory of ``array`` may be seen through another array (then it is not written in place)."""
        return True

    def strides(self, array: Any) -> tuple[int, ...]:
        """The distance between neighbours along each dimension, in elements."""
        strides = []
        step = 1
        for size in reversed(array.shape):
            strides.append(step)
            step *= max(size, 1)
        return tuple(reversed(strides))

    def storage_offset(self, array: Any) -> int:
        """The place of the first element in the memory that ``array`` shares, in elements."""
        return 0

    def storage_nbytes(self, array: Any) -> int:
        """The bytes of the memory that ``array`` shares."""
        return int(prod(array.shape)) * self.dtype_of(array).itemsize

    def data_ptr(self, array: Any) -> int:
        """The address of the first element, or a number that stands for it."""
        return id(array)

    def dlpack_device(self, array: Any) -> tuple[int, int] | None:
        """Where other libraries find the memory of an array: a device type of DLPack's and a number; None: nowhere."""
        return None if self.dlpack_type is None else (self.dlpack_type, self.device_of(array).index or 0)

    def to_dlpack(self, array: Any, **options: Any) -> Any:
        """A DLPack capsule of an array."""
        return array.__dlpack__(**options)

    def from_dlpack(self, external: Any) -> Any:
        """A raw array that shares the memory of an object with ``__dlpack__``."""
        raise BufferError(f"from_dlpack: the backend for {self.name!r} does not import DLPack")

    def synchronize(self, device: device) -> None:
        """Wait for the device to finish."""

    def notes_indices(self, op: str, array: Any, lowest: int, size: int, dim: int) -> bool:
        """Have the device note indices outside ``lowest <= index < size``, for an IndexError at the next wait for it.

        Returns:
            bool: False where it does not: then the indices are read and checked at once, for which one has to wait.
        """
        return False

    def compile(self, chain: Chain) -> Kernel | None:
        """A kernel that does the work of several elementwise ones, for :func:`flambeau.compile`.

        Called once a chain, when a recording is made ready. The kernel takes arrays with the shapes and dtypes of
        ``chain.inputs``, dense ones, and returns the arrays of ``chain.outputs``, a tuple where there are several; each
        has to be, bit for bit, what the chain's own kernels give. None where that would not be faster.
        """
        return None


class Link:
    """An operand of a step of a :class:`Chain`: input ``number``, or what step ``number`` gives."""

    __slots__ = ("is_input", "number")

    def __init__(self, is_input: bool, number: int) -> None:
        self.is_input = is_input
        self.number = number


class Step:
    """One op of a :class:`Chain`.

    Attributes:
        name: the op's.
        kernel: the backend's own kernel.
        operands: its arguments, a :class:`Link` for each array.
        dtype: of what it gives.
    """

    __slots__ = ("dtype", "kernel", "name", "operands")

    def __init__(self, name: str, kernel: Kernel, operands: tuple[Any, ...], dtype: dtype) -> None:
        self.name = name
        self.kernel = kernel
        self.operands = operands
        self.dtype = dtype


class Chain:
    """Elementwise ops that read each other's results, all of one shape.

    Attributes:
        shape: of every result.
        inputs: shape and dtype of the arrays that come in; shapes broadcast to ``shape``.
        steps: the ops, in an order in which they can be computed.
        outputs: the numbers of the steps whose results are needed.
    """

    __slots__ = ("inputs", "outputs", "shape", "steps")

    def __init__(
        self,
        shape: tuple[int, ...],
        inputs: tuple[tuple[tuple[int, ...], dtype], ...],
        steps: tuple[Step, ...],
        outputs: tuple[int, ...],
    ) -> None:
        self.shape = shape
        self.inputs = inputs
        self.steps = steps
        self.outputs = outputs


class Overlay:
    """A kernel that serves some calls and passes the others on, see :func:`over`."""

    __slots__ = ("function",)

    def __init__(self, function: Kernel) -> None:
        self.function = function


def over(function: Kernel) -> Any:
    """A kernel for a plugin that does not serve every call: it gets the kernel that it takes the place of.

    That one, of the next lower priority (in the end the decomposition), is its first argument, before the op's own:

        def softmax(fallback, input, dim):
            return fast(input, dim) if input.dtype == "float32" else fallback(input, dim)

        return [(10, {"softmax": over(softmax)})]
    """
    return Overlay(function)


class Namespace:
    """The kernels of a device type as attributes: ``xp.add(a, b)``.

    An object with ``__getattr__`` takes 20 ns longer for every attribute (CPython 3.11), so only type checkers see one.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class DeviceType:
    """A loaded backend, its frozen tables and where each kernel came from."""

    def __init__(self, backend: Backend, plugin: str) -> None:
        self.backend = backend
        self.plugin = plugin
        self.xp = Namespace()
        self.table: list[Any] = []
        self.bare: list[Any] = []
        self.origins: dict[str, str] = {}  # by op, in the order of the table
        self.own_kernels: Mapping[str, Kernel] | None = None
        self.names: dict[str, Any] = {}  # what `freeze` found; `publish` puts it into `xp` and `table`

    def freeze(self) -> None:
        backend = self.backend
        chosen = self._chosen()
        if backend.name in _decomposed:
            chosen = {name: kernel for name, kernel in chosen.items() if _is_primitive(name)}
        if os.environ.get("FLAMBEAU_CHECK_KERNELS", "0") not in ("", "0"):
            from flambeau import kernel_checks

            chosen = kernel_checks.wrapped(chosen, backend)
        names: dict[str, Any] = {
            "dtype_of": backend.dtype_of,
            "device_of": backend.device_of,
            "backend": backend,
        }
        self.origins = {}
        for op in OPS.values():
            plugin, kernel = chosen.get(op.name) or self._without_kernel(op)
            self.origins[op.name] = plugin
            names[op.name] = kernel
            if op.inplace:
                names[op.name + "_"] = (
                    chosen.get(op.name + "_", ("", None))[1]
                    or (partial(op.inplace_body, self.xp) if op.inplace_body else None)
                    or _by_assignment(self.xp, kernel)
                )
        self.names = names
        self.publish()

    def publish(self) -> None:
        """Put the kernels where calls find them, inside of whatever stands around them (see :func:`stand_around`)."""
        names = dict(self.names)
        for wrap in _around:
            for name in names.keys() - _FACTS:
                names[name] = wrap(self.backend, name, names[name])
        # In place: devices and decompositions hold these two objects, other threads may be calling.
        namespace = self.xp.__dict__
        namespace.update(names)
        for name in namespace.keys() - names.keys():
            del namespace[name]
        self.table[:] = [names[name] for name in self.origins]
        self.bare[:] = [getattr(kernel, "bare", kernel) for kernel in self.table]

    def _chosen(self) -> dict[str, tuple[str, Kernel]]:
        """The kernel of the highest priority for each name that somebody offers, with its plugin."""
        from flambeau import plugins

        if self.own_kernels is None:
            self.own_kernels = dict(self.backend.kernels())
        offers = [(0, self.plugin, self.own_kernels)]
        device_type = self.backend.name
        for plugin, (priority, kernels) in plugins.call_all("flambeau_kernels", check_offer, device_type=device_type):
            offers.append((priority, plugin, kernels))
        offers.sort(key=lambda offer: offer[0])
        chosen: dict[str, tuple[str, Kernel]] = {}
        priorities: dict[str, int] = {}
        ties: dict[tuple[str, str, int], list[str]] = {}
        for priority, plugin, kernels in offers:
            for name, kernel in kernels.items():
                if isinstance(kernel, Overlay):
                    if name in OPS:
                        kernel = partial(kernel.function, (chosen.get(name) or self._without_kernel(OPS[name]))[1])
                elif priorities.get(name) == priority:
                    ties.setdefault((chosen[name][0], plugin, priority), []).append(name)
                chosen[name] = (plugin, kernel)
                priorities[name] = priority
        warn_of_unknown(chosen)
        warn_of_ties(ties, device_type)
        return chosen

    def _without_kernel(self, op: Op) -> tuple[str, Kernel]:
        if op.name == "to_device":
            from flambeau.conversion import transfer_array

            return "core", transfer_array
        if not op.primitive:
            return "decomposition", partial(op.body, self.xp)
        return "missing", partial(_missing, op.name, self.backend.name)


# What a namespace has beside kernels.
_FACTS = {"dtype_of", "device_of", "backend"}

Wrapper = Callable[[Backend, str, Kernel], Kernel]
_around: list[Wrapper] = []


def stand_around(wrap: Wrapper) -> None:
    """Have every kernel of every device type replaced by ``wrap(backend, name, kernel)``, for profilers and checks.

    It costs nothing while nobody does: tables are written anew, and a call reads the table. In-place forms have the
    name of their op with an underscore. :func:`step_aside` undoes it.
    """
    with _lock:
        _around.append(wrap)
        _publish()


def step_aside(wrap: Wrapper) -> None:
    """Undo :func:`stand_around`."""
    with _lock:
        _around.remove(wrap)
        _publish()


def own_kernel(backend: Backend, name: str) -> Kernel | None:
    """The kernel that a backend itself brings for an op, in use or not."""
    loaded = _types.get(backend.name)
    return None if loaded is None or loaded.own_kernels is None else loaded.own_kernels.get(name)


def surroundings() -> list[Wrapper]:
    """Who stands around the kernels, the list itself."""
    return _around


def _publish() -> None:
    for loaded in _types.values():
        loaded.publish()


#: Changes when the tables are built anew: what has been compiled runs the kernels of one version.
version = 0


def loaded_backends() -> list[Backend]:
    """The backends of the device types in use."""
    return [loaded.backend for loaded in _types.values()]


def memory_of(array: Any) -> Any:
    """What holds the memory of a raw array: an object of its own, or the array that others look into."""
    storage = getattr(array, "storage", None)
    if storage is not None:
        return storage
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _missing(op: str, device_type: str, *args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError(
        f"{op}: the backend for {device_type!r} has no kernel for this primitive; "
        f"`pytest --pyargs flambeau.testing --device {device_type}` lists what it lacks"
    )


def _by_assignment(xp: Namespace, kernel: Kernel) -> Kernel:
    def in_place(target: Any, *args: Any) -> Any:
        return xp.assign(target, kernel(target, *args))

    return in_place


def _is_primitive(name: str) -> bool:
    op = OPS.get(name) or OPS.get(name.removesuffix("_"))
    return op is not None and op.primitive


_decomposed: set[str] = set()


def decompose(device_type: str, enabled: bool = True) -> None:
    """Compute every composite on ``device_type`` by its decomposition, whatever kernels there are for it; or not.

    For tests: primitives alone have to give the results that the kernels give.
    """
    if enabled:
        _decomposed.add(device_type)
    else:
        _decomposed.discard(device_type)
    refreeze()


_lock = threading.RLock()
_types: dict[str, DeviceType] = {}
_known: dict[str, tuple[Backend, str]] | None = None


def backends() -> dict[str, tuple[Backend, str]]:
    """Every registered backend by device type, with the name of its plugin."""
    global _known
    with _lock:
        if _known is None:
            from flambeau import meta, ops, plugins

            plugins.call("flambeau_ops")
            ops.install_new()
            known: dict[str, tuple[Backend, str]] = {"meta": (meta.MetaBackend(), "core")}
            for plugin, backend in plugins.call_all("flambeau_backends", check_backend):
                if backend.name in known:
                    warnings.warn(
                        f"the plugins {known[backend.name][1]!r} and {plugin!r} both bring the device type "
                        f"{backend.name!r}; that of {known[backend.name][1]!r}, registered first, is used: rename the "
                        f"other, or leave one out with FLAMBEAU_DISABLE_PLUGINS",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                known.setdefault(backend.name, (backend, plugin))
            _known = known
        return _known


def load(target: device) -> device:
    """Make a device ready: find its backend, freeze its tables. One without an index becomes the current one.

    Raises:
        RuntimeError: when no plugin provides the device type, or it is not available here, or the index is too high.
    """
    if target.backend is not None:
        return target
    if target.index is None and target.type not in devices.SINGLE:
        target = device(target.type, devices.current_index(target.type))
        if target.backend is not None:
            return target
    with _lock:
        found = _types.get(target.type)
        if found is None:
            if target.type not in backends():
                raise RuntimeError(_unknown_device(target))
            backend, plugin = backends()[target.type]
            if not backend.is_available():
                raise RuntimeError(_unavailable(target, backend))
            found = DeviceType(backend, plugin)
            found.freeze()
            _types[target.type] = found
        count = found.backend.device_count()
        if (target.index or 0) >= count:
            raise RuntimeError(f"device '{target}': there are only {count} devices of the type {target.type!r}")
        target.xp = found.xp
        target.table = found.table
        target.bare = found.bare
        target.backend = found.backend
    return target


# What brings the device types that people know by name, for the message when the plugin itself is not installed.
_EXTRAS = {"cuda": "cuda", "opencl": "opencl"}


def is_loaded(device_type: str) -> bool:
    """Whether a device of the type has been used."""
    return device_type in _types


def available() -> list[str]:
    """The device types that can be used here."""
    return [name for name, (backend, _) in backends().items() if usable(backend)]


def usable(backend: Backend) -> bool:
    """Whether a backend can be used here; it may be broken."""
    try:
        return backend.is_available()
    except Exception:  # a driver may fail in ways that its plugin did not foresee; `flambeau info` shows how
        return False


def _unknown_device(target: device) -> str:
    text = f"device '{target}': no plugin provides the device type {target.type!r}; there are: {', '.join(available())}"
    if target.type in _EXTRAS:
        text += f". To add it: pip install 'flambeau[{_EXTRAS[target.type]}]'"
    return text


def _unavailable(target: device, backend: Backend) -> str:
    text = f"device '{target}' is not available here; available are: {', '.join(available())}"
    return f"{text}. {backend.install}" if backend.install else text


def refreeze() -> None:
    """Build every table anew, after a plugin came or went."""
    global _known, version
    with _lock:
        _known = None
        version += 1
        for name, loaded in list(_types.items()):
            now = backends().get(name, (None, ""))[0]
            if now is not loaded.backend and type(now) is not type(loaded.backend):
                _unload(name)
            else:
                loaded.freeze()


def _unload(name: str) -> None:
    del _types[name]
    for interned in devices.interned():
        if interned.type == name:
            interned.backend = None


def kernel_origins(device_type: str) -> dict[str, str]:
    """For each op the plugin whose kernel runs on ``device_type`` (``"decomposition"`` where none has one)."""
    load(device(device_type))
    return dict(_types[device_type].origins)
