"""Distributions with one probability: Bernoulli, geometric, continuous Bernoulli."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs, probs_to_logits
from flambeau.forms import Size
from flambeau.nn.functional import binary_cross_entropy_with_logits
from flambeau.tensor import Tensor

__all__ = ["Bernoulli", "ContinuousBernoulli", "Geometric"]


class OneProbability(Distribution):
    """Parameters ``probs`` or their log-odds ``logits``, each computed from the other when asked for."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    _batched: ClassVar[Any] = {"probs": 0, "logits": 0}

    def _set_parameter(self, probs: Any, logits: Any) -> Tensor:
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
            return self.probs
        (self.logits,) = broadcast_all(logits)
        return self.logits

    @lazy_property
    def logits(self) -> Tensor:
        """Log-odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """Probabilities."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self) -> Tensor:
        # The one that was given: the other may not have been computed.
        if "probs" in self.__dict__:
            return self.probs
        return self.logits

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.shape

    def _binary_entropy(self) -> Tensor:
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")


class Bernoulli(OneProbability, ExponentialFamily):
    """1 with the probability ``probs`` (of the log-odds ``logits``), else 0."""

    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(self._set_parameter(probs, logits).shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        """NaN where both values are equally probable."""
        mode = (self.probs >= 0.5).to(self.probs.dtype)
        return flambeau.where(self.probs == 0.5, math.nan, mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with flambeau.no_grad():
            return flambeau.bernoulli(self.probs.expand(tuple(self._extended_shape(sample_shape))))

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return -binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")

    def entropy(self) -> Tensor:
        return self._binary_entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = flambeau.arange(2, dtype=self._param.dtype, device=self._param.device)
        values = values.reshape((-1, *[1] * len(self._batch_shape)))
        return values.expand((-1, *self._batch_shape)) if expand else values

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return flambeau.nn.functional.softplus(x)


class Geometric(OneProbability):
    """The number of failures before the first success: ``P(k) = (1 - probs)^k probs``."""

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(self._set_parameter(probs, logits).shape, validate_args=validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            raise ValueError(
                f"Expected parameter probs (Tensor of shape {tuple(self.probs.shape)}) of distribution {self!r} to be "
                f"positive but found invalid values:\n{self.probs}"
            )

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return flambeau.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with flambeau.no_grad():
            waiting = self._noise("exponential", sample_shape, self.probs)
            return (waiting / -flambeau.log1p(-self.probs)).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        value, probs = broadcast_all(self._checked(value), self.probs)
        # At probs = 1 the value 0 is certain.
        certain = (probs == 1) & (value == 0)
        return value * flambeau.log1p(-flambeau.where(certain, 0.0, probs)) + self.probs.log()

    def entropy(self) -> Tensor:
        return self._binary_entropy() / self.probs


class ContinuousBernoulli(OneProbability, ExponentialFamily):
    """The density on [0, 1] in proportion to ``probs^x (1 - probs)^(1 - x)`` (Loaiza-Ganem and Cunningham, "The
    continuous Bernoulli", 2019).

    Args:
        lims: between these probabilities, where the formulas cancel, Taylor series around 1/2 are used.
    """

    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        shape = self._set_parameter(probs, logits).shape
        if probs is not None:
            # Checked before the ends are cut off.
            if (self._validate_args if validate_args is None else validate_args) and not (
                constraints.unit_interval.check(self.probs).all()
            ):
                raise ValueError("The parameter probs has invalid values")
            self.probs = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(shape, validate_args=validate_args)

    def _away(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut(self) -> Tensor:
        """The probabilities, those in the middle replaced by its lower limit."""
        return flambeau.where(self._away(), self.probs, self._lims[0])

    def _log_constant(self) -> Tensor:
        """The logarithm of ``2 atanh(1 - 2 p) / (1 - 2 p)``, 2 at 1/2."""
        p = self._cut()
        below = flambeau.where(p <= 0.5, p, 0.0)
        above = flambeau.where(p >= 0.5, p, 1.0)
        ratio = (flambeau.log1p(-p) - p.log()).abs().log()
        size = flambeau.where(p <= 0.5, flambeau.log1p(-2 * below), (2 * above - 1).log())
        square = (self.probs - 0.5).square()
        series = math.log(2) + (4 / 3 + 104 / 45 * square) * square
        return flambeau.where(self._away(), ratio - size, series)

    @property
    def mean(self) -> Tensor:
        p = self._cut()
        exact = p / (2 * p - 1) + 1 / (flambeau.log1p(-p) - p.log())
        x = self.probs - 0.5
        return flambeau.where(self._away(), exact, 0.5 + (1 / 3 + 16 / 45 * x.square()) * x)

    @property
    def variance(self) -> Tensor:
        p = self._cut()
        exact = p * (p - 1) / (1 - 2 * p).square() + 1 / (flambeau.log1p(-p) - p.log()).square()
        square = (self.probs - 0.5).square()
        return flambeau.where(self._away(), exact, 1 / 12 - (1 / 15 - 128 / 945 * square) * square)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(self._open_uniform(sample_shape, self._param))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with flambeau.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_constant()

    def cdf(self, value: Tensor) -> Tensor:
        value = self._checked(value)
        p = self._cut()
        found = (p.pow(value) * (1 - p).pow(1 - value) + p - 1) / (2 * p - 1)
        found = flambeau.where(self._away(), found, value)
        return flambeau.where(value <= 0, 0.0, flambeau.where(value >= 1, 1.0, found))

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut()
        exact = flambeau.log1p(-p + value * (2 * p - 1)) - flambeau.log1p(-p)
        return flambeau.where(self._away(), exact / (p.log() - flambeau.log1p(-p)), value)

    def entropy(self) -> Tensor:
        log0 = flambeau.log1p(-self.probs)
        return self.mean * (log0 - self.probs.log()) - self._log_constant() - log0

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:  # type: ignore[override]
        far = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = flambeau.where(far, x, self._lims[0] - 0.5)
        exact = flambeau.where(
            cut > 0, cut + (-flambeau.exp(-cut.abs())).log1p() - cut.abs().log(),
            (-flambeau.exp(-cut.abs())).log1p() - cut.abs().log(),
        )  # fmt: skip
        return flambeau.where(far, exact, 0.5 * x + x.square() / 24 - x.pow(4) / 2880)
