"""Functions of functions, side by side with PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

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
@pytest.mark.filterwarnings("ignore:vmap calls", "ignore:`torch.jit:DeprecationWarning")
def test_transforms(name):
    import flambeau.autograd.functional

    call = CALLS[name]
    same(call(flambeau, flambeau.tensor(X), flambeau.tensor(Y)), call(torch, torch.tensor(X), torch.tensor(Y)))
