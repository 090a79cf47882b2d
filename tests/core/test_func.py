"""Functions of functions: derivatives against closed forms, batches against loops, modules against themselves."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import func, nn
from flambeau.autograd import functional

X = flambeau.tensor([0.3, -1.2, 2.0], dtype=flambeau.float64)
Y = flambeau.tensor([1.5, 0.4, -0.7], dtype=flambeau.float64)


def close(one, other):
    np.testing.assert_allclose(one.detach().numpy(), np.asarray(other), rtol=1e-10, atol=1e-12)


def cubes(x):
    return (x**3).sum()


def test_grad_and_its_forms():
    x = X.numpy()
    close(func.grad(cubes)(X), 3 * x**2)
    value, gradient = func.value_and_grad(cubes)(X)
    close(value, (x**3).sum())
    close(gradient, 3 * x**2)
    gradient, (value, aux) = func.grad_and_value(lambda x: (cubes(x), {"twice": 2 * x}), has_aux=True)(X)
    close(gradient, 3 * x**2)
    close(aux["twice"], 2 * x)
    assert not any(t.requires_grad for t in (gradient, value, aux["twice"]))


def test_grad_of_several_arguments_and_containers():
    first, second = func.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(X, Y)
    close(first, Y.numpy())
    close(second, X.numpy())
    found = func.grad(lambda p: (p["a"] * p["b"][0]).sum())({"a": X, "b": [Y]})
    close(found["a"], Y.numpy())
    close(found["b"][0], X.numpy())


def test_grad_nests():
    x = X[0]
    close(func.grad(func.grad(func.grad(lambda t: t**4)))(x), 24 * x.numpy())
    # The inner derivative is taken with respect to its own argument only.
    close(func.grad(lambda t: t * func.grad(lambda s: s * t)(t))(x), 2 * x.numpy())


def test_grad_leaves_the_callers_tape_alone():
    weight = flambeau.tensor(2.0, requires_grad=True)
    gradient = func.grad(lambda t: weight * t**2)(flambeau.tensor(3.0))
    gradient.backward()
    assert weight.grad.item() == 6.0
    outer = X.clone().requires_grad_()
    func.grad(cubes)(outer).sum().backward()
    close(outer.grad, 6 * X.numpy())


def test_grad_wants_a_scalar():
    with pytest.raises(RuntimeError, match=r"grad: Expected f\(\*args\) to return a scalar tensor, got \[3\]"):
        func.grad(lambda x: x * 2)(X)
    with pytest.raises(RuntimeError, match="argnums=3, but only 1 positional"):
        func.grad(cubes, argnums=3)(X)


def test_vjp_and_jvp():
    output, pull_back = func.vjp(lambda x, y: (x * y, x.sin()), X, Y)
    close(output[1], np.sin(X.numpy()))
    first, second = pull_back((Y, X))
    close(first, Y.numpy() ** 2 + X.numpy() * np.cos(X.numpy()))
    close(second, X.numpy() * Y.numpy())
    output, tangent = func.jvp(lambda x: x.sin() * Y, (X,), (Y,))
    close(output, np.sin(X.numpy()) * Y.numpy())
    close(tangent, np.cos(X.numpy()) * Y.numpy() ** 2)
    # A result that is linear in one argument and constant in the other.
    close(func.jvp(lambda x, y: y * 2, (X, Y), (X, Y))[1], 2 * Y.numpy())


def test_jacobians_and_hessian():
    x = X.numpy()
    for jacobian in (func.jacrev, func.jacfwd):
        close(jacobian(lambda x: x.sin())(X), np.diag(np.cos(x)))
        rows, columns = jacobian(lambda x, y: x.outer(y), argnums=(0, 1))(X, Y)
        assert rows.shape == columns.shape == (3, 3, 3)
        close(rows, np.einsum("ik,j->ijk", np.eye(3), Y.numpy()))
        named = jacobian(lambda x: {"sum": x.sum(), "twice": 2 * x})(X)
        close(named["sum"], np.ones(3))
        close(named["twice"], 2 * np.eye(3))
    close(func.hessian(cubes)(X), np.diag(6 * x))
    close(func.jacfwd(func.jacrev(cubes))(X), np.diag(6 * x))


def test_vmap():
    batch = flambeau.stack([X, Y])
    close(func.vmap(flambeau.dot)(batch, batch), (batch.numpy() ** 2).sum(1))
    close(
        func.vmap(lambda a, b: a + b, in_dims=(1, None), out_dims=1)(batch, X[:2]), batch.numpy() + X.numpy()[:2, None]
    )
    close(func.vmap(func.grad(cubes))(batch), 3 * batch.numpy() ** 2)
    close(func.vmap(func.vmap(lambda t: t * t))(batch), batch.numpy() ** 2)
    close(func.vmap(lambda d: d["a"].sum(), in_dims=({"a": 0},))({"a": batch}), batch.numpy().sum(1))
    with pytest.raises(ValueError, match=r"got sizes \[2, 3\]"):
        func.vmap(lambda a, b: a)(batch, X)
    with pytest.raises(ValueError, match="at least one argument"):
        func.vmap(lambda a: a, in_dims=None)(batch)


def test_modules_as_functions():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    before = dict(net.named_parameters())
    zeros = {name: flambeau.zeros_like(p) for name, p in before.items()}
    assert func.functional_call(net, zeros, X).item() == 0
    assert all(p is before[name] for name, p in net.named_parameters())
    gradient = func.grad(lambda p: func.functional_call(net, p, (X,)).sum())({k: p.detach() for k, p in before.items()})
    net(X).sum().backward()
    for name, p in net.named_parameters():
        close(gradient[name], p.grad.numpy())
    with pytest.raises(RuntimeError, match=r"no parameter or buffer named \['bias'\]"):
        func.functional_call(net, {"bias": X}, X)
    with pytest.raises(RuntimeError, match="missing key"):
        func.functional_call(net, {"0.bias": zeros["0.bias"]}, X, strict=True)


def test_an_ensemble_of_modules():
    nets = [nn.Linear(3, 2).double() for _ in range(4)]
    parameters, buffers = func.stack_module_state(nets)
    assert parameters["weight"].shape == (4, 2, 3) and parameters["weight"].requires_grad and not buffers
    outputs = func.vmap(lambda p: func.functional_call(nets[0], p, (X,)))(parameters)
    close(outputs, np.stack([net(X).detach().numpy() for net in nets]))


def test_shared_parameters_stay_shared():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(2, 2, bias=False)
            self.two = self.one

        def forward(self, x):
            return self.one(self.two(x))

    double = {"one.weight": 2 * flambeau.eye(2)}
    assert func.functional_call(Shared(), double, flambeau.ones(2)).tolist() == [4.0, 4.0]


def test_derivatives_at_a_point():
    x, y = X.numpy(), Y.numpy()
    close(functional.jacobian(lambda x: x.sin(), X), np.diag(np.cos(x)))
    (a, b) = functional.jacobian(lambda x, y: x * y, (X, Y))
    close(a, np.diag(y))
    close(b, np.diag(x))
    ((aa, ab), (ba, bb)) = functional.hessian(lambda x, y: (x**2 * y).sum(), (X, Y))
    close(aa, np.diag(2 * y))
    close(ab, np.diag(2 * x))
    close(ba, np.diag(2 * x))
    close(bb, np.zeros((3, 3)))
    close(functional.vjp(lambda x: x.sin(), X, Y)[1], np.cos(x) * y)
    close(functional.jvp(lambda x: x.sin(), X, Y)[1], np.cos(x) * y)
    for product in (functional.hvp, functional.vhp):
        value, found = product(cubes, X, Y)
        close(value, (x**3).sum())
        close(found, 6 * x * y)
    with pytest.raises(RuntimeError, match="independent"):
        functional.jacobian(lambda x: Y * 1, X, strict=True)
