"""Products of vectors and matrices. Solving, decompositions and norms have files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.ops.arithmetic import conj_of as conj
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, broadcast_shapes, numel, wrap_dim

Tensor = Any
Number = Any


def swap(xp: Any, x: Any) -> Any:
    """The matrices of (..., m, n) transposed."""
    ndim = len(x.shape)
    return xp.permute(x, (*range(ndim - 2), ndim - 1, ndim - 2))


def adjoint(xp: Any, x: Any) -> Any:
    """The matrices of (..., m, n) transposed and conjugated."""
    return conj(xp, swap(xp, x))


def as_column(xp: Any, x: Any) -> Any:
    """(..., n) as matrices of one column."""
    return xp.reshape(x, (*x.shape, 1))


def as_row(xp: Any, x: Any) -> Any:
    """(..., n) as matrices of one row."""
    return xp.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) if len(shape) else "a 0-dim tensor"


def matmul_shape(op: str, a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """The shape of the product of arrays of the shapes ``a`` and ``b``.

    Raises:
        RuntimeError: naming ``op`` and the shapes, when they cannot be multiplied.
    """
    if not len(a) or not len(b):
        raise RuntimeError(
            f"{op}: both arguments need to be at least 1-dim, but they are {len(a)}-dim and {len(b)}-dim; "
            "multiply with `*`"
        )
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        raise RuntimeError(
            f"{op}: mat1 and mat2 shapes cannot be multiplied ({_times(a)} and {_times(b)}): "
            f"the last size of the first, {a[-1]}, has to be the size {inner} of the second"
        )
    lead = a[:-2] if a[:-2] == b[:-2] else broadcast_shapes(op, a[:-2], b[:-2])
    return (*lead, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


@primitive(dtype="promote")
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product; leading dimensions are a batch and broadcast.

    Shapes: (n) (n) -> (); (m, n) (n) -> (m); (n) (n, p) -> (p); (..., m, n) (..., n, p) -> (..., m, p).

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    return Spec(matmul_shape("matmul", input.shape, other.shape), input.dtype)


def _matmul_input_vjp(xp: Any, g: Any, other: Any, input_spec: Spec) -> Any:
    a, b = input_spec.shape, other.shape
    if len(b) == 1:
        # (..., m) is spread over the columns; of two vectors, g is a number.
        return xp.mul(xp.reshape(g, (*g.shape, 1)) if len(a) > 1 else g, conj(xp, other))
    if len(a) == 1:
        product = xp.matmul(conj(xp, other), xp.reshape(g, (*g.shape, 1)))
        return xp.sum_to_size(xp.reshape(product, tuple(product.shape[:-1])), a)
    return xp.sum_to_size(xp.matmul(g, adjoint(xp, other)), a)


def _matmul_other_vjp(xp: Any, g: Any, input: Any, other_spec: Spec) -> Any:
    a, b = input.shape, other_spec.shape
    if len(a) == 1:
        if len(b) == 1:
            return xp.mul(g, conj(xp, input))
        return xp.mul(xp.reshape(conj(xp, input), (a[0], 1)), xp.reshape(g, (*g.shape[:-1], 1, g.shape[-1])))
    if len(b) <= 2 and len(a) > 2:
        # One product over the whole batch, in place of a batch of products and a sum.
        input = xp.reshape(input, (numel(a[:-1]), a[-1]))
        g = xp.reshape(g, (input.shape[0], *b[1:]))
    if len(b) == 1:
        return xp.matmul(adjoint(xp, input), g)
    return xp.sum_to_size(xp.matmul(adjoint(xp, input), g), b)


matmul.vjp(input=_matmul_input_vjp, other=_matmul_other_vjp)


def check_dims(op: str, **operands: tuple[Any, int]) -> None:
    """Raise RuntimeError unless each of ``operands`` (tensor, number) has that number of dimensions."""
    for name, (x, ndim) in operands.items():
        if len(x.shape) != ndim:
            raise RuntimeError(f"{op}: {name} must be a {ndim}-dim tensor, got the shape {list(x.shape)}")


def check_matrices(op: str, one: Any, other: Any, names: tuple[str, str] = ("input", "mat2")) -> None:
    """Raise RuntimeError unless both are matrices, and can be multiplied."""
    a, b = one.shape, other.shape
    if len(a) != 2 or len(b) != 2 or a[1] != b[0]:
        check_dims(op, **{names[0]: (one, 2), names[1]: (other, 2)})
        matmul_shape(op, a, b)


@composite(inline=True)
def mm(xp: Any, input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices: (m, n) (n, p) -> (m, p)."""
    check_matrices("mm", input, mat2)
    return xp.matmul(input, mat2)


def check_batches(op: str, a: Any, b: Any) -> None:
    """Raise RuntimeError unless ``a`` and ``b`` are batches of matrices that can be multiplied."""
    one, two = a.shape, b.shape
    if len(one) != 3 or len(two) != 3:
        check_dims(op, batch1=(a, 3), batch2=(b, 3))
    if one[0] != two[0] or one[2] != two[1]:
        raise RuntimeError(
            f"{op}: batch1 and batch2 must be of the shapes (b, m, n) and (b, n, p), got {list(one)} and {list(two)}"
        )


@composite(inline=True)
def bmm(xp: Any, input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two batches of matrices: (b, m, n) (b, n, p) -> (b, m, p), without broadcasting."""
    check_batches("bmm", input, mat2)
    return xp.matmul(input, mat2)


@composite(inline=True)
def mv(xp: Any, input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix and a vector: (m, n) (n) -> (m)."""
    check_dims("mv", input=(input, 2), vec=(vec, 1))
    matmul_shape("mv", input.shape, vec.shape)
    return xp.matmul(input, vec)


@composite(inline=True)
def dot(xp: Any, input: Tensor, tensor: Tensor) -> Tensor:
    """Return the sum of the products of the elements of two vectors of one length."""
    check_dims("dot", input=(input, 1), tensor=(tensor, 1))
    matmul_shape("dot", input.shape, tensor.shape)
    return xp.matmul(input, tensor)


@composite(inline=True)
def vdot(xp: Any, input: Tensor, other: Tensor) -> Tensor:
    """Return :func:`dot` with the complex conjugate of the first vector."""
    check_dims("vdot", input=(input, 1), other=(other, 1))
    matmul_shape("vdot", input.shape, other.shape)
    return xp.matmul(conj(xp, input), other)


@composite(inline=True)
def inner(xp: Any, input: Tensor, other: Tensor) -> Tensor:
    """Return the sums of products over the last dimensions: (..., n) (_, n) -> (..., _)."""
    if not len(input.shape) or not len(other.shape):
        return xp.mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            f"inner: the last dimension must match on both input tensors but got shapes {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    return xp.tensordot(input, other, ([len(input.shape) - 1], [len(other.shape) - 1]))


@composite(inline=True)
def outer(xp: Any, input: Tensor, vec2: Tensor) -> Tensor:
    """Return the products of all pairs of elements of two vectors: (m) (n) -> (m, n)."""
    check_dims("outer", input=(input, 1), vec2=(vec2, 1))
    return xp.mul(xp.reshape(input, (input.shape[0], 1)), vec2)


@composite(inline=True)
def ger(xp: Any, input: Tensor, vec2: Tensor) -> Tensor:
    """Alias of :func:`outer`."""
    return xp.outer(input, vec2)


# -- other products --------------------------------------------------------------------------------------------------


@composite(inline=True, public=("function",))
def tensordot(xp: Any, a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Return the sums of products over several dimensions.

    Args:
        dims: a number n, for the last n dimensions of ``a`` with the first n of ``b``; or a pair of lists of dims.
    """
    if hasattr(dims, "tolist"):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(len(a.shape), len(b.shape)):
            raise RuntimeError(
                f"tensordot: expects dims >= 0 and at most the number of dimensions, got dims={dims} for the shapes "
                f"{list(a.shape)} and {list(b.shape)}"
            )
        dims = (range(len(a.shape) - dims, len(a.shape)), range(dims))
    dims_a = [wrap_dim("tensordot", d, len(a.shape)) for d in ([dims[0]] if isinstance(dims[0], int) else dims[0])]
    dims_b = [wrap_dim("tensordot", d, len(b.shape)) for d in ([dims[1]] if isinstance(dims[1], int) else dims[1])]
    if len(dims_a) == len(dims_b):
        # A dimension of size 1 counts for each element of the other's: that one is summed.
        pairs = [(d, e, a.shape[d], b.shape[e]) for d, e in zip(dims_a, dims_b, strict=True)]
        a = _summed(xp, a, [d for d, _, m, n in pairs if n == 1 != m])
        b = _summed(xp, b, [e for _, e, m, n in pairs if m == 1 != n])
    sizes_a, sizes_b = [a.shape[d] for d in dims_a], [b.shape[d] for d in dims_b]
    if sizes_a != sizes_b:
        raise RuntimeError(
            f"tensordot: contracted dimensions need to match, but the first has sizes {sizes_a} in dims {dims_a} and "
            f"the second sizes {sizes_b} in dims {dims_b}"
        )
    free_a = [d for d in range(len(a.shape)) if d not in dims_a]
    free_b = [d for d in range(len(b.shape)) if d not in dims_b]
    shape = (*(a.shape[d] for d in free_a), *(b.shape[d] for d in free_b))
    inner_size = numel(sizes_a)
    left = xp.reshape(xp.permute(a, (*free_a, *dims_a)), (numel([a.shape[d] for d in free_a]), inner_size))
    right = xp.reshape(xp.permute(b, (*dims_b, *free_b)), (inner_size, numel([b.shape[d] for d in free_b])))
    return xp.reshape(xp.matmul(left, right), shape)


def _summed(xp: Any, x: Any, dims: list[int]) -> Any:
    return xp.sum(x, tuple(dims), True, dtype=xp.dtype_of(x)) if dims else x


@composite(inline=True)
def kron(xp: Any, input: Tensor, other: Tensor) -> Tensor:
    """Return the Kronecker product; the tensor with fewer dimensions gets ones in front."""
    ndim = max(len(input.shape), len(other.shape))
    a = (1,) * (ndim - len(input.shape)) + tuple(input.shape)
    b = (1,) * (ndim - len(other.shape)) + tuple(other.shape)
    spread_a = tuple(size for n in a for size in (n, 1))
    spread_b = tuple(size for n in b for size in (1, n))
    product = xp.mul(xp.reshape(input, spread_a), xp.reshape(other, spread_b))
    return xp.reshape(product, tuple(m * n for m, n in zip(a, b, strict=True)))


@composite(inline=True)
def trace(xp: Any, input: Tensor) -> Tensor:
    """Return the sum of the diagonal of a matrix."""
    check_dims("trace", input=(input, 2))
    return xp.sum(xp.diagonal(input, 0, 0, 1), (0,), False)


@composite(dtype="promote", public=())
def linalg_cross(xp: Any, input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the cross products of 3-vectors along ``dim``; other dimensions broadcast."""
    if len(input.shape) != len(other.shape):
        raise RuntimeError(
            f"linalg.cross: inputs must have the same number of dimensions, got {list(input.shape)} and "
            f"{list(other.shape)}"
        )
    dim = wrap_dim("linalg.cross", dim, len(input.shape))
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3, got {list(input.shape)} and {list(other.shape)}"
        )
    a1, a2, a3 = (xp.slice(input, dim, i, i + 1, 1) for i in range(3))
    b1, b2, b3 = (xp.slice(other, dim, i, i + 1, 1) for i in range(3))
    parts = [
        xp.sub(xp.mul(p, q), xp.mul(r, s)) for p, q, r, s in ((a2, b3, a3, b2), (a3, b1, a1, b3), (a1, b2, a2, b1))
    ]
    return xp.cat(parts, dim)


@composite(inline=True)
def cross(xp: Any, input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Return :func:`flambeau.linalg.cross`; without ``dim`` along the first dimension of size 3."""
    if dim is None:
        dim = next((d for d, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError(f"cross: no dimension of size 3 in input, whose shape is {list(input.shape)}")
    return xp.linalg_cross(input, other, dim=dim)


@composite(inline=True)
def matrix_power(xp: Any, input: Tensor, n: int) -> Tensor:
    """Return the n-th power of square matrices; for negative n that of the inverse.

    Raises:
        RuntimeError: when the matrices are not square.
    """
    check_square("matrix_power", input)
    if n < 0:
        input, n = xp.linalg_inv(input), -n
    if n == 0:
        size = input.shape[-1]
        return xp.add(xp.full_like(input, 0), xp.tril(xp.triu(xp.new_full(input, (size, size), 1))))
    result = None
    while n:
        if n & 1:
            result = input if result is None else xp.matmul(result, input)
        n >>= 1
        if n:
            input = xp.matmul(input, input)
    return result


def check_square(op: str, x: Any) -> None:
    """Raise RuntimeError unless ``x`` is (a batch of) square matrices."""
    if len(x.shape) < 2 or x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"{op}: A must be batches of square matrices, but got the shape {list(x.shape)}")


@composite(inline=True, public=())
def linalg_multi_dot(xp: Any, tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of several matrices, multiplied in the order that takes the fewest operations.

    The first and the last may be vectors, a row and a column.
    """
    if len(tensors) < 2:
        raise RuntimeError(f"linalg.multi_dot: expected at least 2 tensors but got {len(tensors)}")
    matrices = list(tensors)
    squeezed = (len(matrices[0].shape) == 1, len(matrices[-1].shape) == 1)
    if squeezed[0]:
        matrices[0] = xp.reshape(matrices[0], (1, matrices[0].shape[0]))
    if squeezed[1]:
        matrices[-1] = xp.reshape(matrices[-1], (matrices[-1].shape[0], 1))
    for i, matrix in enumerate(matrices):
        check_dims("linalg.multi_dot", **{f"tensor {i}": (matrix, 2)})
        if i:
            matmul_shape("linalg.multi_dot", matrices[i - 1].shape, matrix.shape)
    result = _multiply(xp, matrices, _best_splits([matrices[0].shape[0], *(m.shape[1] for m in matrices)]))
    shape = (*(() if squeezed[0] else result.shape[:1]), *(() if squeezed[1] else result.shape[1:]))
    return result if shape == tuple(result.shape) else xp.reshape(result, shape)


def _best_splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """For each chain of matrices i ... j (of sizes[i] x sizes[i + 1] ...) where to cut it first."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    splits: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], splits[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return splits


def _multiply(xp: Any, matrices: list[Any], splits: dict[tuple[int, int], int]) -> Any:
    def product(i: int, j: int) -> Any:
        return matrices[i] if i == j else xp.matmul(product(i, splits[i, j]), product(splits[i, j] + 1, j))

    return product(0, len(matrices) - 1)
