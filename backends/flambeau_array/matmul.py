"""What products of matrices say of shapes that do not fit."""

from __future__ import annotations

import math
from typing import Any

Shape = tuple[int, ...]


def mismatch(shape: Shape, other_shape: Shape) -> RuntimeError:
    """What ``matmul`` raises for operands of these shapes."""
    if not shape or not other_shape:
        return RuntimeError(
            "matmul: both arguments to matmul need to be at least 1D, but they are "
            f"{len(shape)}D and {len(other_shape)}D"
        )
    inner = other_shape[-2] if len(other_shape) > 1 else other_shape[0]
    if shape[-1] != inner:
        if len(shape) == len(other_shape) == 2:
            return RuntimeError(
                "matmul: mat1 and mat2 shapes cannot be multiplied "
                f"({shape[0]}x{shape[1]} and {other_shape[0]}x{other_shape[1]})"
            )
        return RuntimeError(
            f"matmul: the shapes {list(shape)} and {list(other_shape)} cannot be multiplied: "
            f"size {shape[-1]} does not match size {inner}"
        )
    return RuntimeError(
        f"matmul: the batch dimensions of the shapes {list(shape)} and {list(other_shape)} do not broadcast"
    )


def linear_mismatch(input: Any, weight: Any) -> RuntimeError:
    """What ``linear`` raises for an input and a weight that cannot be multiplied."""
    shape = input.shape
    return RuntimeError(
        f"linear: mat1 and mat2 shapes cannot be multiplied ({math.prod(shape[:-1])}x{shape[-1]} and "
        f"{weight.shape[-1]}x{math.prod(weight.shape[:-1])}): the input has the shape {list(shape)}, the weight "
        f"{list(weight.shape)}"
    )
