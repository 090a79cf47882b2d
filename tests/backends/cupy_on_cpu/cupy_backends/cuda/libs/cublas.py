"""The products of cuBLAS that our backend uses, over pointers, as cuBLAS defines them: column by column."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

_TYPES = {0: "f", 1: "d", 2: "e", 4: "F", 5: "D"}
_BFLOAT16 = 14


def _dtype(code: int) -> Any:
    if code == _BFLOAT16:
        import ml_dtypes

        return numpy.dtype(ml_dtypes.bfloat16)
    return numpy.dtype(_TYPES[code])


def _matrices(pointer: int, code: int, rows: int, columns: int, leading: int, step: int, count: int) -> Any:
    """The matrices of a batch, (count, rows, columns), over memory that is column by column."""
    assert leading >= max(rows, 1), f"leading dimension {leading} of a matrix with {rows} rows"
    dtype = _dtype(code)
    reach = ((count - 1) * step + (columns - 1) * leading + rows) * dtype.itemsize
    memory = numpy.frombuffer((ctypes.c_char * reach).from_address(pointer), numpy.uint8)
    strides = (step * dtype.itemsize, dtype.itemsize, leading * dtype.itemsize)
    return numpy.ndarray((count, rows, columns), dtype, memory, 0, strides)


def gemmStridedBatchedEx(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int, Atype: int, lda: int,
    strideA: int, B: int, Btype: int, ldb: int, strideB: int, beta: int, C: int, Ctype: int, ldc: int, strideC: int,
    batchCount: int, computeType: int, algo: int,
) -> None:  # fmt: skip
    assert Atype == Btype and (Atype == Ctype or (Atype in (2, _BFLOAT16) and Ctype == 0))
    assert computeType == {1: 70, 5: 70}.get(Ctype, computeType)
    assert computeType in (68, 70, 77) and min(m, n, k, batchCount) > 0 and algo == -1
    a = _matrices(A, Atype, *((m, k) if not transa else (k, m)), lda, strideA, batchCount)
    b = _matrices(B, Btype, *((k, n) if not transb else (n, k)), ldb, strideB, batchCount)
    c = _matrices(C, Ctype, m, n, ldc, strideC, batchCount)
    wide = numpy.float32 if a.dtype.itemsize == 2 else a.dtype
    a, b = [x.astype(wide) for x in (a.swapaxes(1, 2) if transa else a, b.swapaxes(1, 2) if transb else b)]
    size = ctypes.c_char * numpy.dtype(wide).itemsize
    factor, kept = [numpy.frombuffer(size.from_address(p), wide)[0] for p in (alpha, beta)]
    with numpy.errstate(all="ignore"):
        product = factor * (a @ b)
        c[...] = product if kept == 0 else product + kept * c
