"""What kernels that index along a dimension say of shapes that do not fit."""

from __future__ import annotations

Shape = tuple[int, ...]


def check_index_shape(op: str, shape: Shape, dim: int, index: Shape) -> None:
    """RuntimeError unless an index of this shape can choose along ``dim`` of an array of ``shape``."""
    if len(index) <= 1 and len(shape) <= 1:
        return
    if len(index) != len(shape):
        raise RuntimeError(
            f"{op}: Index tensor must have the same number of dimensions as input tensor, got {list(index)} for "
            f"{list(shape)}"
        )
    for d, (own, size) in enumerate(zip(index, shape, strict=True)):
        if d != dim and own > size:
            raise RuntimeError(
                f"{op}: Size does not match at dimension {d}: expected index {list(index)} to be no larger than "
                f"{list(shape)} apart from dimension {dim}"
            )


def check_source_shape(op: str, index: Shape, source: Shape) -> None:
    """RuntimeError unless there is an element of the source for each of the index."""
    if source != index and (len(source) != len(index) or any(n > m for n, m in zip(index, source, strict=True))):
        raise RuntimeError(f"{op}: index {list(index)} is larger than src {list(source)}")
