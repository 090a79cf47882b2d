"""Kernels that read and write at positions given by arrays of integers.

An index out of bounds is found by the kernel, which reads or writes at index 0 instead and notes it; the IndexError
comes when the device is next waited for (see :mod:`flambeau_opencl.runtime`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import dtypes
from flambeau.dtypes import bool_, dtype, int32, int64
from flambeau.ops.spec import broadcast_shapes
from flambeau_opencl.array import Array, empty, to_host
from flambeau_opencl.creation import clone, fill, filled, to_dtype
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.elementwise import number
from flambeau_opencl.maps import Number, run

# -- adding at places that repeat ----------------------------------------------------------------------------------

_ATOMIC_FLOAT = """
void add_to(volatile __global {real} *place, {real} value) {{
    union {{ {word} bits; {real} number; }} old, new;
    old.number = *place;
    {word} seen;
    do {{
        seen = old.bits;
        new.number = old.number + value;
        old.bits = {exchange}((volatile __global {word} *)place, seen, new.bits);
    }} while (old.bits != seen);
}}
"""
_FLOAT_ADD = _ATOMIC_FLOAT.format(real="float", word="uint", exchange="atomic_cmpxchg")
_DOUBLE_ADD = "#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable\n" + _ATOMIC_FLOAT.format(
    real="double", word="ulong", exchange="atom_cmpxchg"
)
_LONG_ADD = """#pragma OPENCL EXTENSION cl_khr_int64_base_atomics : enable
void add_to(volatile __global long *place, long value) { atom_add(place, value); }
"""
_INT_ADD = "void add_to(volatile __global int *place, int value) { atomic_add(place, value); }\n"

_ADDERS: dict[dtype, str] = {
    int32: _INT_ADD,
    int64: _LONG_ADD,
    dtypes.float32: _FLOAT_ADD,
    dtypes.complex64: _FLOAT_ADD,
    dtypes.float64: _DOUBLE_ADD,
    dtypes.complex128: _DOUBLE_ADD,
}


def adder(array: Array, place: str, value: str) -> tuple[str, str]:
    """A C function, and the statement that adds ``value`` at a place of output 0, whoever else adds there.

    Raises:
        RuntimeError: where the device cannot do that with 64 bits.
    """
    kind = array.dtype
    functions = _ADDERS[kind]
    if "int64_base" in functions and not array.runtime.has_long_atomics:
        raise RuntimeError(
            f"{array.runtime.device}: adding {kind.name} at places that may repeat needs atomic operations with 64 "
            f"bits, which {array.runtime.hardware.name.strip()} does not have (extension cl_khr_int64_base_atomics)"
        )
    if kind.is_complex:
        real = ELEMENTS[kind].real
        return functions, (
            f"{{ volatile __global {real} *part = (volatile __global {real} *)(q0 + ({place})); "
            f"add_to(part, ({value}).x); add_to(part + 1, ({value}).y); }}"
        )
    return functions, f"add_to(q0 + ({place}), {value});"


def addable(kind: dtype) -> dtype:
    """The dtype in which elements of ``kind`` can be added at places that repeat."""
    if kind in _ADDERS:
        return kind
    if kind.is_floating_point:
        return dtypes.float32
    return int32 if kind.itemsize < 4 else int64  # sums of unsigned numbers wrap around alike


def put(target: Array, places: str, arrays: Sequence[Array], numbers: list[Number], shape: tuple[int, ...], value: Any,
        accumulate: bool, op: str) -> None:  # fmt: skip
    """Write, or add, ``value`` to ``target`` at ``y0 + place``, where the C lines ``places`` compute ``place``.

    Args:
        target: a window that broadcasts to ``shape``, with stride 0 where the place decides.
        arrays: the inputs of ``places``, ``a0`` ...; their number is also the value's, where that is an array.
    """
    functions = ""
    inputs = list(arrays)
    if isinstance(value, Array):
        inputs.append(value)
        given = f"a{len(arrays)}"
    else:
        own, form = number(value, target.dtype)
        given = form.format(*[f"n{len(numbers) + i}" for i in range(len(own))])
        numbers = [*numbers, *own]
    statement = f"OUT0(y0 + place, {given});"
    if accumulate:
        functions, statement = adder(target, "y0 + place", given)
    complains = op if "complain(" in places else None
    run(op, f"{places} {statement}", [target], inputs, numbers, "r0", functions, complains, shape)


# -- advanced indexing ---------------------------------------------------------------------------------------------


class _Selection:
    """What ``input[indices]`` means: the shape, the window on the input, and the C lines that compute the places."""

    def __init__(self, op: str, input: Array, indices: Sequence[Array | None], first_input: int) -> None:
        shape, strides = input.shape, input.strides
        if len(indices) > len(shape):
            raise IndexError(f"{op}: too many indices for tensor of dimension {len(shape)}: {len(indices)}")
        dims = [d for d, index in enumerate(indices) if index is not None]
        given = [index for index in indices if index is not None]
        try:
            common = broadcast_shapes(op, *[index.shape for index in given])
        except RuntimeError as error:
            raise IndexError(str(error)) from None
        adjacent = bool(dims) and dims == list(range(dims[0], dims[-1] + 1))
        at = dims[0] if adjacent else 0
        kept = [d for d in range(len(shape)) if d not in dims]
        before = [d for d in kept if adjacent and d < at]
        after = [d for d in kept if d not in before]
        self.shape = (*[shape[d] for d in before], *common, *[shape[d] for d in after])
        self.window = input.window(
            (*[shape[d] for d in before], *[1] * len(common), *[shape[d] for d in after]),
            (*[strides[d] for d in before], *[0] * len(common), *[strides[d] for d in after]),
            input.offset,
        )
        tail = (1,) * len(after)
        self.indices = [i.window((*i.shape, *tail), (*i.strides, *[0] * len(after)), i.offset) for i in given]
        self.numbers: list[Number] = []
        lines = ["long place = 0;"]
        for i, d in enumerate(dims):
            size, step = f"n{2 * i}", f"n{2 * i + 1}"
            lines.append(
                f"{{ long v = a{first_input + i}; "
                f"if (v < -{size} || v >= {size}) {{ complain(words, 1, who, v, {size}); v = 0; }} "
                f"place += (v < 0 ? v + {size} : v) * {step}; }}"
            )
            self.numbers += [("long", shape[d]), ("long", strides[d])]
        self.lines = " ".join(lines)


def index(input: Array, indices: Sequence[Array | None]) -> Array:
    """``input[indices]``, where None takes a whole dimension; the arrays of indices broadcast.

    Raises:
        IndexError: when the arrays do not broadcast; later, when an index is out of bounds.
    """
    chosen = _Selection("index", input, indices, 1)
    result = empty(input.runtime, chosen.shape, input.dtype)
    body = f"{chosen.lines} r0 = IN0(x0 + place);"
    run("index", body, [result], [chosen.window, *chosen.indices], chosen.numbers, "a0", complains="index")
    return result


def index_put(input: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """A copy of ``input`` with ``values``, broadcast, in the place of (or added to) ``input[indices]``.

    Raises:
        RuntimeError: when ``values`` does not broadcast to the selected shape.
    """
    return index_put_(clone(input), indices, values, accumulate)


def index_put_(target: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """:func:`index_put` in place."""
    kind = addable(target.dtype)
    if accumulate and kind is not target.dtype:
        from flambeau_opencl.creation import assign

        return assign(target, index_put_(to_dtype(target, kind), indices, to_dtype(values, kind), True))
    chosen = _Selection("index_put", target, indices, 0)
    lead = len(chosen.shape) - len(values.shape)
    while lead < 0 and values.shape[0] == 1:
        values = values.window(values.shape[1:], values.strides[1:], values.offset)
        lead += 1
    if lead < 0 or any(n not in (1, m) for n, m in zip(values.shape, chosen.shape[lead:], strict=True)):
        raise RuntimeError(
            f"index_put: the shape {list(values.shape)} of values does not broadcast to the selected "
            f"{list(chosen.shape)}"
        )
    values = clone(values) if values.storage is target.storage else to_dtype(values, target.dtype)
    put(chosen.window, chosen.lines, chosen.indices, chosen.numbers, chosen.shape, values, accumulate, "index_put")
    return target


def note_range(op: str, index: Array, lowest: int, size: int, dim: int) -> None:
    """Note an element outside ``lowest <= index < size``; the ops that use the indices then find nothing to add."""
    what = f"{op}: index {{index}} is out of bounds for dimension {dim} with size {{size}}"
    body = "if (a0 < n0 || a0 >= n1) complain(words, 1, who, a0, n1);"
    run("check_indices", body, [], [index], [("long", lowest), ("long", size)], complains=what, shape=index.shape)


# -- along one dimension -------------------------------------------------------------------------------------------

_PLACE = (
    "long place = {index}; if (place < 0 || place >= n0) {{ complain(words, 1, who, place, n0); place = 0; }} "
    "place *= n1;"
)


def _along(op: str, input: Array, dim: int, index: Array) -> tuple[Array, list[Number]]:
    """The window on ``input`` that has stride 0 along ``dim``, and the numbers for ``_PLACE``."""
    if len(index.shape) <= 1 and len(input.shape) <= 1:
        size, step = (input.shape[0], input.strides[0]) if input.shape else (1, 1)
        return input.window((1,) * len(index.shape), (0,) * len(index.shape), input.offset), [
            ("long", size), ("long", step),
        ]  # fmt: skip
    shape = [1 if d == dim else n for d, n in enumerate(index.shape)]
    strides = [0 if d == dim else s for d, s in enumerate(input.strides)]
    return input.window(shape, strides, input.offset), [("long", input.shape[dim]), ("long", input.strides[dim])]


def gather(input: Array, dim: int, index: Array) -> Array:
    """``result[i][j][k] = input[i][index[i][j][k]][k]`` for ``dim`` 1 of 3; the shape is ``index``'s."""
    window, numbers = _along("gather", input, dim, index)
    result = empty(input.runtime, index.shape, input.dtype)
    body = f"{_PLACE.format(index='a1')} r0 = IN0(x0 + place);"
    run("gather", body, [result], [window, index], numbers, "a0", complains="gather")
    return result


def _scattered(op: str, input: Array, dim: int, index: Array, src: Any, accumulate: bool) -> Array:
    kind = addable(input.dtype) if accumulate else input.dtype
    result = clone(input) if kind is input.dtype else to_dtype(input, kind)
    window, numbers = _along(op, result, dim, index)
    if isinstance(src, Array):
        src = to_dtype(src, kind)
        if src.shape != index.shape:
            src = src.window(index.shape, src.strides, src.offset)
    put(window, _PLACE.format(index="a0"), [index], numbers, index.shape, src, accumulate, op)
    return result if kind is input.dtype else to_dtype(result, input.dtype)


def scatter(input: Array, dim: int, index: Array, src: Any) -> Array:
    """A copy of ``input`` with ``result[i][index[i][j][k]][k] = src[i][j][k]`` for ``dim`` 1 of 3."""
    return _scattered("scatter", input, dim, index, src, False)


def scatter_add(input: Array, dim: int, index: Array, src: Any) -> Array:
    """:func:`scatter` that adds; several elements may go to one place."""
    return _scattered("scatter_add", input, dim, index, src, True)


# -- embeddings ----------------------------------------------------------------------------------------------------


def _rows(table: Array, indices: Array) -> tuple[Array, Array, list[Number]]:
    """Table and indices as windows on ``indices.shape + (width,)``."""
    lead = len(indices.shape)
    window = table.window((*[1] * lead, table.shape[1]), (*[0] * lead, table.strides[1]), table.offset)
    spread = indices.window((*indices.shape, 1), (*indices.strides, 0), indices.offset)
    return window, spread, [("long", table.shape[0]), ("long", table.strides[0])]


def embedding(weight: Array, indices: Array) -> Array:
    """The rows of ``weight`` (num, dim) at ``indices`` (any shape): shape ``indices.shape + (dim,)``."""
    window, spread, numbers = _rows(weight, indices)
    result = empty(weight.runtime, (*indices.shape, weight.shape[1]), weight.dtype)
    body = f"{_PLACE.format(index='a1')} r0 = IN0(x0 + place);"
    run("embedding", body, [result], [window, spread], numbers, "a0", complains="embedding")
    return result


def embedding_backward(g: Array, indices: Array, num_weights: int, padding_idx: int | None = None) -> Array:
    """The gradient of the weight: each row the sum of the cotangents of its uses; zero for ``padding_idx``."""
    kind = addable(g.dtype)
    result = filled(g.runtime, (num_weights, g.shape[-1]), 0, kind)
    window, spread, numbers = _rows(result, indices)
    put(
        window, _PLACE.format(index="a0"), [spread], numbers, g.shape, to_dtype(g, kind), True, "embedding_backward"
    )  # fmt: skip
    if padding_idx is not None and padding_idx >= 0:
        fill(result.window((g.shape[-1],), (1,), padding_idx * g.shape[-1]), 0)
    return to_dtype(result, g.dtype)


# -- places --------------------------------------------------------------------------------------------------------


def nonzero(input: Array) -> Array:
    """The positions of the elements that are not zero, one a row: shape (number, ndim), int64.

    The number is read back: the shape of the result depends on it.
    """
    from flambeau_opencl.cumulative import cumsum

    shape, runtime = input.shape, input.runtime
    if input.size == 0:
        return empty(runtime, (0, len(shape)), int64)
    kept = to_dtype(input, bool_)
    numbering = cumsum(kept.window((1,), (1,), kept.offset) if not shape else _flat(kept), 0)
    total = numbering.window((), (), input.size - 1)
    result = empty(runtime, (int(to_host(total)), len(shape)), int64)
    if result.size:
        lines = ["if (a0) { long rest = i, at = y0 + (a1 - 1) * n0;"]
        lines += [f"OUT0(at + {d}, rest % n{d + 1}); rest /= n{d + 1};" for d in reversed(range(len(shape)))]
        target = result.window((1,) * len(shape), (0,) * len(shape), 0)
        ordinals = numbering.reshaped(*shape)
        numbers = [("long", n) for n in (len(shape), *shape)]
        run("nonzero", " ".join([*lines, "}"]), [target], [kept, ordinals], numbers, "r0", shape=shape)
    return result


def _flat(array: Array) -> Array:
    from flambeau_opencl.creation import contiguous

    return contiguous(array).reshaped(array.size)


KERNELS: dict[str, Callable[..., Any]] = {
    "index": index,
    "index_put": index_put,
    "index_put_": index_put_,
    "gather": gather,
    "scatter": scatter,
    "scatter_add": scatter_add,
    "embedding": embedding,
    "embedding_backward": embedding_backward,
    "nonzero": nonzero,
}
