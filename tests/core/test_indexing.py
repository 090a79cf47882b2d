"""Subscripts, read and written, against NumPy; where PyTorch differs from NumPy, by name."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

I = np.array  # noqa: E741
SUBSCRIPTS = [
    0, -1, (1, 2), (1, -1, 0), slice(None), slice(1, None), slice(-2, None), slice(0, 3, 2), slice(5, 1), ...,
    (..., 0), (0, ...), (slice(None), 1), (slice(None), slice(1, 3), slice(None, None, 2)), None, (None, 0, None),
    (..., None), (0, None, slice(None), None, 1), (), (1, ..., 2),
    [0, 2], ([0, 1], [1, 2]), (slice(None), [0, 2]), (slice(None), slice(None), [3, 0, 3]),
    ([0, 1], slice(None), [1, 2]),
    (slice(None), [0, 1], [1, 2]), ([[0], [1]], [0, 2]), (..., [0, 1]), (None, [0, 1], slice(1, 3)), ([-1, -2], ...),
    (slice(1, 3), [0, 1], slice(None, None, 2)),
]  # fmt: skip


def arrays(shape=(3, 4, 5)):
    data = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return data, flambeau.tensor(data)


def as_tensors(subscript):
    """The subscript with its index lists as tensors."""
    if isinstance(subscript, tuple):
        return tuple(as_tensors(item) for item in subscript)
    return flambeau.tensor(subscript) if isinstance(subscript, list) else subscript


@pytest.mark.parametrize("subscript", SUBSCRIPTS, ids=repr)
def test_reading(subscript):
    data, tensor = arrays()
    expected = data[subscript]
    for form in (subscript, as_tensors(subscript)):
        result = tensor[form]
        assert result.shape == expected.shape
        np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("subscript", SUBSCRIPTS, ids=repr)
def test_writing(subscript):
    data, tensor = arrays()
    data[subscript] = -1
    tensor[subscript] = -1
    np.testing.assert_array_equal(tensor.numpy(), data)
    values = np.arange(data[subscript].size, dtype=np.float64).reshape(data[subscript].shape) + 100
    data[subscript] = values
    tensor[as_tensors(subscript)] = flambeau.tensor(values)
    np.testing.assert_array_equal(tensor.numpy(), data)


@pytest.mark.parametrize("subscript", SUBSCRIPTS, ids=repr)
def test_gradients_of_reading_and_writing(subscript):
    data, _ = arrays()
    rng = np.random.default_rng(0)
    x = flambeau.tensor(rng.normal(size=data.shape), requires_grad=True)
    value = flambeau.tensor(rng.normal(size=data[subscript].shape), requires_grad=True)

    def written(x, value):
        base = x * 2
        base[subscript] = value
        return base

    assert flambeau.autograd.gradcheck(lambda x: x[subscript], (x,))
    if not isinstance(subscript, list) and not (isinstance(subscript, tuple) and [3, 0, 3] in list(subscript)):
        assert flambeau.autograd.gradcheck(written, (x, value))


def test_masks():
    data, tensor = arrays()
    mask = data % 3 == 0
    np.testing.assert_array_equal(tensor[flambeau.tensor(mask)].numpy(), data[mask])
    row = np.array([True, False, True])
    np.testing.assert_array_equal(tensor[flambeau.tensor(row)].numpy(), data[row])
    np.testing.assert_array_equal(tensor[row].numpy(), data[row])
    columns = np.array([True, False, False, True])
    np.testing.assert_array_equal(tensor[:, flambeau.tensor(columns), 1:].numpy(), data[:, columns, 1:])
    plane = data[:, :, 0] > 20
    np.testing.assert_array_equal(tensor[flambeau.tensor(plane)].numpy(), data[plane])
    tensor[flambeau.tensor(plane)] = flambeau.arange(5.0, dtype=flambeau.float64)
    data[plane] = np.arange(5.0)
    tensor[flambeau.tensor(mask)] = 0
    data[mask] = 0
    np.testing.assert_array_equal(tensor.numpy(), data)
    assert flambeau.ones(3)[True].shape == (1, 3)
    assert flambeau.ones(3)[False].shape == (0, 3)
    assert flambeau.tensor(5.0)[flambeau.tensor(True)].tolist() == [5.0]


def test_repeated_indices_accumulate_in_the_gradient():
    x = flambeau.zeros(3, requires_grad=True)
    x[[0, 0, 2]].sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 1.0]


def test_an_int_beside_index_tensors_is_a_selection_as_in_pytorch():
    data, tensor = arrays()
    # NumPy would put the indexed dimension first here.
    assert tensor[0, :, [0, 1]].shape == (4, 2)
    np.testing.assert_array_equal(tensor[0, :, [0, 1]].numpy(), data[0][:, [0, 1]])


def test_integer_tensors_of_every_width_are_indices():
    _, tensor = arrays()
    for dtype in (flambeau.int8, flambeau.int16, flambeau.int32, flambeau.int64):
        assert tensor[flambeau.tensor([2, 0], dtype=dtype)].shape == (2, 4, 5)
    assert tensor[flambeau.tensor(1)].shape == (4, 5)


def test_values_are_broadcast_and_cast():
    tensor = flambeau.zeros(3, 4, dtype=flambeau.int64)
    tensor[1:] = flambeau.tensor([[1.7], [2.2]])
    tensor[0] = flambeau.ones(1, 1, 4)
    tensor[:, [0, 1]] = 9
    assert tensor.tolist() == [[9, 9, 1, 1], [9, 9, 1, 1], [9, 9, 2, 2]]


def test_basic_subscripts_are_views_and_others_copies():
    _, tensor = arrays()
    tensor[1, 1:][0] = -5
    assert (tensor[1, 1] == -5).all()
    tensor[[0]][0, 0] = -7
    assert tensor[0, 0, 0] == 0


@pytest.mark.parametrize(
    ("subscript", "error", "message"),
    [
        (3, IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
        ((0, -5), IndexError, "index -5 is out of bounds for dimension 1 with size 4"),
        ((0, 0, 0, 0), IndexError, "too many indices for tensor of dimension 3"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        ("a", IndexError, "only integers, slices"),
        (1.5, IndexError, "only integers, slices"),
        ([0, 3], IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
        (([0, 1, 2], [0, 1]), IndexError, r"index: shape mismatch: .*\(3,\) \(2,\)"),
    ],
)
def test_wrong_subscripts(subscript, error, message):
    _, tensor = arrays()
    with pytest.raises(error, match=message):
        tensor[subscript]


def test_wrong_masks_and_values():
    _, tensor = arrays()
    with pytest.raises(IndexError, match=r"The shape of the mask \[4\] at index 0 does not match"):
        tensor[flambeau.ones(4, dtype=flambeau.bool)]
    with pytest.raises(IndexError, match="must be long, int, byte or bool tensors, not float32"):
        tensor[flambeau.ones(2)]
    with pytest.raises(
        RuntimeError, match=r"value tensor of shape \[3\] cannot be broadcast to indexing result of shape \[4, 5\]"
    ):
        tensor[0] = flambeau.ones(3)
    with pytest.raises(IndexError, match="0-dim tensor"):
        flambeau.tensor(1.0)[0]


# -- gather, scatter and the like ------------------------------------------------------------------------------------


def test_gather_and_take_along_dim():
    data, tensor = arrays((3, 4))
    index = np.array([[3, 0], [1, 1], [2, 0]])
    np.testing.assert_array_equal(tensor.gather(1, flambeau.tensor(index)).numpy(), np.take_along_axis(data, index, 1))
    np.testing.assert_array_equal(
        flambeau.take_along_dim(tensor, flambeau.tensor([[1, 0, 2, 1]]), 0).numpy(),
        np.take_along_axis(data, np.array([[1, 0, 2, 1]]), 0),
    )
    np.testing.assert_array_equal(tensor.take(flambeau.tensor([0, 11, 5])).numpy(), [0, 11, 5])
    with pytest.raises(RuntimeError, match="Expected dtype int32 or int64 for index"):
        tensor.gather(1, flambeau.tensor(index, dtype=flambeau.int16))
    with pytest.raises(RuntimeError, match="Size does not match at dimension 0"):
        tensor.gather(1, flambeau.zeros(4, 1, dtype=flambeau.int64))


def test_scatter_forms():
    index = flambeau.tensor([[0, 1, 2, 0]])
    source = flambeau.tensor([[1.0, 2.0, 3.0, 4.0]])
    zeros = flambeau.zeros(3, 4)
    assert zeros.scatter(0, index, source).tolist() == [[1, 0, 0, 4], [0, 2, 0, 0], [0, 0, 3, 0]]
    assert zeros.scatter(0, index, 7.0).sum() == 28
    assert zeros.scatter(0, index, value=7.0).sum() == 28
    assert zeros.sum() == 0
    zeros.scatter_(0, index, source)
    assert zeros.sum() == 10
    assert flambeau.ones(3, 4).scatter_(0, index, source, reduce="add").sum() == 22
    added = flambeau.zeros(2).scatter_add(0, flambeau.tensor([0, 0, 1]), flambeau.tensor([1.0, 2.0, 5.0]))
    assert added.tolist() == [3.0, 5.0]


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        ("sum", ([14.0, 2.0, 36.0], [4.0, 2.0, 6.0])),
        ("prod", ([30.0, 2.0, 180.0], [3.0, 2.0, 6.0])),
        ("mean", ([14 / 3, 2.0, 18.0], [2.0, 2.0, 6.0])),
        ("amax", ([10.0, 2.0, 30.0], [3.0, 2.0, 6.0])),
        ("amin", ([1.0, 2.0, 6.0], [1.0, 2.0, 6.0])),
    ],
)
def test_scatter_reduce(reduce, expected, include_self):
    tensor = flambeau.tensor([10.0, 2.0, 30.0])
    result = tensor.scatter_reduce(
        0, flambeau.tensor([0, 2, 0]), flambeau.tensor([1.0, 6.0, 3.0]), reduce, include_self=include_self
    )
    np.testing.assert_allclose(result.numpy(), expected[0 if include_self else 1], rtol=1e-6)


def test_index_select_add_copy_fill():
    data, tensor = arrays((3, 4))
    index = flambeau.tensor([2, 0, 2])
    np.testing.assert_array_equal(tensor.index_select(1, index).numpy(), data[:, [2, 0, 2]])
    added = flambeau.zeros(3, 2).index_add(0, index, flambeau.ones(3, 2), alpha=2)
    assert added.tolist() == [[2, 2], [0, 0], [4, 4]]
    copied = flambeau.zeros(3, 2).index_copy(0, flambeau.tensor([1]), flambeau.ones(1, 2))
    assert copied.tolist() == [[0, 0], [1, 1], [0, 0]]
    assert flambeau.zeros(3).index_fill(0, flambeau.tensor([0, 2]), 5).tolist() == [5, 0, 5]
    with pytest.raises(IndexError, match="index 4 is out of bounds for dimension 1 with size 4"):
        tensor.index_select(1, flambeau.tensor([4]))
    with pytest.raises(IndexError, match="supposed to be a vector"):
        tensor.index_select(1, flambeau.zeros(2, 2, dtype=flambeau.int64))


def test_masked_forms():
    data, tensor = arrays((3, 4))
    mask = tensor > 5
    np.testing.assert_array_equal(tensor.masked_select(mask).numpy(), data[data > 5])
    np.testing.assert_array_equal(tensor.masked_fill(mask, -1).numpy(), np.where(data > 5, -1, data))
    filled = tensor.masked_scatter(mask, flambeau.arange(100.0, 120.0, dtype=flambeau.float64))
    expected = data.copy()
    expected[data > 5] = np.arange(100.0, 106.0)
    np.testing.assert_array_equal(filled.numpy(), expected)
    with pytest.raises(RuntimeError, match="mask has to be of dtype bool"):
        tensor.masked_fill(tensor, 0)


def test_nonzero_and_where():
    tensor = flambeau.tensor([[0, 1], [2, 0]])
    assert tensor.nonzero().tolist() == [[0, 1], [1, 0]]
    assert [t.tolist() for t in tensor.nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert [t.tolist() for t in flambeau.where(tensor > 1)] == [[1], [0]]
    assert flambeau.where(tensor > 0, tensor, -1).tolist() == [[-1, 1], [2, -1]]
    assert flambeau.where(tensor > 0, 1.0, 0.0).dtype is flambeau.float32
    assert tensor.where(tensor > 1, flambeau.tensor(9)).tolist() == [[9, 9], [2, 9]]


def test_take_along_dim_counts_negative_indices_from_the_end():
    data, tensor = arrays((3, 4))
    places = np.array([[0, -1], [2, -3], [1, 1]])
    expected = np.take_along_axis(data, places, 1)
    np.testing.assert_array_equal(flambeau.take_along_dim(tensor, flambeau.tensor(places), 1).numpy(), expected)
    with pytest.raises(RuntimeError, match="dtype of indices should be Long but got int32"):
        flambeau.take_along_dim(tensor, flambeau.tensor(places).int(), 1)


def test_entries_of_a_tensor_without_dimensions():
    index = flambeau.tensor([0])
    assert flambeau.tensor(2.0).index_add(0, index, flambeau.tensor(3.0), alpha=2).item() == 8
    assert flambeau.tensor([4, 1], dtype=flambeau.uint8).index_add(
        0, index, flambeau.tensor([1], dtype=flambeau.uint8), alpha=-1
    ).tolist() == [3, 1]


def test_gradient_of_a_filled_value_counts_each_entry_once():
    value = flambeau.tensor(5.0, requires_grad=True)
    flambeau.zeros(3, 4).index_fill(1, flambeau.tensor([0, 2, 0]), value).sum().backward()
    assert value.grad.item() == 6


def test_an_empty_index_fits_everything():
    gathered = flambeau.arange(5.0).gather(0, flambeau.empty(2, 0, dtype=flambeau.uint8))
    assert (gathered.shape, gathered.dtype) == ((2, 0), flambeau.float32)


def test_coordinates_of_flat_indices():
    found = flambeau.unravel_index(flambeau.tensor([[7, 22]], dtype=flambeau.int16), (4, 3, 2))
    for own, expected in zip(found, np.unravel_index([[7, 22]], (4, 3, 2)), strict=True):
        assert own.dtype is flambeau.int64
        np.testing.assert_array_equal(own.numpy(), expected)
    with pytest.raises(ValueError, match="expected 'indices' to be integer dtype, but got float32"):
        flambeau.unravel_index(flambeau.ones(2), (3,))


def test_start_of_a_part_may_be_a_tensor():
    assert flambeau.arange(5).narrow(0, flambeau.tensor(-3), 2).tolist() == [2, 3]
    with pytest.raises(RuntimeError, match="start must be an 0-dim integral Tensor"):
        flambeau.arange(5).narrow(0, flambeau.tensor(True), 2)


def test_masked_scatter_needs_a_mask_of_bools():
    with pytest.raises(RuntimeError, match="only supports boolean masks, but got mask with dtype float32"):
        flambeau.ones(2).masked_scatter(flambeau.ones(2), flambeau.ones(2))
