"""Kernels that visit every element of a shape: made from a few lines of C++, compiled once a combination of dtypes.

    run("mul", "r0 = a0 * a1;", [result], [left, right])

reads ``a0``, ``a1`` ... from the inputs, and writes ``r0`` ... into the outputs; all have one shape (or broadcast to
the outputs' shape). Dimensions that lie one behind the other in every operand are merged first, so that most calls end
in the kernel for contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy

from flambeau.dtypes import dtype
from flambeau.striding import broadcast_strides, merged
from flambeau_cupy.elements import compute, own_dtype, storage
from flambeau_cupy.layout import element_strides, index_type, place_parameters, places
from flambeau_cupy.programs import BLOCK, COMPLAIN, SCALARS, blocks, compiled, complaints, kernel_name

Array = Any
Shape = tuple[int, ...]
#: A number that a kernel takes: its C++ type and its value.
Number = tuple[str, Any]

_kernels: dict[Any, Any] = {}


class _Plan:
    """A way to visit a shape: the operands' modes or the rank, and the numbers for the kernel."""

    __slots__ = ("count", "extents", "index", "modes", "rank")

    def __init__(self, shape: Shape, strides: tuple[Shape, ...]) -> None:
        sizes, steps = merged(shape, strides)
        self.count = 1
        for size in sizes:
            self.count *= size
        self.index = index_type(sizes, steps)
        extents = [self.count]
        if len(sizes) <= 1 and all(own in ((), (0,), (1,)) for own in steps):
            # Contiguous operands ("c") and single elements ("s") only.
            self.modes = "".join("c" if own == (1,) else "s" for own in steps)
            self.rank = 0
        else:
            self.modes = ""
            self.rank = len(sizes)
            extents += sizes
            for own in steps:
                extents += own
        self.extents = tuple([numpy.int64(n) for n in extents])


@lru_cache(maxsize=8192)
def _plan(shape: Shape, strides: tuple[Shape, ...]) -> _Plan:
    return _Plan(shape, strides)


def run(
    name: str,
    body: str,
    outputs: Sequence[Array],
    inputs: Sequence[Array],
    numbers: Sequence[Number] = (),
    raw: str = "",
    functions: str = "",
    complains: str | None = None,
    shape: Shape | None = None,
    contracts: bool = True,
) -> None:
    """Run ``body`` for every element of ``shape``, by default that of the first output.

    Args:
        name: begins the kernel's name, for people and profilers.
        body: C++ statements with the inputs ``a0``, ``a1`` ..., the outputs ``r0`` ..., the numbers ``n0`` ...,
            ``i``, the element's place in row-major order, and ``x0`` ..., ``y0`` ..., the places in the memory of
            inputs and outputs, ``p0`` ... and ``q0`` ....
        raw: operands (``"a1 r0"``) that the body itself reads with ``load(p1, place)`` or writes with
            ``store(q0, place, value)``.
        functions: C++ functions that the body calls.
        complains: what to call the op where the body may complain: ``complain(words, kind, who, index, size)``.
        contracts: whether a product and a sum may be rounded once; False where the bits have to be the same in another
            kernel.
    """
    if shape is None:
        shape = outputs[0].shape
    if 0 in shape:
        return
    operands = (*outputs, *inputs)
    strides = tuple([broadcast_strides(shape, a.shape, element_strides(a)) for a in operands])
    plan = _plan(shape, strides)
    key = (
        name, body, plan.modes, plan.rank, plan.index, raw, functions, complains is not None, contracts,
        tuple([a.dtype for a in outputs]), tuple([a.dtype for a in inputs]), tuple([kind for kind, _ in numbers]),
    )  # fmt: skip
    kernel = _kernels.get(key)
    if kernel is None:
        kernel = _kernels[key] = _build(key, outputs, inputs)
    args = [*operands, *plan.extents, *[SCALARS[kind](value) for kind, value in numbers]]
    if complains is not None:
        own = complaints()
        args += [own.words, own.number(complains)]
    kernel(blocks(plan.count), (BLOCK,), tuple(args))


def _build(key: Any, outputs: Sequence[Array], inputs: Sequence[Array]) -> Any:
    name, body, modes, rank, index, raw, functions, complains, contracts, *_, number_types = key
    own_name = kernel_name(name, key)
    out_types, in_types = [own_dtype(a) for a in outputs], [own_dtype(a) for a in inputs]
    return compiled(
        own_name,
        source(
            own_name, body, modes, rank, index, set(raw.split()), functions, complains, out_types, in_types,
            number_types,
        ),
        contracts,
    )  # fmt: skip


def source(
    name: str,
    body: str,
    modes: str,
    rank: int,
    index: str,
    raw: set[str],
    functions: str,
    complains: bool,
    out_types: Sequence[dtype],
    in_types: Sequence[dtype],
    number_types: Sequence[str],
) -> str:
    """The C++ of a kernel."""
    operands = [("q", "y", i, t) for i, t in enumerate(out_types)] + [("p", "x", i, t) for i, t in enumerate(in_types)]
    parameters = [f"{'' if p == 'q' else 'const '}{storage(t)} *{p}{i}" for p, _, i, t in operands]
    parameters += ["long long count", *place_parameters("", rank, len(operands))]
    parameters += [f"{kind} n{i}" for i, kind in enumerate(number_types)]
    parameters += ["long long *words", "long long who"] if complains else []
    lines = [
        COMPLAIN if complains else "",
        functions,
        f'extern "C" __global__ void {name}({", ".join(parameters)}) {{',
        f"{index} i = blockIdx.x * ({index})blockDim.x + threadIdx.x;",
        f"if (i >= ({index})count) return;",
    ]
    if rank:
        lines += [f"long long {place}{i} = 0;" for _, place, i, _ in operands]
        lines += places("", "i", rank, [f"{place}{i}" for _, place, i, _ in operands], index)
    else:
        lines += [
            f"long long {place}{i} = {'i' if mode == 'c' else '0'};"
            for mode, (_, place, i, _) in zip(modes, operands, strict=True)
        ]
    lines += [f"{compute(t)} a{i} = load(p{i}, x{i});" for i, t in enumerate(in_types) if f"a{i}" not in raw]
    lines += [f"{compute(t)} r{i};" for i, t in enumerate(out_types) if f"r{i}" not in raw]
    lines.append(f"{{ {body} }}")
    lines += [f"store(q{i}, y{i}, r{i});" for i, _ in enumerate(out_types) if f"r{i}" not in raw]
    return "\n".join([*lines, "}"]) + "\n"
