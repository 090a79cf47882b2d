"""Means and variances, with and without NaN."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING
from flambeau.ops.declare import composite
from flambeau.ops.reduction import count_of, spread
from flambeau.ops.spec import Spec

Tensor = Any
Number = Any
Dims = Any
DType = Any
Xp = Any


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


@composite(dtype="real", public=())
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


@composite(dtype="real", public=())
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
