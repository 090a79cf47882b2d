"""From constraints to transforms into them (``torch.distributions.constraint_registry``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.distributions import constraints, transforms

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Maps a constraint to a transform from unconstrained numbers into it."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[[Any], transforms.Transform]] = {}

    def register(self, constraint: Any, factory: Any = None) -> Any:
        """Use ``factory(constraint)`` for constraints of this type; without a factory, a decorator.

        Raises:
            TypeError: when ``constraint`` is neither a constraint nor a type of them.
        """
        if factory is None:
            return lambda factory: self.register(constraint, factory)
        kind = type(constraint) if isinstance(constraint, constraints.Constraint) else constraint
        if not isinstance(kind, type) or not issubclass(kind, constraints.Constraint):
            raise TypeError(
                f"Expected constraint to be either a Constraint subclass or instance, but got {constraint!r}"
            )
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> transforms.Transform:
        """The transform for a constraint.

        Raises:
            NotImplementedError: when none is registered for its type.
        """
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


#: One-to-one transforms into a set.
biject_to = ConstraintRegistry()
#: Transforms into a set, not one to one where a simpler one is better for optimization.
transform_to = ConstraintRegistry()


def _register(constraint: Any, factory: Callable[[Any], transforms.Transform]) -> None:
    biject_to.register(constraint, factory)
    transform_to.register(constraint, factory)


def _affine(loc: Any, scale: Any) -> transforms.Transform:
    return transforms.AffineTransform(loc, scale)


def _to_interval(constraint: Any) -> transforms.Transform:
    low, high = constraint.lower_bound, constraint.upper_bound
    if isinstance(low, (int, float)) and low == 0 and isinstance(high, (int, float)) and high == 1:
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), _affine(low, high - low)])


_register(constraints.real, lambda constraint: transforms.identity_transform)
_register(
    constraints.greater_than,
    lambda constraint: (
        transforms.ExpTransform()
        if isinstance(constraint.lower_bound, (int, float)) and constraint.lower_bound == 0
        else transforms.ComposeTransform([transforms.ExpTransform(), _affine(constraint.lower_bound, 1)])
    ),
)
_register(
    constraints.greater_than_eq,
    biject_to._registry[constraints.greater_than],
)
_register(
    constraints.less_than,
    lambda constraint: transforms.ComposeTransform([transforms.ExpTransform(), _affine(constraint.upper_bound, -1)]),
)
_register(constraints.interval, _to_interval)
_register(constraints.half_open_interval, _to_interval)
_register(constraints.corr_cholesky, lambda constraint: transforms.CorrCholeskyTransform())
# The parts of a matrix above the diagonal do not show: these are not one to one.
transform_to.register(constraints.lower_cholesky, lambda constraint: transforms.LowerCholeskyTransform())
transform_to.register(constraints.positive_definite, lambda constraint: transforms.PositiveDefiniteTransform())
transform_to.register(constraints.positive_semidefinite, lambda constraint: transforms.PositiveDefiniteTransform())
biject_to.register(constraints.simplex, lambda constraint: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda constraint: transforms.SoftmaxTransform())

for _registry in (biject_to, transform_to):

    def _independent(constraint: Any, registry: ConstraintRegistry = _registry) -> transforms.Transform:
        base = registry(constraint.base_constraint)
        return transforms.IndependentTransform(base, constraint.reinterpreted_batch_ndims)

    def _cat(constraint: Any, registry: ConstraintRegistry = _registry) -> transforms.Transform:
        return transforms.CatTransform([registry(c) for c in constraint.cseq], constraint.dim, constraint.lengths)

    def _stack(constraint: Any, registry: ConstraintRegistry = _registry) -> transforms.Transform:
        return transforms.StackTransform([registry(c) for c in constraint.cseq], constraint.dim)

    _registry.register(constraints.independent, _independent)
    _registry.register(constraints.cat, _cat)
    _registry.register(constraints.stack, _stack)
