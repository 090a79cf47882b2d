"""What the short paths remember of earlier calls must not change what a call does."""

from __future__ import annotations

import threading

import numpy
import pytest

import flambeau
from flambeau.ops import fast_views

VIEWS = [
    ("view", (2, 8)), ("view", ((8, 2),)), ("reshape", (-1,)), ("transpose", (0, 1)), ("permute", (1, 0)),
    ("permute", ((-1, 0),)), ("unsqueeze", (1,)), ("unsqueeze", (-1,)), ("flatten", ()), ("select", (1, 2)),
    ("narrow", (0, 1, 2)), ("expand", (3, 4, 4)), ("movedim", (0, 1)), ("diagonal", ()), ("unflatten", (0, (2, 2))),
    ("t", ()), ("unfold", (0, 2, 1)),
]  # fmt: skip
TAKEN = {
    "view": lambda x, *size: x.reshape(size[0] if isinstance(size[0], tuple) else size),
    "reshape": lambda x, *size: x.reshape(size),
    "transpose": lambda x, a, b: x.swapaxes(a, b),
    "permute": lambda x, *dims: x.transpose(*dims),
    "unsqueeze": numpy.expand_dims,
    "flatten": lambda x: x.reshape(-1),
    "select": lambda x, dim, index: x.take(index, dim),
    "narrow": lambda x, dim, start, length: x.take(range(start, start + length), dim),
    "expand": lambda x, *size: numpy.broadcast_to(x, size),
    "movedim": numpy.moveaxis,
    "diagonal": numpy.diagonal,
    "unflatten": lambda x, dim, sizes: x.reshape(*sizes, 4),
    "t": numpy.transpose,
    "unfold": lambda x, dim, size, step: numpy.lib.stride_tricks.sliding_window_view(x, size, dim),
}


@pytest.mark.parametrize("name, args", VIEWS)
def test_a_view_is_the_same_when_it_is_asked_for_again(name, args):
    values = numpy.arange(16.0).reshape(4, 4)
    expected = TAKEN[name](values, *args)
    for _ in range(3):
        x = flambeau.tensor(values, requires_grad=True)
        result = getattr(x, name)(*args)
        assert numpy.array_equal(result.detach().numpy(), expected)
        (result * flambeau.tensor(numpy.array(expected))).sum().backward()
        counts = numpy.zeros((4, 4))
        numpy.add.at(counts.reshape(-1), expected.astype(int).reshape(-1), 1)
        assert numpy.array_equal(x.grad.numpy(), values * counts)


@pytest.mark.parametrize("wrong", [2.0, "2", None])
def test_what_equals_an_int_that_was_seen_is_refused_all_the_same(wrong):
    x = flambeau.ones(2, 8)
    x.view(2, 8), x.unsqueeze(1), x.transpose(0, 1), x.softmax(1)
    with pytest.raises(TypeError):
        x.view(wrong, 8)
    with pytest.raises(TypeError):
        x.view((wrong, 8))
    with pytest.raises(TypeError):
        x.transpose(0, 1.0)
    with pytest.raises(TypeError):
        x.softmax(1.0)


def test_errors_come_every_time():
    x = flambeau.ones(2, 3)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="invalid for input of size 6"):
            x.view(4, 2)
        with pytest.raises(IndexError, match="out of range"):
            x.unsqueeze(5)
        with pytest.raises(IndexError, match="out of bounds"):
            x[2]
        with pytest.raises(IndexError, match="too many indices"):
            x[0, 0, 0]
        with pytest.raises(IndexError, match="0-dim"):
            flambeau.tensor(1.0)[0]


def test_a_view_is_refused_where_the_memory_does_not_allow_it_though_the_shape_did_before():
    x = flambeau.arange(6.0).view(2, 3)
    assert x.view(6).tolist() == [0, 1, 2, 3, 4, 5]
    turned = flambeau.arange(6.0).view(3, 2).t()
    with pytest.raises(RuntimeError, match="reshape"):
        turned.view(6)
    copied = turned.reshape(6)
    copied[0] = 9.0
    assert copied.tolist() == [9, 2, 4, 1, 3, 5] and turned[0, 0] == 0


def test_dtypes_are_those_of_the_input():
    for dtype in (flambeau.float32, flambeau.int64, flambeau.bool, flambeau.complex64, flambeau.bfloat16):
        x = flambeau.ones(2, 2, dtype=dtype)
        assert x.t().dtype is x[0].dtype is x.view(4).dtype is dtype
    z = flambeau.ones(2, 2, dtype=flambeau.complex64)
    assert z.real.dtype is z.imag.dtype is flambeau.float32


def test_what_is_more_than_a_view_for_some_dtypes_is_that_after_others_too():
    for dtype in (flambeau.float32, flambeau.complex64, flambeau.float32, flambeau.complex64):
        values = numpy.array([[1 + 2j, 3 - 1j]]) if dtype.is_complex else numpy.array([[1.0, 3.0]])
        x = flambeau.tensor(values, dtype=dtype)
        assert flambeau.adjoint(x).tolist() == values.conj().T.tolist()
        assert x.mH.tolist() == values.conj().T.tolist()


def test_what_has_nothing_to_do_gives_back_its_input():
    x = flambeau.ones(3)
    assert x.flatten() is x.flatten() is x
    assert x.reshape(3) is not x


def test_views_made_without_a_tape_take_no_part_in_the_history():
    base = flambeau.zeros(2, 2)
    with flambeau.no_grad():
        silent = base.view(4)
    heard = base.view(4)
    base.mul_(flambeau.tensor(2.0, requires_grad=True))
    assert heard.requires_grad and not silent.requires_grad
    assert silent._version is heard._version


@pytest.mark.parametrize("subscript", [
    1, -1, (0, 1), slice(1, None), (slice(None), slice(0, 3, 2)), (None, 0), (..., 1), (slice(-2, None), None), None,
    (), slice(3, 1), ...,
])  # fmt: skip
def test_subscripts_are_numpys_time_and_again(subscript):
    values = numpy.arange(12.0).reshape(3, 4)
    x = flambeau.tensor(values.copy())
    for _ in range(2):
        assert numpy.array_equal(x[subscript].numpy(), values[subscript])
    x[subscript].fill_(7.0)
    values[subscript] = 7.0
    assert numpy.array_equal(x.numpy(), values)


def test_true_and_one_are_two_subscripts():
    x = flambeau.arange(4.0)
    assert x[1].shape == () and x[True].shape == (1, 4) and x[1].tolist() == 1
    assert flambeau.ones(2, 2).sum(0, True).shape == (1, 2)
    assert flambeau.ones(2, 2).sum((0, 1)).shape == ()


def test_what_is_remembered_stays_bounded(monkeypatch):
    monkeypatch.setattr(fast_views, "LIMIT", 8)
    fast_views._known.clear()
    x = flambeau.arange(100.0)
    for i in range(100):
        assert x[i] == i
        assert len(fast_views._known) <= 8


def test_threads_share_what_is_remembered(monkeypatch):
    monkeypatch.setattr(fast_views, "LIMIT", 2)
    failures = []

    def work(offset: int) -> None:
        x = flambeau.arange(24.0)
        for i in range(500):
            rows = (2, 3, 4, 6)[(i + offset) % 4]
            if x.view(rows, -1).shape != (rows, 24 // rows) or x[i % 24] != i % 24:
                failures.append((rows, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
