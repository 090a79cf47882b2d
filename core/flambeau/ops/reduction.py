"""Reductions: sums, extremes, statistics, logical reductions, cumulative operations."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING, INTEGER, bool_, int64, uint8
from flambeau.ops.arithmetic import conj_of as conj
from flambeau.ops.declare import composite, primitive
from flambeau.ops.shape import inverse_order
from flambeau.ops.spec import Spec, numel, reduced_shape

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
DType = Any
Size = Any
Xp = Any


def _sum_dtype(own: Any, dtype: Any) -> Any:
    return dtype if dtype is not None else int64 if own.category <= INTEGER else own


def kept_shape(shape: tuple[int, ...], dim: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with 1 in the reduced dimensions."""
    return reduced_shape(shape, dim, True)


def spread(xp: Xp, g: Any, spec: Spec, dim: tuple[int, ...], keepdim: bool) -> Any:
    """A reduced cotangent, broadcast back over the dimensions that were reduced."""
    if not keepdim:
        g = xp.reshape(g, kept_shape(spec.shape, dim))
    return xp.expand(g, spec.shape)


@primitive()
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Return the sum over ``dim`` (all dimensions when None).

    Args:
        dim: an int, a tuple of ints, or None.
        keepdim: keep the reduced dimensions with size 1.
        dtype: cast to this before summing; sums of integers and bools are int64 otherwise.
    """
    return Spec(reduced_shape(input.shape, dim, keepdim), _sum_dtype(input.dtype, dtype))


sum.vjp(
    input=lambda xp, g, input_spec, dim, keepdim: (
        xp.to_dtype(spread(xp, g, input_spec, dim, keepdim), input_spec.dtype)
        if xp.dtype_of(g) is not input_spec.dtype
        else spread(xp, g, input_spec, dim, keepdim)
    )
)


@primitive()
def prod(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Return the product over ``dim`` (all dimensions when None); of integers and bools as int64."""
    return Spec(reduced_shape(input.shape, dim, keepdim), _sum_dtype(input.dtype, dtype))


def _prod_gradient(xp: Xp, g: Any, input: Any, dim: Any, keepdim: bool) -> Any:
    spec = Spec(input.shape, xp.dtype_of(input))
    if not dim:
        return g
    if xp.dtype_of(g) is not spec.dtype:
        g = xp.to_dtype(g, spec.dtype)
    g = spread(xp, g, spec, dim, keepdim)
    return xp.mul(g, conj(xp, _product_of_others(xp, input, dim)))


def _product_of_others(xp: Xp, input: Any, dim: tuple[int, ...]) -> Any:
    """For each element the product of all the others over ``dim``.

    Of those before it times those after it, in place of ``result / x``: right for zeros, too, and with right gradients.
    """
    shape = tuple(input.shape)
    rest = tuple([d for d in range(len(shape)) if d not in dim])
    order = (*rest, *dim)
    rows = xp.reshape(xp.permute(input, order), (*[shape[d] for d in rest], count_of(shape, dim)))
    last, n = len(rest), rows.shape[-1]
    if n < 2:
        return xp.full(shape, 1, xp.dtype_of(input), xp.device_of(input))
    one = xp.full((*rows.shape[:-1], 1), 1, xp.dtype_of(input), xp.device_of(input))
    before = xp.cat([one, xp.cumprod(xp.slice(rows, last, 0, n - 1, 1), last)], last)
    after = xp.cumprod(xp.flip(xp.slice(rows, last, 1, n, 1), (last,)), last)
    others = xp.mul(before, xp.cat([xp.flip(after, (last,)), one], last))
    return xp.permute(xp.reshape(others, tuple([shape[d] for d in order])), inverse_order(order))


prod.vjp(input=_prod_gradient)


@composite(public=())
def extreme_backward(xp: Xp, g: Tensor, input: Tensor, extreme: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """The gradient of ``amax`` and ``amin``: divided evenly among the elements that reach the extreme."""
    spec = Spec(input.shape, xp.dtype_of(input))
    mask = xp.eq(input, spread(xp, extreme, spec, dim, keepdim))
    share = xp.to_dtype(mask, spec.dtype)
    count = xp.sum(share, dim, True)
    return xp.mul(share, xp.div(spread(xp, g, spec, dim, keepdim), xp.expand(count, input.shape)))


@primitive()
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Return the largest element over ``dim``; equal maxima share the gradient.

    Raises:
        IndexError: when a reduced dimension is empty.
    """
    return Spec(reduced_shape(input.shape, dim, keepdim), input.dtype)


@primitive()
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Return the smallest element over ``dim``; equal minima share the gradient.

    Raises:
        IndexError: when a reduced dimension is empty.
    """
    return Spec(reduced_shape(input.shape, dim, keepdim), input.dtype)


for _op in (amax, amin):
    _op.vjp(input=lambda xp, g, input, result, dim, keepdim: _extreme_gradient(xp, g, input, result, dim, keepdim))


def _extreme_gradient(xp: Xp, g: Any, input: Any, result: Any, dim: Any, keepdim: bool) -> Any:
    return xp.extreme_backward(g, input, result, dim, keepdim)


@extreme_backward.joint_vjp
def _(xp: Xp, gg: Any, needs: Any, g: Any, input: Any, extreme: Any, dim: Any, keepdim: Any) -> Any:
    # Linear in g; the shares are piecewise constant.
    spec = Spec(input.shape, xp.dtype_of(input))
    share = xp.to_dtype(xp.eq(input, spread(xp, extreme, spec, dim, keepdim)), spec.dtype)
    weighted = xp.mul(gg, xp.div(share, xp.expand(xp.sum(share, dim, True), input.shape)))
    none = xp.mul(input, 0.0)
    return xp.sum(weighted, dim, keepdim), none if needs[1] else None, xp.mul(extreme, 0.0) if needs[2] else None


def _check_not_empty(name: str) -> Any:
    def check(input: Any, dim: Any, keepdim: Any) -> None:
        dims = (dim,) if isinstance(dim, int) else tuple(range(input.ndim)) if dim is None else dim
        for d in dims:
            if input._array.shape and input._array.shape[d] == 0:
                raise IndexError(
                    f"{name}(): Expected reduction dim {d} to have non-zero size; the shape of input is "
                    f"{list(input._array.shape)}"
                )

    return check


amax.check(_check_not_empty("amax"))
amin.check(_check_not_empty("amin"))


def _arg_shape(input: Spec, dim: int | None, keepdim: bool) -> Spec:
    dims = tuple(range(input.ndim)) if dim is None else (dim,) if input.ndim else ()
    return Spec(reduced_shape(input.shape, dims, keepdim), int64)


@primitive(differentiable=False)
def argmax(input: Tensor, dim: Dim | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the largest element along ``dim`` (in the flattened tensor when None)."""
    return _arg_shape(input, dim, keepdim)


@primitive(differentiable=False)
def argmin(input: Tensor, dim: Dim | None = None, keepdim: bool = False) -> Tensor:
    """Return the index of the smallest element along ``dim`` (in the flattened tensor when None)."""
    return _arg_shape(input, dim, keepdim)


argmax.check(_check_not_empty("argmax"))
argmin.check(_check_not_empty("argmin"))


@primitive(differentiable=False)
def all(input: Tensor, dim: SomeDims = None, keepdim: bool = False) -> Tensor:
    """Return whether all elements over ``dim`` (all when None, none when empty) are true; of uint8 as uint8."""
    return Spec(reduced_shape(input.shape, dim, keepdim), uint8 if input.dtype is uint8 else bool_)


@primitive(differentiable=False)
def any(input: Tensor, dim: SomeDims = None, keepdim: bool = False) -> Tensor:
    """Return whether an element over ``dim`` (all when None, none when empty) is true; of uint8 as uint8."""
    return Spec(reduced_shape(input.shape, dim, keepdim), uint8 if input.dtype is uint8 else bool_)


@composite(inline=True)
def max(xp: Xp, input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the largest element; with ``dim`` the named tuple ``(values, indices)``; with a tensor ``maximum``."""
    return _max_min(xp, "max", input, dim, keepdim, other)


@composite(inline=True)
def min(xp: Xp, input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Return the smallest element; with ``dim`` the named tuple ``(values, indices)``; with a tensor ``minimum``."""
    return _max_min(xp, "min", input, dim, keepdim, other)


def _max_min(xp: Xp, name: str, input: Any, dim: Any, keepdim: bool, other: Any) -> Any:
    if hasattr(dim, "_array"):
        dim, other = None, dim
    if other is not None:
        return getattr(xp, name + "imum")(input, other)
    if dim is None:
        if input.numel() == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        return getattr(xp, "a" + name)(input, (), False)
    return getattr(xp, name + "_along")(input, dim, keepdim)


def _along(name: str) -> Any:
    def rule(input: Tensor, dim: Dim, keepdim: bool) -> Any:
        shape = reduced_shape(input.shape, (dim,) if input.shape else (), keepdim)
        return Spec(shape, input.dtype), Spec(shape, int64)

    return rule


def _select_along(xp: Xp, input: Any, index: Any, dim: int, keepdim: bool) -> Any:
    """The elements at ``index`` (the result of an argmax with keepdim)."""
    if not input.shape:
        return xp.clone(input), index
    values = xp.gather(input, dim, index)
    if not keepdim:
        shape = reduced_shape(input.shape, (dim,), False)
        return xp.reshape(values, shape), xp.reshape(index, shape)
    return values, index


@composite(public=())
def max_along(xp: Xp, input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """Return the largest elements along ``dim`` and their indices."""
    return _select_along(xp, input, xp.argmax(input, dim, True), dim, keepdim)


@composite(public=())
def min_along(xp: Xp, input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """Return the smallest elements along ``dim`` and their indices."""
    return _select_along(xp, input, xp.argmin(input, dim, True), dim, keepdim)


max_along.fields = min_along.fields = ("values", "indices")
max_along.check(_check_not_empty("max"))
min_along.check(_check_not_empty("min"))


@composite(inline=True)
def aminmax(xp: Xp, input: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest and the largest elements over ``dim`` as the named tuple ``(min, max)``."""
    dims = () if dim is None else dim
    return xp.amin(input, dims, keepdim), xp.amax(input, dims, keepdim)


aminmax.fields = ("min", "max")


# -- statistics ----------------------------------------------------------------------------------------------------


def count_of(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    """The number of elements that a reduction over ``dim`` takes together."""
    return numel([shape[d] for d in dim])


def _need_floating(name: str, own: Any) -> None:
    if own.category < FLOATING:
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {own.name}"
        )


@composite()
def mean(xp: Xp, input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Return the mean over ``dim`` (all dimensions when None); NaN where there is nothing.

    Raises:
        RuntimeError: for integers and bools without ``dtype``.
    """
    total = xp.sum(input, dim, keepdim, dtype=dtype)
    count = count_of(input.shape, dim)
    return xp.div(total, float(count)) if count else xp.mul(total, math.nan)


def _mean_gradient(xp: Xp, g: Any, input_spec: Spec, dim: Any, keepdim: bool) -> Any:
    scaled = xp.div(g, float(count_of(input_spec.shape, dim) or 1))
    if xp.dtype_of(g) is not input_spec.dtype:
        scaled = xp.to_dtype(scaled, input_spec.dtype)
    return spread(xp, scaled, input_spec, dim, keepdim)


mean.vjp(input=_mean_gradient)
mean.check(lambda input, dim, keepdim, dtype: _need_floating("mean", dtype or input._dtype))


@composite(public=())
def variance(xp: Xp, input: Tensor, dim: Dims = None, keepdim: bool = False, correction: Number = 1) -> Tensor:
    """Return the variance over ``dim``, the sum of squares divided by ``N - correction``."""
    _need_floating("var", xp.dtype_of(input))
    centred = xp.sub(input, xp.mean(input, dim, True))
    size = xp.abs(centred) if xp.dtype_of(input).is_complex else centred
    freedom = count_of(input.shape, dim) - correction
    total = xp.sum(xp.mul(size, size), dim, keepdim)
    return xp.div(total, float(freedom)) if freedom > 0 else xp.mul(xp.div(total, 0.0), 1.0)


def _variance_gradient(xp: Xp, g: Any, input: Any, dim: Any, keepdim: bool, correction: Any) -> Any:
    spec = Spec(input.shape, xp.dtype_of(input))
    freedom = count_of(input.shape, dim) - correction
    factor = 2.0 / freedom if freedom else math.inf
    g = spread(xp, g, Spec(input.shape, xp.dtype_of(g)), dim, keepdim)
    centred = xp.sub(input, xp.mean(input, dim, True))
    return xp.mul(xp.to_dtype(xp.mul(g, factor), spec.dtype), centred)


variance.vjp(input=_variance_gradient)


@composite(public=())
def deviation(xp: Xp, input: Tensor, dim: Dims = None, keepdim: bool = False, correction: Number = 1) -> Tensor:
    """Return the square root of :func:`variance`."""
    return xp.sqrt(xp.variance(input, dim, keepdim, correction))


def _deviation_gradient(xp: Xp, g: Any, input: Any, result: Any, dim: Any, keepdim: bool, correction: Any) -> Any:
    flat = xp.eq(result, 0.0)  # equal elements: the slope of the square root is infinite, PyTorch gives 0
    scaled = xp.where(flat, 0.0, xp.div(g, xp.mul(xp.where(flat, 1.0, result), 2.0)))
    return _variance_gradient(xp, scaled, input, dim, keepdim, correction)


deviation.vjp(input=_deviation_gradient)


def _correction(unbiased: bool | None, correction: Number | None) -> Number:
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased else 0


def _dims_first(dim: Any, unbiased: Any) -> tuple[Any, Any]:
    """``var(False)`` and ``var(dim, True)``: a bool in the place of ``dim`` is ``unbiased``."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


@composite(inline=True)
def var(
    xp: Xp, input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Tensor:  # fmt: skip
    """Return the variance over ``dim``, divided by ``N - correction`` (1 by default; 0 with ``unbiased=False``)."""
    dim, unbiased = _dims_first(dim, unbiased)
    return xp.variance(input, dim, keepdim, _correction(unbiased, correction))


@composite(inline=True)
def std(
    xp: Xp, input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Tensor:  # fmt: skip
    """Return the standard deviation over ``dim``, the square root of :func:`var`."""
    dim, unbiased = _dims_first(dim, unbiased)
    return xp.deviation(input, dim, keepdim, _correction(unbiased, correction))


@composite(inline=True)
def var_mean(
    xp: Xp, input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Any:  # fmt: skip
    """Return the variance and the mean over ``dim``."""
    dim, unbiased = _dims_first(dim, unbiased)
    return xp.variance(input, dim, keepdim, _correction(unbiased, correction)), xp.mean(input, dim, keepdim)


@composite(inline=True)
def std_mean(
    xp: Xp, input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False,
    *, correction: Number | None = None,
) -> Any:  # fmt: skip
    """Return the standard deviation and the mean over ``dim``."""
    dim, unbiased = _dims_first(dim, unbiased)
    return xp.deviation(input, dim, keepdim, _correction(unbiased, correction)), xp.mean(input, dim, keepdim)


@composite(inline=True)
def nansum(xp: Xp, input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Return the sum over ``dim``, NaN counted as 0."""
    if xp.dtype_of(input).category >= FLOATING:
        input = xp.where(xp.isnan(input), 0.0, input)
    return xp.sum(input, dim, keepdim, dtype=dtype)


@composite(inline=True)
def nanmean(xp: Xp, input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """Return the mean over ``dim`` of what is not NaN."""
    total = xp.nansum(input, dim, keepdim, dtype=dtype)
    count = xp.sum(xp.logical_not(xp.isnan(input)), dim, keepdim)
    return xp.div(total, xp.to_dtype(count, xp.dtype_of(total)))


@composite(differentiable=False)
def count_nonzero(xp: Xp, input: Tensor, dim: Dims = None) -> Tensor:
    """Return the number of elements that are not 0 over ``dim``, as int64."""
    return xp.sum(xp.ne(input, 0), dim, False, dtype=int64)


@composite(dtype="float")
def logsumexp(xp: Xp, input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Return ``log(sum(exp(input)))`` over ``dim`` without overflow; -inf of nothing."""
    if not count_of(input.shape, dim) or xp.dtype_of(input).is_complex:
        return xp.log(xp.sum(xp.exp(input), dim, keepdim))
    highest = xp.amax(input, dim, True)
    highest = xp.where(xp.isfinite(highest), highest, 0.0)
    total = xp.log(xp.sum(xp.exp(xp.sub(input, highest)), dim, keepdim))
    if not keepdim:
        highest = xp.reshape(highest, total.shape)
    return xp.add(total, highest)


def _logsumexp_gradient(xp: Xp, g: Any, input: Any, result: Any, dim: Any, keepdim: bool) -> Any:
    spec = Spec(input.shape, xp.dtype_of(input))
    # With every element -inf the result is -inf, and the difference would be NaN: nothing moves it.
    finite = xp.where(xp.logical_and(xp.isinf(result), xp.lt(_real(xp, result), 0.0)), 0.0, result)
    share = xp.exp(xp.sub(input, spread(xp, finite, spec, dim, keepdim)))
    return xp.mul(spread(xp, g, spec, dim, keepdim), conj(xp, share))


def _real(xp: Xp, a: Any) -> Any:
    return xp.real(a) if xp.dtype_of(a).is_complex else a


logsumexp.vjp(input=_logsumexp_gradient)


# -- cumulative ----------------------------------------------------------------------------------------------------


@primitive(inplace=True)
def cumsum(input: Tensor, dim: Dim, *, dtype: DType | None = None) -> Tensor:
    """Return the running sum along ``dim``; of integers and bools as int64."""
    return Spec(input.shape, _sum_dtype(input.dtype, dtype))


def _cumsum_gradient(xp: Xp, g: Any, input_spec: Spec, dim: int) -> Any:
    if xp.dtype_of(g) is not input_spec.dtype:
        g = xp.to_dtype(g, input_spec.dtype)
    return g if not input_spec.shape else xp.flip(xp.cumsum(xp.flip(g, (dim,)), dim), (dim,))


cumsum.vjp(input=_cumsum_gradient)


@primitive(inplace=True)
def cumprod(input: Tensor, dim: Dim, *, dtype: DType | None = None) -> Tensor:
    """Return the running product along ``dim``; of integers and bools as int64."""
    return Spec(input.shape, _sum_dtype(input.dtype, dtype))


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
    return bool(found.item() if hasattr(found, "item") else xp.backend.to_numpy(found).item())


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


@composite(public=("method",))
def sum_to_size(xp: Xp, input: Tensor, size: Size) -> Tensor:
    """Return ``input`` summed over the dimensions along which ``size`` was broadcast; undoes ``expand``."""
    extra = len(input.shape) - len(size)
    if extra:
        input = xp.sum(input, tuple(range(extra)), False)
    stretched = tuple(d for d, n in enumerate(size) if n == 1 and input.shape[d] != 1)
    return xp.sum(input, stretched, True) if stretched else input
