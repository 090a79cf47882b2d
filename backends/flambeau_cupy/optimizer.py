"""Steps of SGD and Adam: one kernel updates all parameters of a dtype, in place, in float32 for the 16-bit types.

The kernel is given a table of addresses; a block takes a chunk of one parameter. Tables that stay the same from step to
step are kept on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cupy
import cupyx
import numpy

from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.elements import compute, own_dtype, storage
from flambeau_cupy.maps import run
from flambeau_cupy.programs import BLOCK, SCALARS, compiled, kernel_name

Array = Any
Arrays = Sequence[Array]

#: Elements of a chunk.
CHUNK = 1 << 14

_kernels: dict[Any, Any] = {}


def update(name: str, body: str, groups: Sequence[Arrays], written: int, numbers: Sequence[float]) -> None:
    """Run ``body`` for every element of many arrays, in place.

    Args:
        body: C++ that reads and writes ``a0``, ``a1`` ..., the elements of one array of each group.
        groups: lists of arrays, of which the first one's have the shape and the dtype of the others'.
        written: how many of the groups are written to, the first ones.
    """
    tables: dict[Any, list[tuple[Array, ...]]] = {}
    for arrays in zip(*groups, strict=True):
        if all(a.flags.c_contiguous and a.dtype == arrays[0].dtype for a in arrays):
            if arrays[0].size:
                tables.setdefault(arrays[0].dtype, []).append(arrays)
        else:
            _alone(name, body, arrays, written, numbers)
    for kind, rows in tables.items():
        _together(name, body, kind, rows, written, numbers)


def _alone(name: str, body: str, arrays: tuple[Array, ...], written: int, numbers: Sequence[float]) -> None:
    """The same for arrays that do not lie in one piece, or not alike."""
    results = " ".join(f"r{i} = a{i};" for i in range(written))
    real = _real(arrays[0].dtype)
    run(name, f"{body} {results}", arrays[:written], arrays, [(real, number) for number in numbers])


def _together(
    name: str, body: str, kind: Any, rows: list[tuple[Array, ...]], written: int, numbers: Sequence[float]
) -> None:
    width = len(rows[0])
    real = _real(kind)
    key = (name, body, kind, width, written, len(numbers))
    kernel = _kernels.get(key)
    if kernel is None:
        own = own_dtype(rows[0][0])
        own_name = kernel_name(name, key)
        text = source(own_name, body, storage(own), compute(own), width, written, [real] * len(numbers))
        kernel = _kernels[key] = compiled(own_name, text)
    device = cupy.cuda.runtime.getDevice()
    places = tuple([array.data.ptr for arrays in rows for array in arrays])
    sizes = tuple([arrays[0].size for arrays in rows])
    if _is_capturing():  # a graph's tables have to last as long as it does: they are made in its own memory
        addresses, (chunks, count) = _addresses.__wrapped__(device, places), _chunks.__wrapped__(device, sizes)
    else:
        addresses, (chunks, count) = _addresses(device, places), _chunks(device, sizes)
    values = [SCALARS[real](number) for number in numbers]
    kernel((count,), (BLOCK,), (addresses, chunks, *values))


@lru_cache(maxsize=64)
def _addresses(device: int, addresses: tuple[int, ...]) -> Array:
    """The table of addresses, a row a parameter, on the device."""
    return _table(addresses)


@lru_cache(maxsize=64)
def _chunks(device: int, sizes: tuple[int, ...]) -> tuple[Array, int]:
    """For each chunk the number of the parameter, its first element and the parameter's size; how many there are."""
    chunks = [(row, start, size) for row, size in enumerate(sizes) for start in range(0, size, CHUNK)]
    return _table(chunks), len(chunks)


#: What the copies in captured graphs read, whenever they are replayed.
_read_by_graphs: list[Any] = []


def _table(numbers: Any) -> Array:
    """Whole numbers on the device."""
    host = numpy.array(numbers, numpy.int64)
    if not _is_capturing():
        return cupy.asarray(host)
    pinned = cupyx.empty_pinned(host.shape, host.dtype)
    pinned[...] = host
    _read_by_graphs.append(pinned)
    made = cupy.empty(host.shape, host.dtype)
    made.data.copy_from_host_async(pinned.ctypes.data, pinned.nbytes, cupy.cuda.get_current_stream())
    return made


def _is_capturing() -> bool:
    stream = cupy.cuda.get_current_stream()
    # The default stream cannot, and CUDA takes the question amiss while another one does.
    return bool(stream.ptr) and bool(stream.is_capturing())


def source(
    name: str, body: str, stored: str, computed: str, width: int, written: int, number_types: Sequence[str]
) -> str:
    """The C++ of a kernel."""
    parameters = ["const long long *addresses", "const long long *chunks"]
    parameters += [f"{kind} n{i}" for i, kind in enumerate(number_types)]
    pointers = [f"{stored} *p{i} = ({stored} *)addresses[row * {width} + {i}];" for i in range(width)]
    loads = [f"{computed} a{i} = load(p{i}, i);" for i in range(width)]
    stores = [f"store(p{i}, i, a{i});" for i in range(written)]
    lines = [
        f'extern "C" __global__ void {name}({", ".join(parameters)}) {{',
        "const long long *chunk = chunks + 3 * (long long)blockIdx.x;",
        f"long long row = chunk[0], first = chunk[1], last = min(first + {CHUNK}LL, chunk[2]);",
        *pointers,
        f"for (long long i = first + threadIdx.x; i < last; i += {BLOCK}) {{",
        *loads,
        body,
        *stores,
        "}",
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _real(kind: Any) -> str:
    """The C++ type of the step's numbers for parameters of a NumPy dtype."""
    return "double" if kind.char == "d" else "float"


def _any_complex(params: Arrays) -> bool:
    return any(param.dtype.kind == "c" for param in params)


def sgd_step(
    params: Arrays,
    grads: Arrays,
    momentum_buffers: Arrays,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of stochastic gradient descent; see :func:`flambeau.ops.optimizer.sgd_step`."""
    if _any_complex(params):
        settings = lr, momentum, dampening, weight_decay, nesterov, maximize, first
        return decomposed("sgd_step", params, grads, momentum_buffers, *settings)
    numbers = [lr, momentum, 1 - dampening, weight_decay]
    groups = [params, momentum_buffers, grads] if momentum else [params, grads]
    lines = [f"auto g = {'-' if maximize else ''}a{len(groups) - 1};"]
    if weight_decay:
        lines.append("g = g + a0 * n3;")
    if momentum:
        lines.append("a1 = g;" if first else "a1 = a1 * n1 + g * n2;")
        lines.append("g = g + a1 * n1;" if nesterov else "g = a1;")
    update("sgd_step", " ".join([*lines, "a0 = a0 - g * n0;"]), groups, 2 if momentum else 1, numbers)
    return None


def adam_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    max_exp_avg_sqs: Arrays,
    steps: Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> None:
    """One step of Adam or AdamW; see :func:`flambeau.ops.optimizer.adam_step`."""
    if _any_complex(params):
        settings = lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled
        return decomposed("adam_step", params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, *settings)
    groups = [params, exp_avgs, exp_avg_sqs, *([max_exp_avg_sqs] if amsgrad else []), grads]
    lines = [f"auto g = {'-' if maximize else ''}a{len(groups) - 1};"]
    if weight_decay:
        lines.append("a0 = a0 * n5;" if decoupled else "g = g + a0 * n5;")
    lines.append("a1 = a1 + (g - a1) * n1; a2 = a2 + (g * g - a2) * n2;")
    if amsgrad:
        lines.append("a3 = larger(a3, a2);")
    lines.append(f"a0 = a0 - a1 * n0 / (sqrt(a{3 if amsgrad else 2}) / n4 + n3);")
    for step in sorted(set(steps)):
        chosen = [[array for array, own in zip(group, steps, strict=True) if own == step] for group in groups]
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        numbers = [rate, 1 - beta1, 1 - beta2, eps, root, decay]
        update("adam_step", " ".join(lines), chosen, len(groups) - 1, numbers)
    return None


KERNELS: dict[str, Callable[..., Any]] = {"sgd_step": sgd_step, "adam_step": adam_step}
