"""Pooling: windows at random places, and the forms that always return where the maxima are."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import float32, float64
from flambeau.ops.call import TENSORS
from flambeau.ops.pooling import batched, check_not_empty, unbatched
from flambeau.ops.spec import ntuple
from flambeau.random import uniform
from flambeau.tensor import Tensor

Pair = tuple[Tensor, Tensor]


def _fractional(
    dims: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None
) -> Pair:
    op = f"fractional_max_pool{dims}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{op} requires specifying either an output_size or an output_ratio")
    x = batched(TENSORS, op, input, dims)
    check_not_empty(op, dims, input)
    shape = tuple(x.shape[2:])
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * dims
        output_size = [int(n * ratio) for n, ratio in zip(shape, ratios, strict=True)]
    kernel, out = ntuple(op, "kernel_size", kernel_size, dims), ntuple(op, "output_size", output_size, dims)
    if min(kernel) <= 0 or min(out) <= 0:
        raise RuntimeError(
            f"{op}: kernel_size and output_size should be greater than zero, got {list(kernel)} and {list(out)}"
        )
    for n, k, m in zip(shape, kernel, out, strict=True):
        if m + k - 1 > n:
            raise RuntimeError(
                f"{op}: a window of {k} is too large for {m} of them in a dimension of size {n} (input of shape "
                f"{list(input.shape)})"
            )
    wanted = (*x.shape[:2], dims)
    if samples is None:
        samples = uniform(wanted, float64 if input._dtype is float64 else float32, input._device)
    elif samples.ndim != 3 or samples.shape[0] < wanted[0] or tuple(samples.shape[1:]) != wanted[1:]:
        raise RuntimeError(
            f"{op}: Expect _random_samples of size {list(wanted)}, (batch, channels, {dims}), got {list(samples.shape)}"
        )
    samples = samples[: wanted[0]]
    if dims == 2:
        samples = samples.flip(2)  # PyTorch has them for width and height, but for depth, height and width
    result, indices = TENSORS.fractional_max_pool(x, samples, kernel, out)
    return unbatched(TENSORS, result, input), unbatched(TENSORS, indices, input)


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Pair:
    """Return the largest element of each of ``output_size`` windows at pseudo-random places (Graham, 2014), and where.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size: the size of a window.
        output_size: how many windows there are; or
        output_ratio: how many, as a share of the input's sizes.
        return_indices: accepted; both are always returned.
        _random_samples: (N, C, 2) in [0, 1), for width and height; drawn when left out.

    Returns:
        The maxima and their flat int64 indices into (H, W).

    Raises:
        ValueError: when neither ``output_size`` nor ``output_ratio`` is given.
        RuntimeError: when the shapes do not fit.
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Pair:
    """:func:`fractional_max_pool2d_with_indices` in three dimensions, depth, height and width.

    ``_random_samples`` is (N, C, 3), in that order.
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """:func:`fractional_max_pool2d_with_indices`, the indices only with ``return_indices``."""
    found = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """:func:`fractional_max_pool3d_with_indices`, the indices only with ``return_indices``."""
    found = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


# -- the other kinds -------------------------------------------------------------------------------------------------


def _with_indices(name: str) -> Any:
    op = getattr(TENSORS, name)
    if name.startswith("adaptive"):

        def pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Pair:
            pair: Pair = op(input, output_size, True)
            return pair

    else:

        def pool(  # type: ignore[misc]
            input: Tensor,
            kernel_size: Any,
            stride: Any = None,
            padding: Any = 0,
            dilation: Any = 1,
            ceil_mode: bool = False,
            return_indices: bool = False,
        ) -> Pair:
            pair: Pair = op(input, kernel_size, stride, padding, dilation, ceil_mode, True)
            return pair

    pool.__name__ = pool.__qualname__ = f"{name}_with_indices"
    pool.__doc__ = f":func:`{name}` with the indices, whatever ``return_indices`` says."
    return pool


max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = (
    _with_indices(f"max_pool{dims}d") for dims in (1, 2, 3)
)
adaptive_max_pool1d_with_indices, adaptive_max_pool2d_with_indices, adaptive_max_pool3d_with_indices = (
    _with_indices(f"adaptive_max_pool{dims}d") for dims in (1, 2, 3)
)
