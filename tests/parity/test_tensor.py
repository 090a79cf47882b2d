"""The tensor itself beside PyTorch's: subscripts, writing in place and through views, casts, memory layout."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

array = numpy.array
ALL = slice(None)


def normal(*shape: int, seed: int = 0) -> Any:
    return numpy.asarray(numpy.random.default_rng(seed + sum(shape)).normal(size=shape))


# -- subscripts ------------------------------------------------------------------------------------------------------

SUBSCRIPTS = [
    0, -1, slice(1, 3), (1, 2), (ALL, 1), (..., 1), None, (0, None), (slice(None, None, 2),), [0, 2], ([0, 1], [1, 2]),
    (ALL, [1, 1]), True, False, (True, 1), ([0, 1], None, [1, 2]), ([0, 1], ALL, None), (1, 2, 3), array([0, 1]),
    array([True, False, True, False]), ((0, 1), (1, 2)), [True, False, True, False], [], ([],), (slice(9, 12),),
    numpy.int64(1), (numpy.int32(1), ALL), slice(-100, 100), range(2), (None, [1], None), ([[0, 1]], [1, 2]),
    [[0, 1], [1, 2]], [slice(0, 1)], (0, [1, 2]), ([1, 2], 0), (..., None), (slice(0, 0),), (), ...,
    (0, [True, False, True, False, True]), ([1], ..., [0]), (ALL, None, [0, 1]),
    (slice(1, 3), [0, 1], slice(None, None, 2)),
]  # fmt: skip


@pytest.mark.parametrize("subscript", SUBSCRIPTS, ids=repr)
def test_subscripts(beside: Any, subscript: Any) -> None:
    def written(f: Any, x: Any) -> Any:
        y = x * 1
        y[subscript] = 7.0
        return y

    def written_from_a_tensor(f: Any, x: Any) -> Any:
        y = x * 1
        value = f.ones_like(x.detach()[subscript]).requires_grad_()
        y[subscript] = value * 3
        return y, f.autograd.grad((y * y).sum(), value, retain_graph=True)

    for values in (normal(4, 5), normal(4, 5, 2), normal(4, 3, 4, 2)):
        beside(lambda f, x: x[subscript], values, order=2, if_supported=True)
        # Where everything is overwritten PyTorch gives a gradient of zeros, Flambeau none.
        order = 0 if repr(subscript) in ("()", "Ellipsis", "True", "None", "slice(-100, 100, None)") else 1
        beside(written, values, order=order, aliasing=False, if_supported=True)
        beside(written_from_a_tensor, values, order=order, aliasing=False, if_supported=True)


@pytest.mark.parametrize(
    "subscript",
    [
        4,
        -5,
        (0, 9),
        [0, 9],
        1.5,
        (1, 2, 3),
        (ALL, ALL, 0),
        {},
        slice(None, None, -1),
        array([True, False]),
        [[True, False]],
    ],
    ids=repr,
)
def test_wrong_subscripts(beside: Any, subscript: Any) -> None:
    beside.refused(lambda f, x: x[subscript], normal(4, 5))
    beside.refused(lambda f, x: x.__setitem__(subscript, 1.0), normal(4, 5))


def test_subscripts_that_are_tensors(beside: Any) -> None:
    x, first, second = normal(4, 5), array([0, 1]), array([1, 2])
    rows = array([True, False, True, True])
    for call in (
        lambda f, x, i, j: x[i, j],
        lambda f, x, i, j: x[:, i],
        lambda f, x, i, j: x[i.int(), None],
        lambda f, x, i, j: (x[i[1]], x[0, i[1]], x[i[1] :], x[i[0] : j[1]]),
    ):
        beside(call, x, first, second, order=2)
    for call in (
        lambda f, x, m, i: x[m, 1:],
        lambda f, x, m, i: x[m, i],
        lambda f, x, m, i: x[None, m],
        lambda f, x, m, i: x[m.to(f.uint8)],
    ):
        beside(call, x, rows, array([0, 1, 2]), order=2)
    beside(lambda f, x, m: (x[..., m], x[:, :, m]), normal(2, 3, 4), rows, order=2)
    beside(lambda f, x, m: x[m], normal(2, 3, 4), normal(2, 3) > 0, order=2)
    beside.refused(lambda f, x, i: x[i], x, array([0.0, 1.0]))
    beside.refused(lambda f, x, m: x[m], normal(2, 3, 4), normal(3, 2) > 0)
    for subscript in ((), ..., None, True):
        beside(lambda f, x, subscript=subscript: x[subscript], normal(), order=2)
    beside.refused(lambda f, x: x[0], normal())


def test_what_is_written_is_broadcast_and_cast(beside: Any) -> None:
    def put(subscript: Any) -> Any:
        def call(f: Any, x: Any, value: Any) -> Any:
            y = x * 1
            y[subscript] = value
            return y

        return call

    for value in (normal(3), normal(2, 3), normal(1, 1, 3), normal(2, 1), normal()):
        beside(put((slice(1, 3), slice(None, None, 2))), normal(4, 5), value, order=1)
    whole = numpy.arange(4)
    for subscript in (0, slice(0, 2), [0, 1], array([True, True, False, False])):
        beside(put(subscript), whole, 2.7)
        beside(put(subscript), whole, array(1.5), if_supported=True)
    beside(put(slice(0, 2)), whole, array([1.5, 2.5]))
    beside(put(0), normal(4, 5), True)
    for value in (normal(4), normal(2, 2)):
        beside.refused(put((slice(1, 3), slice(None, None, 2))), normal(4, 5), value)


# -- in place --------------------------------------------------------------------------------------------------------


def test_in_place_chains(beside: Any) -> None:
    def chain(f: Any, x: Any) -> Any:
        return (x * 1).mul_(x).add_(1).div_(x).pow_(2).sub_(x, alpha=2).clamp_(-1, 5).neg_().exp_()

    def through_views(f: Any, x: Any) -> Any:
        y = x.clone()
        y[0].mul_(2)
        y.t()[1].add_(y[2, 0])
        y.diagonal().zero_()
        y.select(1, 2).copy_(x[:, 0])
        view = y.unsqueeze(0).squeeze(0).narrow(0, 1, 2)
        view.mul_(3)
        y.narrow(0, 0, 2).sin_()
        return y * view.sum()

    beside(chain, abs(normal(3)) + 1, order=2, aliasing=False)
    beside(through_views, normal(3, 4), order=2, aliasing=False)
    for name in ("exp_", "sqrt_", "neg_", "sigmoid_", "abs_", "round_", "zero_", "tanh_", "square_"):
        beside(
            lambda f, x, name=name: getattr(x * 1, name)(),
            abs(normal(3)) + 0.1,
            order=0 if name == "zero_" else 2,
            aliasing=False,
        )
    beside(lambda f, x, y: (x * 1).copy_(y) + x, normal(2, 3), normal(3), order=1, aliasing=False)
    beside(lambda f, x, y: (x * 1).fill_(y) + x, normal(2, 3), array(2.0), order=1, aliasing=False)


def test_in_place_dtypes(beside: Any) -> None:
    whole = numpy.arange(3)
    beside(lambda f, x: (x.fill_(2.7), x.add_(1), x.mul_(True), x.copy_(f.ones(3) * 1.9)), whole)
    beside(lambda f, x: x.add_(f.ones(3, dtype=f.float64)), normal(3), kinds=["float32"])
    for call in (
        lambda f, x: x.div_(2),
        lambda f, x: x.add_(1.5),
        lambda f, x: x.__iadd__(0.5),
        lambda f, x: x.sqrt_(),
        lambda f, x: x.__itruediv__(2),
        lambda f, x: x.mul_(f.ones(3)),
        lambda f, x: x.add_(f.ones(2, 3).long()),
        lambda f, x: x.copy_(f.ones(2)),
    ):
        beside.refused(call, whole)
    for call in (
        lambda f, x: x.requires_grad_().add_(1),
        lambda f, x: x.requires_grad_()[0].zero_(),
        lambda f, x: x.requires_grad_().__setitem__(0, 1.0),
        lambda f, x: x.fill_(f.ones(1)),
        lambda f, x: x.requires_grad_().squeeze_(),
    ):
        beside.refused(call, normal(1, 3))


def test_a_value_that_a_gradient_needs_must_not_change(beside: Any) -> None:
    def changed(f: Any, x: Any) -> Any:
        y = x.requires_grad_() * 1
        z = (y * y).sum()
        y.add_(1)
        z.backward()

    def changed_through_a_view(f: Any, x: Any) -> Any:
        y = x.requires_grad_() * 1
        z = y.exp()
        z[0] = 1
        z.sum().backward()

    beside.refused(changed, normal(3))
    beside.refused(changed_through_a_view, normal(3))


def test_shape_changes_in_place(beside: Any) -> None:
    for name, args in (
        ("squeeze_", ()),
        ("unsqueeze_", (0,)),
        ("transpose_", (0, 1)),
        ("t_", ()),
        ("swapaxes_", (0, 1)),
    ):
        beside(lambda f, x, name=name, args=args: getattr(x, name)(*args), normal(2, 3))
        beside(lambda f, x, name=name, args=args: getattr(x * 2, name)(*args) * 3, normal(2, 3), order=2)
    beside(lambda f, x: x.fill_diagonal_(5), normal(4, 3))
    beside(lambda f, x: x.fill_diagonal_(5, wrap=True), normal(7, 3))
    beside(lambda f, x: x.fill_diagonal_(5), normal(3, 3, 3))
    beside(lambda f, x: x.resize_(2, 2), normal(2, 3))
    beside.refused(lambda f, x: x.fill_diagonal_(1), normal(3))


# -- casts and layout ------------------------------------------------------------------------------------------------


def test_casts(beside: Any) -> None:
    beside(lambda f, x: x.to(f.float32).to(f.float64), normal(3), order=2, aliasing=False)
    beside(lambda f, x: x.to(f.complex128), normal(3), order=2)
    beside(lambda f, x: (x.float(), x.half(), x.int(), x.long(), x.bool(), x.double()), array([1.9, -1.9, 0.0]))
    beside(
        lambda f, x, y: (x.type_as(y), x.to(y), x.to(x), x.to("cpu"), x.to(f.float64, copy=True)),
        normal(3),
        numpy.arange(2),
    )
    beside(lambda f, x: (x.real, x.imag), normal(3) + 1j * normal(3, seed=1), order=2)
    beside(lambda f, x: x.mT, normal(2, 3, 4), order=2)
    beside(lambda f, x: (x.mH, x.H, x.adjoint()), normal(2, 3) + 1j, order=2, aliasing=False)
    beside(
        lambda f, x: (f.view_as_real(x), f.view_as_complex(f.view_as_real(x) * 2)),
        normal(3, 2) + 1j,
        order=2,
        aliasing=False,
    )
    beside(lambda f, x: (x.conj(), f.conj(x), +x, x.resolve_conj()), normal(3))
    for call in (lambda f, x: x.imag, lambda f, x: f.view_as_complex(x), lambda f, x: f.view_as_real(x)):
        beside.refused(call, normal(3))


def test_layout(beside: Any) -> None:
    def described(x: Any) -> list[Any]:
        return [*x.stride(), x.storage_offset(), x.is_contiguous(), x.element_size(), x.nbytes, x.numel(), x.dim()]

    for view in (
        lambda x: x,
        lambda x: x.t(),
        lambda x: x[::2],
        lambda x: x.unsqueeze(1),
        lambda x: x[1:],
        lambda x: x[:, 1],
        lambda x: x.reshape(-1),
        lambda x: x.t().reshape(-1),
        lambda x: x.flatten(),
        lambda x: x[:, :0],
    ):
        beside(lambda f, x, view=view: described(view(x)), normal(4, 3))
    beside(
        lambda f, x: (x.view_as(f.ones(12)), x.reshape_as(f.ones(6, 2)), x.expand_as(f.ones(2, 4, 3))),
        normal(4, 3),
        order=1,
    )


def test_new_tensors_like_this_one(beside: Any) -> None:
    beside(
        lambda f, x: (
            x.new_zeros((2, 3)),
            x.new_ones(2, 3, dtype=f.int32),
            x.new_full((2,), 3.5),
            x.new_tensor([1, 2]),
            x.new_empty(2).shape,
            x.new(2, 3).shape,
            x.new([1, 2]),
        ),
        normal(3),
        aliasing=False,
    )


def test_questions(beside: Any) -> None:
    beside(
        lambda f, x: (f.numel(x), f.is_floating_point(x), f.is_complex(x), f.is_signed(x), f.is_tensor(x)), normal(2, 3)
    )
    beside(lambda f, x: (f.is_nonzero(x[0]), bool(x[0] > 9), int(x[1]), float(x[0]), len(x), 1.0 in x), normal(3))
    for a, b in (
        (normal(3), normal(3)),
        (normal(3), normal(1)),
        (numpy.arange(3), numpy.arange(3)),
        (normal(0), normal(0)),
    ):
        beside(lambda f, x, y: f.equal(x, y), a, b)
        beside(lambda f, x, y: x.is_same_size(y), a, b)
    beside(
        lambda f: [
            tuple(f.broadcast_shapes((2, 1), (3,), 1)),
            f.result_type(f.ones(1).long(), 2.5) == f.float32,
            f.result_type(f.ones((), dtype=f.float64), f.ones(1)) == f.float32,
            f.can_cast(f.float32, f.int64),
        ]
    )
    beside(lambda f, *t: f.broadcast_tensors(*t), normal(3, 1), normal(4), order=2)
    beside(lambda f, x: (x * numpy.float64(2.5), x + numpy.float32(1)), normal(3), kinds=["float32"])
    for call in (
        lambda f, x: bool(x),
        lambda f, x: f.is_nonzero(x),
        lambda f, x: f.broadcast_shapes((2,), (3,)),
        lambda f, x: x.item(),
        lambda f, x: len(x[0]),
        lambda f, x: f.allclose(x, x.float()),
    ):
        beside.refused(call, normal(3))
