"""Samplers that take tensors of parameters: Poisson, binomial, gamma and Dirichlet numbers.

All draw from the counter-based generators of :mod:`flambeau.random`, so that a seed gives the same numbers on every
device, up to a decision that rounding turns. Where a method rejects, it draws again for the elements that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import no_grad
from flambeau.dtypes import float32, float64
from flambeau.ops.call import TENSORS
from flambeau.ops.spec import broadcast_shapes
from flambeau.random import Generator, standard_normal, uniform
from flambeau.tensor import Tensor

__all__ = ["binomial", "poisson"]

# Below this mean the inverse of the distribution function is searched from 0 up; no more steps are ever needed.
_SEARCHED = 10.0
_STEPS = 70


def _wide(tensor: Tensor) -> Any:
    """float64 where the device has it: sums of many probabilities need the digits."""
    backend: Any = tensor.device.backend
    return float64 if "float64" in backend.dtypes else float32


def _check_floating(op: str, **tensors: Any) -> None:
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}(): argument '{name}' must be Tensor, not {type(tensor).__name__}")
        if tensor.dtype.category != dtypes.FLOATING:
            raise NotImplementedError(f"{op}: expected a floating-point dtype for {name}, got {tensor.dtype.name}")


def by_rejection(propose: Callable[..., tuple[Tensor, Tensor]], *parameters: Tensor) -> Tensor:
    """Numbers from ``propose(*parameters)``, which returns some and which of them are accepted; all are 1-D."""
    values, accepted = propose(*parameters)
    pending = TENSORS.nonzero(TENSORS.logical_not(accepted)).reshape(-1)
    while pending.numel():
        drawn, accepted = propose(*[parameter[pending] for parameter in parameters])
        values[pending] = drawn
        pending = pending[TENSORS.logical_not(accepted)]
    return values


def _where(condition: Tensor, value: Tensor, sampler: Callable[..., Tensor], *parameters: Tensor) -> Tensor:
    """``value`` (1-D) with numbers from ``sampler`` in the places where ``condition`` holds."""
    places = TENSORS.nonzero(condition).reshape(-1)
    if places.numel():
        value[places] = sampler(*[parameter[places] for parameter in parameters])
    return value


def _searched(first: Tensor, ratio: Callable[[int], Tensor], generator: Generator | None) -> Tensor:
    """The inverse of a distribution function over 0, 1, 2 ...: ``first`` is the probability of 0."""
    drawn = uniform(first.shape, first.dtype, first.device, generator)
    found = TENSORS.mul(first, 0.0)
    probability = cumulated = first
    for k in range(_STEPS):
        found = TENSORS.add(found, TENSORS.to_dtype(TENSORS.ge(drawn, cumulated), first.dtype))
        probability = TENSORS.mul(probability, ratio(k))
        cumulated = TENSORS.add(cumulated, probability)
    return found


# -- Poisson -----------------------------------------------------------------------------------------------------------


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Return Poisson-distributed numbers with the rates ``input``, in its shape and dtype (``torch.poisson``).

    Small rates by inversion, large ones by transformed rejection (Hörmann, "The transformed rejection method for
    generating Poisson random variables", 1993).

    Raises:
        RuntimeError: for a negative rate.
    """
    _check_floating("poisson", input=input)
    with no_grad():
        rate = input.detach()
        if rate.is_meta:
            return TENSORS.clone(rate)
        if rate.numel() and not bool((rate >= 0).all()):
            raise RuntimeError(f"poisson: invalid Poisson rate, expected all to be >= 0, found {rate.min().item()}")
        flat = rate.reshape(-1).to(_wide(rate))
        small = TENSORS.clamp(flat, None, _SEARCHED)
        counts = _searched(TENSORS.exp(-small), lambda k: small / (k + 1), generator)
        counts = _where(
            flat >= _SEARCHED, counts, lambda p: by_rejection(lambda p: _propose_poisson(p, generator), p), flat
        )
        result: Tensor = counts.reshape(rate.shape).to(input.dtype)
        return result


def _propose_poisson(rate: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    root = rate.sqrt()
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    centered, v = _pair(rate, generator)
    distance = 0.5 - centered.abs()
    count = ((2 * a / distance + b) * centered + rate + 0.43).floor()
    quickly = (distance >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    hopeless = (count < 0) | ((distance < 0.013) & (v > distance))
    left = v.log() + (1.1239 + 1.1328 / (b - 3.4)).log() - (a / (distance * distance) + b).log()
    slowly = left <= count * rate.log() - rate - TENSORS.lgamma(count.clamp(min=0) + 1)
    return count, quickly | (slowly & ~hopeless)


def _pair(like: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    """Numbers uniform in [-1/2, 1/2) and in (0, 1]."""
    drawn = uniform((2, *like.shape), like.dtype, like.device, generator)
    return drawn[0] - 0.5, 1 - drawn[1]


# -- binomial ----------------------------------------------------------------------------------------------------------


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Return how many of ``count`` trials of probability ``prob`` succeed, in the common shape (``torch.binomial``).

    Small means by inversion, large ones by transformed rejection (Hörmann, "The generation of binomial random
    variates", 1993). NaN where ``count`` is negative or ``prob`` outside of [0, 1].

    Raises:
        RuntimeError: when the dtypes differ.
    """
    _check_floating("binomial", count=count, prob=prob)
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"binomial: expected count and prob of one dtype, got {count.dtype} and {prob.dtype}")
    with no_grad():
        shape = broadcast_shapes("binomial", count.shape, prob.shape)
        n, p = (tensor.detach().expand(shape).reshape(-1) for tensor in (count, prob))
        if n.is_meta:
            return TENSORS.clone(n.reshape(shape))
        n, p = n.to(_wide(n)).floor(), p.to(_wide(p))
        valid = (n >= 0) & (p >= 0) & (p <= 1)
        n, p = TENSORS.where(valid, n, 0.0), TENSORS.where(valid, p, 0.0)
        rare = TENSORS.minimum(p, 1 - p)
        odds = rare / (1 - rare)
        small = TENSORS.where(n * rare < _SEARCHED, n, 0.0)
        counts = _searched(
            TENSORS.exp(small * TENSORS.log1p(-rare)),
            lambda k: (small - k).clamp(min=0) / (k + 1) * odds,
            generator,
        )
        counts = _where(
            n * rare >= _SEARCHED,
            counts,
            lambda n, p: by_rejection(lambda n, p: _propose_binomial(n, p, generator), n, p),
            n,
            rare,
        )
        counts = TENSORS.where(p > 0.5, n - counts, counts)
        result: Tensor = TENSORS.where(valid, counts, math.nan).reshape(shape).to(count.dtype)
        return result


def _propose_binomial(n: Tensor, p: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    deviation = (n * p * (1 - p)).sqrt()
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    mode = ((n + 1) * p).floor()
    centered, v = _pair(n, generator)
    distance = 0.5 - centered.abs()
    found = ((2 * a / distance + b) * centered + n * p + 0.5).floor()
    quickly = (distance >= 0.07) & (v <= 0.92 - 4.2 / b)
    inside = (found >= 0) & (found <= n)
    k = TENSORS.minimum(found.clamp(min=0), n)
    left = (v * (2.83 + 5.1 / b) * deviation / (a / (distance * distance) + b)).log()
    right = TENSORS.lgamma(mode + 1) + TENSORS.lgamma(n - mode + 1)
    right = right - TENSORS.lgamma(k + 1) - TENSORS.lgamma(n - k + 1) + (k - mode) * (p / (1 - p)).log()
    return k, inside & (quickly | (left <= right))


# -- gamma and Dirichlet -----------------------------------------------------------------------------------------------


def _log_gamma_numbers(alpha: Tensor, generator: Generator | None) -> Tensor:
    """Logarithms of gamma-distributed numbers, which underflow for small shapes (Marsaglia and Tsang, "A simple method
    for generating gamma variables", 2000). Gradients flow to the shapes.
    """
    with no_grad():
        shape = alpha.detach().reshape(-1)
        kind = float64 if shape.dtype is float64 else float32
        shape = shape.to(kind)
        boosted = shape < 1
        valid = (shape > 0) & TENSORS.isfinite(shape)
        raised = TENSORS.where(valid, TENSORS.where(boosted, shape + 1, shape), 1.0)
        sample = by_rejection(lambda a: _propose_gamma(a, generator), raised)
        sample = TENSORS.where(valid, sample, math.nan).reshape(alpha.shape)
        waiting = TENSORS.log(1 - uniform(alpha.shape, kind, alpha.device, generator))
        boosted = boosted.reshape(alpha.shape)
    wide = alpha if alpha.dtype is kind else alpha.to(kind)
    moving = TENSORS.log(TENSORS.moving_gamma(TENSORS.where(boosted, wide + 1, wide), sample))
    # gamma(a) is gamma(a + 1) u ** (1 / a).
    extra = waiting / TENSORS.where(boosted, wide, 1.0)
    result: Tensor = moving + TENSORS.where(boosted, extra, 0.0)
    return result


def _propose_gamma(alpha: Tensor, generator: Generator | None) -> tuple[Tensor, Tensor]:
    d = alpha - 1 / 3
    x = standard_normal(tuple(alpha.shape), alpha.dtype, alpha.device, generator)
    v = (1 + x / (9 * d).sqrt()) ** 3
    positive = v > 0
    log_u = TENSORS.log(1 - uniform(alpha.shape, alpha.dtype, alpha.device, generator))
    safe = TENSORS.where(positive, v, 1.0)
    return d * safe, positive & (log_u < 0.5 * x * x + d - d * safe + d * safe.log())


def _standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Return gamma-distributed numbers of the shapes ``input`` and the scale 1; gradients flow to ``input``.

    NaN where a shape is not positive and finite.
    """
    _check_floating("_standard_gamma", input=input)
    if input.is_meta:
        return TENSORS.clone(input)
    smallest = dtypes.finfo(input.dtype).tiny
    with no_grad():
        drawn = TENSORS.exp(_log_gamma_numbers(input, generator)).to(input.dtype)
        drawn = drawn.clamp(min=smallest)
    result: Tensor = TENSORS.moving_gamma(input, drawn)
    return result


def _sample_dirichlet(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Return points of the simplex, Dirichlet distributed with the concentrations ``input`` (along its last dimension).

    Gamma-distributed numbers over their sum, computed from logarithms: none underflows. Gradients flow to ``input``.
    """
    _check_floating("_sample_dirichlet", input=input)
    if input.is_meta:
        return TENSORS.clone(input)
    result: Tensor = TENSORS.softmax(_log_gamma_numbers(input, generator), -1)
    return result if result.dtype is input.dtype else result.to(input.dtype)
