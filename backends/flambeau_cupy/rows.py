"""Kernels that work along dimensions: a thread, a warp or a block takes a *row*, all elements along some dimensions.

    run_rows("softmax", body, [result], [x], (1,))

The body reads ``IN0(j)`` and writes ``OUT0(j, value)`` for the elements ``j`` of its row, of which there are ``n``;
``EACH(j)`` goes over those of one thread, and ``row_sum(value)`` and ``row_largest(value)`` bring the values of the
row's threads together. All arrays broadcast to one shape, so that a result for the row has size 1 along it, and
``OUT0(0, value)`` writes it (by the thread with ``t == 0``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy

from flambeau.dtypes import dtype
from flambeau.striding import broadcast_strides, merged
from flambeau_cupy.elements import own_dtype, storage
from flambeau_cupy.layout import SMALL, element_strides, index_type, place_parameters, places
from flambeau_cupy.maps import Number
from flambeau_cupy.programs import COMPLAIN, SCALARS, compiled, complaints, kernel_name

Array = Any
Shape = tuple[int, ...]

#: Threads that work on a row: one for short rows and for neighbouring columns, a warp, or a block.
ALONE, WARP, BLOCK = 1, 32, 256

_SHORT, _LONG = 8, 2048
_COLUMNS = 128

_kernels: dict[Any, Any] = {}

#: Values of a row's threads brought together: every thread gets the result. Shuffles within a warp, then, where a
#: block works on the row, shared memory.
TOGETHER = r"""
template <class T> static __device__ T exchanged(T v, int step) { return __shfl_xor_sync(0xffffffffu, v, step); }
template <class R> static __device__ complex<R> exchanged(complex<R> v, int step) {
    return complex<R>(exchanged(v.x, step), exchanged(v.y, step));
}
struct Sum { template <class A> __device__ A operator()(A a, A b) const { return a + b; } };
struct Largest { template <class A> __device__ A operator()(A a, A b) const { return larger(a, b); } };
template <class A, class F> static __device__ A together(A v, F join) {
    if (THREADS == 1) return v;
    for (int step = 16; step; step >>= 1) v = join(v, exchanged(v, step));
    if (THREADS > 32) {
        __shared__ unsigned long long shared[2 * (THREADS / 32 + 1)];
        A *own = (A *)shared;
        __syncthreads();
        if (threadIdx.x % 32 == 0) own[threadIdx.x / 32] = v;
        __syncthreads();
        v = own[0];
        for (int k = 1; k < THREADS / 32; ++k) v = join(v, own[k]);
    }
    return v;
}
template <class A> static __device__ A row_sum(A v) { return together(v, Sum()); }
template <class A> static __device__ A row_largest(A v) { return together(v, Largest()); }
"""


class _Plan:
    """How the rows of a shape lie: ranks of the two groups of dimensions, threads a row, numbers for the kernel."""

    __slots__ = ("count", "index", "numbers", "ranks", "threads", "width")

    def __init__(self, shape: Shape, strides: tuple[Shape, ...], dims: Shape) -> None:
        kept = [d for d in range(len(shape)) if d not in dims]
        outer, outer_steps = merged(
            tuple([shape[d] for d in kept]), tuple([tuple([s[d] for d in kept]) for s in strides])
        )
        inner, inner_steps = merged(
            tuple([shape[d] for d in dims]), tuple([tuple([s[d] for d in dims]) for s in strides])
        )
        self.count = _product(outer)
        self.width = _product(inner)
        self.index = index_type((*outer, *inner), [(*a, *b) for a, b in zip(outer_steps, inner_steps, strict=True)])
        self.ranks = len(outer), len(inner)
        neighbours = any(own[-1:] == (1,) for own in outer_steps) and not any(own[-1:] == (1,) for own in inner_steps)
        columns = neighbours and self.count >= _COLUMNS
        if columns or self.width <= _SHORT:
            self.threads = ALONE
        else:
            self.threads = WARP if self.width < _LONG else BLOCK
        if self.count * self.threads >= SMALL:
            self.index = "long long"
        steps = [[s for own in group for s in own] for group in (outer_steps, inner_steps)]
        self.numbers = tuple([numpy.int64(n) for n in (*outer, *steps[0], *inner, *steps[1])])


def _product(sizes: Shape) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count


@lru_cache(maxsize=8192)
def plan_rows(shape: Shape, strides: tuple[Shape, ...], dims: Shape) -> _Plan:
    """The plan for arrays of one shape with these strides."""
    return _Plan(shape, strides, dims)


def row_plan(shape: Shape, arrays: Sequence[Array], dims: Shape) -> _Plan:
    """The plan for arrays that broadcast to ``shape``."""
    return plan_rows(shape, tuple([broadcast_strides(shape, a.shape, element_strides(a)) for a in arrays]), dims)


def run_rows(
    name: str,
    body: str,
    outputs: Sequence[Array],
    inputs: Sequence[Array],
    dims: Shape,
    numbers: Sequence[Number] = (),
    functions: str = "",
    complains: str | None = None,
    shape: Shape | None = None,
    parts: int = 1,
) -> None:
    """Run ``body`` for every row along ``dims`` of ``shape``, by default that of the first input.

    Args:
        body: C++ statements with, beside what the module's text says, the numbers ``n0`` ..., ``row``, the row's
            number, ``t``, the thread's number in it, and ``part`` where rows are done in parts.
        functions: C++ functions that the body calls.
        complains: as for :func:`flambeau_cupy.maps.run`.
        parts: into how many parts each row is cut; each then sees an ``EACH`` of its own.
    """
    if shape is None:
        shape = inputs[0].shape
    operands = (*outputs, *inputs)
    plan = row_plan(shape, operands, dims)
    if not plan.count:
        return
    key = (
        name, body, plan.ranks, plan.index, plan.threads, functions, complains is not None,
        tuple([a.dtype for a in outputs]), tuple([a.dtype for a in inputs]), tuple([kind for kind, _ in numbers]),
    )  # fmt: skip
    kernel = _kernels.get(key)
    if kernel is None:
        kernel = _kernels[key] = _build(key, outputs, inputs)
    args = [*operands, numpy.int64(plan.count), numpy.int64(plan.width), numpy.int64(parts), *plan.numbers]
    args += [SCALARS[kind](value) for kind, value in numbers]
    if complains is not None:
        own = complaints()
        args += [own.words, own.number(complains)]
    threads = plan.count * parts * plan.threads
    block = plan.threads if plan.threads > WARP else 128
    kernel((-(-threads // block),), (block,), tuple(args))


def _build(key: Any, outputs: Sequence[Array], inputs: Sequence[Array]) -> Any:
    name, body, ranks, index, threads, functions, complains, *_, number_types = key
    own_name = kernel_name(name, key)
    out_types, in_types = [own_dtype(a) for a in outputs], [own_dtype(a) for a in inputs]
    text = source(own_name, body, ranks, index, threads, functions, complains, out_types, in_types, number_types)
    return compiled(own_name, text)


def source(
    name: str,
    body: str,
    ranks: tuple[int, int],
    index: str,
    threads: int,
    functions: str,
    complains: bool,
    out_types: Sequence[dtype],
    in_types: Sequence[dtype],
    number_types: Sequence[str],
) -> str:
    """The C++ of a kernel."""
    operands = [("q", "y", i, t) for i, t in enumerate(out_types)] + [("p", "x", i, t) for i, t in enumerate(in_types)]
    starts = [f"{place}{i}" for _, place, i, _ in operands]
    parameters = [f"{'' if p == 'q' else 'const '}{storage(t)} *{p}{i}" for p, _, i, t in operands]
    parameters += ["long long count", "long long width", "long long parts"]
    parameters += place_parameters("o", ranks[0], len(operands)) + place_parameters("r", ranks[1], len(operands))
    parameters += [f"{kind} n{i}" for i, kind in enumerate(number_types)]
    parameters += ["long long *words", "long long who"] if complains else []
    lines = [
        f"#define THREADS {threads}",
        "#define EACH(j) for (index_t j = first + t; j < last; j += THREADS)",
        *[f"#define IN{i}(j) load(p{i}, x{i} + place_x{i}(j))" for i, _ in enumerate(in_types)],
        *[f"#define OUT{i}(j, value) store(q{i}, y{i} + place_y{i}(j), value)" for i, _ in enumerate(out_types)],
        f"typedef {index} index_t;",
        COMPLAIN if complains else "",
        TOGETHER,
        functions,
        f'extern "C" __global__ void {name}({", ".join(parameters)}) {{',
        "index_t group = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) / THREADS;",
        "int t = threadIdx.x % THREADS;",
        "if (group >= (index_t)(count * parts)) return;",
        # Threads that work alone take neighbouring rows, for their elements are neighbours.
        "index_t row, part;",
        "if (THREADS == 1) { row = group % (index_t)count; part = group / (index_t)count; }",
        "else { row = group / (index_t)parts; part = group % (index_t)parts; }",
        "index_t n = width, size = (n + parts - 1) / parts;",
        "index_t first = part * size, last = first + size < n ? first + size : n;",
        *[f"long long {start} = 0;" for start in starts],
        *places("o", "row", ranks[0], starts, "index_t"),
    ]
    for number, start in enumerate(starts):
        lines.append(f"auto place_{start} = [&](index_t j) {{ {_row_place(number, ranks[1])} }};")
    return "\n".join([*lines, f"{{ {body} }}", "}"]) + "\n"


def _row_place(number: int, rank: int) -> str:
    """C++ that returns the place of element ``j`` of a row, from the row's start."""
    if rank == 0:
        return "return 0LL;"
    if rank == 1:
        return f"return (long long)j * rstep{number}_0;"
    lines = ["long long place = 0; index_t rest = j, d;"]
    for dim in reversed(range(rank)):
        if dim:
            lines.append(f"d = rest % (index_t)rsize{dim}; rest /= (index_t)rsize{dim};")
        else:
            lines.append("d = rest;")
        lines.append(f"place += (long long)d * rstep{number}_{dim};")
    return " ".join([*lines, "return place;"])
