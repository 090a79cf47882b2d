"""Kernels over lists of arrays: many small arrays in one launch, as the steps of optimizers want them.

OpenCL has no pointers in memory, so that a launch takes the arrays as arguments, a few at a time. Its work is cut into
blocks of one array each; a block is a work-item of a CPU or a work-group of a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from flambeau.dtypes import dtype
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous, filled
from flambeau_opencl.elements import ELEMENTS, preamble
from flambeau_opencl.maps import INDEPENDENT, SCALARS, Number, accessors, run
from flambeau_opencl.passes import SUM, reduce
from flambeau_opencl.rows import group_reduction
from flambeau_opencl.runtime import Runtime, kernel_name

#: Arrays a launch: with five lists 92 arguments, which OpenCL's guaranteed 1024 bytes hold.
_AT_A_TIME = 8
_BLOCK = 2048
#: Work-items of a GPU that share a block.
_GROUP = 128
# Lets a CPU add up in a vector.
_ANY_ORDER = '_Pragma("clang fp reassociate(on)")'


def run_lists(
    name: str,
    body: str,
    written: Sequence[Sequence[Array]],
    read: Sequence[Sequence[Array]],
    numbers: Sequence[Number],
    single: Array | None = None,
) -> None:
    """Run ``body`` for every element of every array of lists of equal lengths and shapes.

    Args:
        body: C statements with the elements of the lists ``a0``, ``a1`` ..., first of those written; it sets ``r0``
            ..., which are written to these.
        numbers: ``n0`` ..., the same for all.
        single: an array of one element, ``given`` in the body.
    """
    _run(name, body, written, read, numbers, single, None)


def sum_lists(
    name: str,
    body: str,
    written: Sequence[Sequence[Array]],
    read: Sequence[Sequence[Array]],
    numbers: Sequence[Number],
    kind: dtype,
) -> Array:
    """The sum, 0-dim, of what ``body``, as for :func:`run_lists`, adds to ``total`` for each element.

    Args:
        kind: the dtype of the sum, float32 or float64.
    """
    arrays = written[0] if written else read[0]
    blocks = sum(-(-array.size // _BLOCK) for array in arrays)
    runtime = arrays[0].storage.runtime
    totals = empty(runtime, (max(blocks, 1),), kind)
    if not blocks:
        return filled(runtime, (), 0, kind)
    _run(name, body, written, read, numbers, None, totals)
    return reduce(totals, (0,), SUM, kind, empty(runtime, (), kind))


def _run(
    name: str,
    body: str,
    written: Sequence[Sequence[Array]],
    read: Sequence[Sequence[Array]],
    numbers: Sequence[Number],
    single: Array | None,
    totals: Array | None,
) -> None:
    groups: dict[tuple[Any, ...], list[tuple[Array, ...]]] = {}
    for arrays in zip(*written, *read, strict=True):
        if totals is not None:
            arrays = (*arrays[: len(written)], *[contiguous(array) for array in arrays[len(written) :]])
        if all(array.contiguous for array in arrays):
            group = (arrays[0].storage.runtime, tuple([array.dtype for array in arrays]))
            groups.setdefault(group, []).append(arrays)
        else:
            operands = arrays if single is None else (*arrays, single)
            own = body if single is None else f"{ELEMENTS[single.dtype].compute} given = a{len(arrays)}; {body}"
            run(name, own, arrays[: len(written)], operands, numbers)
    kinds = tuple([kind for kind, _ in numbers])
    values = [value for _, value in numbers]
    others = tuple([None if array is None else array.dtype for array in (single, totals)])
    before = 0
    for (runtime, types), rows in groups.items():
        key = ("lists", body, types, kinds, len(written), others, runtime.is_cpu)
        found = runtime.kernels.get(key)
        if found is None:
            found = runtime.kernels[key] = _build(runtime, name, key)
        for start in range(0, len(rows), _AT_A_TIME):
            extra: list[Any] = [] if single is None else [single.storage.buffer, single.offset]
            extra += [] if totals is None else [totals.storage.buffer, totals.offset + before]
            before += _launch(runtime, found, rows[start : start + _AT_A_TIME], [*values, *extra])


def _launch(runtime: Runtime, found: tuple[str, Any], rows: list[tuple[Array, ...]], values: list[Any]) -> int:
    """Enqueue the kernel for some arrays; returns the number of blocks."""
    sizes, ends, end = [], [], 0
    for arrays in rows:
        size = arrays[0].size
        end += -(-size // _BLOCK)
        sizes.append(size)
        ends.append(end)
    if not end:
        return 0
    missing = _AT_A_TIME - len(rows)
    rows = rows + rows[-1:] * missing
    args: list[Any] = [array.storage.buffer for arrays in rows for array in arrays]
    args += [array.offset for arrays in rows for array in arrays]
    args += sizes + [0] * missing
    args += ends + [end] * missing
    args += values
    if runtime.is_cpu:
        runtime.launch(found[0], found[1], (end,), (1,), args)
    else:
        runtime.launch(found[0], found[1], (end * _GROUP,), (_GROUP,), args)
    return end


def _build(runtime: Runtime, name: str, key: Any) -> tuple[str, Any]:
    _, body, types, kinds, written, (single, total), on_cpu = key
    own_name = kernel_name(name, key)
    slots = range(_AT_A_TIME)
    operands = range(len(types))
    parameters = [f"__global {ELEMENTS[types[k]].storage} *p{s}_{k}" for s in slots for k in operands]
    parameters += [f"long offset{s}_{k}" for s in slots for k in operands]
    parameters += [f"long size{s}" for s in slots] + [f"long end{s}" for s in slots]
    parameters += [f"{kind} n{i}" for i, kind in enumerate(kinds)]
    scalars: list[Any] = [None] * (_AT_A_TIME * len(types))
    scalars += [numpy.int64] * (_AT_A_TIME * (len(types) + 2)) + [SCALARS[kind] for kind in kinds]
    around: list[str] = []
    if single:
        parameters += [f"__global {ELEMENTS[single].storage} *single", "long single_offset"]
        around.append(accessors("IN", len(types), "single", single))
    if total:
        parameters += [f"__global {ELEMENTS[total].storage} *totals", "long totals_offset"]
        around.append(f"#define T {ELEMENTS[total].compute}")
        around += [] if on_cpu else [group_reduction("SUM")]
    scalars += [None, numpy.int64] * (bool(single) + bool(total))

    def chosen(form: str) -> str:
        """The value for the block's array."""
        text = form.format(s=_AT_A_TIME - 1)
        for s in reversed(slots[:-1]):
            text = f"block < end{s} ? {form.format(s=s)} : {text}"
        return text

    lines = [
        preamble({*types, *[kind for kind in (single, total) if kind]}),
        *around,
        *[accessors("IN", k, f"p{k}", types[k]) for k in operands],
        *[accessors("OUT", k, f"p{k}", types[k]) for k in range(written)],
        f"__kernel void {own_name}({', '.join(parameters)}) {{",
        "" if not total else f"    {_ANY_ORDER}" if on_cpu else f"    __local T shared[{_GROUP}];",
        f"    long block = {'get_global_id(0)' if on_cpu else 'get_group_id(0)'};",
        f"    long count = {chosen('size{s}')};",
        "    long before = " + " : ".join([f"block < end{s} ? {f'end{s - 1}' if s else '0'}" for s in slots]) + " : 0;",
        *[f"    __global {ELEMENTS[types[k]].storage} *p{k} = {chosen(f'p{{s}}_{k} + offset{{s}}_{k}')};"
          for k in operands],
        f"    long begin = (block - before) * {_BLOCK}, end = min(begin + {_BLOCK}, count);",
        f"    {ELEMENTS[single].compute} given = IN{len(types)}(single_offset);" if single else "",
        "    T total = 0;" if total else "",
        f"    {INDEPENDENT} for (long i = begin; i < end; ++i) {{" if on_cpu else
        "    for (long i = begin + get_local_id(0); i < end; i += get_local_size(0)) {",
        *[f"    {ELEMENTS[types[k]].compute} a{k} = IN{k}(i);" for k in operands],
        *[f"    {ELEMENTS[types[k]].compute} r{k};" for k in range(written)],
        f"    {{ {body} }}",
        *[f"    OUT{k}(i, r{k});" for k in range(written)],
        "    }",
        "" if not total else "    totals[totals_offset + block] = total;" if on_cpu else
        "    total = group_SUM(shared, total); if (get_local_id(0) == 0) totals[totals_offset + block] = total;",
        "}",
    ]  # fmt: skip
    return own_name, runtime.build(own_name, "\n".join(lines) + "\n", scalars)


def grouped(kinds: Sequence[dtype], numbers: Sequence[tuple[float, ...]]) -> dict[Any, list[int]]:
    """The places of what has one dtype and the same numbers."""
    found: dict[Any, list[int]] = {}
    for i, key in enumerate(zip(kinds, numbers, strict=True)):
        found.setdefault(key, []).append(i)
    return found
