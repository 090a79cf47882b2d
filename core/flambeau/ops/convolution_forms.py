"""The public forms of convolution: one to three dimensions, plain and transposed."""

from __future__ import annotations

from typing import Any

from flambeau.ops.convolution import padded, transposed_output_size
from flambeau.ops.declare import composite
from flambeau.ops.linear import check_dtypes
from flambeau.ops.spec import ntuple

Tensor = Any
Xp = Any
Ints = tuple[int, ...]


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
    check_dtypes(op, xp.dtype_of(input), weight=xp.dtype_of(weight), bias=bias if bias is None else xp.dtype_of(bias))
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
    check_dtypes(op, xp.dtype_of(input), weight=xp.dtype_of(weight), bias=bias if bias is None else xp.dtype_of(bias))
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


@composite(inline=True, public=("function", "functional"))
def conv_tbc(xp: Xp, input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Return the 1-D convolution of sequences whose time comes first.

    Shape: input (T, B, C), weight (kernel, C, O), bias (O,) -> (T + 2 pad - kernel + 1, B, O).

    Raises:
        RuntimeError: when the shapes or dtypes do not fit.
    """
    for name, given, dims in (("input", input, 3), ("weight", weight, 3), ("bias", bias, 1)):
        if len(given.shape) != dims:
            raise RuntimeError(f"conv_tbc: {name} must have {dims} dimensions, got shape {list(given.shape)}")
    x, kernels = xp.permute(input, (1, 2, 0)), xp.permute(weight, (2, 1, 0))
    return xp.permute(_convolve(xp, 1, x, kernels, bias, 1, pad, 1, 1), (2, 0, 1))
