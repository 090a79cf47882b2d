"""Factory functions, triangles and diagonals, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd.finite_differences import gradcheck, gradgradcheck


@pytest.fixture(autouse=True)
def default_dtype():
    yield
    flambeau.set_default_dtype(flambeau.float32)


@pytest.mark.parametrize(("make", "value"), [("zeros", 0), ("ones", 1), ("empty", 0)])
def test_sizes_come_as_ints_a_tuple_a_list_or_a_keyword(make, value):
    function = getattr(flambeau, make)
    for tensor in (
        function(2, 3),
        function((2, 3)),
        function([2, 3]),
        function(size=(2, 3)),
        function(flambeau.Size([2, 3])),
    ):
        assert tensor.shape == (2, 3)
        assert tensor.dtype is flambeau.float32
        assert tensor.tolist() == [[value] * 3] * 2
    assert function().shape == ()
    assert function(()).shape == ()
    assert function(0, 4).shape == (0, 4)
    assert function(np.int64(2)).shape == (2,)


def test_factories_take_dtype_device_and_requires_grad():
    tensor = flambeau.ones(2, dtype=flambeau.int16)
    assert tensor.dtype is flambeau.int16
    assert flambeau.zeros(2, device="meta").is_meta
    assert flambeau.zeros(2, requires_grad=True).requires_grad
    assert flambeau.zeros(2, layout=flambeau.strided, pin_memory=False).shape == (2,)
    assert flambeau.empty(2, memory_format=flambeau.contiguous_format).shape == (2,)
    out = flambeau.empty(2, 2)
    assert flambeau.ones(2, 2, out=out) is out
    assert out.tolist() == [[1, 1], [1, 1]]
    flambeau.set_default_dtype(flambeau.float64)
    assert flambeau.zeros(1).dtype is flambeau.float64


def test_wrong_sizes_are_named():
    with pytest.raises(RuntimeError, match=r"^zeros: Trying to create tensor with negative dimension -1: \[2, -1\]$"):
        flambeau.zeros(2, -1)
    with pytest.raises(
        TypeError, match=r"^ones\(\): argument 'size' must be a tuple of ints, but it has elements of types"
    ):
        flambeau.ones(2, 2.5)
    with pytest.raises(TypeError, match=r"^empty\(\) got an unexpected keyword argument 'shape'$"):
        flambeau.empty(shape=(2,))
    with pytest.raises(TypeError, match=r"^zeros\(\): argument 'dtype' must be flambeau.dtype, not str$"):
        flambeau.zeros(2, dtype="float32")


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(True, "bool"), (3, "int64"), (2.5, "float32"), (1 + 2j, "complex64"), (float("nan"), "float32")],
)
def test_full_takes_its_dtype_from_the_value(value, dtype):
    tensor = flambeau.full((2,), value)
    assert tensor.dtype.name == dtype
    np.testing.assert_array_equal(tensor.numpy(), np.full(2, value, dtype))
    assert flambeau.full((2,), 3, dtype=flambeau.float16).dtype is flambeau.float16


def test_like_functions_follow_the_tensor():
    base = flambeau.zeros(2, 3, dtype=flambeau.int8)
    assert flambeau.ones_like(base).tolist() == [[1] * 3] * 2
    assert flambeau.ones_like(base).dtype is flambeau.int8
    assert flambeau.zeros_like(base, dtype=flambeau.float64).dtype is flambeau.float64
    assert flambeau.full_like(base, 7).tolist() == [[7] * 3] * 2
    assert flambeau.empty_like(base, device="meta").is_meta
    assert flambeau.zeros_like(flambeau.zeros(2, device="meta")).is_meta
    assert flambeau.rand_like(flambeau.zeros(3), requires_grad=True).requires_grad


@pytest.mark.parametrize(
    "bounds", [(5,), (2, 7), (2, 10, 3), (7, 2, -2), (0,), (3, 3), (1.0, 2.0, 0.3), (5.5,), (0, 1, 0.1), (-3, 4)]
)
def test_arange_agrees_with_numpy(bounds):
    expected = np.arange(*bounds)
    tensor = flambeau.arange(*bounds)
    assert tensor.dtype is (flambeau.float32 if expected.dtype == np.float64 else flambeau.int64)
    assert tensor.shape == expected.shape
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-6, atol=1e-7)
    assert flambeau.arange(*bounds, device="meta").shape == expected.shape


def test_arange_keywords_and_errors():
    assert flambeau.arange(start=1, end=4).tolist() == [1, 2, 3]
    assert flambeau.arange(1, end=4).tolist() == [1, 2, 3]
    assert flambeau.arange(end=3).tolist() == [0, 1, 2]
    assert flambeau.arange(3, dtype=flambeau.float64).dtype is flambeau.float64
    assert flambeau.arange(flambeau.tensor(3)).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="^arange: step must be nonzero$"):
        flambeau.arange(1, 2, 0)
    with pytest.raises(RuntimeError, match="upper bound and lower bound inconsistent with step sign"):
        flambeau.arange(1, 2, -1)
    with pytest.raises(RuntimeError, match="unsupported range"):
        flambeau.arange(float("inf"))
    with pytest.raises(TypeError, match=r"missing required argument: 'end'"):
        flambeau.arange(start=1)
    assert flambeau.range(1, 2, 0.5).tolist() == [1.0, 1.5, 2.0]


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 100, 101])
@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float64, flambeau.int32])
def test_linspace_agrees_with_numpy(steps, dtype):
    expected = np.linspace(-3, 11, steps)
    if dtype is flambeau.int32:
        expected = np.trunc(expected.round(4))
    tensor = flambeau.linspace(-3, 11, steps, dtype=dtype)
    assert tensor.dtype is dtype
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_linspace_ends_exactly_and_may_be_complex():
    assert flambeau.linspace(0.1, 0.7, 7)[-1].item() == np.float32(0.7)
    np.testing.assert_allclose(flambeau.linspace(0, 1 + 1j, 3).numpy(), [0, 0.5 + 0.5j, 1 + 1j])
    np.testing.assert_allclose(flambeau.logspace(0, 3, 4).numpy(), [1, 10, 100, 1000], rtol=1e-6)
    np.testing.assert_allclose(flambeau.logspace(0, 3, 4, base=2, dtype=flambeau.float64).numpy(), [1, 2, 4, 8])
    with pytest.raises(RuntimeError, match="^linspace: number of steps must be non-negative, got -1$"):
        flambeau.linspace(0, 1, -1)


def test_eye():
    np.testing.assert_array_equal(flambeau.eye(3).numpy(), np.eye(3))
    np.testing.assert_array_equal(flambeau.eye(2, 4, dtype=flambeau.int64).numpy(), np.eye(2, 4))
    assert flambeau.eye(0).shape == (0, 0)


@pytest.mark.parametrize("diagonal", [-4, -1, 0, 1, 2, 5])
@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 3), (1, 1), (0, 3), (2, 0, 0)])
def test_triangles(shape, diagonal):
    values = np.arange(1, np.prod(shape) + 1).reshape(shape)
    for dtype in (np.float64, np.int32, np.bool_):
        tensor = flambeau.tensor(values.astype(dtype))
        np.testing.assert_array_equal(tensor.tril(diagonal).numpy(), np.tril(values.astype(dtype), diagonal))
        np.testing.assert_array_equal(flambeau.triu(tensor, diagonal).numpy(), np.triu(values.astype(dtype), diagonal))
        assert tensor.tril(diagonal).dtype is tensor.dtype


def test_triangles_in_place_and_errors():
    tensor = flambeau.ones(3, 3)
    view = tensor[:2]
    assert tensor.tril_() is tensor
    assert view.tolist() == [[1, 0, 0], [1, 1, 0]]
    with pytest.raises(RuntimeError, match=r"^tril: input tensor must have at least 2 dimensions, got"):
        flambeau.ones(3).tril()


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_triangle_indices(offset):
    np.testing.assert_array_equal(flambeau.tril_indices(3, 4, offset).numpy(), np.stack(np.tril_indices(3, offset, 4)))
    np.testing.assert_array_equal(flambeau.triu_indices(3, 4, offset).numpy(), np.stack(np.triu_indices(3, offset, 4)))


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_diag_makes_and_takes_diagonals(offset):
    vector = np.array([1.0, 2.0, 3.0])
    matrix = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(flambeau.tensor(vector).diag(offset).numpy(), np.diag(vector, offset))
    np.testing.assert_array_equal(flambeau.diag(flambeau.tensor(matrix), offset).numpy(), np.diag(matrix, offset))
    np.testing.assert_array_equal(
        flambeau.diagflat(flambeau.tensor(matrix), offset).numpy(), np.diagflat(matrix, offset)
    )
    with pytest.raises(RuntimeError, match="expected a tensor of 1 or 2 dimensions"):
        flambeau.diag(flambeau.zeros(1, 1, 1))


@pytest.mark.parametrize("offset", [-1, 0, 2])
@pytest.mark.parametrize(("dim1", "dim2"), [(-2, -1), (0, 2), (2, 0), (1, 0)])
def test_diag_embed_is_undone_by_diagonal(offset, dim1, dim2):
    values = flambeau.randn(2, 3, dtype=flambeau.float64)
    embedded = flambeau.diag_embed(values, offset, dim1, dim2)
    assert embedded.count_nonzero() == 6
    found = np.diagonal(embedded.numpy(), offset, dim1, dim2)
    # Dimensions swapped are a diagonal on the other side.
    np.testing.assert_array_equal(found, values.numpy())


def test_complex_and_polar():
    real, imag = flambeau.tensor([1.0, 2.0]), flambeau.tensor([3.0, -1.0])
    assert flambeau.complex(real, imag).dtype is flambeau.complex64
    np.testing.assert_array_equal(flambeau.complex(real, imag).numpy(), [1 + 3j, 2 - 1j])
    np.testing.assert_allclose(flambeau.polar(real, imag).numpy(), [np.exp(3j), 2 * np.exp(-1j)], rtol=1e-6)
    with pytest.raises(RuntimeError, match="^complex: expected real and imag of one floating-point dtype, got"):
        flambeau.complex(real, imag.double())


def test_gradients():
    x = flambeau.randn(3, 4, dtype=flambeau.float64, requires_grad=True)
    y = flambeau.randn(3, 4, dtype=flambeau.float64, requires_grad=True)
    for function in (
        lambda x: x.tril(1),
        lambda x: x.triu(-1),
        lambda x: flambeau.diag_embed(x, 1, 0, 2),
        lambda x: flambeau.diag_embed(x, -2),
        flambeau.diag,
        lambda x: flambeau.block_diag(x, x[0]),
    ):
        assert gradcheck(function, (x,))
        assert gradgradcheck(function, (x,))
    for function in (flambeau.complex, flambeau.polar):
        assert gradcheck(function, (x, y))
        assert gradgradcheck(function, (x, y))


def test_meshgrid_agrees_with_numpy():
    vectors = [np.arange(3.0), np.arange(2.0) + 5, np.arange(4.0) - 1]
    tensors = [flambeau.tensor(v) for v in vectors]
    for indexing in ("ij", "xy"):
        for found, expected in zip(
            flambeau.meshgrid(*tensors, indexing=indexing), np.meshgrid(*vectors, indexing=indexing), strict=True
        ):
            np.testing.assert_array_equal(found.numpy(), expected)
    assert len(flambeau.meshgrid(tensors)) == 3
    assert flambeau.meshgrid(flambeau.tensor(2.0), tensors[0])[1].shape == (1, 3)
    with pytest.raises(RuntimeError, match="indexing must be one of 'xy' or 'ij', but received: 'ji'"):
        flambeau.meshgrid(*tensors, indexing="ji")


def test_products_combinations_blocks_and_powers():
    a, b = flambeau.tensor([1, 2, 3]), flambeau.tensor([4, 5])
    assert flambeau.cartesian_prod(a, b).tolist() == [[1, 4], [1, 5], [2, 4], [2, 5], [3, 4], [3, 5]]
    assert flambeau.combinations(a).tolist() == [[1, 2], [1, 3], [2, 3]]
    assert flambeau.combinations(b, with_replacement=True).tolist() == [[4, 4], [4, 5], [5, 5]]
    assert flambeau.combinations(a, r=4).shape == (0, 4)
    assert flambeau.block_diag(flambeau.tensor([[1, 2]]), flambeau.tensor(3)).tolist() == [[1, 2, 0], [0, 0, 3]]
    np.testing.assert_array_equal(flambeau.vander(a).numpy(), np.vander([1, 2, 3]))
    np.testing.assert_array_equal(
        flambeau.vander(a, 2, increasing=True).numpy(), np.vander([1, 2, 3], 2, increasing=True)
    )


def test_empty_strided():
    tensor = flambeau.empty_strided((2, 3), (1, 2))
    assert tensor.shape == (2, 3)
    assert tensor.stride() == (1, 2)


def test_ranges_of_whole_dtypes_follow_the_bounds_as_they_were_given():
    # The length is ceil((end - start) / step) of the floats, the values are whole.
    assert flambeau.arange(0.0, -8.000001, -4.0, dtype=flambeau.int16).tolist() == [0, -4, -8]
    assert flambeau.arange(-0.9, 2.1, 2.0, dtype=flambeau.int32).tolist() == [0, 2]
    assert flambeau.arange(False, True, True).tolist() == [0]
    assert flambeau.linspace(4.3, 0, 5, dtype=flambeau.int32).tolist() == [4, 3, 2, 1, 0]
    with pytest.raises(ValueError, match="as int64 it is 0"):
        flambeau.arange(0, 64, 0.5, dtype=flambeau.int64)
    with pytest.raises(TypeError, match="argument 'steps' must be int, not float"):
        flambeau.linspace(0, 3, 1.0)


def test_ranges_of_bfloat16():
    pytest.importorskip("ml_dtypes")
    for made in (flambeau.linspace(-2, 1, 7, dtype=flambeau.bfloat16), flambeau.arange(7, dtype=flambeau.bfloat16)):
        assert made.dtype is flambeau.bfloat16
    assert flambeau.logspace(0, 3, 4, base=2.0, dtype=flambeau.bfloat16).tolist() == [1, 2, 4, 8]


def test_bounds_may_be_tensors_without_dimensions():
    assert flambeau.linspace(flambeau.tensor(0), flambeau.tensor(2.0), 3).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="only supports 0-dimensional start and end tensors"):
        flambeau.logspace(flambeau.ones(1), 2, 3)


def test_scalar_tensors():
    made = flambeau.scalar_tensor(3, requires_grad=True)
    assert (made.dtype, made.shape, made.requires_grad) == (flambeau.float32, (), True)
    assert flambeau.scalar_tensor(-5, dtype=flambeau.uint8).item() == 251
