"""Differences of neighbours, and what is made of them: numerical derivatives and integrals."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import INTEGER, bool_, get_default_dtype
from flambeau.ops.declare import composite
from flambeau.ops.spec import wrap_dim

Tensor = Any
Number = Any
Dim = Any
Xp = Any


def _from(xp: Xp, x: Any, dim: int, start: int, end: int) -> Any:
    """``x[start:end]`` along ``dim``; ``end`` may count from the end."""
    n = x.shape[dim]
    end = end + n if end < 0 else end
    return xp.slice(x, dim, min(start, n), max(min(end, n), min(start, n)), 1)


@composite(inline=True)
def diff(
    xp: Xp, input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Return the ``n``-th differences of neighbours along ``dim``; of bools whether they differ.

    Args:
        input: shape (..., m, ...); the result has ``m - n`` entries along ``dim``, at least none.
        prepend, append: joined to ``input`` before the differences are taken.

    Raises:
        RuntimeError: for a tensor without dimensions, or a negative ``n``.
    """
    if not input.shape:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"diff: order must be non-negative but got {n}")
    dim = wrap_dim("diff", dim, len(input.shape))
    for name, part in (("prepend", prepend), ("append", append)):
        if part is not None:
            _check_fits(name, input, part, dim)
    if n == 0:
        return xp.clone(input)  # as in PyTorch, without what is joined to it
    parts = [part for part in (prepend, input, append) if part is not None]
    values = xp.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, values.shape[dim] or 1)):
        later, earlier = _from(xp, values, dim, 1, values.shape[dim]), _from(xp, values, dim, 0, -1)
        values = xp.logical_xor(later, earlier) if xp.dtype_of(values) is bool_ else xp.sub(later, earlier)
    return values


def _check_fits(name: str, input: Any, part: Any, dim: int) -> None:
    if len(part.shape) != len(input.shape):
        raise RuntimeError(
            f"diff expects {name} to be the same dimension as input, got {len(part.shape)} and {len(input.shape)}"
        )
    for d, (own, other) in enumerate(zip(part.shape, input.shape, strict=True)):
        if d != dim and own != other:
            raise RuntimeError(
                f"diff expects the shape of {name} to match that of input except along the differencing dimension; "
                f"input.size({d}) = {other} and {name}.size({d}) = {own}"
            )


# -- integrals -------------------------------------------------------------------------------------------------------


def _areas(xp: Xp, op: str, y: Any, x: Any, dx: Any, dim: int) -> Any:
    """Of each interval along ``dim`` the area under the line from one value of ``y`` to the next, times 2."""
    if not y.shape:
        raise IndexError(f"{op}: Dimension out of range, the input has no dimensions")
    if x is not None and dx is not None:
        raise TypeError(f"{op}(): either 'x' or 'dx' may be given, not both")
    if xp.dtype_of(y) is bool_ or (x is not None and xp.dtype_of(x) is bool_):
        raise RuntimeError(f"{op}: received a bool input, but bool is not supported")
    heights = xp.add(_from(xp, y, dim, 1, y.shape[dim]), _from(xp, y, dim, 0, -1))
    if x is None:
        return heights if dx is None or dx == 1 else xp.mul(heights, dx)
    if len(x.shape) == 1:
        if x.shape[0] != y.shape[dim]:
            raise RuntimeError(
                f"{op}: there must be one `x` value for each sample point: {x.shape[0]} and {y.shape[dim]}"
            )
        widths = xp.diff(x)
        return xp.mul(heights, xp.reshape(widths, (-1,) + (1,) * (len(y.shape) - 1 - dim)))
    lead = len(y.shape) - len(x.shape)
    if lead < 0:
        y_dim = dim - lead
        heights = xp.reshape(heights, (*[1] * -lead, *heights.shape))
        return xp.mul(heights, xp.diff(x, 1, y_dim))
    if lead > 0:
        x = xp.reshape(x, (*[1] * lead, *x.shape))
    return xp.mul(heights, xp.diff(x, 1, dim))


def _halved(xp: Xp, twice: Any) -> Any:
    # Sums of integers are halved in the default dtype.
    return xp.div(xp.to_dtype(twice, get_default_dtype()) if xp.dtype_of(twice).category <= INTEGER else twice, 2.0)


@composite(inline=True, public=("function",))
def trapezoid(xp: Xp, y: Tensor, x: Tensor | None = None, *, dx: Number | None = None, dim: int = -1) -> Tensor:
    """Return the integral of samples ``y`` along ``dim`` by the trapezoidal rule.

    Args:
        x: where the samples were taken, a vector or a tensor that broadcasts with ``y``.
        dx: the distance between samples, 1 unless ``x`` is given.
    """
    dim = wrap_dim("trapezoid", dim, len(y.shape))
    twice = _areas(xp, "trapezoid", y, x, dx, dim)
    return _halved(xp, xp.sum(twice, dim + len(twice.shape) - len(y.shape)))


trapezoid.aliases = ("trapz",)


@composite(inline=True, public=("function",))
def cumulative_trapezoid(
    xp: Xp, y: Tensor, x: Tensor | None = None, *, dx: Number | None = None, dim: int = -1
) -> Tensor:
    """Return the running integral of samples ``y`` along ``dim``, one entry fewer; as :func:`trapezoid`."""
    dim = wrap_dim("cumulative_trapezoid", dim, len(y.shape))
    twice = _areas(xp, "cumulative_trapezoid", y, x, dx, dim)
    return _halved(xp, xp.cumsum(twice, dim + len(twice.shape) - len(y.shape)))


# -- derivatives -----------------------------------------------------------------------------------------------------


@composite(inline=True, public=("function",))
def gradient(xp: Xp, input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> Any:
    """Return estimates of the derivatives of samples along dimensions, one tensor of ``input``'s shape each.

    Second-order central differences inside (exact for parabolas, also for uneven distances), differences of
    ``edge_order`` at the edges.

    Args:
        spacing: the distance between samples: a number, one number a dimension, or one vector of coordinates a
            dimension.
        dim: an int or several; all dimensions when None.
        edge_order: 1 or 2.

    Raises:
        RuntimeError: for too few samples, or when ``spacing`` does not fit.
    """
    ndim = len(input.shape)
    dims = range(ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    spacing = 1 if spacing is None else spacing
    places = [wrap_dim("gradient", d, ndim) for d in dims]
    if len(set(places)) != len(places):
        raise RuntimeError(f"gradient: a dim appears multiple times in the list of dims: {list(dims)}")
    if edge_order not in (1, 2):
        raise RuntimeError(f"gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    spacings = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(places)
    if hasattr(spacing, "shape") and not isinstance(spacing, (list, tuple)) and len(places) > 1:
        raise RuntimeError("gradient: a single tensor as spacing needs a single dim")
    if len(spacings) != len(places):
        raise RuntimeError(
            f"gradient expected spacing to be unspecified, a scalar, or a list of length {len(places)}, one a dim, but "
            f"got {len(spacings)}"
        )
    for d, space in zip(places, spacings, strict=True):
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(
                f"gradient expected each dimension size to be at least edge_order+1, but dimension {d} has size "
                f"{input.shape[d]}"
            )
        if len(getattr(space, "shape", ())) == 1 and space.shape[0] != input.shape[d]:
            raise RuntimeError(
                f"gradient: there must be one coordinate a sample: {space.shape[0]} for {input.shape[d]} along "
                f"dimension {d}"
            )
    if xp.dtype_of(input).category <= INTEGER:
        input = xp.to_dtype(input, get_default_dtype())
    return [_derivative(xp, input, d, space, edge_order) for d, space in zip(places, spacings, strict=True)]


def _derivative(xp: Xp, x: Any, dim: int, space: Any, edge_order: int) -> Any:
    n = x.shape[dim]
    if len(getattr(space, "shape", ())) == 1:
        widths: Any = xp.reshape(xp.diff(space), (-1,) + (1,) * (len(x.shape) - 1 - dim))
        before, after = xp.slice(widths, 0, 0, max(n - 2, 0), 1), xp.slice(widths, 0, min(1, n - 1), n - 1, 1)
        edges = [
            [xp.slice(widths, 0, place, place + 1, 1) for place in near if 0 <= place < n - 1]
            for near in ((0, 1), (n - 2, n - 3))
        ]
    else:
        before = after = space
        edges = [[space, space], [space, space]]
    steps = xp.diff(x, 1, dim)  # n - 1 differences
    left, right = _from(xp, steps, dim, 0, max(n - 2, 0)), _from(xp, steps, dim, 1, n - 1)
    # Weighted by the other side's distance: exact for parabolas.
    slope_left, slope_right = xp.div(left, before), xp.div(right, after)
    total = before + after
    inner = xp.add(xp.mul(slope_left, xp.div(after, total)), xp.mul(slope_right, xp.div(before, total)))
    ends = []
    for (first, second), distances in zip(((0, 1), (n - 2, n - 3)), edges, strict=True):
        near = xp.div(xp.slice(steps, dim, first, first + 1, 1), distances[0])
        if edge_order == 2:
            far = xp.div(xp.slice(steps, dim, second, second + 1, 1), distances[1])
            share = xp.div(distances[0], distances[0] + distances[1])
            near = xp.add(near, xp.mul(xp.sub(near, far), share))
        ends.append(near)
    return xp.cat([ends[0], inner, ends[1]], dim)
