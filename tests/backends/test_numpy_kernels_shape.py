"""Views, copies, indexing and products of the CPU backend."""

from __future__ import annotations

import numpy
import pytest

from flambeau_numpy.backend import NumpyBackend

K = NumpyBackend().kernels()
RNG = numpy.random.default_rng(0)


def shares(view: numpy.ndarray, base: numpy.ndarray) -> bool:
    """Writing into ``view`` is seen in ``base``."""
    return numpy.may_share_memory(view, base) and view.flags.writeable


# -- views -----------------------------------------------------------------------------------------------------------


def test_view_never_copies() -> None:
    x = numpy.arange(12.0).reshape(3, 4)
    assert shares(K["view"](x, (2, -1)), x)
    assert K["view"](x, (2, -1)).shape == (2, 6)
    assert K["view"](x.T[:, None], (4, 1, 3, 1)).shape == (4, 1, 3, 1)
    with pytest.raises(RuntimeError, match=r"^view size is not compatible .*\[4, 3\] cannot be seen as \[12\]"):
        K["view"](x.T, (12,))
    with pytest.raises(RuntimeError, match=r"^shape '\[5\]' is invalid for input of size 12$"):
        K["view"](x, (5,))
    assert K["reshape"](x.T, (12,)).tolist() == x.T.ravel().tolist()


def test_permute_and_slice() -> None:
    x = numpy.arange(24.0).reshape(2, 3, 4)
    assert K["permute"](x, (2, 0, 1)).shape == (4, 2, 3)
    part = K["slice"](x, 2, 1, 4, 2)
    numpy.testing.assert_array_equal(part, x[:, :, 1:4:2])
    assert shares(part, x)
    numpy.testing.assert_array_equal(K["slice_backward"](part, x.shape, 2, 1, 4, 2)[:, :, [1, 3]], part)
    assert K["slice_backward"](part, x.shape, 2, 1, 4, 2)[:, :, [0, 2]].sum() == 0


@pytest.mark.parametrize("dtype", ["float32", "bool", "complex64", "float16"])
def test_expand(dtype: str) -> None:
    x = numpy.arange(3).reshape(3, 1).astype(dtype)
    found = K["expand"](x, (2, -1, 4))
    numpy.testing.assert_array_equal(found, numpy.broadcast_to(x, (2, 3, 4)))
    assert shares(found, x)
    assert K["expand"](x[::2], (2, 5)).shape == (2, 5)
    assert K["expand"](numpy.zeros((), dtype), (2, 2)).shape == (2, 2)
    assert K["expand"](numpy.zeros((0, 1), dtype), (0, 3)).shape == (0, 3)
    with pytest.raises(RuntimeError, match=r"^expand: the shape \[3, 1\] cannot be expanded to \[2, 4\]"):
        K["expand"](x, (2, 4))


def test_as_strided_counts_from_the_start_of_the_storage() -> None:
    x = numpy.arange(12.0)
    part = x[4:]
    numpy.testing.assert_array_equal(K["as_strided"](part, (2, 3), (3, 1), 1), [[1, 2, 3], [4, 5, 6]])
    numpy.testing.assert_array_equal(K["as_strided"](part, (2, 2), (1, 1)), [[4, 5], [5, 6]])
    columns = numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3))
    numpy.testing.assert_array_equal(K["as_strided"](columns, (6,), (1,), 0), [0, 3, 1, 4, 2, 5])
    found = K["as_strided"](x, (2, 2), (6, 2), 3)
    found[1, 1] = -1
    assert x[11] == -1
    with pytest.raises(RuntimeError, match="need 13 elements, but the storage has 12"):
        K["as_strided"](x, (2, 2), (6, 3), 3)


def test_diagonal_is_writeable() -> None:
    x = numpy.zeros((2, 3, 3))
    diagonal = K["diagonal_view"](x, 1, 1, 2)
    assert diagonal.shape == (2, 2)
    diagonal[...] = 1
    numpy.testing.assert_array_equal(x[0], numpy.eye(3, k=1))
    numpy.testing.assert_array_equal(K["diagonal_backward"](diagonal, x.shape, 1, 1, 2), x)


def test_basic_index_always_gives_an_array() -> None:
    x = numpy.arange(6.0).reshape(2, 3)
    element = K["basic_index"](x, (1, 2))
    assert element.shape == ()
    assert shares(element, x)
    numpy.testing.assert_array_equal(K["basic_index"](x, (None, slice(0, 2, 1), 1)), [[1, 4]])
    numpy.testing.assert_array_equal(
        K["basic_index_backward"](numpy.ones(2), (2, 3), (slice(0, 2, 1), 1)).sum(0), [0, 2, 0]
    )


def test_parts_of_complex_numbers() -> None:
    x = numpy.array([1 + 2j])
    K["imag"](x)[0] = 5
    assert x[0] == 1 + 5j
    with pytest.raises(RuntimeError, match="imag is not implemented for tensors with non-complex dtypes, got float64"):
        K["imag"](numpy.ones(2))


# -- copies ----------------------------------------------------------------------------------------------------------


def test_cat() -> None:
    a, b = numpy.ones((2, 3)), numpy.zeros((2, 1))
    assert K["cat"]([a, b], 1).shape == (2, 4)
    assert K["stack"]([a, a], 1).shape == (2, 2, 3)


@pytest.mark.parametrize("diagonal", [-2, 0, 1])
def test_triangles(diagonal: int) -> None:
    x = RNG.standard_normal((2, 3, 4)).astype("float32")
    numpy.testing.assert_array_equal(K["tril"](x, diagonal), numpy.tril(x, diagonal))
    numpy.testing.assert_array_equal(K["triu"](x, diagonal), numpy.triu(x, diagonal))
    assert K["tril"](x > 0, diagonal).dtype == bool


def test_flip_and_padding() -> None:
    x = numpy.arange(6.0).reshape(2, 3)
    numpy.testing.assert_array_equal(K["flip"](x, (0, 1)), x[::-1, ::-1])
    assert K["flip"](x, (1,)).flags.c_contiguous
    numpy.testing.assert_array_equal(
        K["constant_pad_nd"](x, (1, -1, 0, 2), 7.0)[:, 1:], numpy.pad(x[:, :2], ((0, 2), (0, 0)), constant_values=7)
    )


# -- indexing --------------------------------------------------------------------------------------------------------


def test_index_wraps_negative_indices() -> None:
    x = RNG.standard_normal((4, 5, 6))
    i, j = numpy.array([0, -1]), numpy.array([[1], [-2]])
    numpy.testing.assert_array_equal(K["index"](x, [i]), x[i])
    numpy.testing.assert_array_equal(K["index"](x, [None, j]), x[:, j])
    numpy.testing.assert_array_equal(K["index"](x, [i, None, j]), x[i, :, j])
    numpy.testing.assert_array_equal(K["index"](x, [numpy.array(2)]), x[2])


@pytest.mark.parametrize(
    "indices", [[numpy.array([0, 7])], [None, numpy.array([7])], [numpy.array([0]), numpy.array([7])]]
)
def test_index_out_of_bounds(indices: list[numpy.ndarray | None]) -> None:
    x = numpy.zeros((5, 5))
    dim = len(indices) - 1
    message = f"index 7 is out of bounds for dimension {dim} with size 5$"
    with pytest.raises(IndexError, match="^index: " + message):
        K["index"](x, indices)
    for accumulate in (False, True):
        with pytest.raises(IndexError, match="^index_put: " + message):
            K["index_put"](x, indices, numpy.ones(()), accumulate)


def test_index_put() -> None:
    x = numpy.zeros((3, 4), "float32")
    rows = numpy.array([0, -1, 0])
    added = K["index_put"](x, [rows], numpy.ones((3, 4), "float32"), True)
    numpy.testing.assert_array_equal(added[:, 0], [2, 0, 1])
    columns = K["index_put"](x, [None, rows], numpy.ones((3, 3), "float32"), True)
    numpy.testing.assert_array_equal(columns[0], [2, 0, 0, 1])
    written = K["index_put"](x, [rows, numpy.array([1, 2, 3])], numpy.array([5, 6, 7], "float32"))
    assert (written[0, 1], written[2, 2], written[0, 3]) == (5, 6, 7)
    assert not x.any()
    assert K["index_put_"](x, [rows], numpy.float32(1)) is x
    assert x.sum() == 8
    with pytest.raises(RuntimeError, match=r"the shape \[2\] of values does not broadcast to the selected \[3, 4\]"):
        K["index_put"](x, [rows], numpy.ones(2))


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_gather_and_scatter(dim: int) -> None:
    x = RNG.standard_normal((3, 4, 5)).astype("float32")
    index = RNG.integers(0, 3, (2, 3, 2))
    src = RNG.standard_normal((2, 4, 3)).astype("float32")
    gathered = K["gather"](x, dim, index)
    added, written = x.astype("float64"), K["scatter"](x, dim, index, src)
    for place in numpy.ndindex(index.shape):
        there = list(place)
        there[dim] = index[place]
        assert gathered[place] == x[tuple(there)]
        added[tuple(there)] += src[place]
    numpy.testing.assert_allclose(K["scatter_add"](x, dim, index, src), added, rtol=1e-5)
    last = {}
    for place in numpy.ndindex(index.shape):
        there = list(place)
        there[dim] = index[place]
        last[tuple(there)] = src[place]
    for there, value in last.items():
        assert written[there] == value
    assert K["scatter"](x, dim, index, 0.0).dtype == x.dtype


@pytest.mark.parametrize("bad", [-1, 4])
def test_indices_along_a_dimension_do_not_wrap(bad: int) -> None:
    x, index = numpy.zeros((3, 4)), numpy.array([[bad]])
    message = f"index {bad} is out of bounds for dimension 1 with size 4$"
    with pytest.raises(RuntimeError, match="^gather: " + message):
        K["gather"](x, 1, index)
    with pytest.raises(RuntimeError, match="^scatter: " + message):
        K["scatter"](x, 1, index, numpy.ones((1, 1)))
    with pytest.raises(RuntimeError, match="^scatter_add: " + message):
        K["scatter_add"](x, 1, index, numpy.ones((1, 1)))
    with pytest.raises(IndexError, match=f"^embedding: index {bad} is out of bounds for dimension 0 with size 3$"):
        K["embedding"](numpy.zeros((3, 2)), numpy.array([bad]))


def test_gather_of_a_single_number() -> None:
    assert K["gather"](numpy.arange(3.0), 0, numpy.array(2)) == 2.0
    assert K["gather"](numpy.array(7.0), 0, numpy.array([0])).tolist() == [7.0]


@pytest.mark.parametrize("width", [1, 3, 700])
def test_embedding_and_its_gradient(width: int) -> None:
    weight = RNG.standard_normal((6, width)).astype("float32")
    indices = numpy.array([[0, 5], [5, 2]])
    numpy.testing.assert_array_equal(K["embedding"](weight, indices), weight[indices])
    g = RNG.standard_normal((2, 2, width)).astype("float32")
    found = K["embedding_backward"](g, indices, 6, None)
    expected = numpy.zeros((6, width))
    for place in numpy.ndindex(indices.shape):
        expected[indices[place]] += g[place]
    numpy.testing.assert_allclose(found, expected, rtol=1e-6)
    numpy.testing.assert_array_equal(K["embedding_backward"](g, indices, 6, 5)[5], 0)
    assert K["embedding_backward"](numpy.zeros((0, width)), numpy.zeros(0, int), 6, None).shape == (6, width)


def test_nonzero() -> None:
    numpy.testing.assert_array_equal(K["nonzero"](numpy.array([[0, 2], [3, 0]])), [[0, 1], [1, 0]])
    assert K["nonzero"](numpy.zeros((2, 3))).shape == (0, 2)
    assert K["nonzero"](numpy.array(1.0)).shape == (1, 0)


# -- products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((5, 2, 3), (5, 3, 4)),
        ((6, 1, 2, 3), (5, 3, 4)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (3,)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "complex64"])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> None:
    a, b = (RNG.integers(-4, 5, shape).astype(dtype) for shape in (left, right))
    found = numpy.asarray(K["matmul"](a, b))
    assert found.dtype == dtype
    numpy.testing.assert_array_equal(found, numpy.matmul(a, b))


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ((2, 3), (4, 5), r"^matmul: mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)$"),
        ((), (3,), "^matmul: both arguments to matmul need to be at least 1D, but they are 0D and 1D$"),
        ((2, 1, 3), (3, 3, 1), r"the batch dimensions of the shapes \[2, 1, 3\] and \[3, 3, 1\] do not broadcast$"),
        ((2, 3, 4), (5, 6), r"the shapes \[2, 3, 4\] and \[5, 6\] cannot be multiplied: size 4 does not match size 5$"),
    ],
)
def test_matmul_says_what_does_not_fit(left: tuple[int, ...], right: tuple[int, ...], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        K["matmul"](numpy.ones(left), numpy.ones(right))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
def test_linear(shape: tuple[int, ...]) -> None:
    x, weight, bias = RNG.standard_normal(shape), RNG.standard_normal((5, 3)), RNG.standard_normal(5)
    numpy.testing.assert_allclose(K["linear"](x, weight, bias), x @ weight.T + bias)
    numpy.testing.assert_allclose(K["linear"](x, weight), x @ weight.T)
    numpy.testing.assert_allclose(K["linear"](x, weight[0], bias[0]), x @ weight[0] + bias[0])
    halves = [a.astype("float16") for a in (x, weight, bias)]
    assert K["linear"](*halves).dtype == numpy.float16


@pytest.mark.parametrize("shape", [(2, 600), (32, 600), (33, 600), (4, 2, 600), (1, 600), (600,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_of_few_rows_and_a_large_weight(shape: tuple[int, ...], dtype: str) -> None:
    """Which of the two is turned for the product cannot be seen, but in the time."""
    x, weight, bias = (RNG.standard_normal(size).astype(dtype) for size in (shape, (500, 600), (500,)))
    expected = (x.astype("float64") @ weight.astype("float64").T + bias).astype(dtype)
    for given in (weight, numpy.asfortranarray(weight)):
        got = K["linear"](x, given, bias)
        assert got.shape == (*shape[:-1], 500) and got.dtype == dtype and got.flags.c_contiguous
        numpy.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4 if dtype == "float32" else 1e-10)


def test_linear_says_what_does_not_fit() -> None:
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(2x4 and 3x5\)"):
        K["linear"](numpy.ones((2, 4)), numpy.ones((5, 3)), None)
    with pytest.raises(RuntimeError, match="linear: mat1 and mat2 shapes cannot be multiplied \\(8x400 and 300x500\\)"):
        K["linear"](numpy.ones((8, 400)), numpy.ones((500, 300)), None)


def test_linear_algebra() -> None:
    a = RNG.standard_normal((2, 3, 3))
    b = RNG.standard_normal((2, 3))
    numpy.testing.assert_allclose(numpy.einsum("bij,bj->bi", a, K["linalg_solve"](a, b)), b)
    numpy.testing.assert_allclose(a @ K["linalg_solve"](a, a), a, atol=1e-12)
    u, s, vh = K["linalg_svd"](a, False)
    numpy.testing.assert_allclose(u * s[:, None] @ vh, a, atol=1e-12)
    with pytest.raises(RuntimeError, match=r"^linalg_inv: Singular matrix \(the input: \[2, 2\] float64\)$"):
        K["linalg_inv"](numpy.zeros((2, 2)))
