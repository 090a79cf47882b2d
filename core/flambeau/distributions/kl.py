"""Kullback-Leibler divergences (``torch.distributions.kl``)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.distributions._transform import sum_rightmost
from flambeau.distributions.bernoulli import Bernoulli, ContinuousBernoulli, Geometric
from flambeau.distributions.beta import Beta, Dirichlet
from flambeau.distributions.categorical import Categorical, OneHotCategorical
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma import Exponential, Gamma
from flambeau.distributions.independent import Independent
from flambeau.distributions.laplace import Gumbel, Laplace
from flambeau.distributions.multivariate_normal import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    log_diagonal,
    squared_length,
)
from flambeau.distributions.normal import HalfNormal, Normal
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.poisson import Binomial, Poisson
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.uniform import Uniform
from flambeau.nn.functional import softplus
from flambeau.tensor import Tensor

__all__ = ["kl_divergence", "register_kl"]

Formula = Callable[[Any, Any], Tensor]

_FORMULAS: dict[tuple[type, type], Formula] = {}
_found: dict[tuple[type, type], Formula] = {}
_EULER = 0.5772156649015329


def register_kl(type_p: type, type_q: type) -> Callable[[Formula], Formula]:
    """A decorator: use the function for the divergence of a ``type_p`` from a ``type_q``, subclasses included.

    Raises:
        TypeError: for what is no subclass of :class:`Distribution`.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not isinstance(kind, type) or not issubclass(kind, Distribution):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def register(function: Formula) -> Formula:
        _FORMULAS[type_p, type_q] = function
        _found.clear()
        return function

    return register


def _formula(type_p: type, type_q: type) -> Formula:
    """The registered function for the nearest classes.

    Distance is counted along the order of inheritance, of p first; where another pair is nearer in q, it is ambiguous.
    """
    known = _found.get((type_p, type_q))
    if known is not None:
        return known
    order_p, order_q = type_p.__mro__, type_q.__mro__
    matches = [(p, q) for p, q in _FORMULAS if p in order_p and q in order_q]
    if not matches:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {type_p.__name__} and q type {type_q.__name__}"
        )
    left = min(matches, key=lambda pair: (order_p.index(pair[0]), order_q.index(pair[1])))
    right = min(matches, key=lambda pair: (order_q.index(pair[1]), order_p.index(pair[0])))
    if _FORMULAS[left] is not _FORMULAS[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please register_kl({left[0].__name__}, "
            f"{right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    _found[type_p, type_q] = _FORMULAS[left]
    return _FORMULAS[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The divergence of p from q, ``E_p[log p(x) - log q(x)]``, of the broadcast batch shape.

    Raises:
        NotImplementedError: when there is no formula for the two types.
    """
    return _formula(type(p), type(q))(p, q)


def _infinite_where(condition: Any, value: Tensor) -> Tensor:
    return flambeau.where(condition, math.inf, value)


# -- of one family -----------------------------------------------------------------------------------------------------


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    one = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    one = flambeau.where(p.probs == 0, 0.0, _infinite_where(q.probs == 0, one))
    zero = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return one + flambeau.where(p.probs == 1, 0.0, _infinite_where(q.probs == 1, zero))


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    volume = flambeau.lgamma(total) - flambeau.lgamma(b.sum(-1)) - (flambeau.lgamma(a) - flambeau.lgamma(b)).sum(-1)
    return volume + ((a - b) * (flambeau.digamma(a) - flambeau.digamma(total).unsqueeze(-1))).sum(-1)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    each = p.probs * (p.logits - q.logits) + flambeau.log1p(-p.probs) - flambeau.log1p(-q.probs)
    if (q.total_count > p.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    return _infinite_where(p.total_count > q.total_count, p.total_count * each)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    each = p.probs * (p.logits - q.logits)
    each = _infinite_where((q.probs == 0).expand(each.shape), each)
    return flambeau.where(p.probs == 0, 0.0, each).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_categorical(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    """Chyzak and Nielsen, "A closed-form formula for the Kullback-Leibler divergence between Cauchy distributions"."""
    distance = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return distance.log() - (4 * p.scale * q.scale).log()


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    own = p._log_constant() + flambeau.log1p(-p.probs)
    return p.mean * (p.logits - q.logits) + own - q._log_constant() - flambeau.log1p(-q.probs)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """The Bregman divergence of the log normalizer."""
    if type(p) is not type(q):
        raise NotImplementedError(
            f"The Bregman divergence is of two members of one family, not of {type(p).__name__} and {type(q).__name__}"
        )
    with flambeau.enable_grad():
        own = [n if n.requires_grad else n.detach().requires_grad_() for n in p._natural_params]
        others = q._natural_params
        normalizer = p._log_normalizer(*own)
        gradients = flambeau.autograd.grad(normalizer.sum(), own, create_graph=True)
    result = q._log_normalizer(*others) - normalizer
    batch_ndim = max(len(p.batch_shape), len(q.batch_shape))
    for a, b, gradient in zip(own, others, gradients, strict=True):
        product = (b - a) * gradient
        result = result - sum_rightmost(product, product.ndim - batch_ndim)
    return result


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    shapes = flambeau.lgamma(b) - flambeau.lgamma(a) + (a - b) * flambeau.digamma(a)
    return b * (p.rate / q.rate).log() + shapes + (q.rate - p.rate) * (a / p.rate)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio = p.scale / q.scale
    shift = (q.loc - p.loc) / q.scale
    return -ratio.log() - shift + ratio * _EULER + (shift + flambeau.lgamma(1 + ratio)).exp() - (1 + _EULER)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - flambeau.log1p(-q.probs) / p.probs - q.logits


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).square()
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).square() - 1 - ratio.log())


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    found = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return _infinite_where(p.scale < q.scale, found)


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return _infinite_where((q.low > p.low) | (q.high < p.high), found)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("KL between transformed distributions needs equal transforms and event shapes")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL between Independent distributions of different reinterpreted_batch_ndims")
    found: Tensor = sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
    return found


# -- normal distributions of vectors -----------------------------------------------------------------------------------


def _factor(p: Any) -> Tensor:
    """A matrix whose product with its transpose is the covariance."""
    if isinstance(p, MultivariateNormal):
        return p._unbroadcasted_scale_tril
    return flambeau.cat([p.cov_factor, p.cov_diag.sqrt().diag_embed()], -1)


def _log_determinant(p: Any) -> Tensor:
    if isinstance(p, MultivariateNormal):
        return 2 * log_diagonal(p._unbroadcasted_scale_tril)
    found: Tensor = p.log_determinant()
    return found


def _length(q: Any, x: Tensor) -> Tensor:
    """The Mahalanobis distance of vectors, with further dimensions between batch and vector: (..., n, d)."""
    if isinstance(q, MultivariateNormal):
        return squared_length(q._unbroadcasted_scale_tril.unsqueeze(-3), x)
    found: Tensor = _between(q).squared_length(x)
    return found


def _between(q: LowRankMultivariateNormal) -> LowRankMultivariateNormal:
    """The distribution with another batch dimension of size 1 at the end."""
    return LowRankMultivariateNormal(
        q.loc.unsqueeze(-2), q.cov_factor.unsqueeze(-3), q.cov_diag.unsqueeze(-2), validate_args=False
    )


def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between two Multivariate Normals with different event shapes cannot be computed: "
            f"{tuple(p.event_shape)} and {tuple(q.event_shape)}"
        )
    trace = _length(q, _factor(p).mT).sum(-1)
    distance = _length(q, (q.loc - p.loc).unsqueeze(-2)).squeeze(-1)
    return 0.5 * (_log_determinant(q) - _log_determinant(p) + trace + distance - p.event_shape[0])


_p: Any
_q: Any
for _p in (MultivariateNormal, LowRankMultivariateNormal):
    for _q in (MultivariateNormal, LowRankMultivariateNormal):
        register_kl(_p, _q)(_multivariate_normal)


# -- of one family from another: what p expects of -log q, less p's entropy --------------------------------------------


def _from_normal(p: Any, q: Normal) -> Tensor:
    spread = ((p.mean - q.loc).square() + p.variance) / (2 * q.scale.square())
    return q.scale.log() + 0.5 * math.log(2 * math.pi) + spread - p.entropy()


def _from_exponential(p: Any, q: Exponential) -> Tensor:
    return q.rate * p.mean - q.rate.log() - p.entropy()


def _from_gamma(p: Any, q: Gamma) -> Tensor:
    a = q.concentration
    constant = flambeau.lgamma(a) - a * q.rate.log()
    return constant - (a - 1) * _mean_log(p) + q.rate * p.mean - p.entropy()


def _from_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    return -p.mean * q.logits - flambeau.log1p(-q.probs) - q._log_constant() - p.entropy()


def _from_gumbel(p: Any, q: Gumbel) -> Tensor:
    tail = (q.loc / q.scale).exp() * _mean_exp(p, -q.scale.reciprocal())
    return q.scale.log() - (q.loc - p.mean) / q.scale + tail - p.entropy()


def _mean_log(p: Any) -> Tensor:
    """What p expects of log(x)."""
    if isinstance(p, Beta):
        return flambeau.digamma(p.concentration1) - flambeau.digamma(p.concentration1 + p.concentration0)
    if isinstance(p, Exponential):
        return -_EULER - p.rate.log()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (flambeau.xlogy(p.high, p.high) - flambeau.xlogy(p.low, p.low)) / (p.high - p.low) - 1


def _mean_exp(p: Any, t: Tensor) -> Tensor:
    """What p expects of exp(t x), for t < 0: its moment generating function."""
    if isinstance(p, Normal):
        return (t * p.loc + 0.5 * (t * p.scale).square()).exp()
    if isinstance(p, Exponential):
        return p.rate / (p.rate - t)
    if isinstance(p, Gamma):
        return (1 - t / p.rate) ** -p.concentration
    return ((t * p.high).exp() - (t * p.low).exp()) / (t * (p.high - p.low))


for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform):
    register_kl(_p, Normal)(_from_normal)
for _p in (Beta, ContinuousBernoulli, Gamma, Pareto):
    register_kl(_p, Exponential)(_from_exponential)
for _p in (Beta, Exponential, Pareto):
    register_kl(_p, Gamma)(_from_gamma)
for _p in (Exponential, Gamma, Normal, Uniform):
    register_kl(_p, Gumbel)(_from_gumbel)
register_kl(Beta, ContinuousBernoulli)(_from_continuous_bernoulli)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    distance = p.loc - q.loc
    z = distance / (math.sqrt(2) * p.scale)
    mean = math.sqrt(2 / math.pi) * p.scale * (-z.square()).exp() + distance * flambeau.erf(z)
    return (2 * q.scale).log() + mean / q.scale - p.entropy()


@register_kl(Beta, Uniform)
def _beta_uniform(p: Beta, q: Uniform) -> Tensor:
    return _infinite_where((q.low > 0) | (q.high < 1), (q.high - q.low).log() - p.entropy())


register_kl(ContinuousBernoulli, Uniform)(_beta_uniform)


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    constant = flambeau.lgamma(a) + flambeau.lgamma(b) - flambeau.lgamma(a + b)
    mirrored = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    found = constant - (a - 1) * _mean_log(p) - (b - 1) * _mean_log(mirrored) - p.entropy()
    return _infinite_where((p.high > 1) | (p.low < 0), found)


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    return _infinite_where((p.high > 1) | (p.low < 0), _from_continuous_bernoulli(p, q))


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    return _infinite_where(p.low < 0, _from_exponential(p, q))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    return _infinite_where(p.low < 0, _from_gamma(p, q))


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    found = -q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _mean_log(p) - p.entropy()
    return _infinite_where(p.low < q.scale, found)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Pareto, q: Normal) -> Tensor:
    return _infinite_where(p.alpha <= 2, _from_normal(p, q))


def _infinite(p: Any, q: Any) -> Tensor:
    """Where q has no density in a part of p's support."""
    return flambeau.full_like(p.mean, math.inf)


for _p, _others in (
    (Beta, (Pareto,)),
    (ContinuousBernoulli, (Pareto,)),
    (Exponential, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gamma, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gumbel, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Laplace, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Pareto, (Beta, ContinuousBernoulli, Uniform)),
    (Poisson, (Bernoulli, Binomial)),
):
    for _q in _others:
        register_kl(_p, _q)(_infinite)
