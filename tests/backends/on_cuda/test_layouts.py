"""Kernels over layouts and sizes that the conformance kit's small samples do not reach."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy
import pytest

import flambeau
from flambeau import cuda
from flambeau.nn import functional as F

pytestmark = pytest.mark.skipif(not cuda.is_available(), reason="there is no CUDA device here")


@pytest.fixture(autouse=True)
def kernels_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """``test_cudnn.py`` has what goes through cuDNN."""
    monkeypatch.setattr(flambeau.backends.cudnn, "enabled", False)


CUDA = "cuda"
RNG = numpy.random.default_rng(0)


def made(values: numpy.ndarray) -> flambeau.Tensor:
    return flambeau.from_numpy(values).to(CUDA)


def normal(*shape: int, dtype: str = "float32") -> numpy.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def close(actual: flambeau.Tensor, expected: numpy.ndarray, rtol: float = 2e-5, atol: float = 1e-5) -> None:
    found = actual.cpu().numpy()
    assert found.shape == expected.shape
    numpy.testing.assert_allclose(found.astype("float64"), expected.astype("float64"), rtol, atol)


# -- rows: a thread, a warp or a block each, whole or in parts -------------------------------------------------------

SHAPES = [
    ((3, 5), (1,)),  # a thread a row
    ((4, 300), (1,)),  # a warp
    ((2, 5000), (1,)),  # a block, in parts
    ((70_000,), (0,)),  # one row in many parts
    ((5000, 200), (0,)),  # columns, in parts
    ((40, 130, 6), (0, 2)),  # two dimensions that cannot be merged
    ((3, 4, 5, 6), (1, 3)),
]


@pytest.mark.parametrize(("shape", "dims"), SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "complex64"])
def test_sums_and_means(shape: tuple, dims: tuple, dtype: str) -> None:
    x = RNG.integers(-9, 9, shape).astype(dtype)
    exact = x.astype("complex128" if dtype == "complex64" else "float64").sum(dims)
    if dtype == "float16" and abs(exact).max() > 2048:
        exact = exact.astype("float16")
    assert (made(x).sum(dims).cpu().numpy() == exact).all()
    assert (
        made(x).sum(dims, keepdim=True).cpu().numpy()
        == exact.reshape([1 if d in dims else n for d, n in enumerate(shape)])
    ).all()


@pytest.mark.parametrize(("shape", "dims"), SHAPES)
def test_extremes_and_nan(shape: tuple, dims: tuple) -> None:
    x = normal(*shape)
    close(made(x).amax(dims), x.max(dims), 0, 0)
    close(made(x).amin(dims), x.min(dims), 0, 0)
    x[tuple(n // 2 for n in shape)] = numpy.nan
    numpy.testing.assert_array_equal(made(x).amax(dims).cpu().numpy(), x.max(dims))
    if len(dims) == 1:
        x.reshape(-1)[:2] = 7.0  # equal ones: the first counts
        assert (made(x).argmax(dims[0]).cpu().numpy() == x.argmax(dims[0])).all()


@pytest.mark.parametrize("shape", [(3, 5), (4, 300), (2, 5000), (130, 6, 200)])
@pytest.mark.parametrize("dim", [0, -1])
def test_softmax_and_its_gradient(shape: tuple, dim: int) -> None:
    x, g = normal(*shape), normal(*shape)
    e = numpy.exp(x.astype("float64") - x.max(dim, keepdims=True))
    expected = e / e.sum(dim, keepdims=True)
    own = made(x).requires_grad_()
    found = F.softmax(own, dim)
    close(found.detach(), expected)
    found.backward(made(g))
    close(own.grad, expected * (g - (g * expected).sum(dim, keepdims=True)))
    close(F.log_softmax(made(x), dim), numpy.log(expected), atol=1e-4)


@pytest.mark.parametrize("width", [5, 300, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_layer_norm(width: int, dtype: str) -> None:
    kind = getattr(flambeau, dtype)
    host = [flambeau.from_numpy(normal(*shape)).to(kind) for shape in ((7, width), (width,), (width,), (7, width))]
    results = []
    for device in ("cpu", CUDA):
        x, w, b, g = [t.detach().to(device).requires_grad_(i < 3) for i, t in enumerate(host)]
        out = F.layer_norm(x, (width,), w, b)
        out.backward(g)
        results.append([t.detach().to(flambeau.float64).cpu().numpy() for t in (out, x.grad, w.grad, b.grad)])
    tolerance = {"float64": 1e-9, "float32": 2e-4, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    for expected, actual in zip(*results, strict=True):
        numpy.testing.assert_allclose(actual, expected, tolerance, tolerance)


def test_batch_norm_of_images_and_of_channels_last() -> None:
    x = normal(6, 40, 9, 7)
    w, b = normal(40), normal(40)
    mean, var = x.mean((0, 2, 3), dtype="float64"), x.var((0, 2, 3), dtype="float64")
    expected = (x - mean[:, None, None]) / numpy.sqrt(var[:, None, None] + 1e-5) * w[:, None, None] + b[:, None, None]
    for own in (made(x), made(numpy.ascontiguousarray(x.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)):
        close(F.batch_norm(own, None, None, made(w), made(b), True), expected, atol=1e-4)


def test_threads_are_counted_in_64_bits_where_they_are_many() -> None:
    from flambeau_cupy.rows import WARP, plan_rows

    few, many = [plan_rows((rows, 10), ((10, 1),), (1,)) for rows in (2000, 200_000_000)]
    assert (few.threads, few.index) == (WARP, "int")
    assert (many.threads, many.index) == (WARP, "long long")  # of elements there are fewer than 2^31


# -- products --------------------------------------------------------------------------------------------------------


def _layouts(matrix: numpy.ndarray) -> list[flambeau.Tensor]:
    """The same matrices in every way that memory may hold them."""
    plain = made(matrix)
    turned = made(numpy.ascontiguousarray(matrix.swapaxes(-1, -2))).transpose(-1, -2)
    wide = made(numpy.concatenate([matrix, matrix], -1))[..., : matrix.shape[-1]]
    spread = made(numpy.repeat(matrix, 2, -1))[..., ::2]
    return [plain, turned, wide, spread]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "complex64", "complex128"])
@pytest.mark.parametrize("shapes", [((5, 3), (3, 4)), ((1, 3), (3, 1)), ((2, 5, 3), (2, 3, 4)), ((6, 1), (1, 7))])
def test_products_of_every_layout(dtype: str, shapes: tuple) -> None:
    kind = getattr(flambeau, dtype)
    a, b = [RNG.integers(-3, 4, shape).astype("float32") for shape in shapes]
    for left in _layouts(a):
        for right in _layouts(b):
            close(flambeau.matmul(left.to(kind), right.to(kind)).to(flambeau.complex128).real, a @ b, 0, 0)
            close(flambeau.matmul(left, right), a @ b, 0, 0)


VECTORS_AND_BATCHES = [
    ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 2)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (5, 4, 2)),
    ((5, 3, 4), (1, 4, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3, 0), (0, 4)),
]  # fmt: skip


@pytest.mark.parametrize("shapes", VECTORS_AND_BATCHES)
def test_products_of_vectors_batches_and_nothing(shapes: tuple) -> None:
    a, b = [RNG.integers(-3, 4, shape).astype("float32") for shape in shapes]
    close(flambeau.matmul(made(a), made(b)), a @ b, 0, 0)


def test_tf32_is_used_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau_cupy import matmul

    kinds = []
    multiply = matmul.cublas.gemmStridedBatchedEx
    watched = lambda *args: kinds.append(args[-2]) or multiply(*args)
    monkeypatch.setattr(matmul, "cublas", SimpleNamespace(gemmStridedBatchedEx=watched))
    x = made(normal(4, 4))
    flambeau.matmul(x, x)
    flambeau.set_float32_matmul_precision("high")
    try:
        flambeau.matmul(x, x)
        flambeau.matmul(x.double(), x.double())
    finally:
        flambeau.set_float32_matmul_precision("highest")
    assert kinds == [68, 77, 70]  # float32, TF32, float64


# -- convolution -----------------------------------------------------------------------------------------------------

CONVOLUTIONS = {
    "plain": ((2, 3, 9, 8), (4, 3, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    "pointwise": ((2, 6, 5, 5), (8, 6, 1, 1), {}),
    "dilated": ((2, 3, 11), (4, 3, 3), {"dilation": 2, "padding": 2}),
    "groups": ((2, 12, 7, 7), (4, 6, 3, 3), {"groups": 2}),
    "depthwise": ((2, 6, 8, 7), (6, 1, 3, 3), {"groups": 6, "stride": 2, "padding": 1}),
    "multiplied": ((2, 4, 9), (8, 1, 3), {"groups": 4, "dilation": 2}),
    "volumes": ((1, 2, 5, 4, 6), (3, 2, 2, 3, 2), {"padding": 1}),
    "few": ((2, 6, 7, 7), (4, 3, 2, 2), {"groups": 2, "stride": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("chunk", [1 << 28, 400])
def test_convolutions_and_their_gradients(
    name: str, transposed: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flambeau_cupy.convolution.CHUNK", chunk)
    shape, kernel, options = CONVOLUTIONS[name]
    dims = len(shape) - 2
    if transposed:
        shape = (shape[0], kernel[0], *shape[2:])
    convolve = getattr(F, f"conv{'_transpose' * transposed}{dims}d")
    x, w = normal(*shape), normal(*kernel)
    b = normal(kernel[1] * options.get("groups", 1) if transposed else kernel[0])
    results = []
    for device in ("cpu", CUDA):
        tensors = [flambeau.from_numpy(a).to(device).requires_grad_() for a in (x, w, b)]
        out = convolve(*tensors, **options)
        (out * out).sum().backward()
        results.append([out.detach().cpu().numpy(), *[t.grad.cpu().numpy() for t in tensors]])
    for expected, actual in zip(*results, strict=True):
        numpy.testing.assert_allclose(actual, expected, 2e-4, 2e-4)


def test_depthwise_convolutions_have_kernels_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def columns(*_: object, **__: object) -> None:
        raise AssertionError("columns are made")

    monkeypatch.setattr("flambeau_cupy.convolution.columns", columns)
    x = made(normal(1, 6, 5, 5)).requires_grad_()
    w = made(normal(6, 1, 3, 3)).requires_grad_()
    F.conv2d(x, w, groups=6).sum().backward()
    assert w.grad is not None
    with pytest.raises(AssertionError, match="columns are made"):
        F.conv2d(x, made(normal(6, 6, 3, 3)))


# -- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "added", "a row each", "nowhere"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("chunk", "rows"), [(1 << 28, 512), (1, 512), (1, 16)])
@pytest.mark.parametrize(("queries", "keys"), [(40, 70), (70, 40)])
def test_attention_and_its_gradients(
    mask: str, dtype: str, chunk: int, rows: int, queries: int, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flambeau_cupy.attention.CHUNK", chunk)
    monkeypatch.setattr("flambeau_cupy.attention.ROWS", rows)
    kind = getattr(flambeau, dtype)
    host = [normal(3, 2, queries, 8), normal(3, 2, keys, 8), normal(3, 2, keys, 6)]
    given = {
        "bool": RNG.random((queries, keys)) < 0.7,
        "added": normal(2, 1, keys),
        "a row each": RNG.random((3, 1, 1, keys)) < 0.5,
        "nowhere": numpy.arange(queries)[:, None] > numpy.zeros((1, keys)),
    }.get(mask)
    results = []
    for device, own in (("cpu", flambeau.float64), (CUDA, kind)):
        tensors = [flambeau.from_numpy(a).to(kind).to(device, own).requires_grad_() for a in host]
        shown = None if given is None else flambeau.from_numpy(given).to(device)
        shown = shown if given is None or given.dtype == bool else shown.to(own)
        out = F.scaled_dot_product_attention(*tensors, shown, is_causal=mask == "causal")
        (out * out).sum().backward()
        results.append([t.detach().to(flambeau.float64).cpu().numpy() for t in (out, *[t.grad for t in tensors])])
    tolerance = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 6e-2}[dtype]
    for expected, actual in zip(*results, strict=True):
        numpy.testing.assert_allclose(actual, expected, tolerance, tolerance * max(1, abs(expected).max()))


# -- channels innermost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        F.gelu,
        lambda x: F.batch_norm(x, None, None, None, None, True),
        lambda x: flambeau.where(x > 0, x, 0.1),
        lambda x: x.clamp(-1, 1),
    ],
)
def test_channels_stay_innermost(function: Callable[[flambeau.Tensor], flambeau.Tensor]) -> None:
    x = made(normal(2, 3, 4, 5)).contiguous(memory_format=flambeau.channels_last).requires_grad_()
    out = function(x)
    assert out.is_contiguous(memory_format=flambeau.channels_last)
    (gradient,) = flambeau.autograd.grad(out, x, out.detach())
    assert gradient.is_contiguous(memory_format=flambeau.channels_last)
    rows = x.detach().contiguous().requires_grad_()
    expected = function(rows)
    assert expected.is_contiguous()
    assert flambeau.allclose(out, expected, atol=1e-6)
    (wanted,) = flambeau.autograd.grad(expected, rows, expected.detach())
    assert flambeau.allclose(gradient, wanted, atol=1e-5)


def test_transposed_and_broken_layouts() -> None:
    x = made(normal(6, 4))
    assert F.relu(x.t()).stride() == (1, 4) and F.relu(x[:, ::2]).stride() == (2, 1)
    assert flambeau.equal(F.relu(x.t()), F.relu(x).t())
    assert F.relu(x[:, :1].expand(6, 4)).is_contiguous()
