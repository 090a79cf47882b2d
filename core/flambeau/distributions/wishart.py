"""Distributions of matrices: Wishart, and LKJ over Cholesky factors of correlation matrices."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.beta import Beta
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma import Chi2
from flambeau.distributions.multivariate_normal import factor_of_inverse, log_diagonal
from flambeau.distributions.utils import broadcast_all, lazy_property
from flambeau.linalg import cholesky, solve_triangular
from flambeau.tensor import Tensor

__all__ = ["LKJCholesky", "Wishart"]


class Wishart(ExponentialFamily):
    """The distribution of the sum of ``df`` products ``x x^T``, x normal with the given covariance.

    Args:
        df: more than d - 1, need not be whole.
        covariance_matrix, precision_matrix, scale_tril: exactly one, shape (..., d, d).

    Raises:
        ValueError: for another number of matrices, or ``df`` too small.
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _batched: ClassVar[Any] = {
        "df": 0, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2, "_unbroadcasted_scale_tril": 2,
    }  # fmt: skip

    @property
    def arg_constraints(self) -> Any:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self, df: Any, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        given = {
            "covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril,
        }  # fmt: skip
        named = [(name, matrix) for name, matrix in given.items() if matrix is not None]
        if len(named) != 1:
            raise ValueError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified, "
                f"but {len(named)} are"
            )
        name, matrix = named[0]
        if matrix.ndim < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        df = df if isinstance(df, Tensor) else flambeau.tensor(float(df), dtype=matrix.dtype, device=matrix.device)
        batch = flambeau.broadcast_shapes(matrix.shape[:-2], df.shape)
        self.df = df.expand(batch)
        if (self.df <= matrix.shape[-1] - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {matrix.shape[-1] - 1}.")
        self.__dict__[name] = matrix.expand((*batch, *matrix.shape[-2:]))
        super().__init__(batch, matrix.shape[-2:], validate_args=validate_args)
        own: Tensor = self.__dict__[name]
        if scale_tril is not None:
            self._unbroadcasted_scale_tril = own
        else:
            self._unbroadcasted_scale_tril = cholesky(own) if precision_matrix is None else factor_of_inverse(own)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance matrix."""
        return self._unbroadcasted_scale_tril

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix of the normal vectors."""
        lower = self._unbroadcasted_scale_tril
        return lower @ lower.mT

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Its inverse."""
        lower = self._unbroadcasted_scale_tril
        identity = flambeau.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        inverse = solve_triangular(lower, identity.expand(lower.shape), upper=False)
        return inverse.mT @ inverse

    def _df(self) -> Tensor:
        return self.df.reshape((*self.df.shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._df() * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        """NaN for ``df`` up to d."""
        factor = self._df() - self._event_shape[0] - 1
        return flambeau.where(factor > 0, factor, math.nan) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        matrix = self.covariance_matrix
        diagonal = matrix.diagonal(0, -2, -1)
        return self._df() * (matrix.square() + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples by Bartlett's decomposition (1933)."""
        n = self._event_shape[0]
        places = flambeau.arange(n, dtype=self.df.dtype, device=self.df.device)
        squares = Chi2(self.df.unsqueeze(-1) - places, validate_args=False).rsample(sample_shape)
        noise = self._noise("normal", sample_shape, self._unbroadcasted_scale_tril).tril(-1)
        factor = self._unbroadcasted_scale_tril @ (noise + squares.sqrt().diag_embed())
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        value, nu, p = self._checked(value), self.df, self._event_shape[0]
        lower = self._unbroadcasted_scale_tril
        trace = (self.precision_matrix * value).sum((-2, -1))
        constant = nu * (log_diagonal(lower) + 0.5 * p * math.log(2)) + flambeau.mvlgamma(nu / 2, p)
        half = log_diagonal(cholesky(value))
        return (nu - p - 1) * half - 0.5 * trace - constant

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[0]
        places = flambeau.arange(p, dtype=nu.dtype, device=nu.device)
        slope = flambeau.digamma(nu.unsqueeze(-1) / 2 - places / 2).sum(-1)
        constant = (p + 1) * (log_diagonal(self._unbroadcasted_scale_tril) + 0.5 * p * math.log(2))
        return constant + flambeau.mvlgamma(nu / 2, p) - 0.5 * (nu - p - 1) * slope + 0.5 * nu * p

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[0] - 1) / 2

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        p = self._event_shape[0]
        half = y + (p + 1) / 2
        return -half * flambeau.linalg.slogdet(-x)[1] + flambeau.mvlgamma(half, p)


class LKJCholesky(Distribution):
    """The distribution of lower Cholesky factors of correlation matrices with the density ``det(L L^T)^(eta - 1)``
    over the matrices (Lewandowski, Kurowicka and Joe, "Generating random correlation matrices based on vines and
    extended onion method", 2009).

    Args:
        dim: the size of the matrices, at least 2.
        concentration: eta, positive; 1 is uniform, larger values prefer weaker correlations.

    Raises:
        ValueError: for a ``dim`` below 2.
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _batched: ClassVar[Any] = {"concentration": 0}

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args=validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples by the onion method: each row is a point in the unit ball, the diagonal fills it up to length 1."""
        with flambeau.no_grad():
            eta = self.concentration.unsqueeze(-1)
            places = flambeau.arange(1, self.dim, dtype=eta.dtype, device=eta.device)
            squared = Beta(places / 2, eta + (self.dim - 1 - places) / 2, validate_args=False).sample(sample_shape)
            direction = self._noise("normal", sample_shape, self.concentration).tril(-1)[..., 1:, :]
            direction = direction / flambeau.linalg.vector_norm(direction, dim=-1, keepdim=True)
            rows = direction * squared.sqrt().unsqueeze(-1)
            rows = flambeau.nn.functional.pad(rows, [0, 0, 1, 0])
            left = (1 - rows.square().sum(-1)).clamp(min=flambeau.finfo(rows.dtype).tiny)
            return rows + left.sqrt().diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        value, eta, d = self._checked(value), self.concentration, self.dim
        order = flambeau.arange(2, d + 1, dtype=eta.dtype, device=eta.device)
        exponents = 2 * (eta - 1).unsqueeze(-1) + d - order
        powers = (exponents * value.diagonal(0, -2, -1)[..., 1:].log()).sum(-1)
        alpha = eta + 0.5 * (d - 1)
        numerator = flambeau.mvlgamma(alpha - 0.5, d - 1)
        return powers - (0.5 * (d - 1) * math.log(math.pi) + numerator - flambeau.lgamma(alpha) * (d - 1))
