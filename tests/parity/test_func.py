"""Functions of functions, side by side with PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's sample database imports it")

import opinfo  # noqa: E402

X, Y = np.random.default_rng(0).standard_normal((2, 4))


def same(one, other):
    if isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, dict):
        same(list(one.values()), [other[key] for key in one])
    else:
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-9, atol=1e-12)


def scalar(x, y):
    return (x.sin() * y).sum() * (x * x).mean()


def several(x, y):
    return x * y.exp(), {"outer": x[:2, None] * y}


CALLS = {
    "grad": lambda t, x, y: t.func.grad(scalar, argnums=(0, 1))(x, y),
    "grad_and_value": lambda t, x, y: t.func.grad_and_value(scalar)(x, y),
    "vjp": lambda t, x, y: t.func.vjp(lambda x, y: x * y, x, y)[1](x),
    "jvp": lambda t, x, y: t.func.jvp(lambda x, y: x * y.sin(), (x, y), (y, x)),
    "jacrev": lambda t, x, y: t.func.jacrev(several, argnums=(0, 1))(x, y),
    "jacfwd": lambda t, x, y: t.func.jacfwd(several, argnums=(0, 1))(x, y),
    "jacrev, one of a tuple": lambda t, x, y: t.func.jacrev(several, argnums=(1,))(x, y),
    "hessian": lambda t, x, y: t.func.hessian(scalar, argnums=(0, 1))(x, y),
    "vmap": lambda t, x, y: t.func.vmap(lambda a, b: (a * b, a + y), out_dims=(0, 1))(x, y),
    "vmap of grad": lambda t, x, y: t.func.vmap(t.func.grad(lambda a, b: a.sin() * b), (0, None))(x, y[0]),
    "functional.jacobian": lambda t, x, y: t.autograd.functional.jacobian(lambda x, y: (x * y, x.sum()), (x, y)),
    "functional.hessian": lambda t, x, y: t.autograd.functional.hessian(scalar, (x, y)),
    "functional.hvp": lambda t, x, y: t.autograd.functional.hvp(scalar, (x, y), (y, x)),
    "functional.vhp": lambda t, x, y: t.autograd.functional.vhp(scalar, (x, y), (y, x)),
    "functional.jvp": lambda t, x, y: t.autograd.functional.jvp(lambda x, y: x * y, (x, y), (y, x)),
    "functional.vjp": lambda t, x, y: t.autograd.functional.vjp(lambda x, y: x * y, (x, y), x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_transforms(name):
    call = CALLS[name]
    same(call(flambeau, flambeau.tensor(X), flambeau.tensor(Y)), call(torch, torch.tensor(X), torch.tensor(Y)))


# -- PyTorch's samples of its operators ------------------------------------------------------------------------------

MOST = 8
#: Results that are random, or arbitrary memory.
RANDOM = {
    "bernoulli", "empty_like", "empty_permuted", "exponential", "geometric", "log_normal", "multinomial", "cauchy",
    "nn.functional.alpha_dropout", "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout", "nn.functional.fractional_max_pool2d", "new_empty", "new_empty_strided",
    "nn.functional.fractional_max_pool3d", "nn.functional.rrelu", "normal", "rand_like", "randint_like", "randn_like",
    "uniform", "pca_lowrank", "svd_lowrank", "nn.functional.multi_head_attention_forward", "native_dropout_backward",
}  # fmt: skip


def known(test):
    """What is known to differ, by operator: see `opinfo-differences.txt`."""
    lines = (Path(__file__).parent / "opinfo-differences.txt").read_text().splitlines()
    pairs = [line.split(": ", 1) for line in lines if line.startswith(test + " ")]
    return {head.removeprefix(test + " "): why for head, why in pairs}


def over(test, select):
    """Run a test for PyTorch's operators; those known to differ are strictly expected to."""
    why = known(test)
    return pytest.mark.parametrize("info", [
        pytest.param(
            info,
            id=info.formatted_name,
            marks=[pytest.mark.xfail(reason=why[name], strict=True)] if (name := info.formatted_name) in why else [],
        )
        for info in opinfo.in_scope() if torch.float64 in info.dtypes and select(info)
    ])  # fmt: skip


class Example:
    """A sample as a function of its floating-point tensors, in either library."""

    def __init__(self, function, info, sample, differentiable):
        self.ours, self.theirs = function, info.op
        self.sample = sample
        self.tensors = [t for t in self.leaves() if (t.requires_grad if differentiable else t.is_floating_point())]

    def leaves(self):
        return opinfo.leaves(self.sample.input, self.sample.args, self.sample.kwargs)

    def function(self, own):
        """The function, and the tensors that it is one of."""
        convert = opinfo.convert if own else lambda value: value
        function = self.ours if own else self.theirs
        process = self.sample.output_process_fn_grad

        def call(*values):
            remaining = {id(tensor): value for tensor, value in zip(self.tensors, values, strict=True)}

            def replaced(value):
                if isinstance(value, torch.Tensor):
                    return remaining[id(value)] if id(value) in remaining else convert(value)
                if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
                    return type(value)(map(replaced, value))
                if isinstance(value, dict):
                    return {name: replaced(item) for name, item in value.items()}
                return convert(value)

            sample = [replaced(part) for part in (self.sample.input, self.sample.args, self.sample.kwargs)]
            result = function(sample[0], *sample[1], **sample[2])
            return opinfo.leaves((opinfo.rebound(process) if own else process)(result))

        return call, [opinfo.to_flambeau(t).detach() if own else t.detach() for t in self.tensors]


def examples(info, differentiable=False):
    try:
        function = opinfo.counterpart(info)
    except AttributeError as error:
        pytest.skip(f"{error}: a failure of test_opinfo.py")
    for sample in opinfo.samples(info, torch.float64, differentiable, MOST):
        example = Example(function, info, sample, differentiable)
        if example.tensors and not sample.kwargs.get("dropout_p"):  # what is random is no function
            yield example


def outcome(function, *arguments):
    """What a call returns, or the exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*arguments)
        except Exception as error:
            return error


@over("vmap", lambda info: info.name not in RANDOM)
def test_vmap_is_a_loop(info):
    for example in examples(info):
        function, values = example.function(own=True)
        batches = [flambeau.stack([value, value, value * 1.0]) for value in values]
        for batch in batches:
            if batch.ndim == 2:  # a vector an example: any order of its elements is in the domain
                batch[1] = batch[1].flip(0)
        loop = [outcome(function, *[batch[i].clone() for batch in batches]) for i in range(3)]
        if any(isinstance(row, Exception) or not row for row in loop):
            continue
        shapes = [[tuple(t.shape) for t in row] for row in loop]
        found = outcome(flambeau.vmap(lambda *v, f=function: f(*v), randomness="same"), *batches)
        if isinstance(found, Exception):
            theirs, own = example.function(own=False)
            repeated = [torch.stack([value] * 3) for value in own]
            if isinstance(outcome(torch.vmap(lambda *v, f=theirs: f(*v)), *repeated), Exception):
                continue  # it cannot be mapped there either
            raise found
        assert [[tuple(t.shape[1:]) for t in found]] * 3 == shapes
        for result, rows in zip(found, zip(*loop, strict=True), strict=True):
            wanted = np.stack([opinfo.values(row) for row in rows])
            np.testing.assert_allclose(opinfo.values(result), wanted, rtol=1e-7, atol=1e-9)


@over("jvp", lambda info: info.supports_forward_ad and info.name not in RANDOM)
def test_jvp(info):
    for example in examples(info, differentiable=True):
        theirs, values = example.function(own=False)
        function, own = example.function(own=True)
        expected, found = outcome(theirs, *values), outcome(function, *own)
        if isinstance(expected, Exception) or isinstance(found, Exception) or opinfo.difference(found, expected):
            continue  # it is not the derivative that differs: see test_opinfo.py
        if not expected or not all(t.is_floating_point() or t.is_complex() for t in expected):
            continue
        tangents = tuple(torch.ones_like(value) * 0.5 + value.sign() * 0.25 for value in values)
        expected = outcome(torch.func.jvp, lambda *v, f=theirs: tuple(f(*v)), tuple(values), tangents)
        if isinstance(expected, Exception):
            continue
        along = tuple(opinfo.to_flambeau(tangent) for tangent in tangents)
        found = flambeau.func.jvp(lambda *v, f=function: tuple(f(*v)), tuple(own), along)
        text = opinfo.difference(list(found[1]), [torch.zeros_like(t) + t for t in expected[1]], 10.0)
        assert not text, f"{example.sample.args}, {example.sample.kwargs}: {text}"
