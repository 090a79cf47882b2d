"""gradcheck and gradgradcheck: they pass what is right and name what is wrong."""

from __future__ import annotations

import pytest

import flambeau
from flambeau.autograd import Function, gradcheck, gradgradcheck
from flambeau.autograd.finite_differences import GradcheckError


def leaf(*shape, dtype=flambeau.float64):
    return flambeau.randn(*shape, dtype=dtype).requires_grad_()


class Off(Function):
    """The square, whose gradient forgets the factor 2."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("dtype", [flambeau.float64, flambeau.complex128])
def test_right_gradients_pass(dtype, fast_mode):
    x, y = leaf(2, 3, dtype=dtype), leaf(3, dtype=dtype)
    for function in (lambda x, y: x * y, lambda x, y: (x.exp(), y.sum()), lambda x, y: (x * y).abs()):
        assert gradcheck(function, (x, y), fast_mode=fast_mode)
        assert gradgradcheck(function, (x, y), fast_mode=fast_mode)


def test_other_arguments_integers_and_non_contiguous_tensors_pass():
    x = leaf(3, 2)
    assert gradcheck(lambda x, i, n: x[i] * n, (x, flambeau.tensor([2, 0]), 3))
    assert gradcheck(lambda x: x.sin(), (x.detach().t().requires_grad_(),))
    assert gradcheck(lambda x: (x.sum(), x.argmax()), x)
    assert gradgradcheck(lambda x: x**3, x, gen_non_contig_grad_outputs=True)
    assert gradcheck(lambda x: x.exp(), x, check_batched_grad=True)


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_wrong_gradient_is_named(fast_mode):
    x, y = leaf(2), leaf(2)
    with pytest.raises(GradcheckError, match="mismatch for output 1 with respect to input 1"):
        gradcheck(lambda x, y: (x + y, x + Off.apply(y)), (x, y), fast_mode=fast_mode)
    assert not gradcheck(Off.apply, x, raise_exception=False, fast_mode=fast_mode)


def test_the_message_shows_both_jacobians():
    x = flambeau.tensor([3.0], dtype=flambeau.float64, requires_grad=True)
    with pytest.raises(GradcheckError) as error:
        gradcheck(Off.apply, x)
    text = str(error.value)
    assert "the largest difference, 3, is at output element 0 and input element 0" in text
    assert "analytical 3, numerical 6" in text
    assert "numerical (outputs x inputs):\n[[6." in text


def test_a_result_cut_off_from_its_input_is_found():
    with pytest.raises(
        GradcheckError, match="Output 0 does not require gradient, but numerically it depends on input 0"
    ):
        gradcheck(lambda x: x.detach() * 2, leaf(2))


def test_a_backward_pass_that_differs_between_runs_is_found():
    class Unsteady(Function):
        runs = 0

        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, g):
            Unsteady.runs += 1
            return g * (1 + 1e-3 * Unsteady.runs)

    with pytest.raises(GradcheckError, match="Backward is not reentrant"):
        gradcheck(Unsteady.apply, leaf(2), atol=1, rtol=1)


def test_wrong_calls_are_refused():
    with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
        gradcheck(lambda x: x * 2, flambeau.zeros(2))
    with pytest.raises(NotImplementedError, match="forward-mode differentiation is not available"):
        gradcheck(lambda x: x * 2, leaf(2), check_forward_ad=True)
    with pytest.warns(UserWarning, match="input 0 requires gradient and is of flambeau.float32, not double precision"):
        gradcheck(lambda x: x * 2, leaf(2, dtype=flambeau.float32), eps=1e-2, atol=1e-2)


def test_second_gradients_that_are_wrong_are_found():
    class Frozen(Function):
        """The cube, whose gradient is right and is not differentiated."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x.detach() ** 2

    x = leaf(3)
    assert gradcheck(Frozen.apply, x)
    with pytest.raises(GradcheckError, match="mismatch for output 0 with respect to input 0"):
        gradgradcheck(Frozen.apply, x)
