"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all
from flambeau.ops.call import TENSORS
from flambeau.sampling import by_rejection
from flambeau.tensor import Tensor

__all__ = ["VonMises"]


class VonMises(Distribution):
    """The density on the circle in proportion to ``exp(concentration cos(x - loc))``.

    Samples are in [-pi, pi); values of any size are taken as angles.
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    _batched: ClassVar[Any] = {"loc": 0, "concentration": 0}

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        k = self.concentration
        # log I0(k), which would overflow, as of the scaled function
        return k * (flambeau.cos(self._checked(value) - self.loc) - 1) - math.log(2 * math.pi) - _scaled(0, k).log()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples by rejection from a wrapped Cauchy distribution (Best and Fisher, 1979)."""
        with flambeau.no_grad():
            shape = tuple(self._extended_shape(sample_shape))
            k = self.concentration.expand(shape).reshape(-1)
            tau = 1 + flambeau.sqrt(1 + 4 * k.square())
            # (tau - sqrt(2 tau)) / (2 k), which for small k, where it cancels, is about k / 2
            rho = flambeau.where(k < 1e-3, k / 2, (tau - flambeau.sqrt(2 * tau)) / (2 * k))
            angles = by_rejection(_propose, k, (1 + rho.square()) / (2 * rho)).reshape(shape)
            return (angles + math.pi + self.loc) % (2 * math.pi) - math.pi

    @property
    def mean(self) -> Tensor:
        """The direction."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance, ``1 - I1 / I0``."""
        return 1 - _scaled(1, self.concentration) / _scaled(0, self.concentration)


def _scaled(order: int, k: Tensor) -> Tensor:
    found: Tensor = TENSORS.special_i1e(k) if order else TENSORS.special_i0e(k)
    return found


def _propose(k: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    u = flambeau.rand((3, *k.shape), dtype=k.dtype, device=k.device)
    z = flambeau.cos(math.pi * u[0])
    f = (1 + r * z) / (r + z)
    c = k * (r - f)
    kept = 1 - u[1]  # in (0, 1]
    accepted = (c * (2 - c) - kept > 0) | ((c / kept).log() + 1 - c >= 0)
    return (u[2] - 0.5).sign() * f.clamp(-1, 1).acos(), accepted
