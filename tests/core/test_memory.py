"""The memory under tensors: storages, strides, memory formats, `set_`, copies of views."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

import flambeau

# -- storages --------------------------------------------------------------------------------------------------------


def test_storage_is_the_whole_memory_of_a_view() -> None:
    x = flambeau.arange(12.0).reshape(3, 4)
    view = x[1:, 2:]
    assert view.storage().size() == 12
    assert view.untyped_storage().nbytes() == 48
    assert view.untyped_storage() == x.untyped_storage()
    assert view.storage_offset() == 6
    view.storage()[0] = 50.0
    assert x[0, 0].item() == 50
    assert x.storage_type() is flambeau.FloatStorage


def test_storages_are_made_from_sizes_and_from_values() -> None:
    storage = flambeau.FloatStorage([1, 2, 3])
    assert storage.tolist() == [1.0, 2.0, 3.0]
    assert (len(storage), storage.element_size(), storage.dtype) == (3, 4, flambeau.float32)
    assert storage.untyped()[3] == 0x3F
    assert len(flambeau.UntypedStorage(5)) == 5
    assert flambeau.LongStorage(2).fill_(7).tolist() == [7, 7]
    assert storage.clone().copy_(flambeau.FloatStorage([4, 5, 6])).tolist() == [4, 5, 6]
    assert flambeau.is_storage(storage)
    with pytest.raises(RuntimeError, match="not resizable"):
        storage.resize_(9)


def test_set_looks_at_other_memory() -> None:
    source = flambeau.arange(6.0)
    x = flambeau.empty(0).set_(source.storage(), 1, (2, 2), (3, 1))
    assert x.tolist() == [[1, 2], [4, 5]]
    x[0, 0] = 9
    assert source[1].item() == 9
    assert flambeau.empty(0).set_(source).is_set_to(source)
    with pytest.raises(RuntimeError, match="could not set a int64 tensor to a float32 one"):
        flambeau.arange(3).set_(source)


# -- layouts ---------------------------------------------------------------------------------------------------------


def test_channels_last_keeps_values_and_changes_strides() -> None:
    x = flambeau.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for last in (x.contiguous(memory_format=flambeau.channels_last), x.to(memory_format=flambeau.channels_last)):
        assert last.stride() == (60, 1, 15, 3)
        assert flambeau.equal(last, x)
        assert last.is_contiguous(memory_format=flambeau.channels_last)
        assert not last.is_contiguous()
        assert last.contiguous().stride() == x.stride()
        assert last.clone(memory_format=flambeau.preserve_format).stride() == last.stride()
        assert last.dim_order() == (0, 2, 3, 1)
    volume = flambeau.zeros(1, 2, 3, 4, 5).contiguous(memory_format=flambeau.channels_last_3d)
    assert volume.is_contiguous(memory_format=flambeau.channels_last_3d)
    with pytest.raises(RuntimeError, match="required rank 4 tensor to use channels_last format, got 3"):
        x[0].contiguous(memory_format=flambeau.channels_last)


def test_constants_are_what_they_are_called() -> None:
    for constant in (flambeau.channels_last, flambeau.strided, flambeau.preserve_format):
        assert pickle.loads(pickle.dumps(constant)) is constant
        assert copy.deepcopy(constant) is constant
    assert repr(flambeau.contiguous_format) == "flambeau.contiguous_format"
    assert isinstance(flambeau.channels_last, flambeau.memory_format)
    assert flambeau.ones(1).layout is flambeau.strided


def test_empty_tensors_with_strides() -> None:
    assert flambeau.empty_permuted((2, 3, 4), (2, 0, 1)).stride() == (3, 1, 6)
    assert flambeau.ones(1).int().new_empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    with pytest.raises(RuntimeError, match="has to name each of the 2 dimensions once"):
        flambeau.empty_permuted((2, 3), (0, 0))


# -- copies and in-place forms ---------------------------------------------------------------------------------------

X = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("alias_copy", (), X), ("detach_copy", (), X), ("view_copy", ((6, 4),), X.reshape(6, 4)),
        ("permute_copy", ((2, 0, 1),), X.transpose(2, 0, 1)), ("transpose_copy", (0, 1), X.swapaxes(0, 1)),
        ("expand_copy", ((5, 2, 3, 4),), np.broadcast_to(X, (5, 2, 3, 4))), ("select_copy", (1, 2), X[:, 2]),
        ("slice_copy", (-1, 1, 3), X[..., 1:3]), ("narrow_copy", (2, 1, 2), X[..., 1:3]),
        ("unsqueeze_copy", (0,), X[None]), ("squeeze_copy", (), X), ("diagonal_copy", (), np.diagonal(X)),
        ("as_strided_copy", ((2, 2), (12, 1)), X[:, 0, :2]),
        ("unfold_copy", (2, 2, 2), X.reshape(2, 3, 2, 2)),
    ],
)  # fmt: skip
def test_copies_of_views_have_memory_of_their_own(name: str, args: tuple[object, ...], expected: object) -> None:
    x = flambeau.from_numpy(X.copy())
    made = getattr(flambeau, name)(x, *args)
    np.testing.assert_array_equal(made.numpy(), expected)
    out = flambeau.empty(0, dtype=flambeau.float64)
    assert getattr(flambeau, name)(x, *args, out=out) is out
    made.fill_(-1)
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_array_equal(out.numpy(), expected)


def test_copies_of_several_views() -> None:
    x = flambeau.arange(6)
    parts = flambeau.split_with_sizes_copy(x, (1, 5))
    parts[0].zero_()
    assert [part.tolist() for part in parts] == [[0], [1, 2, 3, 4, 5]]
    assert len(flambeau.unbind_copy(x)) == 6
    assert [part.tolist() for part in x.unsafe_split(4)] == [[0, 1, 2, 3], [4, 5]]


def test_what_is_overwritten_has_a_zero_gradient() -> None:
    x = flambeau.tensor([1.0, float("nan")], requires_grad=True)
    y = x * 2
    y.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [0, 0]


def test_in_place_forms_are_functions_too() -> None:
    x = flambeau.tensor([-1.0, 4.0])
    assert flambeau.abs_(x) is x
    assert flambeau.sqrt_(x).tolist() == [1, 2]
    assert flambeau.clamp_(x, max=1.5).tolist() == [1, 1.5]
    assert flambeau.zero_(x).tolist() == [0, 0]
    assert flambeau.as_strided_(flambeau.arange(4), (2, 2), (1, 1)).tolist() == [[0, 1], [1, 2]]


# -- out= ------------------------------------------------------------------------------------------------------------


def test_out_must_not_overlap() -> None:
    x = flambeau.arange(4.0)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        flambeau.sin(x, out=flambeau.zeros(1).expand(4))
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer"):
        flambeau.sin(x[:3], out=x[1:])
    with pytest.raises(RuntimeError, match="some elements of the input tensor"):
        flambeau.gather(x, 0, flambeau.tensor([1, 0]), out=x[:2])
    assert flambeau.neg(x, out=x).tolist() == [0, -1, -2, -3]


def test_out_of_another_shape_is_resized_with_a_warning() -> None:
    out = flambeau.empty(3)
    with pytest.warns(UserWarning, match=r"was resized since it had shape \[3\]"):
        flambeau.add(flambeau.ones(2), 1, out=out)
    assert out.tolist() == [2, 2]


def test_out_of_what_picks_elements_has_their_dtype() -> None:
    with pytest.raises(RuntimeError, match=r"index_select\(\): Expected out tensor to have dtype float32, but got f"):
        flambeau.index_select(flambeau.ones(3), 0, flambeau.tensor([1]), out=flambeau.empty(1, dtype=flambeau.float64))


def test_tensors_over_files(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    shared = flambeau.from_file(file, shared=True, size=3, dtype=flambeau.int32)
    shared.copy_(flambeau.tensor([1, 2, 3]))
    private = flambeau.from_file(str(file), size=2, dtype=flambeau.int32)
    assert private.tolist() == [1, 2]
    private.zero_()
    del shared
    assert np.fromfile(file, np.int32).tolist() == [1, 2, 3]
    with pytest.raises(RuntimeError, match="has 12 bytes, and 4 elements need 16"):
        flambeau.from_file(file, size=4, dtype=flambeau.int32)
