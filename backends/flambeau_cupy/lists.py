"""Kernels over lists of arrays: a launch for all arrays of a dtype, in place, in float32 for the 16-bit types.

The kernel is given a table of addresses; a block takes a chunk of one array. Tables that stay the same from step to
step are kept on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cupy
import cupyx
import numpy

from flambeau_cupy.elements import compute, own_dtype, storage
from flambeau_cupy.maps import run
from flambeau_cupy.programs import BLOCK, SCALARS, compiled, kernel_name
from flambeau_cupy.reduction import reduced
from flambeau_cupy.rows import TOGETHER

Array = Any
Arrays = Sequence[Array]

#: Elements of a chunk.
CHUNK = 1 << 14

_kernels: dict[Any, Any] = {}


def are_plain(arrays: Arrays) -> bool:
    """Whether all arrays are real and lie in one piece."""
    return all(array.dtype.char in "eEfd" and array.flags.c_contiguous for array in arrays)


def update(name: str, body: str, groups: Sequence[Arrays], written: int, numbers: Sequence[float]) -> None:
    """Run ``body`` for every element of many arrays, in place.

    Args:
        body: C++ that reads and writes ``a0``, ``a1`` ..., the elements of one array of each group.
        groups: lists of arrays, of which the first one's have the shape and the dtype of the others'.
        written: how many of the groups are written to, the first ones.
    """
    plain = []
    for arrays in zip(*groups, strict=True):
        if all(a.flags.c_contiguous and a.dtype == arrays[0].dtype for a in arrays):
            plain.append(arrays)
            continue
        results = " ".join(f"r{i} = a{i};" for i in range(written))
        real = _real(arrays[0].dtype)
        run(name, f"{body} {results}", arrays[:written], arrays, [(real, number) for number in numbers])
    run_lists(name, body, plain, written, numbers)


def run_lists(
    name: str,
    body: str,
    rows: Sequence[tuple[Array, ...]],
    written: int,
    numbers: Sequence[float] = (),
    shared: Sequence[Array] = (),
) -> None:
    """Run ``body`` for every element of arrays that lie in one piece each, those of a row alike.

    Args:
        shared: arrays that every element may see: ``s0[0]`` ....
    """
    for kind, own in _by_dtype(rows).items():
        kernel = _kernel(name, body, "", "", kind, len(own[0]), written, len(numbers), shared)
        addresses, chunks, count = _tables(own)
        values = [SCALARS[_real(kind)](number) for number in numbers]
        kernel((count,), (BLOCK,), (addresses, chunks, *shared, *values))


def sum_lists(name: str, value: str, arrays: Arrays, result: Any) -> Array:
    """The sum of the C++ expression ``value`` over all elements ``a0`` of arrays that lie in one piece each.

    Args:
        result: the NumPy dtype of sums and result.
    """
    partial = []
    for kind, own in _by_dtype([(array,) for array in arrays]).items():
        addresses, chunks, count = _tables(own)
        partial.append(cupy.empty(count, result))
        real = _real(result)
        before, after = f"{real} total = 0;", "total = row_sum(total); if (threadIdx.x == 0) s0[blockIdx.x] = total;"
        kernel = _kernel(name, f"total += {value};", before, after, kind, 1, 0, 0, partial[-1:])
        kernel((count,), (BLOCK,), (addresses, chunks, partial[-1]))
    joined = cupy.concatenate(partial) if partial else cupy.zeros(0, result)
    return reduced("sum", "a0", [joined], (0,), False, result)


def _by_dtype(rows: Sequence[tuple[Array, ...]]) -> dict[Any, list[tuple[Array, ...]]]:
    """The rows that have elements, by their arrays' dtype."""
    found: dict[Any, list[tuple[Array, ...]]] = {}
    for arrays in rows:
        if arrays[0].size:
            found.setdefault(arrays[0].dtype, []).append(arrays)
    return found


def _real(kind: Any) -> str:
    """The C++ type of a kernel's numbers for arrays of a NumPy dtype."""
    return "double" if kind.char == "d" else "float"


def _kernel(
    name: str,
    body: str,
    before: str,
    after: str,
    kind: Any,
    width: int,
    written: int,
    numbers: int,
    shared: Sequence[Array],
) -> Any:
    key = (name, body, before, after, kind, width, written, numbers, tuple([array.dtype for array in shared]))
    kernel = _kernels.get(key)
    if kernel is None:
        own_name = kernel_name(name, key)
        own = own_dtype(numpy.empty(0, kind))
        parameters = [f"{storage(own_dtype(array))} *s{i}" for i, array in enumerate(shared)]
        parameters += [f"{_real(kind)} n{i}" for i in range(numbers)]
        text = source(own_name, body, before, after, storage(own), compute(own), width, written, parameters)
        kernel = _kernels[key] = compiled(own_name, text)
    return kernel


def source(
    name: str,
    body: str,
    before: str,
    after: str,
    stored: str,
    computed: str,
    width: int,
    written: int,
    parameters: Sequence[str],
) -> str:
    """The C++ of a kernel; ``before`` and ``after`` stand around a thread's loop over its elements."""
    lines = [
        f"#define THREADS {BLOCK}\n{TOGETHER}" if after else "",
        f'extern "C" __global__ void {name}(',
        ", ".join(["const long long *addresses", "const long long *chunks", *parameters]) + ") {",
        "const long long *chunk = chunks + 3 * (long long)blockIdx.x;",
        f"long long row = chunk[0], first = chunk[1], last = min(first + {CHUNK}LL, chunk[2]);",
        *[f"{stored} *p{i} = ({stored} *)addresses[row * {width} + {i}];" for i in range(width)],
        before,
        f"for (long long i = first + threadIdx.x; i < last; i += {BLOCK}) {{",
        *[f"{computed} a{i} = load(p{i}, i);" for i in range(width)],
        body,
        *[f"store(p{i}, i, a{i});" for i in range(written)],
        "}",
        after,
        "}",
    ]
    return "\n".join(lines) + "\n"


# -- tables ----------------------------------------------------------------------------------------------------------


def _tables(rows: Sequence[tuple[Array, ...]]) -> tuple[Array, Array, int]:
    """Addresses, chunks, and how many chunks there are."""
    device = cupy.cuda.runtime.getDevice()
    places = tuple([array.data.ptr for arrays in rows for array in arrays])
    sizes = tuple([arrays[0].size for arrays in rows])
    if _is_capturing():  # a graph's tables have to last as long as it does: they are made in its own memory
        return _addresses.__wrapped__(device, places), *_chunks.__wrapped__(device, sizes)
    return _addresses(device, places), *_chunks(device, sizes)


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
