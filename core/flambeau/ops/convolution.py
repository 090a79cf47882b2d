"""Linear maps and convolutions over one to three spatial dimensions.

:func:`convolution` is the op; ``conv1d`` ... ``conv_transpose3d`` bring their arguments into its form. It decomposes
into one matrix product for each element of the window. Input, weight and output's cotangent enter a trilinear form, so
that every gradient of any order is again a convolution, or the gradient of one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from flambeau.ops.arithmetic import conj_of
from flambeau.ops.declare import composite

Tensor = Any
Size = Any
Xp = Any
Ints = tuple[int, ...]

# -- linear ----------------------------------------------------------------------------------------------------------


@composite(public=())
def linear(xp: Xp, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Shape: input (*, in), weight (out, in) or (in,), bias (out,) or () -> (*, out) or (*).
    """
    result = xp.matmul(input, xp.permute(weight, (1, 0)) if len(weight.shape) == 2 else weight)
    return result if bias is None else xp.add(result, bias)


@linear.canonical
def _(input: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any]:
    shape, sizes = input._array.shape, weight._array.shape
    dtype = input._dtype
    if not shape or not 1 <= len(sizes) <= 2 or shape[-1] != sizes[-1]:
        rows, columns = math.prod(shape[:-1]), shape[-1] if shape else 1
        wanted = f"an input (*, {sizes[1]})" if len(sizes) == 2 else "a weight (out_features, in_features)"
        raise RuntimeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied ({rows}x{columns} and "
            f"{'x'.join(map(str, sizes[::-1]))}): input has shape {list(shape)} and weight {list(sizes)}; expected "
            f"{wanted}"
        )
    if bias is None:
        if weight._dtype is not dtype:
            _check_dtypes("linear", dtype, weight=weight._dtype)
        return input, weight, None
    if weight._dtype is not dtype or bias._dtype is not dtype:
        _check_dtypes("linear", dtype, weight=weight._dtype, bias=bias._dtype)
    own = bias._array.shape
    if own != sizes[:-1]:
        if own not in ((), (1,)):
            raise RuntimeError(f"linear: expected a bias of shape {list(sizes[:-1])}, but got {list(own)}")
        bias = bias.expand(sizes[:-1])
    return input, weight, bias


def _rows(xp: Xp, x: Any, columns: int) -> Any:
    """``x`` as a matrix."""
    shape = (math.prod(x.shape) // columns if columns else math.prod(x.shape[:-1]), columns)
    return x if tuple(x.shape) == shape else xp.reshape(x, shape)


def _linear_input(xp: Xp, g: Any, weight: Any) -> Any:
    if len(weight.shape) == 2:
        return xp.matmul(g, conj_of(xp, weight))
    return xp.mul(xp.reshape(g, (*g.shape, 1)), conj_of(xp, weight))


def _linear_weight(xp: Xp, g: Any, input: Any, weight_spec: Any) -> Any:
    size = weight_spec.shape[-1]
    rows = _rows(xp, g, math.prod(weight_spec.shape[:-1]))
    gradient = xp.matmul(xp.permute(rows, (1, 0)), conj_of(xp, _rows(xp, input, size)))
    return gradient if len(weight_spec.shape) == 2 else xp.reshape(gradient, (size,))


def _linear_bias(xp: Xp, g: Any, weight_spec: Any) -> Any:
    lead = tuple(range(len(g.shape) - len(weight_spec.shape) + 1))
    return xp.sum(g, lead, False) if lead else g


linear.vjp(input=_linear_input, weight=_linear_weight, bias=_linear_bias)


@composite(dtype="promote", public=("function", "functional"))
def bilinear(xp: Xp, input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``y[k] = sum_ij input1[i] weight[k, i, j] input2[j] + bias[k]``.

    Shape: (*, in1), (*, in2), weight (out, in1, in2), bias (out,) -> (*, out).

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    lead = tuple(input1.shape[:-1])
    if lead != tuple(input2.shape[:-1]):
        raise RuntimeError(
            f"bilinear: input1 and input2 must have the same shape but the last dimension, got {list(input1.shape)} "
            f"and {list(input2.shape)}"
        )
    if len(weight.shape) != 3 or (input1.shape[-1], input2.shape[-1]) != tuple(weight.shape[1:]):
        raise RuntimeError(
            f"bilinear: weight must have the shape (out, {input1.shape[-1]}, {input2.shape[-1]}) for inputs of shape "
            f"{list(input1.shape)} and {list(input2.shape)}, got {list(weight.shape)}"
        )
    out, in1, in2 = weight.shape
    if bias is not None and tuple(bias.shape) != (out,):
        raise RuntimeError(f"bilinear: bias must have the shape ({out},), got {list(bias.shape)}")
    rows = math.prod(lead)
    table = xp.reshape(xp.permute(weight, (1, 0, 2)), (in1, out * in2))
    partial = xp.reshape(xp.matmul(xp.reshape(input1, (rows, in1)), table), (rows, out, in2))
    result = xp.reshape(xp.matmul(partial, xp.reshape(input2, (rows, in2, 1))), (*lead, out))
    return result if bias is None else xp.add(result, bias)


# -- the op ----------------------------------------------------------------------------------------------------------


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many windows there are along a dimension of ``size``."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def transposed_output_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int
) -> int:
    """The size of which ``size`` is the number of windows."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding


def pads(before: Sequence[int], after: Sequence[int]) -> Ints:
    """Sizes for ``constant_pad_nd``, which begins with the last dimension."""
    return tuple(itertools.chain.from_iterable(reversed(list(zip(before, after, strict=True)))))


def padded(xp: Xp, x: Any, before: Sequence[int], after: Sequence[int]) -> Any:
    """``x`` with zeros before and after its last dimensions (negative: cut off)."""
    return xp.constant_pad_nd(x, pads(before, after), 0) if any(before) or any(after) else x


def spread(xp: Xp, x: Any, stride: Sequence[int]) -> Any:
    """``x`` with ``stride - 1`` zeros between neighbours along its last dimensions."""
    first = len(x.shape) - len(stride)
    for i, step in enumerate(stride):
        shape = tuple(x.shape)
        dim = first + i
        if step == 1 or shape[dim] == 0:
            continue
        lead, size, rest = shape[:dim], shape[dim], shape[dim + 1 :]
        column = xp.reshape(x, (*lead, size, 1, *rest))
        zeros = xp.new_full(x, (*lead, size, step - 1, *rest), 0)
        x = xp.reshape(xp.cat([column, zeros], dim + 1), (*lead, size * step, *rest))
        x = xp.slice(x, dim, 0, (size - 1) * step + 1, 1)
    return x


def patch(
    xp: Xp, x: Any, offset: Sequence[int], count: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Any:
    """For each window along the last dimensions the element at ``offset`` in it; ``count`` windows."""
    first = len(x.shape) - len(count)
    for i, n in enumerate(count):
        start = offset[i] * dilation[i]
        end = start + (n - 1) * stride[i] + 1 if n else start
        if (start, end) != (0, x.shape[first + i]) or stride[i] != 1:
            x = xp.slice(x, first + i, start, end, stride[i])
    return x


def offsets(kernel_size: Sequence[int]) -> itertools.product[tuple[int, ...]]:
    """The places in a window, the last dimension running fastest."""
    return itertools.product(*[range(n) for n in kernel_size])


def _correlate(xp: Xp, x: Any, weight: Any, stride: Ints, dilation: Ints, groups: int) -> Any:
    """The convolution of an input that is padded already: (N, C, *) and (O, C / groups, *) -> (N, O, *)."""
    batch, channels = x.shape[0], x.shape[1]
    out, inner, *kernel = weight.shape
    size = [output_size(n, k, s, 0, d) for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    count = math.prod(size)
    # (K, groups, O / groups, C / groups), the place in the window first.
    matrices = xp.reshape(weight, (groups, out // groups, inner, math.prod(kernel)))
    matrices = xp.permute(matrices, (3, 0, 1, 2))
    total = None
    for place, offset in enumerate(offsets(kernel)):
        window = xp.reshape(patch(xp, x, offset, size, stride, dilation), (batch, groups, channels // groups, count))
        matrix = xp.reshape(xp.slice(matrices, 0, place, place + 1, 1), (groups, out // groups, inner))
        product = xp.matmul(matrix, window)
        total = product if total is None else xp.add(total, product)
    if total is None:
        return xp.new_full(x, (batch, out, *size), 0)
    return xp.reshape(total, (batch, out, *size))


def _weight_gradient(
    xp: Xp, input: Any, g: Any, kernel: Sequence[int], stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Any:
    """The cotangent of a convolution's weight: (N, C, *) and (N, O, *) -> (O, C / groups, *kernel)."""
    x = padded(xp, input, padding, padding)
    batch, channels, out = x.shape[0], x.shape[1], g.shape[1]
    size = tuple(g.shape[2:])
    count = math.prod(size)
    rows = xp.reshape(g, (batch, groups, out // groups, count))
    rows = xp.reshape(xp.permute(rows, (1, 2, 0, 3)), (groups, out // groups, batch * count))
    parts = []
    for offset in offsets(kernel):
        window = xp.reshape(patch(xp, x, offset, size, stride, dilation), (batch, groups, channels // groups, count))
        columns = xp.reshape(xp.permute(window, (1, 0, 3, 2)), (groups, batch * count, channels // groups))
        parts.append(xp.reshape(xp.matmul(rows, columns), (out, channels // groups, 1)))
    if not parts:
        return xp.new_full(x, (out, channels // groups, *kernel), 0)
    return xp.reshape(xp.cat(parts, 2), (out, channels // groups, *kernel))


@composite(public=())
def convolution(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
) -> Tensor:
    """Return the convolution (cross-correlation) of ``input`` with ``weight``, or its transpose, plus ``bias``.

    Shape: input (N, C, *); weight (O, C / groups, *kernel), transposed (C, O / groups, *kernel); bias (O,); one number
    a spatial dimension for ``stride`` ... ``output_padding`` -> (N, O, *).
    """
    if transposed:
        channels, inner, *kernel = weight.shape
        spatial = len(kernel)
        before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        after = [n + extra for n, extra in zip(before, output_padding, strict=True)]
        wide = padded(xp, spread(xp, input, stride), before, after)
        flipped = xp.flip(weight, tuple(range(2, 2 + spatial)))
        grouped = xp.reshape(flipped, (groups, channels // groups, inner, *kernel))
        exchanged = xp.permute(grouped, (0, 2, 1, *range(3, 3 + spatial)))
        matrix = xp.reshape(exchanged, (groups * inner, channels // groups, *kernel))
        result = _correlate(xp, wide, matrix, (1,) * spatial, dilation, groups)
    else:
        result = _correlate(xp, padded(xp, input, padding, padding), weight, stride, dilation, groups)
    if bias is None:
        return result
    return xp.add(result, xp.reshape(bias, (1, bias.shape[0]) + (1,) * (len(result.shape) - 2)))


@convolution.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> tuple[Any, Any, Any]:
    gi, gw, gb = xp.convolution_backward(
        g, input, weight, stride, padding, dilation, transposed, output_padding, groups, needs
    )
    return gi, gw, gb


@composite(public=())
def convolution_backward(
    xp: Xp,
    g: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of :func:`convolution`'s input, weight and bias, each None where it is not needed."""
    kernel = tuple(weight.shape[2:])
    gi = gw = gb = None
    if needs[0]:
        if transposed:
            gi = xp.convolution(g, weight, None, stride, padding, dilation, False, (0,) * len(kernel), groups)
        else:
            # Of the sizes with this number of windows, the input's.
            lost = tuple(
                n - transposed_output_size(m, k, s, p, d, 0)
                for n, m, k, s, p, d in zip(
                    input.shape[2:], g.shape[2:], kernel, stride, padding, dilation, strict=True
                )
            )
            gi = xp.convolution(g, weight, None, stride, padding, dilation, True, lost, groups)
        for i, n in enumerate(input.shape[2:]):
            if gi.shape[2 + i] != n:  # an output padding of a stride or more
                gi = xp.slice(gi, 2 + i, 0, n, 1)
    if needs[1]:
        one, other = (g, input) if transposed else (input, g)
        gw = _weight_gradient(xp, one, other, kernel, stride, padding, dilation, groups)
    if needs[2]:
        gb = xp.sum(g, (0, *range(2, len(g.shape))), False)
    return gi, gw, gb


@convolution_backward.joint_vjp
def _(
    xp: Xp,
    cotangents: Any,
    needs: tuple[bool, ...],
    g: Any,
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> tuple[Any, Any, Any]:
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    of_gi, of_gw, of_gb = cotangents
    for_g = for_input = for_weight = None
    if needs[0]:
        terms = []
        if of_gi is not None:
            terms.append(xp.convolution(of_gi, weight, None, *geometry))
        if of_gw is not None:
            terms.append(xp.convolution(input, of_gw, None, *geometry))
        if of_gb is not None:
            column = xp.reshape(of_gb, (1, g.shape[1]) + (1,) * (len(g.shape) - 2))
            terms.append(xp.expand(column, tuple(g.shape)))
        for term in terms:
            for_g = term if for_g is None else xp.add(for_g, term)
    if needs[1] and of_gw is not None:
        for_input = xp.convolution_backward(g, input, of_gw, *geometry, (True, False, False))[0]
    if needs[2] and of_gi is not None:
        for_weight = xp.convolution_backward(g, of_gi, weight, *geometry, (False, True, False))[1]
    return for_g, for_input, for_weight


# -- public forms ----------------------------------------------------------------------------------------------------


def ntuple(op: str, name: str, value: Any, dims: int) -> Ints:
    """A number for all dimensions, or a sequence of one number a dimension, as a tuple.

    Raises:
        RuntimeError: for another number of numbers.
    """
    if isinstance(value, (tuple, list)):
        if len(value) == dims:
            return tuple([int(n) for n in value])
        if len(value) == 1:
            return (int(value[0]),) * dims
        raise RuntimeError(
            f"{op}: expected {name} to be a single integer value or a list of {dims} values, one a dimension, but got "
            f"{name}={list(value)}"
        )
    return (int(value),) * dims


def _check(op: str, shape: Ints, sizes: Ints, bias: Any, dims: int, transposed: bool, groups: int) -> None:
    """Check the shapes of input and weight, the bias and the groups."""
    rank = len(shape)
    if rank not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"{op}: Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {op}, but got input of size: "
            f"{list(shape)}"
        )
    if len(sizes) != dims + 2:
        raise RuntimeError(f"{op}: expected a {dims + 2}-dimensional weight, but got weight of size {list(sizes)}")
    if groups <= 0:
        raise RuntimeError(f"{op}: non-positive groups is not supported, got groups={groups}")
    if sizes[0] % groups or sizes[0] < groups:
        raise RuntimeError(
            f"{op}: Given groups={groups}, expected weight to be at least {groups} at dimension 0, and "
            f"weight.shape[0] to be divisible by {groups}, but got weight of size {list(sizes)} instead"
        )
    channels = shape[rank - dims - 1]
    wanted = sizes[0] if transposed else sizes[1] * groups
    if channels != wanted:
        raise RuntimeError(
            f"{op}: Given {'transposed=1' if transposed else f'groups={groups}'}, weight of size {list(sizes)}, "
            "expected "
            f"input{list(shape)} to have {wanted} channels, but got {channels} channels instead"
        )
    out = sizes[1] * groups if transposed else sizes[0]
    if bias is not None and tuple(bias.shape) != (out,):
        raise RuntimeError(
            f"{op}: Given weight of size {list(sizes)}, expected bias to be 1-dimensional with {out} elements, but got "
            "bias "
            f"of size {list(bias.shape)} instead"
        )


def _check_dtypes(op: str, dtype: Any, **others: Any) -> None:
    for name, other in others.items():
        if other is not None and other is not dtype:
            raise RuntimeError(
                f"{op}: Input type ({dtype.name}) and {name} type ({other.name}) should be the same; cast one of them "
                "with .to()"
            )


def _check_geometry(op: str, stride: Ints, padding: Ints, dilation: Ints) -> None:
    if any(n < 0 for n in padding):
        raise RuntimeError(f"{op}: negative padding is not supported, got padding={list(padding)}")
    if any(n <= 0 for n in stride):
        raise RuntimeError(f"{op}: non-positive stride is not supported, got stride={list(stride)}")
    if any(n <= 0 for n in dilation):
        raise RuntimeError(f"{op}: dilation should be greater than zero, got dilation={list(dilation)}")


def _convolve(
    xp: Xp,
    dims: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Any:
    op = f"conv{dims}d"
    shape, sizes = tuple(input.shape), tuple(weight.shape)
    _check(op, shape, sizes, bias, dims, False, groups)
    _check_dtypes(op, xp.dtype_of(input), weight=xp.dtype_of(weight), bias=bias if bias is None else xp.dtype_of(bias))
    stride, dilation = ntuple(op, "stride", stride, dims), ntuple(op, "dilation", dilation, dims)
    batched = len(shape) == dims + 2
    if not batched:
        shape = (1, *shape)
        input = xp.reshape(input, shape)
    kernel = sizes[2:]
    if isinstance(padding, str):
        input, padding = _named_padding(xp, op, input, padding, kernel, stride, dilation)
        shape = tuple(input.shape)
    else:
        padding = ntuple(op, "padding", padding, dims)
    _check_geometry(op, stride, padding, dilation)
    full = tuple([n + 2 * p for n, p in zip(shape[2:], padding, strict=True)])
    window = tuple([d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)])
    if any(n < k for n, k in zip(full, window, strict=True)):
        raise RuntimeError(
            f"{op}: Calculated padded input size per channel: ({' x '.join(map(str, full))}). Kernel size: "
            f"({' x '.join(map(str, window))}). Kernel size can't be greater than actual input size"
        )
    result = xp.convolution(input, weight, bias, stride, padding, dilation, False, (0,) * dims, groups)
    return result if batched else xp.reshape(result, tuple(result.shape[1:]))


def _named_padding(
    xp: Xp, op: str, input: Any, padding: str, kernel: Ints, stride: Ints, dilation: Ints
) -> tuple[Any, Ints]:
    """``"valid"`` and ``"same"`` as sizes; what is not the same on both sides is added to the input."""
    if padding == "valid":
        return input, (0,) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"{op}: Invalid padding string: {padding!r}; it has to be 'same' or 'valid'")
    if any(s != 1 for s in stride):
        raise RuntimeError(f"{op}: padding='same' is not supported for strided convolutions, got stride={list(stride)}")
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return padded(xp, input, (0,) * len(kernel), [n % 2 for n in total]), tuple([n // 2 for n in total])


def _convolve_transposed(
    xp: Xp,
    dims: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Any:
    op = f"conv_transpose{dims}d"
    shape, sizes = tuple(input.shape), tuple(weight.shape)
    _check(op, shape, sizes, bias, dims, True, groups)
    _check_dtypes(op, xp.dtype_of(input), weight=xp.dtype_of(weight), bias=bias if bias is None else xp.dtype_of(bias))
    stride, dilation = ntuple(op, "stride", stride, dims), ntuple(op, "dilation", dilation, dims)
    padding, extra = ntuple(op, "padding", padding, dims), ntuple(op, "output_padding", output_padding, dims)
    _check_geometry(op, stride, padding, dilation)
    if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise RuntimeError(
            f"{op}: output padding must be smaller than either stride or dilation, but got "
            f"output_padding={list(extra)}, stride={list(stride)}, dilation={list(dilation)}"
        )
    batched = len(shape) == dims + 2
    if not batched:
        shape = (1, *shape)
        input = xp.reshape(input, shape)
    size = [
        transposed_output_size(*entry)
        for entry in zip(shape[2:], sizes[2:], stride, padding, dilation, extra, strict=True)
    ]
    if any(n <= 0 for n in size):
        raise RuntimeError(
            f"{op}: Given input size per channel: ({' x '.join(map(str, shape[2:]))}). Calculated output size "
            "per "
            f"channel: ({' x '.join(map(str, size))}). Output size is too small"
        )
    result = xp.convolution(input, weight, bias, stride, padding, dilation, True, extra, groups)
    return result if batched else xp.reshape(result, tuple(result.shape[1:]))


@composite(inline=True, public=("function", "functional"))
def conv1d(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return the 1-D convolution (cross-correlation) of ``input`` with ``weight``, plus ``bias``.

    Args:
        input: (N, C, L) or (C, L).
        weight: (O, C / groups, kernel). bias: (O,).
        stride, dilation: the step between windows, and between the elements of a window.
        padding: zeros at both ends; or ``"valid"`` for none, ``"same"`` for an output of the input's size.
        groups: into how many blocks the channels are divided, each convolved by itself.

    Returns:
        (N, O, floor((L + 2 padding - dilation (kernel - 1) - 1) / stride) + 1), or without N.

    Raises:
        RuntimeError: when shapes, dtypes or sizes do not fit.
    """
    return _convolve(xp, 1, input, weight, bias, stride, padding, dilation, groups)


@composite(inline=True, public=("function", "functional"))
def conv2d(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return the 2-D convolution (cross-correlation); as :func:`conv1d`, one number for both dimensions or two."""
    return _convolve(xp, 2, input, weight, bias, stride, padding, dilation, groups)


@composite(inline=True, public=("function", "functional"))
def conv3d(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Return the 3-D convolution (cross-correlation); as :func:`conv1d`, one number for all dimensions or three."""
    return _convolve(xp, 3, input, weight, bias, stride, padding, dilation, groups)


@composite(inline=True, public=("function", "functional"))
def conv_transpose1d(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the 1-D transposed convolution: the gradient of a convolution with respect to its input.

    Args:
        input: (N, C, L) or (C, L).
        weight: (C, O / groups, kernel). bias: (O,).
        stride, padding, dilation, groups: of that convolution.
        output_padding: added to the size of the output, to choose among those that have L windows.

    Returns:
        (N, O, (L - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1), or without N.

    Raises:
        RuntimeError: when shapes, dtypes or sizes do not fit.
    """
    return _convolve_transposed(xp, 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(inline=True, public=("function", "functional"))
def conv_transpose2d(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the 2-D transposed convolution; as :func:`conv_transpose1d`, one number for both dimensions or two."""
    return _convolve_transposed(xp, 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@composite(inline=True, public=("function", "functional"))
def conv_transpose3d(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Return the 3-D transposed convolution; as :func:`conv_transpose1d`, one number for all dimensions or three."""
    return _convolve_transposed(xp, 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
