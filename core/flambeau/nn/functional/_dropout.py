"""Dropout: elements, whole channels, and the kind that goes with SELU."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from flambeau.dtypes import float32
from flambeau.ops.call import TENSORS
from flambeau.random import uniform
from flambeau.tensor import Tensor


def check_probability(p: float) -> None:
    """Raise ValueError unless ``p`` is within [0, 1]."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _drop(kernel: Any, input: Tensor, p: float, training: bool, inplace: bool, shape: Sequence[int] | None) -> Tensor:
    check_probability(p)
    if not training or p == 0 or 0 in input._array.shape:
        return input
    # One draw an element, or one a feature; single precision decides well enough.
    drawn = uniform(input._array.shape if shape is None else shape, float32, input._device)
    result = kernel(input, drawn, p)
    return TENSORS.copy_(input, result) if inplace else result


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training, set each element to 0 with probability ``p`` and divide the others by ``1 - p``.

    Raises:
        ValueError: when ``p`` is not within [0, 1].
    """
    return _drop(TENSORS.apply_dropout, input, p, training, inplace, None)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps the mean and variance of a standard normal input (Klambauer et al., 2017)."""
    return _drop(TENSORS.apply_alpha_dropout, input, p, training, inplace, None)


def _per_feature(input: Tensor) -> tuple[int, ...]:
    shape = input._array.shape
    return (*shape[:2], *(1,) * (len(shape) - 2))


def _drop_channels(op: str, dims: int, input: Tensor, p: float, training: bool, inplace: bool, batched: bool) -> Tensor:
    if input.ndim not in (dims + 1, dims + 2):
        warnings.warn(
            f"{op}: Received a {input.ndim}-D input to {op}, which is deprecated and will result in an error in a "
            "future "
            f"release. To retain the behavior and silence this warning, please use dropout instead. Note that {op} "
            "exists "
            f"to provide channel-wise dropout on inputs with {dims} spatial dimensions, a channel dimension, and an "
            f"optional batch dimension (i.e. {dims + 1}D or {dims + 2}D inputs).",
            stacklevel=3,
        )
    shape = _per_feature(input) if batched else (input._array.shape[0], *(1,) * (input.ndim - 1))
    return _drop(TENSORS.apply_dropout, input, p, training, inplace, shape)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """:func:`dropout` of whole channels of (N, C, L) or (C, L)."""
    return _drop_channels("dropout1d", 1, input, p, training, inplace, input.ndim != 2)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """:func:`dropout` of whole channels of (N, C, H, W).

    As in PyTorch, a 3D input is (N, C, L): its second dimension counts as the channels.
    """
    return _drop_channels("dropout2d", 2, input, p, training, inplace, True)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """:func:`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    return _drop_channels("dropout3d", 3, input, p, training, inplace, input.ndim != 4)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """:func:`alpha_dropout` of whole channels, the second dimension."""
    return _drop(TENSORS.apply_alpha_dropout, input, p, training, inplace, _per_feature(input))


# -- PyTorch's forms at the top level --------------------------------------------------------------------------------


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """:func:`dropout` of whole channels, the second dimension of an input of any number of dimensions."""
    return _drop(TENSORS.apply_dropout, input, p, train, False, _per_feature(input))


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of :func:`dropout`."""
    return dropout(input, p, train, inplace=True)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of :func:`alpha_dropout`."""
    return alpha_dropout(input, p, train, inplace=True)


def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of :func:`feature_dropout`."""
    return _drop(TENSORS.apply_dropout, input, p, train, True, _per_feature(input))


def feature_alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of :func:`feature_alpha_dropout`."""
    return feature_alpha_dropout(input, p, train, inplace=True)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """:func:`dropout`, and which elements were kept, as bools.

    Args:
        train: None counts as true.

    Raises:
        ValueError: when ``p`` is not within [0, 1].
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"native_dropout: dropout probability has to be between 0 and 1, but got {p}")
    drawn = uniform(input._array.shape, float32, input._device)
    kept = drawn >= (p if train is None or train else 0.0)
    return (TENSORS.apply_dropout(input, drawn, p) if train is None or train else input.clone()), kept
