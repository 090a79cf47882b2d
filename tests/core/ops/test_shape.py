"""Shapes: which results share memory, gradients through views of views, joining, cutting, errors, the meta device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import tensor
from flambeau.autograd import gradcheck, gradgradcheck


def values(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape)


# What each gives of an array of shape (2, 3, 4), and whether it looks at the same memory.
CASES: list[tuple[str, Any, Any, bool]] = [
    ("view", lambda x: x.view(4, -1), lambda a: a.reshape(4, 6), True),
    ("reshape", lambda x: x.reshape((6, 4)), lambda a: a.reshape(6, 4), True),
    ("reshape across", lambda x: x.transpose(0, 2).reshape(-1), lambda a: a.transpose(2, 1, 0).reshape(-1), False),
    ("permute", lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1), True),
    ("transpose", lambda x: x.transpose(-1, 0), lambda a: a.transpose(2, 1, 0), True),
    ("movedim", lambda x: x.movedim(0, -1), lambda a: np.moveaxis(a, 0, -1), True),
    ("movedim several", lambda x: x.movedim((0, 1), (2, 0)), lambda a: np.moveaxis(a, (0, 1), (2, 0)), True),
    ("expand", lambda x: x[:, :1].expand(5, -1, 3, 4), lambda a: np.broadcast_to(a[:, :1], (5, 2, 3, 4)), True),
    ("squeeze", lambda x: x[:, :1].squeeze(1), lambda a: a[:, 0], True),
    ("squeeze nothing", lambda x: x[:, :1].squeeze(()), lambda a: a[:, :1], True),
    ("unsqueeze", lambda x: x.unsqueeze(-1), lambda a: a[..., None], True),
    ("flatten", lambda x: x.flatten(1), lambda a: a.reshape(2, 12), True),
    ("unflatten", lambda x: x.unflatten(2, (2, -1)), lambda a: a.reshape(2, 3, 2, 2), True),
    ("select", lambda x: x.select(1, -1), lambda a: a[:, -1], True),
    ("narrow", lambda x: x.narrow(2, -3, 2), lambda a: a[..., 1:3], True),
    ("diagonal", lambda x: x.diagonal(1, 1, 2), lambda a: a.diagonal(1, 1, 2), True),
    ("chunk", lambda x: x.chunk(3, -1)[1], lambda a: a[..., 2:4], True),
    ("split", lambda x: x.split([1, 3], 2)[1], lambda a: a[..., 1:], True),
    ("hsplit", lambda x: x.hsplit(3)[2], lambda a: a[:, 2:], True),
    ("unbind", lambda x: x.unbind(1)[2], lambda a: a[:, 2], True),
    ("unfold", lambda x: x.unfold(2, 2, 1), lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, 2), True),
    ("unfold of a view", lambda x: x.transpose(0, 2)[1:].unfold(0, 2, 1),
     lambda a: np.lib.stride_tricks.sliding_window_view(a.transpose(2, 1, 0)[1:], 2, 0), True),
    ("as_strided", lambda x: x.as_strided((3, 2), (1, 2), 4), lambda a: a.reshape(-1)[[[4, 6], [5, 7], [6, 8]]], True),
    ("as_strided of a view", lambda x: x[1:].as_strided((2,), (5,)), lambda a: a.reshape(-1)[[12, 17]], True),
    ("adjoint", lambda x: x.adjoint(), lambda a: a.transpose(0, 2, 1), True),
    ("flip", lambda x: x.flip(0, 2), lambda a: np.flip(a, (0, 2)), False),
    ("flip nothing", lambda x: x.flip(()), lambda a: a, False),
    ("roll", lambda x: x.roll((1, -2), (0, 2)), lambda a: np.roll(a, (1, -2), (0, 2)), False),
    ("roll flat", lambda x: x.roll(5), lambda a: np.roll(a, 5), False),
    ("rot90", lambda x: x.rot90(3, (1, 2)), lambda a: np.rot90(a, 3, (1, 2)), False),
    ("repeat", lambda x: x.repeat(2, 1, 3), lambda a: np.tile(a, (2, 1, 3)), False),
    ("tile", lambda x: x.tile(2), lambda a: np.tile(a, 2), False),
    ("repeat_interleave", lambda x: x.repeat_interleave(2, 1), lambda a: a.repeat(2, 1), False),
    ("repeat_interleave each", lambda x: x.repeat_interleave(tensor([2, 0, 1]), 1),
     lambda a: a.repeat([2, 0, 1], 1), False),
    ("cat", lambda x: flambeau.cat([x, x[:, :1]], 1), lambda a: np.concatenate([a, a[:, :1]], 1), False),
    ("stack", lambda x: flambeau.stack([x, x], -1), lambda a: np.stack([a, a], -1), False),
    ("hstack", lambda x: flambeau.hstack([x, x]), lambda a: np.hstack([a, a]), False),
    ("dstack", lambda x: flambeau.dstack([x[0], x[1]]), lambda a: np.dstack([a[0], a[1]]), False),
    ("column_stack", lambda x: flambeau.column_stack([x[0, 0], x[0].t()]),
     lambda a: np.column_stack([a[0, 0], a[0].T]), False),
]  # fmt: skip


@pytest.mark.parametrize("call, reference, shares", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_values_memory_and_gradients(call: Any, reference: Any, shares: bool) -> None:
    data = values(2, 3, 4)
    x = tensor(data)
    result = call(x)
    np.testing.assert_array_equal(result.numpy(), reference(data))
    assert np.shares_memory(result.numpy(), x.numpy()) is shares
    found = call(flambeau.zeros(2, 3, 4, device="meta")) if "as_strided" not in reference.__code__.co_names else result
    assert (found.shape, found.dtype) == (result.shape, flambeau.float32 if found.is_meta else result.dtype)
    x.requires_grad_()
    assert gradcheck(call, (x,))
    assert gradgradcheck(call, (x,))
    # Of a tensor that does not begin where its memory begins, nor lies in order.
    assert gradcheck(lambda x: call((x * 1).transpose(0, 2)[1:].transpose(0, 2)[..., [0, 1, 2, 0]]), (x,))


@pytest.mark.parametrize(
    "size, stride, offset", [((2, 2), (1, 2), 0), ((3, 2), (1, 1), 1), ((2,), (3,), None), ((2, 2), (0, 1), 2)]
)
def test_gradients_of_as_strided_follow_the_memory(size: Any, stride: Any, offset: Any) -> None:
    x = tensor(values(3, 4), requires_grad=True)
    for lay in (lambda x: x * 2, lambda x: (x * 2).t(), lambda x: (x * 2)[1:], lambda x: (x * 2)[:, 1:]):

        def call(x: Any, lay: Any = lay) -> Any:
            # What lies outside of what the view shows gets no gradient, as in PyTorch.
            return lay(x).as_strided(size, stride, offset) if lay(x).numel() == 12 else lay(x).as_strided((2,), (1,))

        assert gradcheck(call, (x,))
        assert gradgradcheck(call, (x,))


def test_writing_through_views_reaches_the_base() -> None:
    x = flambeau.zeros(3, 4)
    x.t()[1].add_(1)
    x.diagonal().fill_(5)
    x.unfold(1, 2, 2)[0, 1].mul_(0).add_(7)
    assert x.tolist() == [[5, 1, 7, 7], [0, 5, 0, 0], [0, 1, 5, 0]]


def test_joining_nothing_with_something() -> None:
    something, nothing = flambeau.ones(2, 3, requires_grad=True), flambeau.zeros(0, requires_grad=True)
    joined = flambeau.cat([nothing, something, nothing], 1)
    assert joined.shape == (2, 3)
    gradients = flambeau.autograd.grad(joined.sum(), [something, nothing])
    assert [g.shape for g in gradients] == [(2, 3), (0,)]
    assert flambeau.cat([flambeau.zeros(0, dtype=flambeau.float64), flambeau.ones(2)]).dtype is flambeau.float64
    assert flambeau.cat([tensor([1]), tensor([2.5])]).dtype is flambeau.float32


def test_repeats_say_how_often_their_own_index_comes() -> None:
    assert flambeau.repeat_interleave(tensor([0, 2, 1])).tolist() == [1, 1, 2]


def test_shape_changes_in_place() -> None:
    x = flambeau.ones(2, 3, requires_grad=True)
    y = x * 2
    assert y.unsqueeze_(0) is y
    assert y.transpose_(0, 2).shape == (3, 2, 1)
    y.squeeze_().sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2
    with pytest.raises(RuntimeError, match="unsqueeze_: a leaf Variable that requires grad"):
        x.unsqueeze_(0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: x.t().view(6), RuntimeError, "view size is not compatible"),
        (lambda x: x.view(4, 2), RuntimeError, r"shape '\[4, 2\]' is invalid for input of size 6"),
        (lambda x: x.reshape(-1, -1), RuntimeError, "only one dimension can be inferred"),
        (lambda x: x.permute(0, 0), RuntimeError, "duplicate dims"),
        (lambda x: x.movedim((0, 0), (0, 1)), RuntimeError, r"repeated dim in `source` \(\[0, 0\]\)"),
        (lambda x: x.narrow(0, 5, 1), IndexError, r"start out of range .* in range of \[-2, 2\], but got 5\)"),
        (lambda x: x.narrow(0, 1, 2), RuntimeError, r"start \(1\) \+ length \(2\) exceeds dimension size \(2\)"),
        (lambda x: x[0, 0].split(1), RuntimeError, "split expects at least a 1-dimensional tensor"),
        (lambda x: x[0, 0].chunk(1), RuntimeError, "chunk expects at least a 1-dimensional tensor"),
        (lambda x: x.hsplit(2), RuntimeError, "size of the dimension 3 is not divisible"),
        (lambda x: x[0].vsplit(2), RuntimeError, "vsplit requires a tensor with at least 2 dimension"),
        (lambda x: x[0].fliplr(), RuntimeError, "Input must be >= 2-d"),
        (lambda x: x.rot90(1, (0,)), RuntimeError, "expected two dims"),
        (lambda x: x.repeat(1, -1), RuntimeError, "negative dimension"),
        (lambda x: x.as_strided((2,), (1, 1)), RuntimeError, "mismatch in length of strides and shape"),
        (lambda x: x.as_strided((9,), (1,)), RuntimeError, "storage"),
        (lambda x: x.unfold(0, 3, 1), RuntimeError, "maximum size for tensor at dimension 0 is 2 but size is 3"),
        (lambda x: flambeau.cat([]), ValueError, "non-empty list"),
        (lambda x: flambeau.cat([x, x.t()]), RuntimeError, "Sizes of tensors must match except in dimension 0"),
        (lambda x: flambeau.broadcast_to(x, (2, 4)), RuntimeError, "must match the existing size"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(flambeau.ones(2, 3))


@pytest.mark.parametrize("name", ["hstack", "vstack", "dstack", "column_stack"])
def test_nothing_cannot_be_stacked(name):
    with pytest.raises(RuntimeError, match=f"{name} expects a non-empty TensorList"):
        getattr(flambeau, name)([])


def test_sums_to_a_size():
    x = flambeau.ones(3, 4)
    assert x.sum_to_size(1, 4).tolist() == [[3.0] * 4]
    assert flambeau.ones((), dtype=flambeau.int8).sum_to_size(()).dtype is flambeau.int64
    with pytest.raises(RuntimeError, match=r"size \[2, 4\] is not expandable to size \[3, 4\]"):
        x.sum_to_size(2, 4)
