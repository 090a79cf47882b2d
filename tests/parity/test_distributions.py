"""Every distribution, transform and divergence, side by side with PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

RANDOM = np.random.default_rng(0)
REALS = RANDOM.normal(size=(4, 1))
POSITIVES = np.exp(RANDOM.normal(size=(4, 1)))
UNITS = RANDOM.uniform(0.05, 0.95, (4, 1))
COUNTS = RANDOM.integers(0, 4, (4, 1)).astype(float)
SIMPLEX = RANDOM.dirichlet([1.0, 2.0, 3.0], 4)[:, None]
VECTORS = RANDOM.normal(size=(4, 1, 3))
ROOT = np.tril(RANDOM.normal(size=(3, 3)), -1) + np.diag([0.7, 1.3, 2.0])
MATRIX = ROOT @ ROOT.T
CORRELATION = MATRIX / np.sqrt(np.outer(np.diag(MATRIX), np.diag(MATRIX)))
A = np.array([0.4, 1.7])
B = np.array([1.3, 2.4])
P = np.array([0.3, 0.8])
W = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])

#: name: (the parameters, further arguments, the values to try)
DISTRIBUTIONS = {
    "Bernoulli": ({"probs": P}, {}, COUNTS.clip(0, 1)),
    "Bernoulli, logits": ({"logits": A}, {}, COUNTS.clip(0, 1)),
    "Beta": ({"concentration1": A, "concentration0": B}, {}, UNITS),
    "Binomial": ({"probs": P}, {"total_count": 5}, COUNTS),
    "Binomial, logits": ({"logits": A}, {"total_count": 5}, COUNTS),
    "Categorical": ({"probs": W}, {}, COUNTS.clip(0, 2)),
    "Categorical, logits": ({"logits": W}, {}, COUNTS.clip(0, 2)),
    "Cauchy": ({"loc": A, "scale": B}, {}, REALS),
    "Chi2": ({"df": B}, {}, POSITIVES),
    "ContinuousBernoulli": ({"probs": np.array([0.3, 0.5, 0.4995, 0.9])}, {}, UNITS),
    "ContinuousBernoulli, logits": ({"logits": A}, {}, UNITS),
    "Dirichlet": ({"concentration": W * 4}, {}, SIMPLEX),
    "Exponential": ({"rate": B}, {}, POSITIVES),
    "FisherSnedecor": ({"df1": A * 4, "df2": B * 3}, {}, POSITIVES),
    "Gamma": ({"concentration": A, "rate": B}, {}, POSITIVES),
    "GeneralizedPareto": ({"loc": A * 0, "scale": B, "concentration": np.array([0.3, 0.0])}, {}, POSITIVES),
    "Geometric": ({"probs": P}, {}, COUNTS),
    "Geometric, logits": ({"logits": A}, {}, COUNTS),
    "Gumbel": ({"loc": A, "scale": B}, {}, REALS),
    "HalfCauchy": ({"scale": B}, {}, POSITIVES),
    "HalfNormal": ({"scale": B}, {}, POSITIVES),
    "InverseGamma": ({"concentration": A * 2, "rate": B}, {}, POSITIVES),
    "Kumaraswamy": ({"concentration1": A, "concentration0": B}, {}, UNITS),
    "Laplace": ({"loc": A, "scale": B}, {}, REALS),
    "LogNormal": ({"loc": A, "scale": B}, {}, POSITIVES),
    "LogisticNormal": ({"loc": W[:, :2], "scale": B}, {}, SIMPLEX),
    "LowRankMultivariateNormal": (
        {"loc": W, "cov_factor": RANDOM.normal(size=(3, 2)), "cov_diag": np.array([0.5, 1.0, 2.0])}, {}, VECTORS
    ),
    "Multinomial": ({"probs": W}, {"total_count": 3}, np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])[:, None]),
    "MultivariateNormal": ({"loc": W, "covariance_matrix": MATRIX}, {}, VECTORS),
    "MultivariateNormal, precision": ({"loc": W, "precision_matrix": MATRIX}, {}, VECTORS),
    "MultivariateNormal, factor": ({"loc": W, "scale_tril": ROOT}, {}, VECTORS),
    "NegativeBinomial": ({"total_count": B, "probs": P}, {}, COUNTS),
    "Normal": ({"loc": A, "scale": B}, {}, REALS),
    "OneHotCategorical": ({"probs": W}, {}, np.eye(3)[:, None]),
    "OneHotCategoricalStraightThrough": ({"logits": W}, {}, np.eye(3)[:, None]),
    "Pareto": ({"scale": A * 0.1, "alpha": B}, {}, POSITIVES + 0.2),
    "Poisson": ({"rate": B}, {}, COUNTS),
    "RelaxedBernoulli": ({"temperature": np.array(0.7), "probs": P}, {}, UNITS),
    "RelaxedBernoulli, logits": ({"temperature": np.array(0.7), "logits": A}, {}, UNITS),
    "RelaxedOneHotCategorical": ({"temperature": np.array(0.7), "probs": W}, {}, SIMPLEX),
    "StudentT": ({"df": B * 2, "loc": A, "scale": B}, {}, REALS),
    "Uniform": ({"low": A - 2, "high": B + 2}, {}, REALS.clip(-0.2, 3)),
    "VonMises": ({"loc": A, "concentration": B}, {}, REALS),
    "Weibull": ({"scale": A, "concentration": B}, {}, POSITIVES),
    "Wishart": ({"df": B + 3, "covariance_matrix": MATRIX}, {}, np.stack([MATRIX, MATRIX + np.eye(3)])[:, None]),
    "LKJCholesky": ({"concentration": B}, {"dim": 3}, np.linalg.cholesky(CORRELATION)[None, None]),
}  # fmt: skip


#: PyTorch's takes no others: it mixes the parameters with tensors of the default dtype.
FLOAT32_ONLY = {"GeneralizedPareto"}


def made(library, name, requires_grad=False):
    parameters, others, values = DISTRIBUTIONS[name]
    if name in FLOAT32_ONLY:
        parameters, values = {k: v.astype(np.float32) for k, v in parameters.items()}, values.astype(np.float32)
    tensors = {key: library.tensor(value).requires_grad_(requires_grad) for key, value in parameters.items()}
    one = getattr(library.distributions, name.partition(",")[0])(**others, **tensors)
    return one, list(tensors.values()), library.tensor(values)


def same(own, theirs, rtol=1e-7, atol=1e-9):
    if theirs.dtype is torch.float32:
        rtol = atol = 1e-5
    assert tuple(own.shape) == tuple(theirs.shape)
    assert str(own.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    np.testing.assert_allclose(own.detach().numpy(), theirs.detach().numpy(), rtol, atol)


def compare(call):
    """The results of a call in both libraries, or the exceptions, of one type."""
    try:
        theirs = call(torch)
    except Exception as error:
        with pytest.raises(Exception) as raised:
            call(flambeau)
        assert isinstance(error, raised.type) or isinstance(raised.value, type(error)), (error, raised.value)
        return
    same(call(flambeau), theirs)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_shapes_and_supports(name):
    own, theirs = made(flambeau, name)[0], made(torch, name)[0]
    assert tuple(own.batch_shape) == tuple(theirs.batch_shape)
    assert tuple(own.event_shape) == tuple(theirs.event_shape)
    assert (own.has_rsample, own.has_enumerate_support) == (theirs.has_rsample, theirs.has_enumerate_support)
    assert (own.support.is_discrete, own.support.event_dim) == (theirs.support.is_discrete, theirs.support.event_dim)
    assert sorted(own.arg_constraints) == sorted(theirs.arg_constraints)


@pytest.mark.parametrize("statistic", ["mean", "mode", "variance", "stddev"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_moments(name, statistic):
    if (name, statistic) == ("Kumaraswamy", "mode"):
        # PyTorch's is NaN for every parameter, by the logarithm of a negative number.
        assert made(torch, name)[0].mode.isnan().all()
        np.testing.assert_allclose(made(flambeau, name)[0].mode.numpy(), [np.nan, (0.7 / 3.08) ** (1 / 1.7)])
        return
    compare(lambda library: getattr(made(library, name)[0], statistic))


@pytest.mark.parametrize("method", ["entropy", "perplexity"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_entropy(name, method):
    compare(lambda library: getattr(made(library, name)[0], method)())


@pytest.mark.parametrize("method", ["log_prob", "cdf"])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_at_values(name, method):
    def call(library):
        one, _, values = made(library, name)
        return getattr(one, method)(values)

    compare(call)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_inverse_distribution_function(name):
    compare(lambda library: made(library, name)[0].icdf(library.tensor(UNITS)))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_gradients_of_log_prob(name):
    gradients = []
    for library in (flambeau, torch):
        one, parameters, values = made(library, name, requires_grad=True)
        gradients.append(library.autograd.grad(one.log_prob(values).sum(), parameters, allow_unused=True))
    for own, theirs in zip(*gradients, strict=True):
        assert (own is None) == (theirs is None)
        if theirs is not None and name != "MultivariateNormal, factor":
            # PyTorch's Bessel function, in the von Mises distribution, is one to single precision.
            same(own, theirs, 1e-6 if name == "VonMises" else 1e-7)
        elif theirs is not None:
            same(own.tril() if own.ndim == 2 and own.shape[0] == own.shape[1] else own,
                 theirs.tril() if own.ndim == 2 and own.shape[0] == own.shape[1] else theirs)  # fmt: skip


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_have_the_same_shape_and_dtype(name):
    for library_shape in ((), (5,), (2, 3)):
        own, theirs = made(flambeau, name)[0], made(torch, name)[0]
        drawn, expected = own.sample(library_shape), theirs.sample(library_shape)
        assert tuple(drawn.shape) == tuple(expected.shape)
        assert str(drawn.dtype) == str(expected.dtype).replace("torch", "flambeau")
        assert own.support.check(drawn).all()
        if theirs.has_rsample:
            one = made(flambeau, name, requires_grad=True)[0]
            assert one.rsample(library_shape).requires_grad


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_expand(name):
    def call(library):
        one, _, values = made(library, name)
        wide = one.expand((3, *one.batch_shape))
        assert tuple(wide.batch_shape) == (3, *one.batch_shape)
        return wide.log_prob(values[0])

    compare(call)


@pytest.mark.parametrize("name", [name for name in DISTRIBUTIONS if made(torch, name)[0].has_enumerate_support])
@pytest.mark.parametrize("expand", [True, False])
def test_enumerate_support(name, expand):
    compare(lambda library: made(library, name)[0].enumerate_support(expand))


REFUSED = {
    "a negative scale": lambda t: t.distributions.Normal(t.zeros(2), -t.ones(2)),
    "NaN": lambda t: t.distributions.Normal(t.full((2,), float("nan")), t.ones(2)),
    "a probability above 1": lambda t: t.distributions.Bernoulli(t.tensor([0.5, 1.5])),
    "probs and logits": lambda t: t.distributions.Bernoulli(t.ones(2), t.ones(2)),
    "neither": lambda t: t.distributions.Categorical(),
    "no dimension": lambda t: t.distributions.Categorical(t.tensor(0.5)),
    "negative weights": lambda t: t.distributions.Categorical(t.tensor([0.5, -0.5, 1.0])),
    "text": lambda t: t.distributions.Normal("a", 1.0),
    "low above high": lambda t: t.distributions.Uniform(1.0, 0.0),
    "no matrix": lambda t: t.distributions.MultivariateNormal(t.zeros(2)),
    "two matrices": lambda t: t.distributions.MultivariateNormal(t.zeros(2), t.eye(2), t.eye(2)),
    "not positive-definite": lambda t: t.distributions.MultivariateNormal(t.zeros(2), -t.eye(2)),
    "shapes": lambda t: t.distributions.Normal(t.zeros(2), t.ones(3)),
    "outside the support": lambda t: t.distributions.Beta(1.0, 1.0).log_prob(t.tensor(2.0)),
    "no integer": lambda t: t.distributions.Poisson(1.0).log_prob(t.tensor(0.5)),
    "no tensor": lambda t: t.distributions.Normal(0.0, 1.0).log_prob(0.5),
    "event shape": lambda t: t.distributions.Dirichlet(t.ones(3)).log_prob(t.tensor([0.5, 0.5])),
    "batch shape": lambda t: t.distributions.Normal(t.zeros(3), 1.0).log_prob(t.zeros(2)),
    "too many dimensions": lambda t: t.distributions.Independent(t.distributions.Normal(t.zeros(3), 1.0), 2),
    "few degrees of freedom": lambda t: t.distributions.Wishart(t.tensor(1.0), t.eye(3)),
    "a dim of 1": lambda t: t.distributions.LKJCholesky(1),
    "a mixture of a mixture": lambda t: t.distributions.MixtureSameFamily(
        t.distributions.Normal(0.0, 1.0), t.distributions.Normal(0.0, 1.0)
    ),
    "no formula": lambda t: t.distributions.kl_divergence(
        t.distributions.Cauchy(0.0, 1.0), t.distributions.Normal(0.0, 1.0)
    ),
    "no transform": lambda t: t.distributions.biject_to(t.distributions.constraints.boolean),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what):
    with pytest.raises(Exception) as theirs:
        REFUSED[what](torch)
    with pytest.raises(theirs.type):
        REFUSED[what](flambeau)


@pytest.mark.parametrize("what", ["a negative scale", "outside the support", "a probability above 1"])
def test_validation_can_be_turned_off(what):
    flambeau.distributions.Distribution.set_default_validate_args(False)
    try:
        REFUSED[what](flambeau)
    finally:
        flambeau.distributions.Distribution.set_default_validate_args(True)


# -- divergences -------------------------------------------------------------------------------------------------------

Q = {
    "Bernoulli": {"probs": P[::-1]}, "Beta": {"concentration1": B, "concentration0": A},
    "Binomial": {"probs": P[::-1]}, "Categorical": {"probs": W[::-1]}, "Cauchy": {"loc": B, "scale": A},
    "ContinuousBernoulli": {"probs": np.array([0.6, 0.2])}, "Dirichlet": {"concentration": W[::-1] * 3},
    "Exponential": {"rate": A}, "Gamma": {"concentration": B, "rate": A}, "Geometric": {"probs": P[::-1]},
    "Gumbel": {"loc": B, "scale": A + 0.5}, "HalfNormal": {"scale": A}, "Laplace": {"loc": B, "scale": A},
    "LowRankMultivariateNormal": {
        "loc": W[::-1], "cov_factor": MATRIX[:, :2], "cov_diag": np.array([1.5, 1.0, 0.7])
    },
    "MultivariateNormal": {"loc": W[::-1], "covariance_matrix": MATRIX + np.eye(3)},
    "Normal": {"loc": B, "scale": A}, "OneHotCategorical": {"probs": W[::-1]},
    "Pareto": {"scale": A, "alpha": B + 1}, "Poisson": {"rate": A}, "Uniform": {"low": A - 3, "high": B + 3},
}  # fmt: skip
P_OF = {
    **{name: DISTRIBUTIONS[name][0] for name in Q if name != "ContinuousBernoulli"},
    "ContinuousBernoulli": {"probs": P}, "Pareto": {"scale": A + 0.5, "alpha": B + 1.5},
}  # fmt: skip
PAIRS = [
    (p.__name__, q.__name__) for p, q in torch.distributions.kl._KL_REGISTRY if p.__name__ in Q and q.__name__ in Q
]


def of_family(library, name, parameters):
    others = {"total_count": 5} if name == "Binomial" else {}
    tensors = {key: library.tensor(np.ascontiguousarray(value)) for key, value in parameters.items()}
    return getattr(library.distributions, name)(**others, **tensors)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_divergence(p, q):
    assert len(PAIRS) == len(torch.distributions.kl._KL_REGISTRY) - 3  # tested by name below
    compare(
        lambda library: library.distributions.kl_divergence(of_family(library, p, P_OF[p]), of_family(library, q, Q[q]))
    )


@pytest.mark.parametrize(
    ("low", "high", "q"),
    [(0.2, 0.9, name) for name in ("Beta", "ContinuousBernoulli", "Exponential", "Gamma", "Uniform")]
    + [(2.5, 4.0, "Pareto")],
)
def test_divergence_of_a_uniform_distribution_inside(low, high, q):
    def call(library):
        one = library.distributions.Uniform(
            library.tensor(low, dtype=library.float64), library.tensor(high, dtype=library.float64)
        )
        return library.distributions.kl_divergence(one, of_family(library, q, Q[q]))

    compare(call)


def test_divergences_by_structure():
    def transformed(library):
        d = library.distributions
        return d.kl_divergence(
            d.LogNormal(library.tensor(A), library.tensor(B)), d.LogNormal(library.tensor(B), library.tensor(A))
        )

    def independent(library):
        d = library.distributions
        one, other = (d.Independent(of_family(library, "Normal", side["Normal"]), 1) for side in (P_OF, Q))
        return d.kl_divergence(one, other)

    def by_normalizer(library):
        d = library.distributions
        p, q = (d.Wishart(library.tensor(n), library.tensor(MATRIX)) for n in (5.0, 7.0))
        return d.kl_divergence(p, q)

    for call in (transformed, independent):
        compare(call)
    assert by_normalizer(flambeau) > 0


# -- compound distributions --------------------------------------------------------------------------------------------


def mixture(library):
    d = library.distributions
    return d.MixtureSameFamily(d.Categorical(library.tensor(W)), d.Normal(library.tensor(W), library.tensor(W + 1)))


def mixture_of_vectors(library):
    d = library.distributions
    return d.MixtureSameFamily(
        d.Categorical(library.tensor(P)), d.Independent(d.Normal(library.tensor(W[:, :3]), library.tensor(W + 1)), 1)
    )


def squashed(library):
    d = library.distributions
    base = d.Normal(library.tensor(W), library.tensor(W + 0.5))
    return d.Independent(d.TransformedDistribution(base, [d.TanhTransform(), d.AffineTransform(0.5, 2.0)]), 1)


def on_simplex(library):
    d = library.distributions
    base = d.Independent(d.Normal(library.tensor(W[:, :2]), 1.0), 1)
    return d.TransformedDistribution(base, d.StickBreakingTransform())


@pytest.mark.parametrize("make", [mixture, mixture_of_vectors, squashed, on_simplex])
def test_compound_distributions(make):
    shapes = [(tuple(d.batch_shape), tuple(d.event_shape)) for d in (make(flambeau), make(torch))]
    assert shapes[0] == shapes[1]
    values = make(torch).sample((4,)).numpy()
    compare(lambda library: make(library).log_prob(library.tensor(values)))
    compare(lambda library: make(library).expand((3, *make(library).batch_shape)).log_prob(library.tensor(values[0])))
    for name in ("mean", "variance"):
        compare(lambda library, name=name: getattr(make(library), name))
    compare(lambda library: make(library).cdf(library.tensor(values)))
    assert make(flambeau).sample((4,)).shape == make(torch).sample((4,)).shape


# -- transforms --------------------------------------------------------------------------------------------------------

MATRICES = RANDOM.normal(size=(2, 3, 3))
TRANSFORMS = {
    "abs": (lambda d, t: d.AbsTransform(), REALS),
    "affine": (lambda d, t: d.AffineTransform(t(A), t(B)), REALS),
    "affine of vectors": (lambda d, t: d.AffineTransform(1.0, -2.0, event_dim=1), VECTORS),
    "cat": (lambda d, t: d.CatTransform([d.ExpTransform(), d.TanhTransform()], 1, [1, 2]), VECTORS[:, 0]),
    "compose": (lambda d, t: d.ComposeTransform([d.AffineTransform(1.0, 2.0), d.SigmoidTransform()]), REALS),
    "compose, vectors": (lambda d, t: d.ComposeTransform([d.ExpTransform(), d.SoftmaxTransform()]), VECTORS),
    "corr_cholesky": (lambda d, t: d.CorrCholeskyTransform(), VECTORS),
    "cdf": (lambda d, t: d.CumulativeDistributionTransform(d.Normal(t(A), t(B))), REALS),
    "exp": (lambda d, t: d.ExpTransform(), REALS),
    "independent": (lambda d, t: d.IndependentTransform(d.ExpTransform(), 1), VECTORS),
    "lower_cholesky": (lambda d, t: d.LowerCholeskyTransform(), MATRICES),
    "positive_definite": (lambda d, t: d.PositiveDefiniteTransform(), MATRICES),
    "power": (lambda d, t: d.PowerTransform(t(np.array(1.7))), POSITIVES),
    "reshape": (lambda d, t: d.ReshapeTransform((3, 3), (9,)), MATRICES),
    "sigmoid": (lambda d, t: d.SigmoidTransform(), REALS),
    "softplus": (lambda d, t: d.SoftplusTransform(), REALS),
    "tanh": (lambda d, t: d.TanhTransform(), REALS),
    "softmax": (lambda d, t: d.SoftmaxTransform(), VECTORS),
    "stack": (lambda d, t: d.StackTransform([d.ExpTransform(), d.TanhTransform(), d.AbsTransform()], -1), VECTORS),
    "stick_breaking": (lambda d, t: d.StickBreakingTransform(), VECTORS),
    "inverse": (lambda d, t: d.ExpTransform().inv, POSITIVES),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    make, values = TRANSFORMS[name]

    def of(library):
        return make(library.distributions, library.tensor), library.tensor(values)

    def inverse(library):
        transform, x = of(library)
        return transform.inv(transform(x))

    def slope(library):
        transform, x = of(library)
        return transform.log_abs_det_jacobian(x, transform(x))

    compare(lambda library: of(library)[0](of(library)[1]))
    compare(inverse)
    compare(slope)
    own, theirs = of(flambeau)[0], of(torch)[0]
    assert own.bijective == theirs.bijective
    for side in ("domain", "codomain"):
        mine, other = getattr(own, side), getattr(theirs, side)
        assert (mine.event_dim, mine.is_discrete) == (other.event_dim, other.is_discrete)
    shape = tuple(values.shape)
    try:
        expected = theirs.forward_shape(shape)
    except ValueError:
        pytest.fail("PyTorch refuses the shape")
    assert tuple(own.forward_shape(shape)) == tuple(expected)
    assert tuple(own.inverse_shape(expected)) == tuple(theirs.inverse_shape(expected))
    assert own.inv.inv is own
    assert own != flambeau.distributions.identity_transform


CONSTRAINTS = {
    "real": lambda c: c.real, "positive": lambda c: c.positive, "nonnegative": lambda c: c.nonnegative,
    "greater_than": lambda c: c.greater_than(1.5), "less_than": lambda c: c.less_than(-1.0),
    "interval": lambda c: c.interval(-2.0, 3.0), "half_open": lambda c: c.half_open_interval(-2.0, 3.0),
    "unit_interval": lambda c: c.unit_interval, "simplex": lambda c: c.simplex,
    "lower_cholesky": lambda c: c.lower_cholesky, "corr_cholesky": lambda c: c.corr_cholesky,
    "positive_definite": lambda c: c.positive_definite, "independent": lambda c: c.independent(c.positive, 1),
    "cat": lambda c: c.cat([c.positive, c.real], -1, [1, 2]), "stack": lambda c: c.stack([c.positive] * 3, -1),
}  # fmt: skip


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_registries(name, registry):
    values = MATRICES if name in ("lower_cholesky", "positive_definite") else VECTORS[:, 0]

    def call(library):
        constraint = CONSTRAINTS[name](library.distributions.constraints)
        y = getattr(library.distributions, registry)(constraint)(library.tensor(values))
        assert constraint.check(y).all()
        return y

    compare(call)


CHECKED = [
    *CONSTRAINTS.items(),
    ("boolean", lambda c: c.boolean), ("nonnegative_integer", lambda c: c.nonnegative_integer),
    ("integer_interval", lambda c: c.integer_interval(0, 2)), ("one_hot", lambda c: c.one_hot),
    ("multinomial", lambda c: c.multinomial(3)), ("symmetric", lambda c: c.symmetric), ("square", lambda c: c.square),
    ("positive_semidefinite", lambda c: c.positive_semidefinite), ("lower_triangular", lambda c: c.lower_triangular),
    ("greater_than_eq", lambda c: c.greater_than_eq(1.0)), ("positive_integer", lambda c: c.positive_integer),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make"), CHECKED)
def test_constraints(name, make):
    thirds = np.full((3, 3), 1 / 3) + (np.eye(3) if name == "positive_semidefinite" else 0)  # no eigenvalue of 0
    for values in (np.eye(3), np.zeros((3, 3)), MATRICES, thirds, np.tril(np.ones((3, 3))), -np.eye(3)):
        compare(lambda library, values=values: make(library.distributions.constraints).check(library.tensor(values)))
