"""Products of matrices on a GPU: a work-group computes a tile of the result from pieces shared in local memory.

How large the tiles are is a matter of the device. So the first large product tries what there is to choose from, twice,
for some seconds at most: on matrices with many tiles and on some with few. The fastest are kept on disk, by device and
driver. Whatever is chosen, an element's products are added in one order, so that results do not depend on it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from flambeau.dtypes import dtype
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import filled
from flambeau_opencl.elements import ELEMENTS, preamble
from flambeau_opencl.passes import places
from flambeau_opencl.runtime import Runtime, kernel_name

_SOURCE = """
{preamble}
__kernel void {name}(__global {T} *restrict c, const __global {T} *restrict a, const __global {T} *restrict b,
                     long c_at, long a_at, long b_at, long rows, long columns, long inner,
                     long a_row, long a_column, long b_row, long beta{parameters}) {{
    long batch = get_global_id(2);
    c_at += batch * rows * columns;
{batches}
    c += c_at; a += a_at; b += b_at;
    __local {T} tile_a[{depth}][{height} + 1], tile_b[{depth}][{width} + 1];
    int x = get_local_id(0), y = get_local_id(1), item = y * {across} + x;
    long row = get_group_id(1) * {height}, column = get_group_id(0) * {width};
    {T} s[{tall}][{wide}], own[{wide}];
    for (int i = 0; i < {tall}; ++i) for (int j = 0; j < {wide}; ++j) s[i][j] = 0;
    for (long k = 0; k < inner; k += {depth}) {{
        for (int l = item; l < {depth} * {height}; l += {items}) {{
            int m = a_column == 1 ? l % {depth} : l / {height}, i = a_column == 1 ? l / {depth} : l % {height};
            tile_a[m][i] = row + i < rows && k + m < inner ? a[(row + i) * a_row + (k + m) * a_column] : 0;
        }}
        for (int l = item; l < {depth} * {width}; l += {items}) {{
            int m = l / {width}, j = l % {width};
            tile_b[m][j] = column + j < columns && k + m < inner ? b[(k + m) * b_row + column + j] : 0;
        }}
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int l = 0; l < {depth}; ++l) {{
            for (int j = 0; j < {wide}; ++j) own[j] = tile_b[l][x + {across} * j];
            for (int i = 0; i < {tall}; ++i) {{
                {T} value = tile_a[l][y + {down} * i];
                for (int j = 0; j < {wide}; ++j) s[i][j] = fma(value, own[j], s[i][j]);
            }}
        }}
        barrier(CLK_LOCAL_MEM_FENCE);
    }}
    for (int i = 0; i < {tall}; ++i)
        for (int j = 0; j < {wide}; ++j)
            if (row + y + {down} * i < rows && column + x + {across} * j < columns) {{
                long at = (row + y + {down} * i) * columns + column + x + {across} * j;
                c[at] = s[i][j] + (beta ? c[at] : 0);
            }}
}}
"""


class Tile(NamedTuple):
    """How a work-group computes its part of a result.

    Attributes:
        down, across: the work-items of the group.
        tall, wide: the elements that each of them computes.
        depth: rows of the right matrix that are shared at a time.
    """

    down: int
    across: int
    tall: int
    wide: int
    depth: int

    @property
    def height(self) -> int:
        return self.down * self.tall

    @property
    def width(self) -> int:
        return self.across * self.wide

    def fits(self, runtime: Runtime, kind: dtype) -> bool:
        """Whether the device has the work-items and the local memory."""
        shared = self.depth * (self.height + self.width + 2) * kind.itemsize
        return self.down * self.across <= runtime.hardware.max_work_group_size and shared <= runtime.local_memory


CANDIDATES = (
    Tile(16, 16, 4, 4, 16),
    Tile(16, 16, 8, 8, 8),
    Tile(16, 16, 8, 8, 16),
    Tile(8, 16, 8, 8, 16),
    Tile(8, 16, 8, 4, 16),
    Tile(8, 8, 8, 8, 16),
    Tile(8, 8, 4, 4, 16),
    Tile(8, 8, 4, 4, 32),
    Tile(8, 16, 2, 2, 32),
)

#: What is used for small products, and where nothing could be tried.
USUAL = CANDIDATES[0]

#: Multiplications from which on a product is worth trying the candidates.
WORTHWHILE = 1 << 24

#: Sizes (rows, columns, inner) of the products that are timed: with many tiles, and with few.
TRIALS = ((1024, 1024, 1024), (128, 256, 1024))

#: Seconds after which no more candidates are tried with a product.
PATIENCE = 3.0

Steps = tuple[Sequence[int], Sequence[int]]

_LOCK = threading.Lock()


def product(left: Array, right: Array, result: Array, batch: Sequence[int], steps: Steps, add: bool) -> None:
    """The product of batches of matrices, the right ones with their rows in one piece, into a contiguous result.

    Args:
        steps: the distances of the left and of the right matrices along the dimensions of the batch.
        add: add to what is in ``result``.
    """
    rows, inner = left.shape[-2:]
    columns, count = right.shape[-1], math.prod(batch)
    tile = _chosen(left.runtime, left.dtype, rows, columns, inner, count)
    _launch(tile, left, right, result, batch, steps, add)


def _launch(
    tile: Tile, left: Array, right: Array, result: Array, batch: Sequence[int], steps: Steps, add: bool
) -> None:
    runtime, rank = left.runtime, len(batch)
    rows, inner = left.shape[-2:]
    columns = right.shape[-1]
    key = ("matmul", left.dtype, rank, tile)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build(runtime, left.dtype, rank, tile, key)
    args: list[Any] = [result.storage.buffer, left.storage.buffer, right.storage.buffer]
    args += [result.offset, left.offset, right.offset, rows, columns, inner]
    args += [*left.strides[-2:], right.strides[-2], int(add), *batch, *steps[0], *batch, *steps[1]]
    groups = (-(-columns // tile.width) * tile.across, -(-rows // tile.height) * tile.down, math.prod(batch))
    runtime.launch(found[0], found[1], groups, (tile.across, tile.down, 1), args)


def _build(runtime: Runtime, kind: dtype, rank: int, tile: Tile, key: Any) -> tuple[str, Any]:
    name = kernel_name("matmul", key)
    parameters = [f"long {operand}_{part}{d}" for operand in "ab" for part in ("size", "step") for d in range(rank)]
    lines: list[str] = []
    for operand in "ab":
        text = "\n".join(places(f"{operand}_at", rank, "batch"))
        lines.append(f"    {{\n{text.replace('size', operand + '_size').replace('step', operand + '_step')}\n    }}")
    source = _SOURCE.format(
        preamble=preamble({kind}), name=name, T=ELEMENTS[kind].compute, batches="\n".join(lines),
        parameters="".join(f", {parameter}" for parameter in parameters),
        height=tile.height, width=tile.width, items=tile.down * tile.across, **tile._asdict(),
    )  # fmt: skip
    return name, runtime.build(name, source, [None] * 3 + [numpy.int64] * (10 + 4 * rank))


# -- the choice ----------------------------------------------------------------------------------------------------


def _chosen(runtime: Runtime, kind: dtype, rows: int, columns: int, inner: int, count: int) -> Tile:
    key = ("tiles", kind)
    tiles = runtime.kernels.get(key)
    if tiles is None:
        if rows * columns * inner * count < WORTHWHILE:
            return USUAL
        with _LOCK:
            tiles = runtime.kernels.get(key)
            if tiles is None:
                tiles = runtime.kernels[key] = _kept_or_tried(runtime, kind)
    many, few = tiles
    number = -(-rows // many.height) * -(-columns // many.width) * count
    return many if number >= runtime.workers else few


def _kept_or_tried(runtime: Runtime, kind: dtype) -> tuple[Tile, Tile]:
    """The tiles for many and for few of them that the file knows for this device, or else the fastest ones."""
    path, name = _file(), _name(runtime, kind)
    known = _read(path)
    try:
        many, few = (Tile(*[int(n) for n in numbers]) for numbers in known[name])
        if min(*many, *few) > 0 and many.fits(runtime, kind) and few.fits(runtime, kind):
            return many, few
    except (KeyError, TypeError, ValueError):
        pass
    tiles = _fastest(runtime, kind, TRIALS[0]), _fastest(runtime, kind, TRIALS[1])
    _write(path, {**_read(path), name: [list(tile) for tile in tiles]})
    return tiles


def _fastest(runtime: Runtime, kind: dtype, sizes: tuple[int, int, int]) -> Tile:
    rows, columns, inner = sizes
    left, right = filled(runtime, (rows, inner), 1, kind), filled(runtime, (inner, columns), 1, kind)
    result = empty(runtime, (rows, columns), kind)
    times: dict[Tile, float] = {}
    end = time.perf_counter() + PATIENCE
    for tile in CANDIDATES:
        if times and time.perf_counter() > end:
            break
        if not tile.fits(runtime, kind):
            continue
        try:
            _launch(tile, left, right, result, (), ((), ()), False)  # compiles it
            runtime.synchronize()
            start = time.perf_counter()
            for _ in range(3):
                _launch(tile, left, right, result, (), ((), ()), False)
            runtime.synchronize()
            times[tile] = time.perf_counter() - start
        except RuntimeError:  # too many registers for this device, say
            continue
    return min(times, key=times.__getitem__) if times else USUAL


def _file() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache, "flambeau", "opencl_tiles.json").expanduser()


def _name(runtime: Runtime, kind: dtype) -> str:
    hardware = runtime.hardware
    return f"{hardware.platform.name}, {hardware.name.strip()}, {hardware.driver_version}: {kind.name}"


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(path: Path, known: dict[str, Any]) -> None:
    """Write the file as a whole; where that is not possible the next process tries again."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            temporary = file.name
            json.dump(known, file, indent=1)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
