"""Probability distributions (``torch.distributions``): samples, densities, moments, divergences.

    policy = Categorical(logits=scores)
    action = policy.sample()
    loss = -policy.log_prob(action) * reward

Parameters broadcast against each other to a batch of distributions. ``rsample`` gives samples that gradients flow
through; :func:`kl_divergence` has formulas by the two types; :func:`biject_to` and :func:`transform_to` map numbers
without constraints to where parameters and samples have to lie.
"""

from __future__ import annotations

from flambeau.distributions import constraints, transforms
from flambeau.distributions.bernoulli import Bernoulli, ContinuousBernoulli, Geometric
from flambeau.distributions.beta import Beta, Dirichlet, Kumaraswamy
from flambeau.distributions.categorical import (
    Categorical,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from flambeau.distributions.cauchy import Cauchy, HalfCauchy, StudentT
from flambeau.distributions.constraint_registry import biject_to, transform_to
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma import Chi2, Exponential, FisherSnedecor, Gamma, InverseGamma
from flambeau.distributions.independent import Independent, MixtureSameFamily
from flambeau.distributions.kl import kl_divergence, register_kl
from flambeau.distributions.laplace import Gumbel, Laplace
from flambeau.distributions.multivariate_normal import LowRankMultivariateNormal, MultivariateNormal
from flambeau.distributions.normal import HalfNormal, LogisticNormal, LogNormal, Normal
from flambeau.distributions.pareto import GeneralizedPareto, Pareto, Weibull
from flambeau.distributions.poisson import Binomial, NegativeBinomial, Poisson
from flambeau.distributions.relaxed_bernoulli import (
    LogitRelaxedBernoulli,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
)
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import *  # noqa: F403
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.von_mises import VonMises
from flambeau.distributions.wishart import LKJCholesky, Wishart

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chi2", "ContinuousBernoulli", "Dirichlet",
    "Distribution", "Exponential", "ExponentialFamily", "FisherSnedecor", "Gamma", "GeneralizedPareto", "Geometric",
    "Gumbel", "HalfCauchy", "HalfNormal", "Independent", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace",
    "LogNormal", "LogisticNormal", "LogitRelaxedBernoulli", "LowRankMultivariateNormal", "MixtureSameFamily",
    "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Pareto", "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT",
    "TransformedDistribution", "Uniform", "VonMises", "Weibull", "Wishart", "biject_to", "constraints",
    "kl_divergence", "register_kl", "transform_to", "transforms", *transforms.__all__,
]  # fmt: skip
