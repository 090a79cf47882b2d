"""What the functions of :mod:`flambeau.linalg` share: checks of their arguments, errors, results."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import FLOATING, dtype
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.tensor import Tensor, everywhere


class LinAlgError(RuntimeError):
    """A matrix is singular or not positive-definite, or no convergence (``torch.linalg.LinAlgError``)."""


LinAlgError.__module__ = "flambeau.linalg"


def check(op: str, **matrices: Any) -> None:
    """Raise unless all are (batches of) matrices of floating-point or complex numbers of one dtype."""
    first: Tensor | None = None
    for name, matrix in matrices.items():
        if not isinstance(matrix, Tensor):
            raise TypeError(f"linalg.{op}(): argument '{name}' must be Tensor, not {type(matrix).__name__}")
        if matrix.dtype.category < FLOATING:
            raise RuntimeError(
                f"linalg.{op}: expected a floating point or complex tensor as {name}, got {matrix.dtype}"
            )
        if matrix.ndim < 2:
            raise RuntimeError(
                f"linalg.{op}: The input tensor {name} must have at least 2 dimensions, got {list(matrix.shape)}"
            )
        first = matrix if first is None else first
        check_same_dtype(op, first, matrix, *matrices)


def check_same_dtype(op: str, one: Tensor, other: Tensor, *names: str) -> None:
    """Raise unless two tensors have one dtype."""
    if one.dtype is not other.dtype:
        what = " and ".join(names)
        raise RuntimeError(
            f"linalg.{op}: Expected {what} to have the same dtype, but found {one.dtype} and {other.dtype}"
        )


def check_square(op: str, **matrices: Any) -> None:
    """:func:`check`, and raise unless the matrices are square."""
    check(op, **matrices)
    for name, matrix in matrices.items():
        if matrix.shape[-1] != matrix.shape[-2]:
            raise RuntimeError(
                f"linalg.{op}: {name} must be batches of square matrices, but they are {matrix.shape[-2]} by "
                f"{matrix.shape[-1]} matrices"
            )


def as_floating(op: str, x: Tensor, kind: dtype | None) -> Tensor:
    """``x`` in the dtype ``kind``, if given; raise unless it is of floating-point or complex numbers."""
    if kind is not None:
        if kind.category < FLOATING or (x.dtype.is_complex and not kind.is_complex):
            raise RuntimeError(
                f"linalg.{op}: dtype should be floating point or complex and hold the input's {x.dtype}, got {kind}"
            )
        x = x.to(kind)
    if x.dtype.category < FLOATING:
        raise RuntimeError(f"linalg.{op}: expected a floating point or complex tensor as input, got {x.dtype}")
    return x


def are_vectors(A: Tensor, B: Tensor) -> bool:
    """Whether B is a vector, or a batch of them where A is a batch of matrices."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])


def run(op: str, *arguments: Any, **keywords: Any) -> Any:
    """Run an op; what the array library says of a matrix becomes a :class:`LinAlgError`."""
    try:
        return getattr(TENSORS, op)(*arguments, **keywords)
    except Exception as error:
        # Each array library has a LinAlgError of its own, which its backend may have wrapped.
        if "LinAlgError" in (type(error).__name__, type(error.__cause__).__name__):
            raise LinAlgError(f"{op.replace('linalg_', 'linalg.')}: {error}") from error
        raise


def finish(result: Any, out: Any) -> Any:
    """The result, written into ``out`` where there is one."""
    return result if out is None else write_out(OPS["matmul"], result, out)


def check_info(op: str, info: Tensor, what: str) -> None:
    """Raise a :class:`LinAlgError` that names the first matrix whose ``info`` is not 0."""
    if info.is_meta:
        return
    numbers = everywhere(info).reshape(-1).tolist()
    place = next((i for i, number in enumerate(numbers) if number), None)
    if place is not None:
        batch = f"(Batch element {place}): " if info.ndim else ""
        raise LinAlgError(f"linalg.{op}: {batch}{what.format(k=numbers[place])}")
