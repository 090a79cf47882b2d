"""Chains of elementwise ops, for ``flambeau.compile``: large arrays go through all of them a part at a time.

Each op of its own passes once over the memory, and its result is new memory. Here a part of every input is in the cache
while all ops are done with it, what lies between them is a buffer that stays there, and parts go to several threads.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy

from flambeau.dispatch import Chain, Link, Step
from flambeau.settings import worker_threads
from flambeau_numpy.blocks import BLOCK
from flambeau_numpy.threads import PARALLEL, over_parts

Array = Any

#: Elements from which on a chain is faster than its ops on one thread (1.2 times, with 2 MB of second-level cache):
#: with less the cost of the calls for each part outweighs what the cache saves.
SMALLEST = 1 << 21


def compiled(chain: Chain) -> Callable[..., Any] | None:
    """A kernel for a chain, None for small arrays and shapes that cannot be cut along one dimension."""
    size = prod(chain.shape)
    if size < (PARALLEL if worker_threads() > 1 else SMALLEST):
        return None
    split = _split(chain)
    if split is None:
        return None
    columns = prod(chain.shape[split:])
    rows = size // columns
    layouts = [_layout(shape, chain.shape, split) for shape, _ in chain.inputs]
    step = max(1, BLOCK // columns)
    part = _part_function(chain, [layout[0] > 1 for layout in layouts], step, columns)
    kinds = [chain.steps[number].dtype.numpy for number in chain.outputs]

    def kernel(*arrays: Array) -> Any:
        inputs = [array.reshape(layout) for array, layout in zip(arrays, layouts, strict=True)]
        outputs = [numpy.empty((rows, columns), kind) for kind in kinds]
        over_parts(lambda rows: part(rows, inputs, outputs), rows, step, columns)
        results = [output.reshape(chain.shape) for output in outputs]
        return tuple(results) if len(results) > 1 else results[0]

    return kernel


def _split(chain: Chain) -> int | None:
    """Which dimensions, those before and those from the number on, to lay together as rows and columns of a matrix, so
    that each input is a matrix, a row, a column or a number."""
    for split in range(len(chain.shape), -1, -1):
        if all(_fits(_layout(own, chain.shape, split), chain.shape, split) for own, _ in chain.inputs):
            # Rows much longer than a part would have to be cut as well.
            return split if prod(chain.shape[split:]) <= 4 * BLOCK else None
    return None


def _layout(own: tuple[int, ...], shape: tuple[int, ...], split: int) -> tuple[int, int]:
    padded = (1,) * (len(shape) - len(own)) + own
    return prod(padded[:split]), prod(padded[split:])


def _fits(layout: tuple[int, int], shape: tuple[int, ...], split: int) -> bool:
    return layout[0] in (1, prod(shape[:split])) and layout[1] in (1, prod(shape[split:]))


def _part_function(chain: Chain, cut: list[bool], step: int, columns: int) -> Callable[..., None]:
    """A function of a slice of rows, the inputs and the outputs: source code, one line an op."""
    scope: dict[str, Any] = {"empty": numpy.empty}
    lines = ["n = rows.stop - rows.start"]
    lines += [f"i{k} = inputs[{k}]{'[rows]' if is_cut else ''}" for k, is_cut in enumerate(cut)]
    places = {number: place for place, number in enumerate(chain.outputs)}
    last = {}
    for number, own in enumerate(chain.steps):
        for operand in own.operands:
            if isinstance(operand, Link) and not operand.is_input:
                last[operand.number] = number
    free: dict[Any, list[str]] = {}
    for number, own in enumerate(chain.steps):
        kernel = own.kernel
        scope[f"k{number}"] = ufunc_of(kernel) or kernel
        arguments = []
        for position, operand in enumerate(own.operands):
            if isinstance(operand, Link):
                arguments.append(f"{'i' if operand.is_input else 's'}{operand.number}")
            else:
                scope[f"c{number}_{position}"] = operand
                arguments.append(f"c{number}_{position}")
        kind = own.dtype.numpy
        if number in places:
            target: str | None = f"outputs[{places[number]}][rows]"
        elif ufunc_of(kernel) is not None:
            buffers = free.setdefault(kind, [])
            if buffers:
                target = buffers.pop()
            else:
                target = f"b{len(scope)}"
                scope[f"d{len(scope)}"] = kind
                lines.append(f"{target} = empty(({step}, {columns}), d{len(scope) - 1})[:n]")
        else:
            target = None
        lines += _lines(own, number, arguments, target, kernel)
        for operand in own.operands:
            if isinstance(operand, Link) and not operand.is_input and last[operand.number] == number:
                done = chain.steps[operand.number]
                name = f"s{operand.number}"
                if operand.number not in places and ufunc_of(done.kernel) is not None:
                    free.setdefault(done.dtype.numpy, []).append(name)
                last[operand.number] = -1
    body = "\n    ".join(lines)
    exec(compile(f"def part(rows, inputs, outputs):\n    {body}\n", "<flambeau chain>", "exec"), scope)
    made: Callable[..., None] = scope["part"]
    return made


def _lines(step: Step, number: int, arguments: list[str], target: str | None, kernel: Any) -> list[str]:
    called = ", ".join(arguments)
    if target is None:
        return [f"s{number} = k{number}({called})"]
    if ufunc_of(kernel) is not None:
        return [f"s{number} = k{number}({called}, out={target})"]
    return [f"s{number} = {target}", f"s{number}[...] = k{number}({called})"]


def ufunc_of(kernel: Any) -> Any:
    """The ufunc that a kernel is at bottom, which takes ``out``; None for any other."""
    bare = getattr(kernel, "bare", None)
    return bare if isinstance(bare, numpy.ufunc) else None
