"""What view ops do to shape, strides and offset, against NumPy's own views of one piece of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flambeau import striding

MEMORY = np.arange(240)


def window(array: Any) -> striding.Window:
    """The window on ``MEMORY`` that a view of it is."""
    start = array.__array_interface__["data"][0] - MEMORY.__array_interface__["data"][0]
    return array.shape, tuple([step // MEMORY.itemsize for step in array.strides]), start // MEMORY.itemsize


def seen(found: striding.Window) -> Any:
    """What a window shows."""
    shape, strides, offset = found
    steps = [step * MEMORY.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(MEMORY[offset:] if 0 not in shape else MEMORY, shape, steps)


BASES = [
    MEMORY.reshape(4, 5, 12), MEMORY.reshape(4, 5, 12)[1:, ::2], MEMORY.reshape(6, 40).T,
    MEMORY.reshape(4, 5, 12)[:, 2:3], MEMORY[7:8].reshape(()), MEMORY[:0].reshape(3, 0),
    MEMORY.reshape(4, 60)[:, 3:51].reshape(4, 4, 12),
]  # fmt: skip


@pytest.mark.parametrize("base", BASES, ids=lambda base: str(base.shape))
def test_every_view_shows_what_numpys_shows(base: Any) -> None:
    own = window(base)
    ndim = base.ndim
    order = tuple(reversed(range(ndim)))
    assert (seen(striding.permute(*own, order)) == base.transpose(order)).all()
    assert (seen(striding.expand(*own, (3, *base.shape))) == np.broadcast_to(base, (3, *base.shape))).all()
    assert (seen(striding.basic_index(*own, (None,))) == base[None]).all()
    for dim, n in enumerate(base.shape):
        before = (slice(None),) * dim
        assert (seen(striding.slice(*own, dim, n // 3, n, 2)) == base[(*before, slice(n // 3, n, 2))]).all()
        if n:
            index = (*before, n - 1, None)
            assert (seen(striding.basic_index(*own, index)) == base[index]).all()
            assert (seen(striding.basic_index(*own, (*before, -n))) == base[(*before, 0)]).all()
    if ndim > 1:
        for diagonal in (-1, 0, 2):
            expected = np.diagonal(base, diagonal, 0, 1)
            found = striding.diagonal(*own, diagonal, 0, 1)
            assert found[0] == expected.shape
            assert (seen(found) == expected).all()


@pytest.mark.parametrize("base", BASES, ids=lambda base: str(base.shape))
@pytest.mark.parametrize(
    "size", [(-1,), (2, -1), (1, 4, 5, 12), (4, 60), (20, 12), (20, 3, 4), (2, 2, 5, 12), (6, 8, 5)]
)
def test_view_is_made_where_numpy_makes_one_without_a_copy(base: Any, size: tuple[int, ...]) -> None:
    try:
        expected = base.reshape(size, copy=False)
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(RuntimeError, match="without a copy|is invalid for input of size"):
            striding.view(*window(base), size)
    else:
        found = striding.view(*window(base), size)
        assert found[0] == expected.shape
        assert (seen(found) == expected).all()


@pytest.mark.parametrize("shape", [(2, 3, 4), (6, 4), (24,), (2, 12), (3, 2, 2, 2), (1, 24, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1)])
def test_permuted_dimensions_are_viewed_where_numpy_views_them(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    base = MEMORY[:24].reshape(2, 3, 4).transpose(order)
    try:
        expected = base.reshape(shape, copy=False)
    except ValueError:
        with pytest.raises(RuntimeError, match="without a copy"):
            striding.view(*window(base), shape)
        return
    assert (seen(striding.view(*window(base), shape)) == expected).all()


@pytest.mark.parametrize("base", BASES, ids=lambda base: str(base.shape))
def test_contiguous(base: Any) -> None:
    shape, strides, _ = window(base)
    assert striding.is_contiguous(shape, strides) == base.flags.c_contiguous
    copied = np.ascontiguousarray(base).reshape(shape)
    assert striding.is_contiguous(shape, striding.contiguous_strides(shape))
    if base.size:
        assert striding.contiguous_strides(shape) == tuple([step // base.itemsize for step in copied.strides])


def test_bits_seen_as_another_dtype() -> None:
    assert striding.retyped((2, 6), (12, 1), 4, 4, 8) == ((2, 3), (6, 1), 2)
    assert striding.retyped((2, 3), (3, 1), 3, 8, 2) == ((2, 12), (12, 1), 12)
    assert striding.retyped((2, 3), (1, 2), 3, 8, 8) == ((2, 3), (1, 2), 3)


def test_complex_numbers_seen_as_real_ones() -> None:
    numbers = np.arange(24.0).view(complex).reshape(3, 4)[1:, ::2]
    shape, strides, offset = numbers.shape, (4, 2), 4
    memory = np.arange(24.0)
    for which, expected in enumerate((numbers.real, numbers.imag)):
        own_shape, own_strides, own_offset = striding.part_of_complex(shape, strides, offset, which)
        steps = [8 * step for step in own_strides]
        assert (np.lib.stride_tricks.as_strided(memory[own_offset:], own_shape, steps) == expected).all()
    pairs = striding.pairs_of_complex(shape, strides, offset)
    assert pairs == ((2, 2, 2), (8, 4, 1), 8)
    assert striding.complex_of_pairs(*pairs) == (shape, strides, offset)
    with pytest.raises(
        RuntimeError, match="last dimension with stride 1 and other strides and an offset divisible by 2"
    ):
        striding.complex_of_pairs((2, 2), (3, 1), 0)


def test_what_cannot_be_seen_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"the shape \[2, 3\] cannot be expanded to \[2, 6\]"):
        striding.expand((2, 3), (3, 1), 0, (2, 6))
    with pytest.raises(RuntimeError, match=r"cannot be expanded to \[-1, 2, 3\]"):
        striding.expand((2, 3), (3, 1), 0, (-1, 2, 3))
    with pytest.raises(IndexError, match="index 2 is out of bounds for dimension 0 with size 2"):
        striding.basic_index((2, 3), (3, 1), 0, (2,))
    with pytest.raises(IndexError, match="too many indices for tensor of dimension 2"):
        striding.basic_index((2, 3), (3, 1), 0, (0, 0, 0))
    with pytest.raises(RuntimeError, match="need 7 elements, but the storage has 6"):
        striding.as_strided(6, 0, (2, 2), (4, 2))
    with pytest.raises(RuntimeError, match="must not be negative"):
        striding.as_strided(6, 0, (2,), (-1,))
    assert striding.as_strided(6, 1, (2, 2), (3, 1)) == ((2, 2), (3, 1), 1)


def test_neighbouring_dimensions_are_merged_where_all_operands_allow_it() -> None:
    assert striding.merged((2, 3, 4), ((12, 4, 1), (12, 4, 1))) == ((24,), ((1,), (1,)))
    assert striding.merged((2, 3, 4), ((12, 4, 1), (0, 0, 1))) == ((6, 4), ((4, 1), (0, 1)))
    assert striding.merged((1, 3, 1), ((7, 2, 9),)) == ((3,), ((2,),))


def test_broadcast_strides_are_zero_along_what_is_stretched() -> None:
    assert striding.broadcast_strides((2, 3, 4), (3, 1), (5, 1)) == (0, 5, 0)
