"""Sorting, ranking, looking up and counting, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd.finite_differences import gradcheck, gradgradcheck

RANDOM = np.random.default_rng(0)
NAN = float("nan")


def arrays():
    yield RANDOM.standard_normal((4, 5))
    yield RANDOM.standard_normal((3, 1, 6)).astype(np.float32)
    yield RANDOM.integers(-3, 3, (6, 7))
    yield RANDOM.integers(0, 2, (5, 4)).astype(bool)
    yield np.array(2.5)
    yield np.zeros((3, 0))


# -- sort -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("array", list(arrays()), ids=lambda a: f"{a.dtype}{list(a.shape)}")
def test_sort_orders_and_says_where_from(array, descending):
    tensor = flambeau.tensor(array)
    for dim in range(-max(array.ndim, 1), max(array.ndim, 1)):
        values, indices = tensor.sort(dim, descending, stable=True)
        assert indices.dtype is flambeau.int64
        if array.ndim == 0:
            assert (values.item(), indices.item()) == (2.5, 0)
            continue
        expected = np.sort(array, dim)
        np.testing.assert_array_equal(values.numpy(), np.flip(expected, dim) if descending else expected)
        np.testing.assert_array_equal(np.take_along_axis(array, indices.numpy(), dim), values.numpy())
        key = ~array if array.dtype == bool else -array
        np.testing.assert_array_equal(indices.numpy(), np.argsort(key if descending else array, dim, kind="stable"))


def test_sort_puts_nan_after_everything_and_names_its_fields():
    tensor = flambeau.tensor([2.0, NAN, float("inf"), -1.0, NAN])
    ascending = tensor.sort(stable=True)
    np.testing.assert_array_equal(ascending.values.numpy(), [-1, 2, np.inf, NAN, NAN])
    assert ascending.indices.tolist() == [3, 0, 2, 1, 4]
    descending = flambeau.sort(tensor, descending=True, stable=True)
    np.testing.assert_array_equal(descending.values.numpy(), [NAN, NAN, np.inf, 2, -1])
    assert descending.indices.tolist() == [1, 4, 2, 0, 3]
    with pytest.raises(
        IndexError, match=r"sort: Dimension out of range \(expected to be in range of \[-1, 0\], but got 1\)"
    ):
        tensor.sort(1)


def test_argsort_and_msort():
    array = RANDOM.standard_normal((3, 4))
    tensor = flambeau.tensor(array)
    np.testing.assert_array_equal(tensor.argsort(0).numpy(), np.argsort(array, 0))
    np.testing.assert_array_equal(flambeau.argsort(tensor, descending=True).numpy(), np.argsort(-array))
    np.testing.assert_array_equal(tensor.msort().numpy(), np.sort(array, 0))


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [0, 1, 3, 40])
def test_topk(k, largest):
    array = RANDOM.standard_normal((2, 40, 3))
    values, indices = flambeau.tensor(array).topk(k, 1, largest)
    expected = np.sort(array, 1)
    expected = np.flip(expected, 1)[:, :k] if largest else expected[:, :k]
    np.testing.assert_array_equal(values.numpy(), expected)
    np.testing.assert_array_equal(np.take_along_axis(array, indices.numpy(), 1), expected)


def test_topk_of_nan_numbers_and_too_many():
    result = flambeau.tensor([1.0, NAN, 3.0]).topk(2)
    np.testing.assert_array_equal(result.values.numpy(), [NAN, 3])
    assert flambeau.tensor(5).topk(1).values.item() == 5
    with pytest.raises(RuntimeError, match="topk: selected index k out of range: k=4 and the size of dimension 0 is 3"):
        flambeau.zeros(3).topk(4)


@pytest.mark.parametrize("keepdim", [False, True])
def test_kthvalue(keepdim):
    array = RANDOM.permutation(30).reshape(5, 6)
    for k in (1, 3, 5):
        values, indices = flambeau.tensor(array).kthvalue(k, 0, keepdim)
        expected = np.sort(array, 0)[k - 1]
        expected = expected[None] if keepdim else expected
        np.testing.assert_array_equal(values.numpy(), expected)
        found = np.take_along_axis(array, indices.numpy() if keepdim else indices.numpy()[None], 0)
        np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    with pytest.raises(RuntimeError, match="kthvalue: selected number k out of range for dimension 0: k=0, size 5"):
        flambeau.tensor(array).kthvalue(0, 0)


# -- order statistics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 5])
def test_median_takes_the_lower_of_the_middle(size):
    array = RANDOM.standard_normal((3, size))
    tensor = flambeau.tensor(array)
    np.testing.assert_array_equal(tensor.median().numpy(), np.sort(array.ravel())[(array.size - 1) // 2])
    for keepdim in (False, True):
        result = tensor.median(1, keepdim)
        expected = np.sort(array, 1)[:, (size - 1) // 2]
        np.testing.assert_array_equal(result.values.numpy(), expected[:, None] if keepdim else expected)
        np.testing.assert_array_equal(array[np.arange(3), result.indices.numpy().ravel()], expected)
    np.testing.assert_array_equal(flambeau.tensor([[3, 1], [2, 4]]).median(0).values.numpy(), [2, 1])


def test_median_and_nan():
    tensor = flambeau.tensor([[1.0, NAN, 3.0, 2.0], [4.0, 5.0, 6.0, 7.0], [NAN] * 4])
    result = tensor.median(1)
    np.testing.assert_array_equal(result.values.numpy(), [NAN, 5, NAN])
    assert result.indices[0].item() == 1
    np.testing.assert_array_equal(tensor.nanmedian(1).values.numpy(), [2, 5, NAN])
    assert tensor.nanmedian().item() == 4
    assert np.isnan(tensor.median().item())
    assert np.isnan(flambeau.zeros(0).median().item())
    with pytest.raises(IndexError, match=r"median: expected reduction dim 1 to have non-zero size, got \[2, 0\]"):
        flambeau.zeros(2, 0).median(1)


def test_mode_is_the_smallest_of_the_most_frequent():
    tensor = flambeau.tensor([[3, 1, 3, 1, 2], [5, 5, 5, 0, 0], [4, 3, 2, 1, 0]])
    result = tensor.mode()
    assert result.values.tolist() == [1, 5, 0]
    assert result.indices.tolist() == [3, 2, 4]
    assert flambeau.mode(tensor, 0, keepdim=True).values.shape == (1, 5)
    assert tensor.t().mode(0).values.tolist() == [1, 5, 0]


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "nearest", "midpoint"])
@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_quantile_agrees_with_numpy(interpolation, dim, keepdim):
    array = RANDOM.standard_normal((4, 7))
    tensor = flambeau.tensor(array)
    for q in (0.0, 0.3, 1.0, np.array([0.1, 0.5, 0.9])):
        given = q if isinstance(q, float) else flambeau.tensor(q)
        found = tensor.quantile(given, dim, keepdim, interpolation=interpolation)
        expected = np.quantile(array, q, axis=dim, keepdims=keepdim, method=interpolation)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_quantile_with_nan_and_wrong_arguments():
    array = np.array([[1.0, NAN, 3.0, 2.0], [4.0, 5.0, 6.0, 8.0]])
    tensor = flambeau.tensor(array)
    np.testing.assert_allclose(tensor.quantile(0.4, 1).numpy(), np.quantile(array, 0.4, axis=1))
    np.testing.assert_allclose(tensor.nanquantile(0.4, 1).numpy(), np.nanquantile(array, 0.4, axis=1))
    np.testing.assert_allclose(flambeau.nanquantile(tensor, 0.4).numpy(), np.nanquantile(array, 0.4))
    with pytest.raises(RuntimeError, match=r"quantile: q must be in the range \[0, 1\] but got 1.5"):
        tensor.quantile(1.5)
    with pytest.raises(
        RuntimeError, match="quantile: input tensor must be either float or double dtype, got flambeau.int64"
    ):
        flambeau.tensor([1, 2]).quantile(0.5)
    with pytest.raises(RuntimeError, match="quantile: input tensor must be non-empty"):
        flambeau.zeros(0).quantile(0.5)


# -- distinct values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [RANDOM.integers(-3, 3, (4, 5)), np.array([2.0, 1.0, 2.0]), np.zeros(0), np.array(3)],
    ids=lambda a: f"{a.dtype}{list(a.shape)}",
)
def test_unique_agrees_with_numpy(array):
    values, inverse, counts = flambeau.tensor(array).unique(return_inverse=True, return_counts=True)
    expected, expected_inverse, expected_counts = np.unique(array, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(values.numpy(), expected)
    np.testing.assert_array_equal(inverse.numpy(), expected_inverse.reshape(array.shape))
    np.testing.assert_array_equal(counts.numpy(), expected_counts)
    np.testing.assert_array_equal(flambeau.unique(flambeau.tensor(array)).numpy(), expected)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_unique_slices_are_in_lexicographic_order(dim):
    array = RANDOM.integers(0, 2, (6, 3, 5))
    values, inverse, counts = flambeau.unique(flambeau.tensor(array), return_inverse=True, return_counts=True, dim=dim)
    expected, expected_inverse, expected_counts = np.unique(array, return_inverse=True, return_counts=True, axis=dim)
    np.testing.assert_array_equal(values.numpy(), expected)
    np.testing.assert_array_equal(inverse.numpy(), expected_inverse.reshape(-1))
    np.testing.assert_array_equal(counts.numpy(), expected_counts)


def test_unique_consecutive():
    tensor = flambeau.tensor([1, 1, 2, 2, 2, 1, 3, 3])
    values, inverse, counts = tensor.unique_consecutive(return_inverse=True, return_counts=True)
    assert values.tolist() == [1, 2, 1, 3]
    assert inverse.tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    assert counts.tolist() == [2, 3, 1, 2]
    rows = flambeau.tensor([[1, 2], [1, 2], [0, 2], [1, 2]])
    assert rows.unique_consecutive(dim=0).tolist() == [[1, 2], [0, 2], [1, 2]]
    assert rows.unique_consecutive(dim=1).tolist() == rows.tolist()


# -- looking up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(right):
    sequence = np.array([1.0, 3.0, 3.0, 7.0])
    values = np.array([[0.0, 1.0, 3.0], [4.0, 7.0, 9.0]])
    side = "right" if right else "left"
    expected = np.searchsorted(sequence, values, side)
    found = flambeau.searchsorted(flambeau.tensor(sequence), flambeau.tensor(values), right=right)
    np.testing.assert_array_equal(found.numpy(), expected)
    assert flambeau.searchsorted(
        flambeau.tensor(sequence), flambeau.tensor(values), side=side, out_int32=True
    ).dtype is (flambeau.int32)
    rows = np.sort(RANDOM.standard_normal((2, 5)))
    found = flambeau.searchsorted(flambeau.tensor(rows), flambeau.tensor(values), right=right).numpy()
    for row in range(2):
        np.testing.assert_array_equal(found[row], np.searchsorted(rows[row], values[row], side))
    found = flambeau.bucketize(flambeau.tensor(values), flambeau.tensor(sequence), right=right)
    np.testing.assert_array_equal(found.numpy(), expected)


def test_searchsorted_of_numbers_unsorted_sequences_and_wrong_shapes():
    sequence = flambeau.tensor([5, 1, 3])
    assert flambeau.searchsorted(sequence.sort().values, 3).item() == 1
    assert flambeau.searchsorted(sequence, flambeau.tensor([4]), sorter=sequence.argsort()).tolist() == [2]
    with pytest.raises(RuntimeError, match=r"boundaries tensor \[2, 3\] and input value tensor \[3, 3\]"):
        flambeau.searchsorted(flambeau.zeros(2, 3), flambeau.zeros(3, 3))
    with pytest.raises(RuntimeError, match="searchsorted: side can only be 'left' or 'right' but got middle"):
        flambeau.searchsorted(sequence, 3, side="middle")


@pytest.mark.parametrize("invert", [False, True])
def test_isin(invert):
    elements, test = RANDOM.integers(0, 9, (3, 4)), np.array([2, 5, 7])
    found = flambeau.isin(flambeau.tensor(elements), flambeau.tensor(test), invert=invert)
    np.testing.assert_array_equal(found.numpy(), np.isin(elements, test, invert=invert))
    assert (
        flambeau.isin(flambeau.tensor(elements), flambeau.zeros(0, dtype=flambeau.int64), invert=invert).all() == invert
    )


def test_argwhere():
    array = RANDOM.integers(0, 2, (3, 4))
    np.testing.assert_array_equal(flambeau.tensor(array).argwhere().numpy(), np.argwhere(array))
    assert flambeau.argwhere(flambeau.tensor(0)).shape == (0, 0)


# -- counting -------------------------------------------------------------------------------------------------------


def test_bincount():
    array = np.array([0, 3, 3, 1])
    tensor = flambeau.tensor(array)
    np.testing.assert_array_equal(tensor.bincount().numpy(), np.bincount(array))
    np.testing.assert_array_equal(tensor.bincount(minlength=6).numpy(), np.bincount(array, minlength=6))
    weights = np.array([0.5, 1.0, 2.0, 4.0])
    np.testing.assert_array_equal(tensor.bincount(flambeau.tensor(weights)).numpy(), np.bincount(array, weights))
    assert flambeau.bincount(tensor[:0]).tolist() == []
    with pytest.raises(RuntimeError, match="got a negative value"):
        flambeau.tensor([-1]).bincount()
    with pytest.raises(RuntimeError, match=r"weights should have the shape of input \[4\], got \[3\]"):
        tensor.bincount(flambeau.zeros(3))


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-1, 1), (-0.5, 4)])
def test_histc_and_histogram(low, high):
    array = np.concatenate([RANDOM.standard_normal(200), [-1.0, 1.0]])
    tensor = flambeau.tensor(array)
    expected, edges = np.histogram(array, 7, None if low == high else (low, high))
    np.testing.assert_array_equal(tensor.histc(7, low, high).numpy(), expected)
    result = flambeau.histogram(tensor, 7, range=None if low == high else (low, high))
    np.testing.assert_array_equal(result.hist.numpy(), expected)
    np.testing.assert_allclose(result.bin_edges.numpy(), edges)
    weights = RANDOM.random(202)
    found = flambeau.histogram(tensor, flambeau.tensor(edges), weight=flambeau.tensor(weights), density=True).hist
    np.testing.assert_allclose(found.numpy(), np.histogram(array, edges, weights=weights, density=True)[0])


def test_histc_of_equal_elements_and_none():
    assert flambeau.tensor([2.0, 2.0]).histc(4).tolist() == [0, 0, 2, 0]
    assert flambeau.zeros(0).histc(3).tolist() == [0, 0, 0]
    assert flambeau.tensor([1.0, NAN]).histc(2, 0, 2).tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="histc: bins must be > 0, got 0"):
        flambeau.zeros(1).histc(0)


# -- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sort(0).values,
        lambda x: x.sort(1, descending=True).values,
        lambda x: x.msort(),
        lambda x: x.topk(2, 1).values,
        lambda x: x.topk(2, 0, largest=False).values,
        lambda x: x.kthvalue(2, 1).values,
        lambda x: x.median(),
        lambda x: x.median(0, keepdim=True).values,
        lambda x: x.mode(1).values,
        lambda x: x.quantile(0.3, 1),
        lambda x: x.quantile(flambeau.tensor([0.2, 0.7], dtype=flambeau.float64)),
        lambda x: x.nanquantile(0.6, 0),
    ],
)
def test_gradients(function):
    x = flambeau.tensor(RANDOM.permutation(12).reshape(3, 4) * 0.5)
    x.requires_grad_()
    assert gradcheck(function, (x,))
    assert gradgradcheck(lambda x: function(x * x), (x,))


def test_indices_do_not_require_gradients():
    x = flambeau.rand(5, requires_grad=True)
    for indices in (x.sort().indices, x.topk(2).indices, x.argsort(), x.median(0).indices):
        assert not indices.requires_grad


def test_shapes_on_the_meta_device():
    x = flambeau.zeros(3, 4, device="meta")
    assert [t.shape for t in x.sort()] == [(3, 4)] * 2
    assert [t.shape for t in x.topk(2, 0)] == [(2, 4)] * 2
    assert x.median(1).values.shape == (3,)
    assert x.quantile(0.5, 0).shape == (4,)


def test_histograms_of_points_are_numpys():
    points = np.random.default_rng(0).normal(size=(50, 2))
    weights = np.random.default_rng(1).uniform(size=50)
    for density in (False, True):
        hist, edges = flambeau.histogramdd(
            flambeau.tensor(points), [3, 4], weight=flambeau.tensor(weights), density=density
        )
        expected, bounds = np.histogramdd(points, [3, 4], weights=weights, density=density)
        np.testing.assert_allclose(hist.numpy(), expected, rtol=1e-12)
        for own, other in zip(edges, bounds, strict=True):
            np.testing.assert_allclose(own.numpy(), other, rtol=1e-12)
    edges = [flambeau.tensor([-1.0, 0.0, 2.0], dtype=flambeau.float64)] * 2
    expected, _ = np.histogramdd(points, [[-1, 0, 2]] * 2)
    np.testing.assert_array_equal(flambeau.histogramdd(flambeau.tensor(points), edges).hist.numpy(), expected)


def test_histograms_of_points_say_what_does_not_fit():
    points = flambeau.ones(4, 2)
    for arguments, message in (
        ((flambeau.ones(3), 2), "should have at least 2 dimensions, but got 1"),
        ((points, [2, 2, 2]), "size of bins must be equal to the innermost dimension of the input, got 3 and 2"),
        ((points, 0), "the number of bins must be positive, got 0"),
    ):
        with pytest.raises(RuntimeError, match=message):
            flambeau.histogramdd(*arguments)
    with pytest.raises(RuntimeError, match="range should have 4 elements"):
        flambeau.histogramdd(points, 2, range=(0, 1))
