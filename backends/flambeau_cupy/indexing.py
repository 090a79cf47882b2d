"""Kernels that read and write at positions given by arrays of integers.

Sums at places that repeat are made by atomic operations, and in deterministic mode in the order of the places. An
index out of bounds is found by the kernel, which reads or writes at index 0 instead and notes it; the IndexError
comes when the device is next waited for (see :mod:`flambeau_cupy.programs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy

from flambeau.determinism import are_deterministic_algorithms_enabled
from flambeau_cupy.creation import assign, to_dtype
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.layout import element_strides, window
from flambeau_cupy.maps import Number, run

Array = Any
Shape = tuple[int, ...]

# -- adding at places that repeat ----------------------------------------------------------------------------------

_ADD = r"""
static __device__ void add_to(float *place, float value) { atomicAdd(place, value); }
static __device__ void add_to(double *place, double value) { atomicAdd(place, value); }
static __device__ void add_to(int *place, int value) { atomicAdd(place, value); }
static __device__ void add_to(long long *place, long long value) {
    atomicAdd((unsigned long long *)place, (unsigned long long)value);
}
template <class R> static __device__ void add_to(complex<R> *place, complex<R> value) {
    atomicAdd(&place->x, value.x);
    atomicAdd(&place->y, value.y);
}
"""


def addable(array: Array) -> Any:
    """The NumPy dtype in which elements like the array's can be added at places that repeat."""
    if array.dtype.char in "fdFD" or array.dtype in (numpy.int32, numpy.int64):
        return array.dtype
    return numpy.dtype(numpy.float32 if array.dtype.kind in "fV" else numpy.int64)


def put(target: Array, places: str, arrays: Sequence[Array], numbers: list[Number], shape: Shape, value: Any,
        accumulate: bool, op: str) -> None:  # fmt: skip
    """Write, or add, ``value`` to ``target`` at ``y0 + place``, where the C++ lines ``places`` compute ``place``.

    Args:
        target: a window that broadcasts to ``shape``, with stride 0 where the place decides.
        arrays: the inputs of ``places``, ``a0`` ...; their number is also the value's.
        value: an array, or a Python number.
    """
    own = compute(own_dtype(target))
    if not isinstance(value, cupy.ndarray):
        value = cupy.full((), value, target.dtype)
    if accumulate and target.dtype.kind in "fc" and are_deterministic_algorithms_enabled():
        _add_in_order(target, places, arrays, numbers, shape, value, op)
        return
    given = f"a{len(arrays)}.x" if value.dtype.kind == "c" != target.dtype.kind else f"a{len(arrays)}"
    statement = (
        f"add_to(q0 + (y0 + place), ({own}){given});" if accumulate else f"store(q0, y0 + place, ({own}){given});"
    )
    complains = op if "complain(" in places else None
    functions = _ADD if accumulate else ""
    run(op, f"{places} {statement}", [target], [*arrays, value], numbers, "r0", functions, complains, shape)


# A thread adds up what goes to one place, which its first entry in the sorted order stands for.
_IN_ORDER = """
long long at = load(p1, load(p0, i));
if (i == 0 || load(p1, load(p0, i - 1)) != at) {{
    {T} total = load(q0, at);
    for (long long j = i; j < count && load(p1, load(p0, j)) == at; ++j) total = total + load(p2, load(p0, j));
    store(q0, at, total);
}}
"""


def _add_in_order(
    target: Array, places: str, arrays: Sequence[Array], numbers: list[Number], shape: Shape, value: Array, op: str
) -> None:
    """:func:`put` for sums that have to come out the same every time: places are sorted, and their values added."""
    at = cupy.empty(shape, numpy.int64)
    last = len(arrays)
    complains = op if "complain(" in places else None
    run(op, f"{places} r0 = x{last} + place;", [at], [*arrays, target], numbers, f"a{last}", complains=complains)
    values = cupy.empty(shape, target.dtype)
    assign(values, value)
    flat = at.reshape(-1)
    body = _IN_ORDER.format(T=compute(own_dtype(target)))
    inputs = [flat.argsort(), flat, values.reshape(-1)]
    run("add_in_order", body, [window(target, (1,), (0,))], inputs, (), "r0 a0 a1 a2", shape=flat.shape)


# -- advanced indexing ---------------------------------------------------------------------------------------------


class _Selection:
    """What ``input[indices]`` means: the shape, the window on the input, and the C++ that computes the places."""

    def __init__(self, op: str, input: Array, indices: Sequence[Array | None], first_input: int) -> None:
        shape, strides = input.shape, element_strides(input)
        if len(indices) > len(shape):
            raise IndexError(f"{op}: too many indices for tensor of dimension {len(shape)}: {len(indices)}")
        dims = [d for d, index in enumerate(indices) if index is not None]
        given = [index for index in indices if index is not None]
        try:
            common = numpy.broadcast_shapes(*[index.shape for index in given])
        except ValueError:
            shapes = ", ".join(str(list(index.shape)) for index in given)
            raise IndexError(
                f"{op}: shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
            ) from None
        adjacent = bool(dims) and dims == list(range(dims[0], dims[-1] + 1))
        at = dims[0] if adjacent else 0
        kept = [d for d in range(len(shape)) if d not in dims]
        before = [d for d in kept if adjacent and d < at]
        after = [d for d in kept if d not in before]
        self.shape = (*[shape[d] for d in before], *common, *[shape[d] for d in after])
        self.window = window(
            input,
            (*[shape[d] for d in before], *[1] * len(common), *[shape[d] for d in after]),
            (*[strides[d] for d in before], *[0] * len(common), *[strides[d] for d in after]),
        )
        tail = (1,) * len(after)
        self.indices = [index.reshape(*index.shape, *tail) for index in given]
        self.numbers: list[Number] = []
        lines = ["long long place = 0;"]
        for i, d in enumerate(dims):
            size, step = f"n{2 * i}", f"n{2 * i + 1}"
            lines.append(
                f"{{ long long v = a{first_input + i}; "
                f"if (v < -{size} || v >= {size}) {{ complain(words, 1, who, v, {size}); v = 0; }} "
                f"place += (v < 0 ? v + {size} : v) * {step}; }}"
            )
            self.numbers += [("long long", shape[d]), ("long long", strides[d])]
        self.lines = " ".join(lines)


def index(input: Array, indices: Sequence[Array | None]) -> Array:
    """``input[indices]``, where None takes a whole dimension; the arrays of indices broadcast.

    Raises:
        IndexError: when the arrays do not broadcast; later, when an index is out of bounds.
    """
    chosen = _Selection("index", input, indices, 1)
    result = cupy.empty(chosen.shape, input.dtype)
    body = f"{chosen.lines} r0 = load(p0, x0 + place);"
    run("index", body, [result], [chosen.window, *chosen.indices], chosen.numbers, "a0", complains="index")
    return result


def index_put(input: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """A copy of ``input`` with ``values``, broadcast, in the place of (or added to) ``input[indices]``.

    Raises:
        RuntimeError: when ``values`` does not broadcast to the selected shape.
    """
    return index_put_(input.copy(), indices, values, accumulate)


def index_put_(target: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """:func:`index_put` in place."""
    kind = addable(target)
    if accumulate and kind != target.dtype:
        return assign(target, index_put_(target.astype(kind), indices, values, True))
    chosen = _Selection("index_put", target, indices, 0)
    if isinstance(values, cupy.ndarray):
        lead = len(chosen.shape) - len(values.shape)
        if lead < 0 and all(n == 1 for n in values.shape[:-lead]):
            values = values.reshape(values.shape[-lead:])
            lead = 0
        if lead < 0 or any(n not in (1, m) for n, m in zip(values.shape, chosen.shape[lead:], strict=True)):
            raise RuntimeError(
                f"index_put: the shape {list(values.shape)} of values does not broadcast to the selected "
                f"{list(chosen.shape)}"
            )
        if values.data.mem.ptr == target.data.mem.ptr:
            values = values.copy()
        if values.dtype.kind in "fV" and target.dtype.kind in "iu":
            values = to_dtype(values, own_dtype(target))
    put(chosen.window, chosen.lines, chosen.indices, chosen.numbers, chosen.shape, values, accumulate, "index_put")
    return target


# -- along one dimension -------------------------------------------------------------------------------------------

_PLACE = (
    "long long place = {index}; "
    "if (place < 0 || place >= n0) {{ complain(words, 1, who, place, n0); place = 0; }} place *= n1;"
)


def _along(op: str, input: Array, dim: int, index: Array) -> tuple[Array, list[Number]]:
    """The window on ``input`` that has stride 0 along ``dim``, and the numbers for ``_PLACE``."""
    strides = element_strides(input)
    if len(index.shape) <= 1 and len(input.shape) <= 1:
        size, step = (input.shape[0], strides[0]) if input.shape else (1, 1)
        seen = window(input, (1,) * len(index.shape), (0,) * len(index.shape))
        return seen, [("long long", size), ("long long", step)]
    seen = window(
        input,
        [1 if d == dim else n for d, n in enumerate(index.shape)],
        [0 if d == dim else s for d, s in enumerate(strides)],
    )
    return seen, [("long long", input.shape[dim]), ("long long", strides[dim])]


def gather(input: Array, dim: int, index: Array) -> Array:
    """``result[i][j][k] = input[i][index[i][j][k]][k]`` for ``dim`` 1 of 3; the shape is ``index``'s."""
    seen, numbers = _along("gather", input, dim, index)
    result = cupy.empty(index.shape, input.dtype)
    body = f"{_PLACE.format(index='a1')} r0 = load(p0, x0 + place);"
    run("gather", body, [result], [seen, index], numbers, "a0", complains="gather")
    return result


def _scattered(op: str, input: Array, dim: int, index: Array, src: Any, accumulate: bool) -> Array:
    result = input.astype(addable(input) if accumulate else input.dtype, order="C")
    seen, numbers = _along(op, result, dim, index)
    if isinstance(src, cupy.ndarray):
        src = src[tuple([slice(n) for n in index.shape])]
        src = to_dtype(src, own_dtype(result))
    put(seen, _PLACE.format(index="a0"), [index], numbers, index.shape, src, accumulate, op)
    return result.astype(input.dtype, copy=False)


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
    down, along = element_strides(table)
    seen = window(table, (*[1] * lead, table.shape[1]), (*[0] * lead, along))
    return seen, indices[..., None], [("long long", table.shape[0]), ("long long", down)]


def embedding(weight: Array, indices: Array) -> Array:
    """The rows of ``weight`` (num, dim) at ``indices`` (any shape): shape ``indices.shape + (dim,)``."""
    seen, spread, numbers = _rows(weight, indices)
    result = cupy.empty((*indices.shape, weight.shape[1]), weight.dtype)
    body = f"{_PLACE.format(index='a1')} r0 = load(p0, x0 + place);"
    run("embedding", body, [result], [seen, spread], numbers, "a0", complains="embedding")
    return result


def embedding_backward(g: Array, indices: Array, num_weights: int, padding_idx: int | None = None) -> Array:
    """The gradient of the weight: each row the sum of the cotangents of its uses; zero for ``padding_idx``."""
    result = cupy.zeros((num_weights, g.shape[-1]), addable(g))
    seen, spread, numbers = _rows(result, indices)
    put(seen, _PLACE.format(index="a0"), [spread], numbers, g.shape, g, True, "embedding_backward")
    if padding_idx is not None and padding_idx >= 0:
        result[padding_idx].fill(0)
    return result.astype(g.dtype, copy=False)


# -- places --------------------------------------------------------------------------------------------------------


def nonzero(input: Array) -> Array:
    """The positions of the elements that are not zero, one a row: shape (number, ndim), int64.

    The number is read back: the shape of the result depends on it.
    """
    if input.shape == ():
        return cupy.empty((1 if input else 0, 0), numpy.int64)
    places = input.nonzero()
    return cupy.concatenate([place[:, None] for place in places], 1).astype(numpy.int64, copy=False)


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
