"""Linear maps."""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops.arithmetic import conj_of
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


def check_dtypes(op: str, dtype: Any, **others: Any) -> None:
    for name, other in others.items():
        if other is not None and other is not dtype:
            raise RuntimeError(
                f"{op}: Input type ({dtype.name}) and {name} type ({other.name}) should be the same; cast one of them "
                "with .to()"
            )


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
            check_dtypes("linear", dtype, weight=weight._dtype)
        return input, weight, None
    if weight._dtype is not dtype or bias._dtype is not dtype:
        check_dtypes("linear", dtype, weight=weight._dtype, bias=bias._dtype)
    own = bias._array.shape
    if own != sizes[:-1]:
        if own not in ((), (1,)):
            raise RuntimeError(f"linear: expected a bias of shape {list(sizes[:-1])}, but got {list(own)}")
        bias = bias.expand(sizes[:-1])
    return input, weight, bias


@composite(public=())
def for_products(xp: Xp, input: Tensor, rows: int) -> Tensor:
    """Return the matrix ``input``, laid out to be multiplied by (``x @ input``) many times in a row.

    For kernels that multiply by one matrix at every step. A backend may keep what the products need of it with the
    result, so nobody may write to ``input`` before the last of them.

    Args:
        input: (K, N).
        rows: how many rows x has as a rule.
    """
    return xp.clone(input)


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
