"""The backward pass: values, graph life, hooks, modes, errors."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import flambeau
from flambeau import autograd


def leaf(*values):
    return flambeau.tensor(values, dtype=flambeau.float64, requires_grad=True)


def test_gradient_of_a_polynomial():
    x = leaf(1.0, 2.0, 3.0)
    (x**3 - 2 * x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1.0, 10.0, 25.0])


def test_gradients_accumulate_until_they_are_reset():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
    assert x.grad.tolist() == [6.0, 12.0]
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_tensor_used_several_times_gets_the_sum():
    x = leaf(2.0)
    y = x * 3
    (y * y + y + x).sum().backward()
    assert x.grad.tolist() == [2 * 9 * 2 + 3 + 1]


def test_both_operands_of_add_get_gradients_of_their_own():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    a.grad.mul_(10)
    assert b.grad.tolist() == [1.0, 1.0]


def test_gradient_of_an_expanded_tensor_is_writable():
    x = leaf(1.0, 2.0, 3.0)
    x.sum().backward()
    x.grad[0] = 7
    assert x.grad.tolist() == [7.0, 1.0, 1.0]


def test_broadcasting_is_undone():
    a = flambeau.ones(3, 1, 2, dtype=flambeau.float64, requires_grad=True)
    b = flambeau.ones(4, 1, dtype=flambeau.float64, requires_grad=True)
    (a * b).sum().backward()
    assert a.grad.shape == (3, 1, 2) and b.grad.shape == (4, 1)
    np.testing.assert_allclose(a.grad.numpy(), 4)
    np.testing.assert_allclose(b.grad.numpy(), 6)


def test_gradient_comes_back_in_the_dtype_of_the_input():
    x = flambeau.ones(3, dtype=flambeau.float16, requires_grad=True)
    (x * flambeau.ones(3, dtype=flambeau.float64)).sum().backward()
    assert x.grad.dtype is flambeau.float16


def test_second_and_third_derivatives():
    x = leaf(0.5, 1.5)
    (first,) = autograd.grad((x**4).sum(), x, create_graph=True)
    (second,) = autograd.grad(first.sum(), x, create_graph=True)
    (third,) = autograd.grad(second.sum(), x)
    np.testing.assert_allclose(first.detach().numpy(), 4 * np.array([0.5, 1.5]) ** 3)
    np.testing.assert_allclose(second.detach().numpy(), 12 * np.array([0.5, 1.5]) ** 2)
    np.testing.assert_allclose(third.numpy(), 24 * np.array([0.5, 1.5]))


def test_backward_with_create_graph_gives_gradients_with_a_history():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = autograd.grad(x.grad.sum(), x)
    assert second.tolist() == [12.0]


def test_grad_with_respect_to_an_intermediate_result():
    x = leaf(2.0)
    y = x * x
    z = y.exp() + y
    (gy,) = autograd.grad(z.sum(), y, retain_graph=True)
    np.testing.assert_allclose(gy.numpy(), np.exp([4.0]) + 1)
    gx, gy = autograd.grad(z.sum(), [x, y])
    np.testing.assert_allclose(gx.numpy(), (np.exp([4.0]) + 1) * 4)
    assert x.grad is None


def test_grad_of_one_of_several_outputs():
    x = flambeau.arange(6.0, dtype=flambeau.float64).reshape(2, 3).requires_grad_()
    values, indices = (x * 2).sort(1, descending=True)
    (g,) = autograd.grad((values * flambeau.tensor([1.0, 2.0, 3.0])).sum(), values, retain_graph=True)
    assert g.tolist() == [[1.0, 2.0, 3.0]] * 2
    assert not indices.requires_grad
    (g,) = autograd.grad((values * flambeau.tensor([1.0, 2.0, 3.0])).sum(), x)
    assert g.tolist() == [[6.0, 4.0, 2.0]] * 2


def test_unused_inputs():
    x, y = leaf(1.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        autograd.grad(x.sum(), [x, y])
    assert autograd.grad(x.sum(), [x, y], allow_unused=True)[1] is None
    assert autograd.grad(x.sum(), [x, y], allow_unused=True, materialize_grads=True)[1].tolist() == [0.0]


def test_backward_for_chosen_inputs_only():
    x, y = leaf(1.0), leaf(2.0)
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [2.0] and y.grad is None


def test_batched_cotangents_give_the_jacobian():
    x = leaf(1.0, 2.0, 3.0)
    (jacobian,) = autograd.grad(x**2, x, flambeau.eye(3, dtype=flambeau.float64), is_grads_batched=True)
    np.testing.assert_allclose(jacobian.numpy(), np.diag([2.0, 4.0, 6.0]))


def test_a_chain_of_100_000_operations():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-5
    y.sum().backward()
    assert x.grad.tolist() == [1.0]


def test_what_was_saved_is_released_as_the_pass_goes():
    x = leaf(*range(10))
    y = (x * 2).exp()
    kept = y.grad_fn
    y.sum().backward()
    assert kept.saved is None


def test_a_graph_that_nobody_needs_is_freed_without_the_collector():
    gc.disable()
    try:
        x = leaf(1.0)
        y = (x * 2).exp()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_backward_twice_needs_retain_graph():
    x = leaf(2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [8.0]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_only_scalars_have_a_gradient_without_a_cotangent():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"grad can be implicitly created only for scalar outputs.*\[2\]"):
        (x * 2).backward()
    (x * 2).backward(flambeau.tensor([1.0, 10.0], dtype=flambeau.float64))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of \[3\]"):
        (x * 2).backward(flambeau.ones(3, dtype=flambeau.float64))


def test_backward_of_what_needs_none():
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        flambeau.ones(1).backward()


@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_integers_cannot_require_grad(dtype):
    with pytest.raises(
        RuntimeError, match=f"floating point and complex dtype can require gradients, this one is {dtype}"
    ):
        flambeau.ones(2, dtype=getattr(flambeau, dtype)).requires_grad_()


def test_hooks_see_and_replace_gradients():
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward(retain_graph=True)
    assert seen == [[1.0, 1.0]]
    assert x.grad.tolist() == [21.0, 21.0]
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_leaf_hook_sees_the_total():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [5.0]


def test_retain_grad():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6.0, 12.0]


def test_post_accumulate_hook():
    x = leaf(1.0)
    seen = []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.item()))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    assert seen == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_node_hooks():
    x = leaf(3.0)
    y = x * x
    seen = []
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append((inputs[0].item(), outputs[0].item())))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.sum().backward()
    assert seen == [(6.0, 2.0)]
    assert x.grad.tolist() == [12.0]


def test_modes_as_context_managers_and_decorators():
    x = leaf(1.0)
    with flambeau.no_grad():
        assert not (x * 2).requires_grad
        with flambeau.enable_grad():
            assert (x * 2).requires_grad
    with flambeau.inference_mode():
        assert not (x * 2).requires_grad and flambeau.is_inference_mode_enabled()
    with flambeau.set_grad_enabled(False):
        assert not flambeau.is_grad_enabled()
    assert flambeau.is_grad_enabled()

    @flambeau.no_grad()
    def quiet(t):
        return t * 2

    @flambeau.no_grad()
    def numbers():
        yield x * 2
        yield x * 3

    assert not quiet(x).requires_grad
    for produced in numbers():
        assert not produced.requires_grad
        assert flambeau.is_grad_enabled()


def test_modes_are_per_thread():
    seen = []
    with flambeau.no_grad():
        thread = threading.Thread(target=lambda: seen.append(flambeau.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_backward_in_several_threads_accumulates_into_separate_leaves():
    leaves = [leaf(float(i)) for i in range(8)]

    def work(x):
        for _ in range(50):
            (x * x).sum().backward()

    threads = [threading.Thread(target=work, args=(x,)) for x in leaves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [x.grad.item() for x in leaves] == [100.0 * i for i in range(8)]


def test_anomaly_mode_shows_the_forward_call():
    x = leaf(-1.0)
    with autograd.detect_anomaly():
        broken = (x * 0).sqrt() * 0  # gradient 0 / 0
        with pytest.raises(RuntimeError, match=r"SqrtBackward0' returned nan values") as caught:
            broken.sum().backward()
    assert "broken = (x * 0).sqrt() * 0" in caught.value.__notes__[0]
    assert not autograd.is_anomaly_enabled()


def test_complex_gradients_follow_pytorch():
    z = flambeau.tensor([1 + 2j, 3 - 1j], dtype=flambeau.complex128, requires_grad=True)
    (z.abs() ** 2).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 2 * z.detach().numpy())


def test_deepcopy_and_pickle_keep_the_leaf():
    import copy
    import pickle

    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.requires_grad and twin.grad.tolist() == [2.0, 2.0]
    twin.grad.zero_()
    assert x.grad.tolist() == [2.0, 2.0]
    assert pickle.loads(pickle.dumps(x)).tolist() == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


# -- in place, views -------------------------------------------------------------------------------------------------


def test_views_alias_and_share_a_version():
    x = flambeau.zeros(2, 3)
    row = x[0]
    flat = x.view(6)
    row.add_(1)
    flat[5] = 9
    assert x.tolist() == [[1, 1, 1], [0, 0, 9]]
    assert x._version == row._version == flat._version


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[1],
        lambda t: t[:, 1:],
        lambda t: t.t(),
        lambda t: t.view(6)[2:5],
        lambda t: t.unsqueeze(0)[0, 1],
        lambda t: t.diagonal(),
        lambda t: t.as_strided((2, 2), (1, 2), 1),
        lambda t: t.T[1:].reshape(2, 2),
    ],
)
def test_in_place_on_a_view_is_differentiated_through_its_base(view):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 3))
    x = flambeau.tensor(data, requires_grad=True)
    base = x * 1
    part = view(base)
    part.mul_(3)
    part.add_(base.sum())
    weights = flambeau.tensor(rng.normal(size=(2, 3)))
    (base * weights).sum().backward()

    def value(array):
        base = flambeau.tensor(array)
        part = view(base)
        part.mul_(3)
        part.add_(base.sum())
        return (base * weights).sum().item()

    step = 1e-6
    expected = np.zeros_like(data)
    for index in np.ndindex(*data.shape):
        moved = data.copy()
        moved[index] += step
        low = data.copy()
        low[index] -= step
        expected[index] = (value(moved) - value(low)) / (2 * step)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6)


def test_a_view_made_before_its_base_was_changed_is_differentiated_as_it_is_now():
    x = leaf(1.0, 2.0, 3.0)
    base = x * 1
    part = base[1:]
    base.mul_(x)
    part.sum().backward()
    assert x.grad.tolist() == [0.0, 4.0, 6.0]


def test_in_place_history():
    x = leaf(0.5, 2.0)
    y = x * 2
    y.exp_()
    y *= x
    y.sum().backward()
    values = np.array([0.5, 2.0])
    np.testing.assert_allclose(x.grad.numpy(), np.exp(2 * values) * (1 + 2 * values))


def test_what_was_saved_must_not_change():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y.sin()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"saved by sin \(SinBackward0\) at version 0 and is at version 1"):
        z.sum().backward()
    y = x * 1
    part = y[:1]
    z = y * y
    part.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_no_change_to_a_leaf_in_place():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0:1].add_(1)
    with flambeau.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0]


def test_assignment_is_differentiated():
    x, value = leaf(1.0, 2.0, 3.0), leaf(10.0)
    y = x * 2
    y[1:2] = value * 3
    y[y > 100] = 0
    (y * y).sum().backward()
    assert x.grad.tolist() == [8.0, 0.0, 24.0]
    assert value.grad.tolist() == [2 * 30.0 * 3]


def test_in_place_cannot_grow_or_change_the_kind():
    with pytest.raises(RuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"):
        flambeau.ones(3).add_(flambeau.ones(2, 3))
    with pytest.raises(RuntimeError, match="result type float32 can't be cast to the desired output type int64"):
        flambeau.ones(3, dtype=flambeau.int64).add_(0.5)


def test_detach_shares_memory_and_version():
    x = leaf(1.0, 2.0)
    y = (x * x).detach()
    assert not y.requires_grad
    z = x * 1
    s = z.sin()
    z.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        s.sum().backward()


# -- Function, checkpoint --------------------------------------------------------------------------------------------


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return scale * x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * ctx.scale * x**2, None


def test_function_with_higher_derivatives():
    x = leaf(2.0)
    y = Cube.apply(x, 5.0)
    assert y.grad_fn.name() == "CubeBackward"
    (first,) = autograd.grad(y.sum(), x, create_graph=True)
    (second,) = autograd.grad(first.sum(), x)
    assert first.tolist() == [60.0] and second.tolist() == [60.0]


def test_function_with_several_outputs_and_setup_context():
    class SplitSign(autograd.Function):
        @staticmethod
        def forward(x):
            return x.clamp(min=0), x.clamp(max=0), x > 0

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0])
            ctx.mark_non_differentiable(output[2])

        @staticmethod
        def backward(ctx, up, down, mask):
            (x,) = ctx.saved_tensors
            return flambeau.where(x > 0, up, down)

    x = leaf(-1.0, 2.0)
    up, down, mask = SplitSign.apply(x)
    assert not mask.requires_grad
    (up * 2 + down * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 2.0]
    x.grad = None
    up, down, mask = SplitSign.apply(x)
    up.sum().backward()  # the other cotangent arrives as zeros
    assert x.grad.tolist() == [0.0, 1.0]


def test_function_errors():
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g

    a, b = leaf(1.0), leaf(2.0)
    with pytest.raises(
        RuntimeError, match=r"WrongBackward returned an incorrect number of gradients \(expected 2, got 1\)"
    ):
        Wrong.apply(a, b).sum().backward()

    class Changed(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            result = x * 1
            ctx.save_for_backward(result)
            return result

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    y = Changed.apply(a)
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_function_mark_dirty():
    class Doubled(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(3.0)
    y = x * 1
    z = Doubled.apply(y)
    assert z is y and z.tolist() == [6.0]
    z.sum().backward()
    assert x.grad.tolist() == [2.0]


def test_once_differentiable():
    class Once(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @autograd.once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    x = leaf(3.0)
    (first,) = autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    assert first.tolist() == [6.0]
    y = Once.apply(x * 2)
    (first,) = autograd.grad((y * y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        autograd.grad(first.sum(), x)


def test_checkpoint_gives_the_same_gradients_and_runs_again():
    from flambeau.utils.checkpoint import checkpoint, checkpoint_sequential

    calls = []
    scale = leaf(3.0)

    def block(x):
        calls.append(1)
        return flambeau.rand(2, dtype=flambeau.float64) * (x * x).sin() * scale

    x = leaf(0.3, 0.7)
    flambeau.manual_seed(5)
    block(x).sum().backward()
    expected, expected_scale = x.grad.tolist(), scale.grad.tolist()
    x.grad = scale.grad = None
    flambeau.manual_seed(5)
    calls.clear()
    y = checkpoint(block, x)
    assert len(calls) == 1
    y.sum().backward()
    assert len(calls) == 2
    assert x.grad.tolist() == expected and scale.grad.tolist() == expected_scale

    (first,) = autograd.grad(checkpoint(lambda t: t**4, x).sum(), x, create_graph=True)
    (second,) = autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), 12 * np.array([0.3, 0.7]) ** 2)

    chain = [lambda t: t * 2, lambda t: t.exp(), lambda t: t + 1, lambda t: t * t]
    plain = ((x * 2).exp() + 1) ** 2
    (reference,) = autograd.grad(plain.sum(), x)
    (got,) = autograd.grad(checkpoint_sequential(chain, 2, x).sum(), x)
    np.testing.assert_allclose(got.numpy(), reference.numpy())


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(2.0, 3.0)
    assert autograd.gradcheck(lambda t: (t * t).sin(), (x,))
    assert autograd.gradgradcheck(lambda t: (t * t).sin(), (x,))
    assert not autograd.gradcheck(Wrong.apply, (x,), raise_exception=False)


class Doubled(flambeau.autograd.Function):
    """Its gradient is a new array, of which only the address is kept."""

    made: list[int] = []

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        gradient = g * 2
        Doubled.made.append(gradient.data_ptr())
        return gradient


@pytest.mark.parametrize("hooked", [False, True])
def test_a_gradient_that_nobody_else_holds_is_not_copied(hooked):
    x = flambeau.randn(4, requires_grad=True)
    if hooked:
        x.register_post_accumulate_grad_hook(lambda tensor: None)
    Doubled.apply(x).sum().backward()
    assert x.grad.data_ptr() == Doubled.made.pop()


def test_leaves_that_are_given_one_array_get_gradients_of_their_own():
    x, y = flambeau.randn(4, requires_grad=True), flambeau.randn(4, requires_grad=True)
    cotangent = flambeau.ones(4)
    (x + y).backward(cotangent)
    assert len({x.grad.data_ptr(), y.grad.data_ptr(), cotangent.data_ptr()}) == 3


def test_no_grad_in_one_thread_is_no_matter_of_another() -> None:
    import threading

    x = flambeau.ones(2, requires_grad=True)
    inside, done = threading.Event(), threading.Event()
    found: list[bool] = []

    def silent() -> None:
        with flambeau.no_grad():
            inside.set()
            done.wait(10)
            found.extend([(x + x).requires_grad, x.exp().requires_grad, x.sum().requires_grad, (x @ x).requires_grad])
        found.append((x + x).requires_grad)

    thread = threading.Thread(target=silent)
    thread.start()
    inside.wait(10)
    here = [(x + x).requires_grad, x.exp().requires_grad, x.sum().requires_grad, (x @ x).requires_grad]
    done.set()
    thread.join()
    assert here == [True] * 4 and found == [False] * 4 + [True]
    with flambeau.no_grad():
        with flambeau.enable_grad():
            assert (x + x).requires_grad
        assert not (x + x).requires_grad
    with flambeau.inference_mode():
        assert not x.exp().requires_grad
    assert x.exp().requires_grad


def test_broadcasting_is_undone_on_every_way() -> None:
    row, column, number = (flambeau.ones(*shape, requires_grad=True) for shape in ((3,), (2, 1), ()))
    for function in (flambeau.add, flambeau.mul, flambeau.sub, flambeau.maximum, flambeau.atan2):
        for one, other in ((row, column), (column, row), (number, column), (row, number), (row, column.detach())):
            one.grad = other.grad = None
            function(one, other).sum().backward()
            assert one.grad is not None and one.grad.shape == one.shape
            assert (other.grad is None) == (not other.requires_grad)
            assert other.grad is None or other.grad.shape == other.shape
