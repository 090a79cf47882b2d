"""A layer and the batch norm behind it as one layer, for inference (``torch.nn.utils.fusion``)."""

from __future__ import annotations

import copy
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn.parameter import Parameter


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """Return a convolution that gives what ``bn(conv(x))`` gives in evaluation mode.

    Args:
        conv, bn: both in evaluation mode; ``bn`` with running statistics.
        transpose: whether ``conv`` is a transposed convolution.

    Raises:
        AssertionError: when one of them is in training mode, or ``bn`` has no running statistics.
    """
    _check_modes("fuse_conv_bn_eval", conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Return weight and bias of a convolution with the batch norm behind it taken in.

    Args:
        conv_w, conv_b: those of the convolution.
        bn_rm, bn_rv, bn_eps, bn_w, bn_b: running statistics, epsilon, weight and bias of the batch norm.
        transpose: the output's channels are the weight's second dimension.
    """
    scale, shift = _affine(bn_rm, bn_rv, bn_eps, bn_w, bn_b)
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    weight = (conv_w * scale.reshape(shape)).to(conv_w.dtype)
    bias = shift if conv_b is None else conv_b * scale + shift
    bias = bias.to(conv_w.dtype if conv_b is None else conv_b.dtype)
    return Parameter(weight.detach(), conv_w.requires_grad), Parameter(
        bias.detach(), conv_w.requires_grad if conv_b is None else conv_b.requires_grad
    )


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """Return a linear layer that gives what ``bn(linear(x))`` gives in evaluation mode.

    Raises:
        AssertionError: when one of them is in training mode, or their features do not go together.
    """
    _check_modes("fuse_linear_bn_eval", linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            f"fuse_linear_bn_eval: To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"{linear.out_features} and {bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """As :func:`fuse_conv_bn_weights`, for a linear layer."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def _affine(mean: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation mode as ``scale * x + shift``."""
    scale = flambeau.rsqrt(var + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias


def _check_modes(op: str, layer: Any, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError(f"{op}: Fusion only for eval! Call .eval() on both modules first.")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError(f"{op}: the batch norm keeps no running statistics")
