"""Normal distributions of vectors."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import lazy_property
from flambeau.linalg import cholesky, solve_triangular
from flambeau.tensor import Tensor

__all__ = ["LowRankMultivariateNormal", "MultivariateNormal"]


def squared_length(lower: Tensor, x: Tensor) -> Tensor:
    """``|L^-1 x|^2``: the Mahalanobis distance for the Cholesky factors L, with broadcasting of the batches."""
    return solve_triangular(lower, x.unsqueeze(-1), upper=False).square().sum((-2, -1))


def log_diagonal(lower: Tensor) -> Tensor:
    """The sum of the logarithms of a factor's diagonal: half the log-determinant of its matrix."""
    return lower.diagonal(0, -2, -1).log().sum(-1)


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Batches of matrices by batches of vectors."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def factor_of_inverse(matrix: Tensor) -> Tensor:
    """The Cholesky factor of a positive-definite matrix' inverse.

    From ``P = L L^T`` with rows and columns reversed, the factor's inverse is lower triangular when turned back.
    """
    reversed_factor = cholesky(matrix.flip((-2, -1)))
    inverse_transposed = reversed_factor.flip((-2, -1)).mT
    identity = flambeau.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return solve_triangular(inverse_transposed, identity.expand(matrix.shape), upper=False)


class MultivariateNormal(Distribution):
    """The normal distribution of vectors, by its mean and one of three matrices.

    Args:
        loc: the mean, shape (..., d).
        covariance_matrix, precision_matrix: positive-definite, shape (..., d, d).
        scale_tril: the lower Cholesky factor of the covariance matrix, from which everything is computed.

    Raises:
        ValueError: unless exactly one matrix is given, with at least two dimensions.
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky,
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True
    _batched: ClassVar[Any] = {
        "loc": 1, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2, "_unbroadcasted_scale_tril": 2,
    }  # fmt: skip

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {
            "covariance_matrix": covariance_matrix, "scale_tril": scale_tril, "precision_matrix": precision_matrix,
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
        batch = flambeau.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        self.__dict__[name] = matrix.expand((*batch, *matrix.shape[-2:]))
        self.loc = loc.expand((*batch, loc.shape[-1]))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        if scale_tril is not None:
            self._unbroadcasted_scale_tril = scale_tril
        elif covariance_matrix is not None:
            self._unbroadcasted_scale_tril = cholesky(covariance_matrix)
        else:
            self._unbroadcasted_scale_tril = factor_of_inverse(matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = super().expand(batch_shape, _instance)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        return new

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance matrix."""
        lower = self._unbroadcasted_scale_tril
        return lower.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix."""
        lower = self._unbroadcasted_scale_tril
        return (lower @ lower.mT).expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance matrix."""
        lower = self._unbroadcasted_scale_tril
        identity = flambeau.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        inverse = solve_triangular(lower, identity.expand(lower.shape), upper=False)
        return (inverse.mT @ inverse).expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        squares = self._unbroadcasted_scale_tril.square().sum(-1)
        return squares.expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + times(self._unbroadcasted_scale_tril, self._noise("normal", sample_shape, self.loc))

    def log_prob(self, value: Tensor) -> Tensor:
        lower = self._unbroadcasted_scale_tril
        length = squared_length(lower, self._checked(value) - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + length) - log_diagonal(lower)

    def entropy(self) -> Tensor:
        half = log_diagonal(self._unbroadcasted_scale_tril)
        found = 0.5 * self._event_shape[0] * (1 + math.log(2 * math.pi)) + half
        return found.expand(tuple(self._batch_shape))


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors with the covariance ``W W^T + diag(D)``.

    By the Woodbury identity and the matrix determinant lemma only matrices of the rank's size are factored.

    Args:
        loc: the mean, shape (..., d).
        cov_factor: W, shape (..., d, rank).
        cov_diag: D, positive, shape (..., d).
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }  # fmt: skip
    support = constraints.real_vector
    has_rsample = True
    _batched: ClassVar[Any] = {"loc": 1, "cov_factor": 2, "cov_diag": 1}

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        size = loc.shape[-1:]
        if cov_factor.ndim < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.shape[-2:-1] != size:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {size[0]} x m")
        if cov_diag.shape[-1:] != size:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {tuple(size)}")
        try:
            batch = flambeau.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {tuple(loc.shape)}, cov_factor {tuple(cov_factor.shape)}, "
                f"cov_diag {tuple(cov_diag.shape)}"
            ) from error
        self.loc = loc.expand((*batch, *size))
        self.cov_factor = cov_factor.expand((*batch, *cov_factor.shape[-2:]))
        self.cov_diag = cov_diag.expand((*batch, *size))
        super().__init__(batch, size, validate_args=validate_args)

    @lazy_property
    def _capacitance_tril(self) -> Tensor:
        """The Cholesky factor of ``I + W^T D^-1 W``."""
        w = self.cov_factor
        identity = flambeau.eye(w.shape[-1], dtype=w.dtype, device=w.device)
        return cholesky(identity + (w / self.cov_diag.unsqueeze(-1)).mT @ w)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The diagonal of the covariance matrix."""
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """``W W^T + diag(D)``."""
        return self.cov_factor @ self.cov_factor.mT + self.cov_diag.diag_embed()

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance matrix."""
        return cholesky(self.covariance_matrix)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance matrix."""
        inner = solve_triangular(self._capacitance_tril, self.cov_factor.mT, upper=False)
        inner = inner / self.cov_diag.unsqueeze(-2)
        return self.cov_diag.reciprocal().diag_embed() - inner.mT @ inner

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = tuple(self._extended_shape(sample_shape))
        w = self.cov_factor
        small = flambeau.empty((*shape[:-1], w.shape[-1]), dtype=w.dtype, device=w.device).normal_()
        own = self._noise("normal", sample_shape, self.loc)
        return self.loc + times(w, small) + self.cov_diag.sqrt() * own

    def squared_length(self, x: Tensor) -> Tensor:
        """The Mahalanobis distance of vectors."""
        scaled = x / self.cov_diag
        return (scaled * x).sum(-1) - squared_length(self._capacitance_tril, times(self.cov_factor.mT, scaled))

    def log_determinant(self) -> Tensor:
        """Of the covariance matrix."""
        return 2 * log_diagonal(self._capacitance_tril) + self.cov_diag.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        length = self.squared_length(self._checked(value) - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self.log_determinant() + length)

    def entropy(self) -> Tensor:
        found = 0.5 * (self._event_shape[0] * (1 + math.log(2 * math.pi)) + self.log_determinant())
        return found.expand(tuple(self._batch_shape))
