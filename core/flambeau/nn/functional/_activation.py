"""Activations with ``inplace``, softmax with a dtype, and what draws random slopes and samples."""

from __future__ import annotations

import warnings

from flambeau.dtypes import dtype, float32, float64
from flambeau.ops.call import TENSORS
from flambeau.random import uniform
from flambeau.tensor import Tensor

relu_, elu_, selu_, celu_ = TENSORS.relu_, TENSORS.elu_, TENSORS.selu_, TENSORS.celu_
leaky_relu_, hardtanh_, threshold_ = TENSORS.leaky_relu_, TENSORS.hardtanh_, TENSORS.threshold_
# Looked up once: these are called in the inner loops of small models.
_relu, _softmax, _log_softmax = TENSORS.relu, TENSORS.softmax, TENSORS.log_softmax


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0)``."""
    return relu_(input) if inplace else _relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``min(max(input, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``input`` limited to ``[min_val, max_val]``.

    Raises:
        ValueError: when ``min_val`` is greater than ``max_val``.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val cannot be greater than max_val, got {min_val} and {max_val}")
    return (hardtanh_ if inplace else TENSORS.hardtanh)(input, min_val, max_val)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is positive, elsewhere ``negative_slope * input``."""
    return (leaky_relu_ if inplace else TENSORS.leaky_relu)(input, negative_slope)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is greater than ``threshold``, elsewhere ``value``."""
    return (threshold_ if inplace else TENSORS.threshold)(input, threshold, value)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is positive, elsewhere ``alpha * (exp(input) - 1)`` (Clevert et al., 2016)."""
    return (elu_ if inplace else TENSORS.elu)(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017)."""
    return (selu_ if inplace else TENSORS.selu)(input)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0) + min(alpha * (exp(input / alpha) - 1), 0)`` (Barron, 2017)."""
    return (celu_ if inplace else TENSORS.celu)(input, alpha)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * sigmoid(input)``."""
    return (TENSORS.silu_ if inplace else TENSORS.silu)(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * tanh(softplus(input))`` (Misra, 2019)."""
    return (TENSORS.mish_ if inplace else TENSORS.mish)(input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input / 6 + 1 / 2`` limited to [0, 1]."""
    return (TENSORS.hardsigmoid_ if inplace else TENSORS.hardsigmoid)(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * relu6(input + 3) / 6`` (Howard et al., 2019)."""
    return (TENSORS.hardswish_ if inplace else TENSORS.hardswish)(input)


def _drawn_dtype(input: Tensor) -> dtype:
    return float64 if input._dtype is float64 else float32


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Return ``input`` where it is not negative, elsewhere times a slope: in training one drawn from
    ``[lower, upper)`` for each element, otherwise their mean.

    Raises:
        RuntimeError: when ``lower`` is greater than ``upper``.
    """
    if lower > upper:
        raise RuntimeError(
            f"rrelu: Lower bound should be less than or equal to the upper bound, got {lower} and {upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    drawn = uniform(input._array.shape, _drawn_dtype(input), input._device)
    result = TENSORS.apply_rrelu(input, drawn, lower, upper)
    return TENSORS.copy_(input, result) if inplace else result


def rrelu_(input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Tensor:
    """In-place form of :func:`rrelu`."""
    return rrelu(input, lower, upper, training, True)


def _implicit_dim(op: str, ndim: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {op} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return ``exp(input) / sum(exp(input))``, the sum along ``dim``; ``dtype`` casts the input first."""
    if dim is None:
        dim = _implicit_dim("softmax", input.ndim)
    return _softmax(input if dtype is None else input.to(dtype), dim)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return :func:`softmax` of ``-input``."""
    if dim is None:
        dim = _implicit_dim("softmin", input.ndim)
    return _softmax(TENSORS.neg(input if dtype is None else input.to(dtype)), dim)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """Return ``input - log(sum(exp(input)))``, the sum along ``dim``; ``dtype`` casts the input first."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.ndim)
    return _log_softmax(input if dtype is None else input.to(dtype), dim)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Draw from the Gumbel-softmax distribution (Jang et al., 2017; Maddison et al., 2017).

    Args:
        logits: unnormalized log-probabilities.
        tau: the temperature.
        hard: return unit vectors, differentiated as if they were the soft sample.
        eps: without effect.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    drawn = uniform(logits._array.shape, _drawn_dtype(logits), logits._device).to(logits._dtype)
    gumbels = -(-(1 - drawn).log()).log()
    soft = _softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, True)
    unit = TENSORS.scatter(TENSORS.full_like(soft.detach(), 0), dim, index, 1.0)
    return unit - soft.detach() + soft
