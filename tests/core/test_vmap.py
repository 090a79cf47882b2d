"""``vmap``: what the conformance kit's comparison of every op with a loop does not show."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau
from flambeau import func, levels, nn
from flambeau.levels import rules
from flambeau.ops.declare import OPS, composite

Tensor = flambeau.Tensor
RNG = np.random.default_rng(0)
A = flambeau.tensor(RNG.standard_normal((5, 3)))
B = flambeau.tensor(RNG.standard_normal((5, 3)))
W = flambeau.tensor(RNG.standard_normal((4, 3)))


def close(one, other, **options):
    other = other.detach().numpy() if isinstance(other, flambeau.Tensor) else np.asarray(other)
    np.testing.assert_allclose(one.detach().numpy(), other, rtol=1e-9, atol=1e-11, **options)


# -- one call for the whole batch ------------------------------------------------------------------------------------


def test_the_function_is_called_once_with_the_shape_of_an_example():
    seen = []

    def f(x):
        seen.append((tuple(x.shape), x.dtype, x.device, x.numel(), len(x)))
        return x.exp()

    close(flambeau.vmap(f)(A), np.exp(A.numpy()))
    assert seen == [((3,), flambeau.float64, flambeau.device("cpu"), 3, 3)]
    assert flambeau.vmap is func.vmap


def test_no_rule_of_ours_goes_example_by_example():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("sort", "cumprod", "linalg_svd", "linalg_eigh", "linalg_solve", "convolution", "topk"):
            assert name in rules.RULES or rules._derived(OPS[name]), name


def test_an_op_without_a_rule_is_looped_over_and_says_so_once(monkeypatch):
    monkeypatch.setattr(rules, "_told", set())
    op = OPS["erf"]
    mapped = levels.Level(flambeau.device("cpu"), 5, "error")
    array = mapped.hold(A._array, True)
    with pytest.warns(UserWarning, match="vmap: there is no batching rule for erf: it is computed example by example"):
        result = rules.example_by_example(op, mapped, [array])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rules.example_by_example(op, mapped, [array])
    assert result.mapped and result.shape == (3,)
    np.testing.assert_array_equal(result.value, flambeau.erf(A).numpy())


def test_ops_of_plugins_are_mapped_too():
    @composite(public=())
    def plus_one_twice(xp, input: Tensor):
        """Return ``input + 2``."""
        return xp.add(xp.add(input, 1.0), 1.0)

    try:
        flambeau.ops.install_new()
        flambeau.dispatch.refreeze()
        close(func.vmap(flambeau.ops.plus_one_twice)(A), A.numpy() + 2)
    finally:
        del OPS["plus_one_twice"]
        flambeau.dispatch.refreeze()


# -- dims ------------------------------------------------------------------------------------------------------------


def test_in_dims_and_out_dims():
    a, b = A.numpy(), B.numpy()
    close(func.vmap(lambda x, y: x + y, in_dims=(1, None), out_dims=1)(A, B[:, 0]), a + b[:, :1])
    close(func.vmap(lambda x: x.sum(), in_dims=-1)(A), a.sum(0))
    close(func.vmap(lambda x: flambeau.outer(x, x), out_dims=-1)(A), np.einsum("bi,bj->ijb", a, a))
    first, second = func.vmap(lambda x: (x, x[:2, None] * x), out_dims=(1, 2))(A)
    close(first, a.T)
    assert second.shape == (2, 3, 5)
    nested = func.vmap(lambda d, pair: {"x": d["a"] * pair[1]}, in_dims=({"a": 0, "b": None}, (None, 1)))
    close(nested({"a": A, "b": 3}, [1, B.T])["x"], a * b)
    close(func.vmap(lambda x, *, scale: x * scale)(A, scale=W[0]), a * W[0].numpy())  # keyword arguments are shared
    kept, same = func.vmap(lambda x: (x, W.sum()), out_dims=(0, None))(A)
    assert kept.shape == (5, 3) and same.shape == ()


def test_a_result_that_no_example_changes_is_repeated():
    result = func.vmap(lambda x: W)(A)
    assert result.shape == (5, 4, 3)
    result[0] = 0.0  # it has a memory of its own
    assert (W.numpy() != 0).all() and (result[1].numpy() == W.numpy()).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: func.vmap(lambda x, y: x)(A, W), r"same size in the mapped dimension, got sizes \[5, 4\]"),
        (lambda: func.vmap(lambda x: x, in_dims=None)(A), "at least one argument has to be a tensor to map over"),
        (lambda: func.vmap(lambda x: x, in_dims=2)(A), "got in_dim=2 for an input of dimensionality 2"),
        (lambda: func.vmap(lambda x, n: x)(A, 3), "got in_dim=0 for an input of the type int"),
        (lambda: func.vmap(lambda x, y: x, in_dims=(0,))(A, B), "in_dims=.* is not compatible with the structure"),
        (lambda: func.vmap(lambda x: x, out_dims=(0, 0))(A), "out_dims=.* is not compatible with the structure"),
        (lambda: func.vmap(lambda x: 3)(A), "must only return Tensors, got type int"),
        (lambda: func.vmap(lambda x: x, out_dims=None)(A), "differs from example to example, so its out_dim"),
        (lambda: func.vmap(lambda: A)(), "got no inputs"),
        (lambda: func.vmap(lambda x: x, chunk_size=0), "chunk_size should be None or greater than 0"),
    ],
)
def test_wrong_dims(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_chunks():
    whole = func.vmap(lambda x, y: (x * y, x.sum()), out_dims=(1, 0))(A, B)
    for size in (1, 2, 5, 9):
        parts = func.vmap(lambda x, y: (x * y, x.sum()), out_dims=(1, 0), chunk_size=size)(A, B)
        for one, other in zip(parts, whole, strict=True):
            close(one, other)
    close(func.jacrev(flambeau.exp, chunk_size=2)(A[0]), np.diag(np.exp(A[0].numpy())))
    close(func.jacfwd(flambeau.exp, chunk_size=2)(A[0]), np.diag(np.exp(A[0].numpy())))


# -- nesting ---------------------------------------------------------------------------------------------------------


def test_vmap_nests():
    a, w = A.numpy(), W.numpy()
    close(func.vmap(func.vmap(flambeau.dot, in_dims=(None, 0)), in_dims=(0, None))(A, W), a @ w.T)
    close(func.vmap(lambda x: func.vmap(lambda y: x * y)(W))(A), a[:, None] * w)
    # The inner call maps over what the outer one does not, and closes over what it does.
    close(func.vmap(lambda x: func.vmap(lambda y: y.sum() + x)(W).sum(0))(A), w.sum() + 4 * a)


def test_derivatives_inside_and_outside():
    def loss(w, x):
        return (w @ x).tanh().square().sum()

    each = func.vmap(func.grad(loss), in_dims=(None, 0))(W, A)
    close(each, np.stack([func.grad(loss)(W, x).numpy() for x in A]))
    close(func.grad(lambda w: func.vmap(lambda x: loss(w, x))(A).sum())(W), each.sum(0))
    weight = W.clone().requires_grad_()
    func.vmap(lambda x: loss(weight, x))(A).sum().backward()
    close(weight.grad, each.sum(0))
    second = func.vmap(func.hessian(loss, argnums=1), in_dims=(None, 0))(W, A)
    close(second, np.stack([func.jacrev(func.grad(loss, 1), 1)(W, x).numpy() for x in A]))
    tangents = func.vmap(lambda x, t: func.jvp(lambda x: loss(W, x), (x,), (t,))[1])(A, B)
    close(tangents, [float(func.grad(loss, 1)(W, x) @ t) for x, t in zip(A, B, strict=True)])


def test_a_tape_of_one_vmap_inside_of_another():
    # The inner vmap has ended when jacrev maps over its rows.
    def gradients(w):
        return func.vmap(func.grad(lambda x: (w @ x).sin().sum()))(A)

    found = func.jacrev(gradients)(W)
    step = 1e-6
    moved = W.clone()
    moved[1, 2] += step
    close_to = (gradients(moved) - gradients(W)) / step
    np.testing.assert_allclose(found[:, :, 1, 2].numpy(), close_to.numpy(), atol=1e-4)
    close(func.jacfwd(gradients)(W), found)
    close(func.vmap(func.jacrev(gradients))(flambeau.stack([W, -W]))[0], found)


def test_gradients_flow_to_closures_through_derivatives():
    weight = W[0].clone().requires_grad_()
    _, tangent = func.jvp(lambda x: x * weight, (A[0],), (B[0],))
    tangent.sum().backward()
    close(weight.grad, B[0])
    weight.grad = None
    _, pull_back = func.vjp(lambda x: x * weight, A[0])
    pull_back(B[0]).sum().backward()
    close(weight.grad, B[0])


def test_what_is_shared_gets_the_sum_of_the_gradients():
    close(func.grad(lambda w: func.vmap(lambda x: w)(A).sum())(W), np.full((4, 3), 5.0))
    close(func.grad(lambda w: func.vmap(lambda x: w.sum(), out_dims=None)(A))(W), np.ones((4, 3)))


# -- what cannot be done for all examples at once --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: x if x.sum() > 0 else -x, "data-dependent control flow"),
        (lambda x: x * x.sum().item(), "data-dependent control flow"),
        (lambda x: x[x > 0], "depends on the values"),
        (lambda x: flambeau.zeros(3, dtype=flambeau.float64).add_(x), "add_ is not possible"),
        (lambda x: flambeau.zeros(3, dtype=flambeau.float64).copy_(x), "copy_ is not possible"),
        (lambda x: flambeau.exp(x, out=flambeau.zeros(3, dtype=flambeau.float64)), "with out= is not possible"),
        (lambda x: flambeau.rand(3), "random operation random_uniform while in randomness error mode"),
    ],
)
def test_what_raises(f, message):
    with pytest.raises(RuntimeError, match=message):
        func.vmap(f)(A)


def test_the_ops_that_cannot_be_mapped_raise():
    for name in ("nonzero", "argwhere", "unique"):
        with pytest.raises(RuntimeError, match="vmap: nonzero"):
            func.vmap(getattr(flambeau, name))(A)


def test_the_values_of_what_is_shared_may_be_asked_for():
    close(func.vmap(lambda x: x * W.sum().item() if W[0, 0] < 100 else x)(A), A.numpy() * W.sum().item())


def test_in_place_operations():
    def f(x):
        y = x.clone()
        y[0] = 1.0
        y[1:].mul_(x[0])
        y += x
        return y

    close(func.vmap(f)(A), np.stack([f(x).numpy() for x in A]))
    close(func.vmap(func.grad(lambda x: f(x).sum()))(A), np.stack([func.grad(lambda x: f(x).sum())(x) for x in A]))
    made = func.vmap(lambda x: x.new_zeros(2).copy_(x[:2]))(A)
    close(made, A.numpy()[:, :2])
    given = A.clone()
    func.vmap(lambda x: x.mul_(2))(given)  # seen outside, as in PyTorch
    close(given, 2 * A.numpy())


def test_a_mapped_tensor_prints():
    text = []
    func.vmap(lambda x: text.append(repr(x)) or x)(A[:2, :1])
    assert text[0].startswith("MappedTensor(level=1, value=tensor([[") and "dtype=flambeau.float64" in text[0]
    whole = []
    func.vmap(lambda x: whole.append(func.debug_unwrap(x)) or x)(A)
    close(whole[0], A)


# -- random numbers --------------------------------------------------------------------------------------------------


def test_randomness():
    draws = {
        "rand": lambda x: flambeau.rand(4),
        "randn_like": flambeau.randn_like,
        "randint": lambda x: flambeau.randint(0, 1 << 40, (4,)),
        "randperm": lambda x: flambeau.randperm(20),
        "dropout": lambda x: nn.functional.dropout(flambeau.ones(40), 0.5),
    }
    for name, draw in draws.items():
        different = func.vmap(draw, randomness="different")(A)
        assert (different[0] != different[1]).any(), name
        same = func.vmap(draw, randomness="same", chunk_size=2)(A)
        assert (same == same[0]).all(), name
        assert different.shape == same.shape == (5, *draw(A[0]).shape)
    assert (func.vmap(draws["randperm"], randomness="different")(A).sort(1)[0] == flambeau.arange(20)).all()
    outer = func.vmap(lambda x: func.vmap(lambda y: flambeau.rand(2), randomness="same")(W), randomness="different")(A)
    assert (outer[:, 0] == outer[:, 1]).all() and (outer[0] != outer[1]).any()


# -- modules ---------------------------------------------------------------------------------------------------------


def per_example_gradients(net, inputs, targets):
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters, x, target):
        return nn.functional.cross_entropy(func.functional_call(net, parameters, (x[None],)), target[None])

    mapped = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(parameters, inputs, targets)
    rows = [func.grad(loss)(parameters, x, t) for x, t in zip(inputs, targets, strict=True)]
    return mapped, {name: flambeau.stack([row[name] for row in rows]) for name in parameters}


@pytest.mark.parametrize("kind", ["mlp", "cnn", "transposed", "norms"])
def test_per_example_gradients(kind):
    flambeau.manual_seed(0)
    net = {
        "mlp": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 5)),
        "cnn": lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, groups=2), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(4, 5),
        ),
        "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(1, 2, 3, stride=2), nn.Tanh(), nn.Flatten(),
                                            nn.Linear(2 * 17 * 17, 5)),
        "norms": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.GroupNorm(2, 8),
                                       nn.Linear(8, 5)),
    }[kind]().double()  # fmt: skip
    inputs = flambeau.randn(6, 1, 8, 8, dtype=flambeau.float64)
    mapped, loop = per_example_gradients(net, inputs, flambeau.randint(0, 5, (6,)))
    for name, gradient in loop.items():
        close(mapped[name], gradient, err_msg=name)


def test_batch_norm_in_training_raises_until_it_is_replaced():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    inputs = A.reshape(5, 1, 3).expand(5, 2, 3) * flambeau.tensor([[1.0], [2.0]], dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match="share"):
        func.vmap(net)(inputs)
    assert func.replace_all_batch_norm_modules_(net) is net and net[1].running_mean is None
    close(func.vmap(net)(inputs), np.stack([net(x).detach().numpy() for x in inputs]))


def test_an_ensemble_trains_as_its_members_do():
    flambeau.manual_seed(0)
    nets = [nn.Sequential(nn.Conv1d(1, 2, 2), nn.Flatten(), nn.Linear(4, 2)).double() for _ in range(3)]
    parameters, buffers = func.stack_module_state(nets)
    inputs = A.unsqueeze(1)

    def loss(parameters, buffers):
        return func.functional_call(nets[0], (parameters, buffers), (inputs,)).square().mean()

    func.vmap(loss)(parameters, buffers).sum().backward()
    for i, net in enumerate(nets):
        net(inputs).square().mean().backward()
        for name, parameter in net.named_parameters():
            close(parameters[name].grad[i], parameter.grad)


def test_embeddings_and_recurrent_layers():
    flambeau.manual_seed(0)
    table, lstm = nn.Embedding(11, 4).double(), nn.LSTM(4, 3, batch_first=True).double()
    words = flambeau.randint(0, 11, (5, 2, 6))

    def f(sequence):
        return lstm(table(sequence))[0][:, -1]

    close(func.vmap(f)(words), np.stack([f(w).detach().numpy() for w in words]))


# -- forward mode, and the rest of func ------------------------------------------------------------------------------


def test_linearize():
    value, along = func.linearize(lambda x, y: (x * y, x.sin()), A[0], B[0])
    x, y = A[0].numpy(), B[0].numpy()
    close(value[0], x * y)
    for t in (A[1], B[1]):
        first, second = along(t, B[0])
        close(first, t.numpy() * y + x * y)
        close(second, np.cos(x) * t.numpy())
    with pytest.raises(RuntimeError, match=r"a tangent has the shape \[4\] and its primal \[3\]"):
        along(flambeau.ones(4), B[0])


def test_functionalize_is_the_function():
    def f(x):
        y = x.clone()
        y.add_(1)
        return y

    assert func.functionalize(f) is f
    with pytest.raises(RuntimeError, match="remove has to be"):
        func.functionalize(f, remove="everything")


def test_dual_tensors():
    from flambeau.autograd import forward_ad

    x, t = A[0], B[0]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, t)
        primal, tangent = forward_ad.unpack_dual(dual)
        close(primal, x)
        close(tangent, t)
        result = forward_ad.unpack_dual((dual.sin() * W[0]).sum())
        close(result.tangent, (np.cos(x.numpy()) * t.numpy() * W[0].numpy()).sum())
        assert not result.tangent.requires_grad and not result.primal.requires_grad
        assert forward_ad.unpack_dual(W).tangent is None
        with pytest.raises(RuntimeError, match="Nested forward mode"):
            forward_ad.enter_dual_level()
        with pytest.raises(RuntimeError, match=r"the tangent has the shape \[4, 3\]"):
            forward_ad.make_dual(x, W)
        with pytest.raises(ValueError, match="Expected primal to be floating point"):
            forward_ad.make_dual(flambeau.arange(3), t)
    with pytest.raises(RuntimeError, match="no level exists"):
        forward_ad.make_dual(x, t)
    weight = W[0].clone().requires_grad_()
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(forward_ad.make_dual(x, t) * weight).tangent
    tangent.sum().backward()  # reverse over forward
    close(weight.grad, t)


def test_a_batch_of_gradients_and_vectorized_jacobians():
    x = A[0].clone().requires_grad_()
    y = W[0].clone().requires_grad_()
    units = flambeau.eye(3, dtype=flambeau.float64)
    dx, dy = flambeau.autograd.grad(x**3, (x, y), units, is_grads_batched=True, allow_unused=True)
    close(dx, np.diag(3 * A[0].numpy() ** 2))
    assert dy is None
    for f in (lambda x: x.exp().cumsum(0), lambda x: (x * x, x.sum())):
        one = flambeau.autograd.functional.jacobian(f, A[0])
        other = flambeau.autograd.functional.jacobian(f, A[0], vectorize=True)
        for a, b in zip(*[j if isinstance(j, tuple) else (j,) for j in (one, other)], strict=True):
            close(a, b)
