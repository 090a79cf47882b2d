"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.arithmetic import conj_of as conj
from flambeau.ops.declare import composite, primitive
from flambeau.ops.reduction import sum_dtype
from flambeau.ops.spec import Spec, host_values

Tensor = Any
Dim = Any
DType = Any
Xp = Any


@primitive(inplace=True)
def cumsum(input: Tensor, dim: Dim, *, dtype: DType | None = None) -> Tensor:
    """Return the running sum along ``dim``; of integers and bools as int64."""
    return Spec(input.shape, sum_dtype(input.dtype, dtype))


def _cumsum_gradient(xp: Xp, g: Any, input_spec: Spec, dim: int) -> Any:
    if xp.dtype_of(g) is not input_spec.dtype:
        g = xp.to_dtype(g, input_spec.dtype)
    return g if not input_spec.shape else xp.flip(xp.cumsum(xp.flip(g, (dim,)), dim), (dim,))


cumsum.vjp(input=_cumsum_gradient)


@primitive(inplace=True)
def cumprod(input: Tensor, dim: Dim, *, dtype: DType | None = None) -> Tensor:
    """Return the running product along ``dim``; of integers and bools as int64."""
    return Spec(input.shape, sum_dtype(input.dtype, dtype))


def _cumprod_gradient(xp: Xp, g: Any, input: Any, result: Any, dim: int) -> Any:
    if not input.shape:
        return g
    n = input.shape[dim]
    if xp.dtype_of(g) is not xp.dtype_of(input):
        g, result = xp.to_dtype(g, xp.dtype_of(input)), xp.to_dtype(result, xp.dtype_of(input))
    if not n:
        return g
    input, result = conj(xp, input), conj(xp, result)
    # Without zeros: sum over j >= i of g_j * result_j, divided by x_i. At and after a first zero the products have to
    # be formed without the element itself, one position at a time.
    if not _has_zero(xp, xp.eq(input, 0)):
        weighted = xp.mul(g, result)
        return xp.div(xp.flip(xp.cumsum(xp.flip(weighted, (dim,)), dim), (dim,)), input)
    pieces = []
    for i in range(n):
        before = xp.slice(input, dim, 0, i, 1)
        after = xp.slice(input, dim, i + 1, n, 1)
        one = xp.add(xp.mul(xp.slice(input, dim, i, i + 1, 1), 0), 1)
        without = xp.cumprod(xp.cat([before, one, after], dim), dim)
        tail = xp.mul(xp.slice(without, dim, i, n, 1), xp.slice(g, dim, i, n, 1))
        pieces.append(xp.sum(tail, (dim,), True))
    return xp.cat(pieces, dim)


def _has_zero(xp: Xp, zero: Any) -> bool:
    found = xp.any(zero, tuple(range(len(zero.shape))), False)
    return bool(host_values(xp, found).any())


cumprod.vjp(input=_cumprod_gradient)


# Running operations without a primitive of their own double their reach in each step (Hillis and Steele, 1986):
# log2(n) calls of kernels, where one call an entry would be n.


@composite(dtype="float")
def logcumsumexp(xp: Xp, input: Tensor, dim: Dim) -> Tensor:
    """Return the logarithm of the running sum of exponentials along ``dim``."""
    result = xp.clone(input)
    n = input.shape[dim] if input.shape else 1
    reach = 1
    while reach < n:
        head = xp.slice(result, dim, 0, reach, 1)
        tail = xp.logaddexp(xp.slice(result, dim, reach, n, 1), xp.slice(result, dim, 0, n - reach, 1))
        result = xp.cat([head, tail], dim)
        reach *= 2
    return result


def _running_extreme(xp: Xp, input: Any, dim: int, better: str) -> Any:
    shape = tuple(input.shape)
    where = xp.device_of(input)
    n = shape[dim] if shape else 1
    values = xp.clone(input)
    places = xp.reshape(xp.arange(0, n, 1, int64, where), (n,) + (1,) * (len(shape) - 1 - dim) if shape else ())
    indices = xp.clone(xp.expand(places, shape))
    reach = 1
    while reach < n:
        own, earlier = xp.slice(values, dim, reach, n, 1), xp.slice(values, dim, 0, n - reach, 1)
        # Of equal elements the later; a NaN stays until the next NaN.
        wins = xp.logical_or(getattr(xp, better)(own, earlier), xp.isnan(own))
        places = xp.where(wins, xp.slice(indices, dim, reach, n, 1), xp.slice(indices, dim, 0, n - reach, 1))
        values = xp.cat([xp.slice(values, dim, 0, reach, 1), xp.where(wins, own, earlier)], dim)
        indices = xp.cat([xp.slice(indices, dim, 0, reach, 1), places], dim)
        reach *= 2
    return values, indices


@composite()
def cummax(xp: Xp, input: Tensor, dim: Dim) -> Tensor:
    """Return the running maximum along ``dim`` and where it was reached, as ``(values, indices)``."""
    return _running_extreme(xp, input, dim, "ge")


@composite()
def cummin(xp: Xp, input: Tensor, dim: Dim) -> Tensor:
    """Return the running minimum along ``dim`` and where it was reached, as ``(values, indices)``."""
    return _running_extreme(xp, input, dim, "le")


cummax.fields = cummin.fields = ("values", "indices")


def _running_gradient(xp: Xp, g: Any, needs: Any, dim: int, results: Any) -> Any:
    if not results[1].shape:
        return (g[0],)
    zeros = xp.full(tuple(results[1].shape), 0, xp.dtype_of(g[0]), xp.device_of(g[0]))
    return (xp.scatter_add(zeros, dim, results[1], g[0]),)


cummax.joint_vjp(_running_gradient)
cummin.joint_vjp(_running_gradient)
