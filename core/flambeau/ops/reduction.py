"""Reductions: sums, extremes, logical reductions."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import INTEGER, bool_, int64, uint8
from flambeau.ops.arithmetic import conj_of as conj
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel, reduced_shape
from flambeau.ops.views import inverse_order

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
DType = Any
Size = Any
Xp = Any


def sum_dtype(own: Any, dtype: Any) -> Any:
    return dtype if dtype is not None else int64 if own.category <= INTEGER else own


def kept_shape(shape: tuple[int, ...], dim: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with 1 in the reduced dimensions."""
    return reduced_shape(shape, dim, True)


def spread(xp: Xp, g: Any, spec: Spec, dim: tuple[int, ...], keepdim: bool) -> Any:
    """A reduced cotangent, broadcast back over the dimensions that were reduced."""
    if not keepdim and len(g.shape):
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
    return Spec(reduced_shape(input.shape, dim, keepdim), sum_dtype(input.dtype, dtype))


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
    return Spec(reduced_shape(input.shape, dim, keepdim), sum_dtype(input.dtype, dtype))


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
        if name in ("amax", "amin") and len(dims) == input.ndim > 1 and input.numel() == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                f"with the 'dim' argument; the shape of input is {list(input._array.shape)}"
            )
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


def count_of(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    """The number of elements that a reduction over ``dim`` takes together."""
    return numel([shape[d] for d in dim])


@composite(differentiable=False)
def count_nonzero(xp: Xp, input: Tensor, dim: Dims = None) -> Tensor:
    """Return the number of elements that are not 0 over ``dim``, as int64."""
    return xp.sum(xp.ne(input, 0), dim, False, dtype=int64)


@composite(dtype="float")
def logsumexp(xp: Xp, input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Return ``log(sum(exp(input)))`` over ``dim`` without overflow; -inf of nothing."""
    if not count_of(input.shape, dim):
        return xp.log(xp.sum(xp.exp(input), dim, keepdim))
    highest = xp.amax(_real(xp, input), dim, True)
    highest = xp.where(xp.isfinite(highest), highest, 0.0)
    if xp.dtype_of(input).is_complex:
        highest = xp.to_dtype(highest, xp.dtype_of(input))
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


@composite(public=("method",))
def sum_to_size(xp: Xp, input: Tensor, size: Size) -> Tensor:
    """Return ``input`` summed over the dimensions along which ``size`` was broadcast; undoes ``expand``."""
    extra = len(input.shape) - len(size)
    if not size and xp.dtype_of(input).category <= INTEGER:
        return xp.sum(input, tuple(range(len(input.shape))), False)  # as int64, even of a single element
    if extra:
        input = xp.sum(input, tuple(range(extra)), False)
    stretched = tuple(d for d, n in enumerate(size) if n == 1 and input.shape[d] != 1)
    return xp.sum(input, stretched, True) if stretched else input


@sum_to_size.check
def _(input: Any, size: Any) -> None:
    shape = tuple(input.shape)
    lead = len(shape) - len(size)
    if lead < 0 or [n for n, own in zip(size, shape[lead:], strict=True) if n not in (1, own)]:
        raise RuntimeError(f"sum_to_size: size {list(size)} is not expandable to size {list(shape)}")
