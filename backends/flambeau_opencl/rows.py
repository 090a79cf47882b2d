"""Kernels that run along rows, several times: softmax, layer normalization, cross entropy.

On a CPU a work-item takes a row and reads it as vectors; on a GPU a work-group takes a row, its work-items neighbouring
elements, and they add up through local memory. The body of a kernel is the same text for both: statements in C, and
loops over the row, made by :func:`each`.

In a body ``T`` is the type that the dtype is computed with, ``n0`` ... the numbers, the first the length of the rows.
Operand k (outputs first) is read with ``L<k>`` and written with ``S<k>(value)`` inside of a loop, where ``V`` is the
type of what is read, ``at`` the place in the row, and ``LANES + at`` the places of all that is read. ``SUM(s)`` and
``MAX(s)`` combine what a loop has gathered in ``@s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from flambeau.dtypes import dtype, float32, float64
from flambeau_opencl.array import Array
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS, preamble, unaligned
from flambeau_opencl.maps import SCALARS, Number
from flambeau_opencl.passes import vector_width
from flambeau_opencl.runtime import COMPLAIN, Runtime, kernel_name

#: Work-items of a GPU that share a row.
_GROUP = 128
#: The fewest rows that add up into one.
_SHARE = 32

_REDUCE = """
T group_{name}(__local T *shared, T value) {{
    int item = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    shared[item] = value;
    for (int half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {{
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_) {{ T a = shared[item], b = shared[item + half_]; shared[item] = {combine}; }}
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
    return shared[0];
}}
"""
_COMBINE = {"SUM": "a + b", "MAX": "a > b ? a : b"}
_START = {"SUM": "0", "MAX": "-INFINITY"}


def group_reduction(how: str) -> str:
    """The function ``group_<how>`` of a GPU's work-group: a power of two of work-items, a local ``T`` for each."""
    return _REDUCE.format(name=how, combine=_COMBINE[how])


def each(statement: str, gather: str = "", chains: int = 1) -> str:
    """A loop over the row; ``gather`` names what it adds to ``@s`` ... as ``"s:SUM t:MAX"``.

    Args:
        chains: how many vectors a CPU gathers in side by side, so that cheap statements do not wait for the sum before.
    """
    return f"<each {chains} {gather}>{statement}</each>"


def _expanded(body: str, width: int, on_cpu: bool) -> str:
    """The body with its loops: over vectors, and over what is left of the row."""
    pieces = body.split("<each ")
    lines = [pieces[0]]
    for piece in pieces[1:]:
        head, _, rest = piece.partition(">")
        statement, _, after = rest.partition("</each>")
        chains, *gathered = head.split()
        names = dict(item.split(":") for item in gathered)
        lines += _cpu_loop(statement, names, int(chains), width) if on_cpu else _gpu_loop(statement, names)
        lines.append(after)
    return "\n    ".join(lines)


def _gpu_loop(statement: str, names: dict[str, str]) -> list[str]:
    lines = [f"T {name}_own = {_START[how]};" for name, how in names.items()]
    for name in names:
        statement = statement.replace(f"@{name}", f"{name}_own")
    lines.append(f"for (long at = get_local_id(0); at < n0; at += get_local_size(0)) {{ {statement} }}")
    return lines + [f"T {name}_all = group_{how}(shared, {name}_own);" for name, how in names.items()]


def _cpu_loop(statement: str, names: dict[str, str], chains: int, width: int) -> list[str]:
    def turn(chain: int | str) -> str:
        text = statement
        for name in names:
            text = text.replace(f"@{name}", f"{name}_{chain}")
        return text

    lines = []
    for name, how in names.items():
        vectors = ", ".join(f"{name}_{chain} = (V)({_START[how]})" for chain in range(chains))
        lines.append(f"V {vectors}; T {name}_rest = {_START[how]};")
    if chains > 1:
        step = chains * width
        turns = " ".join(f"{{ long at = first + {chain * width}; {turn(chain)} }}" for chain in range(chains))
        lines.append(f"{{ long first = 0; for (; first + {step} <= n0; first += {step}) {{ {turns} }}")
        lines.append(f"for (long at = first; at < whole; at += {width}) {{ {turn(0)} }} }}")
    else:
        lines.append(f"for (long at = 0; at < whole; at += {width}) {{ {turn(0)} }}")
    if width > 1:
        single = turn("rest")
        for operand in range(9):
            single = single.replace(f"L{operand}", f"l{operand}").replace(f"S{operand}(", f"s{operand}(")
        single = single.replace("V ", "T ").replace("(V)", "(T)").replace("LANES", "0")
        lines.append(f"for (long at = whole; at < n0; ++at) {{ {single} }}")
    return lines + [_combined(name, how, chains, width) for name, how in names.items()]


def _combined(name: str, how: str, chains: int, width: int) -> str:
    """``<name>_all``, of what the chains, their lanes and the rest of the row have gathered: in pairs, as a tree."""
    steps = []
    while chains > 1:
        chains //= 2
        steps += [
            f"{{ V a = {name}_{chain}, b = {name}_{chain + chains}; {name}_{chain} = {_COMBINE[how]}; }}"
            for chain in range(chains)
        ]
    gathered = f"{name}_0"
    while width > 1:
        width //= 2
        half, lanes = f"{name}_by_{width}", "T" if width == 1 else f"V{width}"
        steps.append(f"{lanes} {half}; {{ {lanes} a = {gathered}.lo, b = {gathered}.hi; {half} = {_COMBINE[how]}; }}")
        gathered = half
    return " ".join([*steps, f"T {name}_all; {{ T a = {name}_rest, b = {gathered}; {name}_all = {_COMBINE[how]}; }}"])


def run_rows(
    name: str,
    body: str,
    outputs: Sequence[Array],
    inputs: Sequence[Array],
    numbers: Sequence[Number] = (),
    functions: str = "",
    complains: str | None = None,
    shared: Sequence[Array] = (),
    before: str = "",
) -> None:
    """Run ``body`` for each row.

    Args:
        outputs, inputs: contiguous and of one dtype but for what the body reads by itself as ``p<k>``: matrices (rows,
            width), of which the first operand is one, or of fewer rows, which then repeat; columns (rows, 1),
            ``p<k>[row]`` to the body; (width,) vectors, the same for all rows.
        numbers: from ``n1`` on.
        complains: what to call the op where the body may complain.
        shared: the last operands, of (shares, width): all of :func:`share` rows, one after the other, use one row of
            these, to add up what they have in common.
        before: what is run before the rows of a share, as ``body``.
    """
    operands = (*outputs, *inputs, *shared)
    rows, width_ = operands[0].shape
    if not rows or not width_:
        return
    runtime = operands[0].storage.runtime
    kinds = tuple([_form(a, rows, width_) for a in (*outputs, *inputs)]) + ("s",) * len(shared)
    types = tuple([a.dtype for a in operands])
    given: list[Number] = [("long", width_), *numbers]
    if complains is not None:
        given.append(("long", runtime.checked(complains)))
    number_types = tuple([kind for kind, _ in given])
    key = ("rows", body, kinds, types, number_types, functions, len(outputs), before, runtime.is_cpu)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build(runtime, name, key, complains is not None)
    args: list[Any] = [a.storage.buffer for a in operands]
    if complains is not None:
        args.append(runtime.complaint)
    args += [a.offset for a in operands]
    args += [rows, *[a.shape[0] for a, form in zip(operands, kinds, strict=True) if form == "p"]]
    args += [value for _, value in given]
    items = rows
    if shared:
        items = shared[0].shape[0]
        args.append(share(runtime, rows))
    if runtime.is_cpu:
        runtime.launch(found[0], found[1], (items,), (min(8, -(-items // runtime.units)),), args)
    else:
        runtime.launch(found[0], found[1], (items * _GROUP,), (_GROUP,), args)


def share(runtime: Runtime, rows: int) -> int:
    """How many rows share what they add up: as many as leave the device busy, so that there is little to add later."""
    return max(_SHARE, -(-rows // (4 * runtime.units)))


def _form(array: Array, rows: int, width: int) -> str:
    """m for a matrix, p for one whose rows repeat, c for a column, v for a vector."""
    if len(array.shape) == 1:
        return "v"
    if array.shape[1] != width:
        return "c"
    return "m" if array.shape[0] == rows else "p"


_PLACES = {"v": "at", "c": "row", "m": "row * n0 + at", "p": "row % period{k} * n0 + at", "s": "item * n0 + at"}


def _build(runtime: Runtime, name: str, key: Any, complains: bool) -> tuple[str, Any]:
    _, body, kinds, types, number_types, functions, _, before, on_cpu = key
    own_name = kernel_name(name, key)
    kind = types[0]
    wide: dtype = ACCUMULATED.get(kind, kind)
    real = ELEMENTS[wide].compute
    plain = all(t is kind for t, form in zip(types, kinds, strict=True) if form != "c")
    width = vector_width(kind) if on_cpu and plain and kind in (float32, float64) else 1
    vector = f"{real}{width}" if width > 1 else real
    lines = [preamble(set(types)), COMPLAIN if complains else ""]
    if width > 1:
        lines.append(unaligned(vector, real))
    lanes = f"(({vector})({', '.join(str(k) for k in range(width))}))" if width > 1 else "0"
    lines += [
        f"#define LANES {lanes}",
        f"#define T {real}",
        f"#define V {vector}",
        *[f"#define V{lanes} {real}{lanes}" for lanes in (2, 4) if lanes < width],
        "#define SUM(name) name##_all",
        "#define MAX(name) name##_all",
    ]
    lines.append(functions)
    if not on_cpu:
        lines += [group_reduction(how) for how in _COMBINE]
    for k, (t, form) in enumerate(zip(types, kinds, strict=True)):
        element = ELEMENTS[t]
        place = _PLACES[form].format(k=k)
        load, store = element.load(f"p{k}", f"({place})"), element.store(f"p{k}", f"({place})", f"({real})(value)")
        single = ("l", "s") if width > 1 and form != "c" else ("L", "S")
        lines += [f"#define {single[0]}{k} ({load})", f"#define {single[1]}{k}(value) {store}"]
        if width > 1 and form != "c":
            lines.append(f"#define L{k} (*(__global unaligned *)(p{k} + ({place})))")
            lines.append(f"#define S{k}(value) (*(__global unaligned *)(p{k} + ({place})) = (value))")
        elif width > 1:
            lines += [f"#define l{k} L{k}", f"#define s{k}(value) S{k}(value)"]
    parameters = [f"__global {ELEMENTS[t].storage} *p{k}" for k, t in enumerate(types)]
    if complains:
        parameters.append("volatile __global long *words")
    parameters += [f"long offset{k}" for k in range(len(types))] + ["long rows"]
    parameters += [f"long period{k}" for k, form in enumerate(kinds) if form == "p"]
    parameters += [f"{t} n{i}" for i, t in enumerate(number_types)]
    shares = "s" in kinds
    if shares:
        parameters.append("long share")
    lines.append(f"__kernel void {own_name}({', '.join(parameters)}) {{")
    if not on_cpu:
        lines.append(f"    __local T shared[{_GROUP}];")
    lines.append(f"    long {'item' if shares else 'row'} = {'get_global_id(0)' if on_cpu else 'get_group_id(0)'};")
    if on_cpu:
        lines.append(f"    if ({'item * share' if shares else 'row'} >= rows) return;")
    if complains:
        lines.append(f"    long who = n{len(number_types) - 1};")
    lines += [f"    p{k} += offset{k};" for k in range(len(types))]
    if width > 1:
        lines.append(f"    long whole = n0 / {width} * {width};")
    else:
        lines.append("    long whole = n0;")
    if shares:
        lines.append("    " + _expanded(before, width, on_cpu))
        lines.append("    for (long row = item * share, end = min(row + share, rows); row < end; ++row) {")
    lines += ["    " + _expanded(body, width, on_cpu), "    }" if shares else "", "}"]
    scalars = [None] * (len(types) + complains) + [numpy.int64] * (len(types) + 1 + kinds.count("p"))
    scalars += [SCALARS[t] for t in number_types] + [numpy.int64] * shares
    return own_name, runtime.build(own_name, "\n".join(lines) + "\n", scalars)
