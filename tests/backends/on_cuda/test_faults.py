"""What goes wrong on the device is named, when it is next waited for, and leaves the device usable."""

from __future__ import annotations

import numpy
import pytest

import flambeau
from flambeau import cuda
from flambeau.nn import functional as F

pytestmark = pytest.mark.skipif(not cuda.is_available(), reason="there is no CUDA device here")

if cuda.is_available():
    import cupy

    from flambeau_cupy.maps import run
    from flambeau_cupy.programs import compiled

    STAND_IN = hasattr(cupy, "_state")
else:
    STAND_IN = False

only_on_the_stand_in = pytest.mark.skipif(not STAND_IN, reason="a GPU does not look for it; compute-sanitizer does")

CUDA = "cuda"


def test_an_index_out_of_bounds_is_told_when_a_value_is_read() -> None:
    table = flambeau.ones(3, 2, device=CUDA)
    found = F.embedding(flambeau.tensor([0, 7], device=CUDA), table)  # nobody waits for the kernel yet
    with pytest.raises(IndexError, match="^embedding: index 7 is out of bounds for size 3$"):
        found.cpu()
    assert found[0].sum().item() == 2


def test_synchronize_tells_it_too() -> None:
    x = flambeau.arange(4, device=CUDA)
    x[flambeau.tensor([-5], device=CUDA)]
    with pytest.raises(IndexError, match="^index: index -5 is out of bounds for size 4$"):
        flambeau.cuda.synchronize()
    flambeau.cuda.synchronize()


def test_targets_that_are_no_classes() -> None:
    scores = flambeau.zeros(2, 3, device=CUDA)
    loss = F.cross_entropy(scores, flambeau.tensor([1, 3], device=CUDA))
    with pytest.raises(IndexError, match="^cross_entropy: index 3 is out of bounds for size 3$"):
        loss.item()


def test_integers_are_not_divided_by_zero() -> None:
    x = flambeau.tensor([1, 2], device=CUDA)
    with pytest.raises(RuntimeError, match="^ZeroDivisionError: remainder: integer division by zero$"):
        (x % flambeau.tensor([1, 0], device=CUDA)).cpu()
    smallest = flambeau.tensor([-(2**63)], device=CUDA)
    assert (smallest // -1).item() == -(2**63)  # wraps around, as on the CPU


def test_a_kernel_that_does_not_compile_shows_the_compilers_words() -> None:
    x = cupy.zeros(3)
    with pytest.raises(Exception, match="nonsense"):
        run("wrong", "r0 = nonsense;", [x], [x])


@only_on_the_stand_in
def test_threads_that_wait_in_different_places_are_found() -> None:
    """The stand-in itself: a barrier that half of a block does not reach."""
    text = 'extern "C" __global__ void half(float *x) {{ if (threadIdx.x {}) __syncthreads(); x[threadIdx.x] = 1; {} }}'
    x = cupy.zeros(64, "float32")
    with pytest.raises(RuntimeError, match="wait for each other in different places"):
        compiled("half", text.format("< 32", "__syncthreads();"))((1,), (64,), (x,))
    compiled("half", text.format(">= 0", "__syncthreads();"))((1,), (64,), (x,))
    assert (x.get() == 1).all()


@only_on_the_stand_in
def test_writing_outside_of_an_array_is_found() -> None:
    kernel = compiled("outside", 'extern "C" __global__ void outside(float *x) { x[threadIdx.x] = 1; }')
    with pytest.raises(AssertionError, match="outside has written outside of an array"):
        kernel((1,), (5,), (cupy.zeros(4, "float32"),))


def test_the_host_is_not_fallen_back_to() -> None:
    x = flambeau.ones(3, device=CUDA)
    with pytest.raises(TypeError, match="can't convert cuda:0 tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        numpy.asarray(x._array)


# -- memory ----------------------------------------------------------------------------------------------------------


def test_views_share_memory_and_say_so() -> None:
    x = flambeau.arange(12.0, device=CUDA).reshape(3, 4)
    x = x.clone()
    backend = x.device.backend
    strided = x.as_strided((2, 2), (4, 2), 1)
    for view in (x[1:], x.T, x.expand(2, 3, 4), x.diagonal(), strided, x.view(4, 3)):
        assert backend.is_shared(view._array)
        if view is not strided:  # of which CuPy only knows what its pool set aside
            assert view.untyped_storage().nbytes() == 48
    assert not backend.is_shared(x._array)
    strided.fill_(-1)
    assert x.tolist() == [[0, -1, 2, -1], [4, -1, 6, -1], [8, 9, 10, 11]]
    with pytest.raises(RuntimeError, match="as_strided: size .* need 13 elements, but the storage has 12$"):
        x.as_strided((2,), (12,), 0)


def test_dlpack_passes_without_a_copy() -> None:
    x = flambeau.arange(3.0, device=CUDA)
    assert flambeau.from_dlpack(x._array).data_ptr() == x.data_ptr()


# -- deterministic mode ------------------------------------------------------------------------------------------------


def test_sums_at_places_that_repeat_can_be_made_in_order() -> None:
    generator = numpy.random.default_rng(0)
    rows = generator.integers(0, 5, 200)
    values = generator.standard_normal((200, 7)).astype("float32")
    expected = numpy.zeros((5, 7), "float32")
    for row, value in zip(rows, values, strict=True):
        expected[row] += value  # in this very order
    index, source = flambeau.from_numpy(rows).to(CUDA), flambeau.from_numpy(values).to(CUDA)
    table = flambeau.zeros(5, 7, device=CUDA, requires_grad=True)
    flambeau.use_deterministic_algorithms(True)
    try:
        F.embedding(index, table).backward(source)
        found = [
            table.grad,
            flambeau.zeros(5, 7, device=CUDA).index_put_((index,), source, accumulate=True),
            flambeau.zeros(5, 7, device=CUDA).scatter_add(0, index[:, None].expand(200, 7), source),
        ]
        with pytest.raises(IndexError, match="index 5 is out of bounds for size 5"):
            flambeau.zeros(5, device=CUDA).index_put((index + 1,), source[:, 0], accumulate=True).cpu()
    finally:
        flambeau.use_deterministic_algorithms(False)
    for tensor in found:
        numpy.testing.assert_array_equal(tensor.cpu().numpy(), expected)
