"""Householder reflectors, as LAPACK keeps QR decompositions in them."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.declare import composite
from flambeau.ops.decomposition import check_matrix
from flambeau.ops.linalg import adjoint, as_column

Tensor = Any


@composite(differentiable=False)
def geqrf(xp: Any, input: Tensor) -> tuple[Tensor, Tensor]:
    """Return the QR decomposition as LAPACK keeps it, as a named tuple ``(a, tau)``.

    ``a`` has R in its upper triangle and below the diagonal the vectors of the reflectors ``I - tau v v^H`` (the first
    element of each, 1, is left out), whose product is Q: see :func:`flambeau.linalg.householder_product`.
    """
    check_matrix("geqrf", input)
    m, n = input.shape[-2:]
    last = len(input.shape) - 1
    rows = as_column(xp, xp.arange(0, m, 1, int64, xp.device_of(input)))
    columns = xp.arange(0, n, 1, int64, xp.device_of(input))
    taus = []
    for k in range(min(m, n)):
        column = xp.slice(input, last, k, k + 1, 1)
        head = xp.slice(column, last - 1, k, k + 1, 1)
        v, tau, beta = _reflector(xp, column, head, rows, k)
        taus.append(xp.reshape(tau, tuple(tau.shape[:-1])))
        # H^H from the left on what is to the right; the column itself becomes beta and, below, the vector.
        product = xp.matmul(adjoint(xp, v), input)
        updated = xp.sub(input, xp.mul(xp.mul(v, _conj(xp, tau)), product))
        stored = xp.where(xp.gt(rows, k), v, xp.where(xp.eq(rows, k), beta, column))
        input = xp.where(xp.gt(columns, k), updated, xp.where(xp.eq(columns, k), stored, input))
    empty = xp.new_full(input, (*input.shape[:-2], 0), 0)
    return input, xp.cat(taus, last - 1) if taus else empty


geqrf.fields = ("a", "tau")


def _conj(xp: Any, x: Any) -> Any:
    return xp.conj(x) if xp.dtype_of(x).is_complex else x


def _reflector(xp: Any, column: Any, head: Any, rows: Any, k: int) -> tuple[Any, Any, Any]:
    """v, tau and beta with ``(I - tau v v^H)^H column = beta e_k`` below row k, beta real, v[k] = 1."""
    is_complex = xp.dtype_of(column).is_complex
    tail = xp.where(xp.gt(rows, k), column, xp.full_like(column, 0))
    below = xp.sum(xp.square(xp.abs(tail)), (len(column.shape) - 2,), True)
    alpha = xp.real(head) if is_complex else head
    size = xp.sqrt(xp.add(below, xp.square(xp.abs(head))))
    beta = xp.where(xp.ge(alpha, 0), xp.neg(size), size)
    imaginary = xp.ne(xp.imag(head), 0) if is_complex else xp.ne(head, head)
    idle = xp.logical_not(xp.logical_or(xp.gt(below, 0), imaginary))  # nothing to reflect: tau is 0
    beta = xp.where(idle, alpha, beta)
    beta = xp.to_dtype(beta, xp.dtype_of(column))
    one = xp.full_like(head, 1)
    tau = xp.where(idle, xp.full_like(head, 0), xp.div(xp.sub(beta, head), xp.where(idle, one, beta)))
    v = xp.div(tail, xp.where(idle, one, xp.sub(head, beta)))
    return xp.where(xp.eq(rows, k), one, v), tau, beta


def _reflectors(xp: Any, op: str, input: Any, tau: Any) -> tuple[Any, Any]:
    """V and T of the product of reflectors ``I - V T V^H`` (Schreiber and Van Loan, 1989).

    ``T = (I + D U)^-1 D`` with D = diag(tau) and U the strict upper triangle of ``V^H V``.
    """
    check_matrix(op, input)
    k = tau.shape[-1] if len(tau.shape) else 0
    if len(tau.shape) != len(input.shape) - 1 or tuple(tau.shape[:-1]) != tuple(input.shape[:-2]):
        raise RuntimeError(
            f"{op}: Expected tau to have one dimension less than input and the same batch, got the shapes "
            f"{list(tau.shape)} and {list(input.shape)}"
        )
    m = input.shape[-2]
    if k > input.shape[-1]:
        raise RuntimeError(f"{op}: input.shape[-1] must be greater than or equal to tau.shape[-1], got "
                           f"{input.shape[-1]} and {k}")  # fmt: skip
    if xp.dtype_of(tau) is not xp.dtype_of(input):
        raise RuntimeError(f"{op}: tau dtype {xp.dtype_of(tau)} does not match input dtype {xp.dtype_of(input)}")
    ndim = len(input.shape)
    ones = xp.eye(m, k, xp.dtype_of(input), xp.device_of(input))
    v = xp.add(xp.tril(xp.slice(input, ndim - 1, 0, k, 1), -1), ones)
    coupling = xp.triu(xp.matmul(adjoint(xp, v), v), 1)
    d = xp.diag_embed(tau)
    t = xp.linalg_solve_triangular(xp.matmul(d, coupling), d, upper=True, unitriangular=True)
    return v, t


@composite(inline=True, public=())
def linalg_householder_product(xp: Any, input: Tensor, tau: Tensor) -> Tensor:
    """Return the first n columns of the product of reflectors ``I - tau v v^H``: (..., m, n) (..., k) -> (..., m, n).

    ``v`` is a column of the strict lower triangle of ``input``, below a 1; k <= n <= m. What :func:`flambeau.geqrf`
    returns gives Q.
    """
    v, t = _reflectors(xp, "linalg.householder_product", input, tau)
    m, n = input.shape[-2:]
    if n > m:
        raise RuntimeError(
            f"linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1], got {m} "
            f"and {n}"
        )
    head = xp.slice(adjoint(xp, v), len(input.shape) - 1, 0, n, 1)
    ones = xp.eye(m, n, xp.dtype_of(input), xp.device_of(input))
    return xp.sub(ones, xp.matmul(v, xp.matmul(t, head)))


@composite(inline=True)
def orgqr(xp: Any, input: Tensor, input2: Tensor) -> Tensor:
    """Alias of :func:`flambeau.linalg.householder_product`."""
    return xp.linalg_householder_product(input, input2)


@composite(inline=True)
def ormqr(xp: Any, input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Return the product of Q, given by reflectors, and a matrix, without forming Q.

    Args:
        input, input2: the reflectors and their ``tau``, as :func:`flambeau.geqrf` gives them.
        input3: the matrix: ``Q input3``, or ``input3 Q`` where ``left`` is false.
        transpose: Q^H in place of Q.
    """
    v, t = _reflectors(xp, "ormqr", input, input2)
    ndim, m = len(input.shape), input.shape[-2]
    if len(input3.shape) != ndim or tuple(input3.shape[:-2]) != tuple(input.shape[:-2]):
        raise RuntimeError(
            f"ormqr: Expected other to have the same batch as input, got the shapes {list(input3.shape)} and "
            f"{list(input.shape)}"
        )
    side = input3.shape[-2 if left else -1]
    if side != m:
        raise RuntimeError(f"ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2], got {side} "
                           f"and {m}")  # fmt: skip
    if xp.dtype_of(input3) is not xp.dtype_of(input):
        raise RuntimeError(
            f"ormqr: Expected input and other to have the same dtype, but got {xp.dtype_of(input)} and "
            f"{xp.dtype_of(input3)}"
        )
    t = adjoint(xp, t) if transpose else t
    v_h = adjoint(xp, v)
    if left:
        return xp.sub(input3, xp.matmul(v, xp.matmul(t, xp.matmul(v_h, input3))))
    return xp.sub(input3, xp.matmul(xp.matmul(xp.matmul(input3, v), t), v_h))
