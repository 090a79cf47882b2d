"""Batch and instance normalization, which keep running statistics."""

from __future__ import annotations

import math

from flambeau.autograd.grad_mode import no_grad
from flambeau.ops.call import TENSORS
from flambeau.ops.normalization import check_channels
from flambeau.tensor import Tensor

_native_batch_norm = TENSORS.native_batch_norm


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel (Ioffe and Szegedy, 2015).

    Args:
        input: (N, C, *). The other tensors are (C,).
        running_mean, running_var: the statistics outside training; in training they move towards the batch's.

    Raises:
        ValueError: in training, for a single value a channel; for an ``eps`` that is not positive.
        RuntimeError: when a tensor has not one value a channel, or a running statistic is missing outside training.
    """
    if input._array.shape == (0,):  # neither batch nor channels, which PyTorch lets pass
        return input.clone()
    if eps <= 0.0:
        raise ValueError(f"batch_norm: eps must be positive, got {eps}")
    if training and input.ndim > 1 and input.numel() == input.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}")
    return normalized_batch("batch_norm", input, running_mean, running_var, weight, bias, training, momentum, eps)[0]


def normalized_batch(
    op: str,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The normalized batch, and the statistics; running statistics are moved in training."""
    shape = input._array.shape
    if len(shape) < 2:
        raise RuntimeError(f"{op}: expected an input of at least 2 dimensions (N, C, *), got {list(shape)}")
    if not training and (running_mean is None or running_var is None):
        name = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{op}: Expected {name} to be defined when training=False")
    channels = (shape[1],)
    for given in (weight, bias, running_mean, running_var):
        if given is not None and given._array.shape != channels:
            check_channels(op, input, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    if training and 0 in shape:  # nothing to learn from
        running_mean = running_var = None
    outputs: tuple[Tensor, Tensor, Tensor] = _native_batch_norm(
        input, weight, bias, running_mean, running_var, training, momentum, eps
    )
    if training:
        for running in (running_mean, running_var):
            if running is not None:
                running._bump_version()
    return outputs


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel of each sample (Ulyanov et al., 2016).

    Args:
        input: (N, C, *). The other tensors are (C,).
        running_mean, running_var: used without ``use_input_stats``; otherwise they move towards the samples' mean.

    Raises:
        ValueError: for a single value a channel.
        RuntimeError: when a tensor has not one value a channel.
    """
    shape = tuple(input._array.shape)
    check_channels("instance_norm", input, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {list(shape)}")
    if running_mean is None and running_var is None:
        return TENSORS.native_instance_norm(input, weight, bias, eps)
    batch, channels = shape[:2]
    means, variances = (None if r is None else r.detach().repeat(batch) for r in (running_mean, running_var))
    single = input.reshape(1, batch * channels, *shape[2:])
    out = batch_norm(single, means, variances, None, None, True, momentum, eps).reshape(shape)
    with no_grad():
        for running, values in ((running_mean, means), (running_var, variances)):
            if running is not None and values is not None:
                running.copy_(values.reshape(batch, channels).mean(0))
    column = (1, channels, *(1,) * (len(shape) - 2))
    out = out if weight is None else out * weight.reshape(column)
    return out if bias is None else out + bias.reshape(column)
