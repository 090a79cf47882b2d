"""Distributions against SciPy: densities, quantiles, moments, and the samples they give."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats as stats

import flambeau
from flambeau import distributions as d

A, B = 1.7, 2.4


def double(value):
    return flambeau.tensor(value, dtype=flambeau.float64)


#: name: (ours, SciPy's)
CONTINUOUS = {
    "Beta": (lambda: d.Beta(double(A), double(B)), stats.beta(A, B)),
    "Beta, small": (lambda: d.Beta(double(0.3), double(0.2)), stats.beta(0.3, 0.2)),
    "Cauchy": (lambda: d.Cauchy(double(A), double(B)), stats.cauchy(A, B)),
    "Chi2": (lambda: d.Chi2(double(B)), stats.chi2(B)),
    "Exponential": (lambda: d.Exponential(double(B)), stats.expon(scale=1 / B)),
    "FisherSnedecor": (lambda: d.FisherSnedecor(double(5.0), double(9.0)), stats.f(5, 9)),
    "Gamma": (lambda: d.Gamma(double(A), double(B)), stats.gamma(A, scale=1 / B)),
    "Gamma, small": (lambda: d.Gamma(double(0.3), double(B)), stats.gamma(0.3, scale=1 / B)),
    "Gamma, large": (lambda: d.Gamma(double(300.0), double(B)), stats.gamma(300, scale=1 / B)),
    "GeneralizedPareto": (
        lambda: d.GeneralizedPareto(double(A), double(B), double(0.2)), stats.genpareto(0.2, loc=A, scale=B)
    ),
    "GeneralizedPareto, bounded": (
        lambda: d.GeneralizedPareto(double(A), double(B), double(-0.4)), stats.genpareto(-0.4, loc=A, scale=B)
    ),
    "Gumbel": (lambda: d.Gumbel(double(A), double(B)), stats.gumbel_r(A, B)),
    "HalfCauchy": (lambda: d.HalfCauchy(double(B)), stats.halfcauchy(scale=B)),
    "HalfNormal": (lambda: d.HalfNormal(double(B)), stats.halfnorm(scale=B)),
    "InverseGamma": (lambda: d.InverseGamma(double(5.0), double(B)), stats.invgamma(5, scale=B)),
    "Laplace": (lambda: d.Laplace(double(A), double(B)), stats.laplace(A, B)),
    "LogNormal": (lambda: d.LogNormal(double(A), double(0.6)), stats.lognorm(0.6, scale=np.exp(A))),
    "Normal": (lambda: d.Normal(double(A), double(B)), stats.norm(A, B)),
    "Pareto": (lambda: d.Pareto(double(A), double(5.0)), stats.pareto(5, scale=A)),
    "StudentT": (lambda: d.StudentT(double(5.0), double(A), double(B)), stats.t(5, A, B)),
    "Uniform": (lambda: d.Uniform(double(A), double(B)), stats.uniform(A, B - A)),
    "VonMises": (lambda: d.VonMises(double(0.0), double(B)), stats.vonmises(B)),
    "VonMises, flat": (lambda: d.VonMises(double(0.0), double(1e-4)), stats.vonmises(1e-4)),
    "Weibull": (lambda: d.Weibull(double(A), double(B)), stats.weibull_min(B, scale=A)),
}  # fmt: skip
DISCRETE = {
    "Bernoulli": (lambda: d.Bernoulli(double(0.3)), stats.bernoulli(0.3)),
    "Binomial": (lambda: d.Binomial(12, double(0.3)), stats.binom(12, 0.3)),
    "Binomial, many": (lambda: d.Binomial(400, double(0.8)), stats.binom(400, 0.8)),
    "Geometric": (lambda: d.Geometric(double(0.3)), stats.geom(0.3, loc=-1)),
    "NegativeBinomial": (lambda: d.NegativeBinomial(double(B), double(0.3)), stats.nbinom(B, 0.7)),
    "Poisson": (lambda: d.Poisson(double(B)), stats.poisson(B)),
    "Poisson, large": (lambda: d.Poisson(double(60.0)), stats.poisson(60)),
}


def close(own, expected, rtol=1e-9):
    np.testing.assert_allclose(own.detach().numpy(), expected, rtol, 1e-12)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_and_quantiles(name):
    make, theirs = CONTINUOUS[name]
    own, x = make(), theirs.ppf(np.linspace(0.02, 0.98, 25))
    close(own.log_prob(flambeau.tensor(x)), theirs.logpdf(x))
    for method, reference, values in (("cdf", theirs.cdf, x), ("icdf", theirs.ppf, np.linspace(0.02, 0.98, 25))):
        try:
            found = getattr(own, method)(flambeau.tensor(values))
        except NotImplementedError:
            continue
        close(found, reference(values))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_moments_and_entropy(name):
    make, theirs = CONTINUOUS[name]
    own = make()
    if "Cauchy" not in name and "VonMises" not in name:
        close(own.mean, theirs.mean())
        close(own.variance, theirs.var())
    try:
        entropy = own.entropy()
    except NotImplementedError:
        return
    close(entropy, theirs.entropy(), 1e-7)


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities(name):
    make, theirs = DISCRETE[name]
    own = make()
    x = np.arange(theirs.ppf(0.001), theirs.ppf(0.999) + 1)
    close(own.log_prob(flambeau.tensor(x)), theirs.logpmf(x), 1e-8)
    close(own.mean, theirs.mean())
    close(own.variance, theirs.var())


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_follow_the_distribution(name):
    make, theirs = CONTINUOUS[name]
    flambeau.manual_seed(3)
    sample = make().sample((20000,)).numpy()
    assert stats.kstest(sample, theirs.cdf).pvalue > 1e-4


@pytest.mark.parametrize("name", DISCRETE)
def test_counts_follow_the_distribution(name):
    make, theirs = DISCRETE[name]
    flambeau.manual_seed(3)
    sample = make().sample((20000,)).numpy().astype(int)
    expected = theirs.pmf(np.arange(sample.max() + 1)) * sample.size
    counted = np.bincount(sample, minlength=len(expected))
    often = expected > 10
    statistic = ((counted - expected) ** 2 / expected)[often].sum()
    assert stats.chi2(often.sum() - 1).sf(statistic) > 1e-4


def test_the_same_seed_gives_the_same_samples():
    for make, _ in (*CONTINUOUS.values(), *DISCRETE.values()):
        drawn = [make().sample((5,)) for _ in range(2) if flambeau.manual_seed(11)]
        assert drawn[0].tolist() == drawn[1].tolist()


def test_vectors_follow_the_distribution():
    flambeau.manual_seed(3)
    root = np.array([[1.0, 0.0], [0.5, 0.8]])
    normal = d.MultivariateNormal(double([1.0, 2.0]), scale_tril=double(root))
    close(normal.log_prob(double([0.3, 0.4])), stats.multivariate_normal([1, 2], root @ root.T).logpdf([0.3, 0.4]))
    drawn = normal.sample((40000,)).numpy()
    np.testing.assert_allclose(np.cov(drawn.T), root @ root.T, atol=0.03)
    low = d.LowRankMultivariateNormal(double([1.0, 2.0]), double([[1.0], [0.5]]), double([0.2, 0.7]))
    np.testing.assert_allclose(np.cov(low.sample((40000,)).numpy().T), low.covariance_matrix.numpy(), atol=0.03)
    dirichlet = d.Dirichlet(double([0.02, 0.5, 3.0]))
    drawn = dirichlet.sample((40000,)).numpy()
    np.testing.assert_allclose(drawn.mean(0), dirichlet.mean.numpy(), atol=0.005)
    np.testing.assert_allclose(drawn.var(0), dirichlet.variance.numpy(), atol=0.003)
    assert np.isfinite(np.log(d.Dirichlet(flambeau.full((3,), 0.01)).sample((1000,)).numpy().max(-1))).all()
    counts = d.Multinomial(7, double([0.2, 0.3, 0.5])).sample((20000,)).numpy()
    assert (counts.sum(-1) == 7).all()
    np.testing.assert_allclose(counts.mean(0), [1.4, 2.1, 3.5], atol=0.05)
    p = [0.2, 0.3, 0.5]
    close(d.Multinomial(7, double(p)).entropy(), stats.multinomial(7, p).entropy(), 1e-8)


def test_matrices_follow_the_distribution():
    flambeau.manual_seed(3)
    root = np.array([[1.0, 0.0], [0.5, 0.8]])
    wishart = d.Wishart(double(4.5), scale_tril=double(root))
    theirs = stats.wishart(4.5, root @ root.T)
    x = np.array([[3.0, 0.4], [0.4, 2.0]])
    close(wishart.log_prob(double(x)), theirs.logpdf(x))
    close(wishart.entropy(), theirs.entropy())
    drawn = wishart.sample((40000,)).numpy()
    np.testing.assert_allclose(drawn.mean(0), theirs.mean(), atol=0.1)
    np.testing.assert_allclose(drawn.var(0), theirs.var(), rtol=0.1)
    # log Gamma_3(7/2) - log Gamma_3(5/2) - psi_3(5/2), by the formula for equal matrices
    p, q = (d.Wishart(double(n), double(np.eye(3))) for n in (5.0, 7.0))
    volume = scipy.special.multigammaln(3.5, 3) - scipy.special.multigammaln(2.5, 3)
    close(d.kl_divergence(p, q), volume - scipy.special.digamma(2.5 - np.arange(3) / 2).sum())


@pytest.mark.parametrize("eta", [0.7, 1.0, 4.0])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_lkj(dim, eta):
    """Each correlation is a beta number stretched to [-1, 1] (Lewandowski et al., 2009)."""
    flambeau.manual_seed(3)
    lower = d.LKJCholesky(dim, double(eta)).sample((8000,)).numpy()
    correlation = lower @ lower.transpose(0, 2, 1)
    parameter = eta - 1 + dim / 2
    marginal = stats.beta(parameter, parameter, loc=-1, scale=2)
    for i in range(dim):
        for j in range(i):
            assert stats.kstest(correlation[:, i, j], marginal.cdf).pvalue > 1e-4


def test_lkj_density_adds_up_to_one():
    lkj = d.LKJCholesky(2, double(1.6))
    x = (np.arange(4000) + 0.5) / 2000 - 1
    factors = np.zeros((4000, 2, 2))
    factors[:, 0, 0], factors[:, 1, 0], factors[:, 1, 1] = 1, x, np.sqrt(1 - x * x)
    # The density is over the free entry x.
    total = lkj.log_prob(flambeau.tensor(factors)).exp().numpy().mean() * 2
    np.testing.assert_allclose(total, 1, 2e-3)


@pytest.mark.parametrize("alpha", [0.05, 0.4, 1.0, 3.0, 30.0, 2000.0])
def test_gamma_samples_move_with_their_shape(alpha):
    shape = double(alpha).requires_grad_()
    flambeau.manual_seed(3)
    sample = d.Gamma(shape.expand((200,)), double(1.0)).rsample()
    for i in (0, 50, 199):
        (slope,) = flambeau.autograd.grad(sample[i], shape, retain_graph=True)
        level, h = stats.gamma(alpha).cdf(sample[i].item()), 1e-4 * alpha
        expected = (stats.gamma(alpha + h).ppf(level) - stats.gamma(alpha - h).ppf(level)) / (2 * h)
        if 1e-6 < level < 1 - 1e-6:
            np.testing.assert_allclose(slope.item(), expected, 1e-4)


@pytest.mark.parametrize(
    ("make", "moment"),
    [
        (lambda a: d.Beta(a, double(1.3)), lambda a: a / (a + 1.3)),
        (lambda a: d.StudentT(a + 8, double(0.0), a), lambda a: 0 * a),
        (lambda a: d.Dirichlet(flambeau.stack([a, 2 * a + 1])), lambda a: a / (3 * a + 1)),
        (lambda a: d.FisherSnedecor(double(3.0), a + 8), lambda a: (a + 8) / (a + 6)),
        (lambda a: d.InverseGamma(a + 3, double(1.0)), lambda a: 1 / (a + 2)),
        (lambda a: d.Wishart(a + 3, double(np.eye(2))), lambda a: a + 3),
    ],
)
def test_samples_carry_gradients_to_the_mean(make, moment):
    """The mean gradient of samples is the gradient of the mean."""
    flambeau.manual_seed(3)
    a = double(0.7).requires_grad_()
    sample = make(a).rsample((60000,))
    first = sample.reshape(60000, -1)[:, 0]
    (found,) = flambeau.autograd.grad(first.mean(), a)
    b = double(0.7).requires_grad_()
    (expected,) = flambeau.autograd.grad(moment(b), b)
    np.testing.assert_allclose(found.item(), expected.item(), rtol=0.05, atol=0.02)


def test_straight_through_samples():
    logits = double([0.1, 0.7, -0.3]).requires_grad_()
    sample = d.OneHotCategoricalStraightThrough(logits=logits).rsample()
    np.testing.assert_allclose(sorted(sample.tolist()), [0, 0, 1], atol=1e-12)
    (found,) = flambeau.autograd.grad(sample[0], logits)
    (expected,) = flambeau.autograd.grad(flambeau.softmax(logits, 0)[0], logits)
    close(found, expected.numpy())


def test_poisson_and_binomial_at_their_ends():
    assert flambeau.poisson(flambeau.zeros(3)).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="invalid Poisson rate"):
        flambeau.poisson(flambeau.tensor([-1.0]))
    with pytest.raises(NotImplementedError, match="floating-point"):
        flambeau.poisson(flambeau.tensor([1]))
    n, p = flambeau.tensor([0.0, 5.0, 5.0, -1.0, 5.0]), flambeau.tensor([0.5, 0.0, 1.0, 0.5, 1.5])
    assert str(flambeau.binomial(n, p).tolist()) == "[0.0, 0.0, 5.0, nan, nan]"
    assert flambeau.binomial(flambeau.ones(2, 1), flambeau.ones(3)).shape == (2, 3)
    assert str(flambeau._standard_gamma(flambeau.tensor([-1.0, float("nan")])).tolist()) == "[nan, nan]"


def test_samplers_take_a_generator():
    rate = flambeau.full((4,), 30.0)
    one, other = (flambeau.poisson(rate, flambeau.Generator().manual_seed(5)) for _ in range(2))
    assert one.tolist() == other.tolist()


def test_a_registered_divergence_is_used():
    class Mine(d.Normal):
        pass

    @d.register_kl(Mine, Mine)
    def _(p, q):
        return flambeau.tensor(42.0)

    assert d.kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0)).item() == 42.0
    assert d.kl_divergence(Mine(0.0, 1.0), d.Normal(0.0, 1.0)).item() == 0.0
    with pytest.raises(TypeError, match="Distribution subclass"):
        d.register_kl(int, Mine)


def test_a_refused_parameter_is_named():
    with pytest.raises(ValueError, match=r"parameter scale .* Normal\(loc: 0.0, scale: -1.0\) .* GreaterThan"):
        d.Normal(0.0, -1.0)


def test_cached_transforms_give_back_the_very_input():
    transform = d.ExpTransform(cache_size=1)
    x = flambeau.randn(3)
    assert transform.inv(transform(x)) is x
