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
from flambeau.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.von_mises import VonMises
from flambeau.distributions.wishart import LKJCholesky, Wishart

__all__ = [
    "AbsTransform", "AffineTransform", "Bernoulli", "Beta", "Binomial", "CatTransform", "Categorical", "Cauchy",
    "Chi2", "ComposeTransform", "ContinuousBernoulli", "CorrCholeskyTransform", "CumulativeDistributionTransform",
    "Dirichlet", "Distribution", "ExpTransform", "Exponential", "ExponentialFamily", "FisherSnedecor", "Gamma",
    "GeneralizedPareto", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal", "Independent", "IndependentTransform",
    "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace", "LogNormal", "LogisticNormal", "LogitRelaxedBernoulli",
    "LowRankMultivariateNormal", "LowerCholeskyTransform", "MixtureSameFamily", "Multinomial", "MultivariateNormal",
    "NegativeBinomial", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Pareto", "Poisson",
    "PositiveDefiniteTransform", "PowerTransform", "RelaxedBernoulli", "RelaxedOneHotCategorical", "ReshapeTransform",
    "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StackTransform", "StickBreakingTransform",
    "StudentT", "TanhTransform", "Transform", "TransformedDistribution", "Uniform", "VonMises", "Weibull", "Wishart",
    "biject_to", "constraints", "identity_transform", "kl_divergence", "register_kl", "transform_to", "transforms",
]  # fmt: skip
