"""The base class of distributions (``torch.distributions.distribution``)."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.utils import lazy_property
from flambeau.forms import Size
from flambeau.tensor import Tensor

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution:
    """A batch of probability distributions.

    Samples have the shape ``sample_shape + batch_shape + event_shape``: a batch has independent distributions with
    parameters of their own, an event is what one of them gives.

    Attributes:
        has_rsample: whether :meth:`rsample` gives samples that gradients flow through to the parameters.
        has_enumerate_support: whether :meth:`enumerate_support` lists all values.
        arg_constraints: parameter name → the set it must lie in, checked unless ``validate_args=False``.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    arg_constraints: ClassVar[Any] = None
    #: The attributes with a batch shape → how many trailing dimensions belong to an event; for :meth:`expand`.
    _batched: ClassVar[Any] = None

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether arguments and values are checked where ``validate_args`` is not given; on unless Python runs with -O.

        Raises:
            ValueError: when ``value`` is no bool.
        """
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: expected True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_arguments()
        super().__init__()

    def _check_arguments(self) -> None:
        if self.arg_constraints is None:
            warnings.warn(
                f"{type(self).__name__} does not define `arg_constraints`; set it to {{}} or initialize with "
                "validate_args=False to turn off validation.",
                stacklevel=4,
            )
            return
        for name, constraint in self.arg_constraints.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property):
                continue  # it follows from another parameter
            value = getattr(self, name)
            if value.is_meta:
                continue
            if not constraint.check(value).all():
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """The distribution with its parameters expanded to ``batch_shape``."""
        if not self._batched:
            raise NotImplementedError(f"{type(self).__name__} does not implement expand")
        new = type(self).__new__(type(self)) if _instance is None else _instance
        for name, value in self.__dict__.items():
            if name in self._batched:
                kept = tuple(value.shape[value.ndim - self._batched[name] :])
                value = value.expand((*batch_shape, *kept))
            elif isinstance(getattr(type(self), name, None), lazy_property):
                continue  # computed again when it is asked for
            new.__dict__[name] = value
        new._batch_shape = Size(batch_shape)
        return new

    @property
    def batch_shape(self) -> Size:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one sample of one distribution."""
        return self._event_shape

    @property
    def support(self) -> Any:
        """The set that samples lie in."""
        raise NotImplementedError(f"{type(self).__name__} does not define a support")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError(f"{type(self).__name__} does not implement mean")

    @property
    def mode(self) -> Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{type(self).__name__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError(f"{type(self).__name__} does not implement variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples of the shape ``sample_shape + batch_shape + event_shape``, without gradients."""
        with flambeau.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples that gradients flow through to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no reparameterized samples")

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``."""
        warnings.warn("sample_n will be deprecated. Use .sample((n,)) instead", UserWarning, stacklevel=2)
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density or probability at ``value``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of at most ``value``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement cdf")

    def icdf(self, value: Tensor) -> Tensor:
        """The value up to which the probability is ``value``: the inverse of :meth:`cdf`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a new first dimension, expanded to the batch or with sizes 1."""
        raise NotImplementedError(f"{type(self).__name__} does not implement enumerate_support")

    def entropy(self) -> Tensor:
        """The entropy, in nats."""
        raise NotImplementedError(f"{type(self).__name__} does not implement entropy")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*_sizes(sample_shape), *self._batch_shape, *self._event_shape))

    def _validate_sample(self, value: Tensor) -> None:
        """Refuse what is no tensor, does not broadcast with the batch and event shape, or lies outside the support.

        Raises:
            ValueError: naming the shapes or the support.
        """
        if not isinstance(value, Tensor):
            raise ValueError(f"The value argument to log_prob must be a Tensor, not {type(value).__name__}")
        start = value.ndim - len(self._event_shape)
        if tuple(value.shape[max(start, 0) :]) != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {tuple(value.shape)} vs "
                f"{tuple(self._event_shape)}."
            )
        expected = (*self._batch_shape, *self._event_shape)
        for own, size in zip(reversed(value.shape), reversed(expected), strict=False):
            if own not in (1, size) and size != 1:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {tuple(value.shape)} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{type(self).__name__} does not define `support` to enable sample validation; initialize with "
                "validate_args=False to turn it off.",
                stacklevel=3,
            )
            return
        if not value.is_meta and not support.check(value).all():
            raise ValueError(
                f"Expected value argument (Tensor of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def _noise(self, kind: str, sample_shape: Any, like: Tensor) -> Tensor:
        """Standard numbers, ``uniform``, ``normal`` or ``exponential``, of the extended shape."""
        empty = flambeau.empty(tuple(self._extended_shape(sample_shape)), dtype=like.dtype, device=like.device)
        filled: Tensor = getattr(empty, kind + "_")()
        return filled

    def _open_uniform(self, sample_shape: Any, like: Tensor) -> Tensor:
        """Numbers uniform in (0, 1), without the ends."""
        drawn = self._noise("uniform", sample_shape, like)
        info = flambeau.finfo(drawn.dtype)
        return drawn.clamp(info.tiny, 1 - info.eps / 2)

    def _checked(self, value: Tensor) -> Tensor:
        """A value to look at, refused where it is not valid."""
        if self._validate_args:
            self._validate_sample(value)
        return value

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints or {} if name in self.__dict__]
        shown = []
        for name in names:
            value = self.__dict__[name]
            shown.append(f"{name}: {value.item() if value.numel() == 1 else tuple(value.shape)}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _sizes(sample_shape: Any) -> tuple[int, ...]:
    return (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)


class ExponentialFamily(Distribution):
    """Distributions with the density ``exp(<t(x), theta> - A(theta) + k(x))`` in natural parameters theta.

    A subclass gives ``_natural_params``, ``_log_normalizer`` (A, of them) and ``_mean_carrier_measure`` (the mean of
    k); the entropy and the divergence of two members of a family follow from A and its gradient.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not give its natural parameters")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not give its log normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not give its mean carrier measure")

    def entropy(self) -> Tensor:
        """The entropy, by the gradient of the log normalizer (its Bregman divergence)."""
        with flambeau.enable_grad():
            parameters = [n if n.requires_grad else n.detach().requires_grad_() for n in self._natural_params]
            normalizer = self._log_normalizer(*parameters)
            gradients = flambeau.autograd.grad(normalizer.sum(), parameters, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for parameter, gradient in zip(parameters, gradients, strict=True):
            product = parameter * gradient
            result = result - product.reshape((*self._batch_shape, -1)).sum(-1)
        return result
