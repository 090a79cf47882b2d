"""What goes through cuDNN, and what does not: on a GPU with cuDNN, and with stand-ins for CuPy and it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import cuda
from flambeau.nn import functional as F

pytestmark = pytest.mark.skipif(not flambeau.backends.cudnn.is_available(), reason="there is no cuDNN here")

CUDA = "cuda"
TOLERANCES = {flambeau.float32: 2e-5, flambeau.float16: 4e-3, flambeau.bfloat16: 3e-2}
HALVES = [flambeau.float16, flambeau.bfloat16]


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    with flambeau.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def cudnn_did(work: Any) -> Any:
    """The result of a function all of whose convolutions, attentions and batch norms cuDNN is to do."""
    from flambeau_cupy.cudnn import library

    refused, before = len(library.refusals()), len(list(library.problems()))
    result = work()
    assert len(library.refusals()) == refused and len(list(library.problems())) > before
    return result


def cudnn_did_not(work: Any) -> Any:
    from flambeau_cupy.cudnn import library

    before = list(library.problems())
    result = work()
    assert list(library.problems()) == before
    return result


def normal(*shape: int, seed: int = 0) -> flambeau.Tensor:
    values = numpy.random.default_rng(seed).standard_normal(shape)
    return flambeau.from_numpy(values)


def agree(function: Any, dtype: flambeau.dtype, *tensors: flambeau.Tensor, format: Any = None) -> Any:
    """The function's results on the device, after they and the gradients were compared with those on the CPU."""
    rounded = [t.to(dtype).double() for t in tensors]
    exact = [t.requires_grad_() for t in rounded]
    leaves = []
    for t in rounded:
        leaf = t.detach().to(dtype).to(CUDA)
        leaves.append((leaf.contiguous(memory_format=format) if format else leaf).requires_grad_())
    result, expected = function(*leaves), function(*exact)
    weight = normal(*expected.shape, seed=1).to(dtype)
    result.backward(weight.to(CUDA))
    expected.backward(weight.double())
    for found, wanted in [(result, expected), *[(a.grad, b.grad) for a, b in zip(leaves, exact, strict=True)]]:
        assert found.dtype is dtype
        limit = TOLERANCES[dtype] * max(float(wanted.abs().max()), 1.0)
        numpy.testing.assert_allclose(found.detach().double().cpu().numpy(), wanted.detach().numpy(), 0, limit)
    return result


# -- convolutions ------------------------------------------------------------------------------------------------------

CONVOLUTIONS = {
    "1d": (F.conv1d, (2, 4, 17), (6, 4, 3), {"stride": 2, "padding": 1}),
    "2d": (F.conv2d, (2, 8, 9, 7), (16, 8, 3, 2), {"padding": (1, 0), "dilation": 2}),
    "3d": (F.conv3d, (1, 3, 5, 6, 4), (2, 3, 2, 3, 2), {"stride": (1, 2, 1)}),
    "grouped": (F.conv2d, (2, 16, 6, 6), (32, 8, 3, 3), {"groups": 2, "padding": 1}),
    "pointwise": (F.conv2d, (3, 8, 4, 5), (5, 8, 1, 1), {}),
    "transposed": (F.conv_transpose2d, (2, 8, 5, 4), (8, 6, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "transposed, grouped": (F.conv_transpose1d, (2, 16, 5), (16, 8, 3), {"stride": 3, "groups": 2}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_convolutions(name: str, dtype: flambeau.dtype) -> None:
    function, input, weight, settings = CONVOLUTIONS[name]
    operands = normal(*input), normal(*weight, seed=2) / 4
    cudnn_did(lambda: agree(lambda x, w: function(x, w, **settings), dtype, *operands))


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_channels_last_stays(dtype: flambeau.dtype) -> None:
    operands = normal(2, 8, 6, 5), normal(16, 8, 3, 3, seed=2) / 4
    last = flambeau.channels_last
    out = cudnn_did(lambda: agree(lambda x, w: F.conv2d(x, w, padding=1), dtype, *operands, format=last))
    assert out.is_contiguous(memory_format=last) and not out.is_contiguous()
    mixed = F.conv2d(operands[0].to(CUDA, dtype), operands[1].to(CUDA, dtype).contiguous(memory_format=last), padding=1)
    assert mixed.is_contiguous(memory_format=last)
    assert flambeau.allclose(mixed, out, atol=TOLERANCES[dtype])


def test_views_on_odd_addresses_are_copied() -> None:
    x, weight = normal(1, 2, 5, 5).float().to(CUDA), normal(3, 2, 2, 2).float().to(CUDA)
    odd = flambeau.cat([flambeau.zeros(1, device=CUDA), x.reshape(-1)])[1:].reshape(x.shape)
    assert odd.data_ptr() % 16
    assert flambeau.equal(cudnn_did(lambda: F.conv2d(odd, weight)), F.conv2d(x, weight))


def test_what_stays_with_kernels_of_our_own() -> None:
    x, depthwise = normal(1, 4, 6, 6).to(CUDA), normal(4, 1, 3, 3).to(CUDA)
    cudnn_did_not(lambda: F.conv2d(x, x.reshape(1, 4, 6, 6)))  # float64
    cudnn_did_not(lambda: F.conv2d(x.float(), depthwise.float(), groups=4))
    cudnn_did_not(lambda: F.conv2d(x.float()[:0], depthwise.float()[:, [0, 0, 0, 0]]))
    wide = F.conv_transpose1d(normal(1, 2, 4), normal(2, 3, 2), stride=2, dilation=3, output_padding=2)
    ours = cudnn_did_not(
        lambda: F.conv_transpose1d(
            normal(1, 2, 4).float().to(CUDA), normal(2, 3, 2).float().to(CUDA), stride=2, dilation=3, output_padding=2
        )
    )
    numpy.testing.assert_allclose(ours.cpu().numpy(), wide.numpy(), 1e-5, 1e-5)


# -- attention ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("batch", "length", "keys"), [((2, 3), 6, 6), ((2,), 5, 9), ((), 4, 7)])
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention(dtype: flambeau.dtype, batch: tuple, length: int, keys: int, is_causal: bool) -> None:
    q, k, v = normal(*batch, length, 16), normal(*batch, keys, 16, seed=3), normal(*batch, keys, 8, seed=4)
    cudnn_did(lambda: agree(lambda *x: F.scaled_dot_product_attention(*x, is_causal=is_causal), dtype, q, k, v))


def test_heads_in_a_row_stay_there() -> None:
    """As a projection to query, key and value leaves them; the result needs no copy for the next projection."""
    rows = normal(2, 5, 3, 4, 8).half().to(CUDA)  # samples, length, what for, heads, size
    q, k, v = [rows[:, :, i].transpose(1, 2) for i in range(3)]
    out = cudnn_did(lambda: F.scaled_dot_product_attention(q, k, v))
    assert out.transpose(1, 2).is_contiguous()
    expected = F.scaled_dot_product_attention(*[x.double().cpu() for x in (q, k, v)])
    numpy.testing.assert_allclose(out.double().cpu().numpy(), expected.numpy(), 0, 4e-3)


def test_attention_that_cudnn_does_not_do() -> None:
    def attend(*x: flambeau.Tensor, **settings: Any) -> flambeau.Tensor:
        return F.scaled_dot_product_attention(*x, **settings)

    x = normal(2, 4, 8).half().to(CUDA)
    cudnn_did_not(lambda: attend(x.float(), x.float(), x.float()))
    cudnn_did_not(lambda: attend(x, x, x, attn_mask=flambeau.ones(4, 4, dtype=flambeau.bool, device=CUDA)))
    odd = x[..., :4].contiguous()
    cudnn_did_not(lambda: attend(odd, odd, odd))
    flambeau.backends.cuda.enable_cudnn_sdp(False)
    try:
        cudnn_did_not(lambda: attend(x, x, x, scale=0.3))
    finally:
        flambeau.backends.cuda.enable_cudnn_sdp(True)


# -- batch normalization -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_batch_norm(dtype: flambeau.dtype) -> None:
    x, weight, bias = normal(4, 8, 5, 3) + 1, normal(8, seed=5), normal(8, seed=6)
    statistics = []

    def compute(x: flambeau.Tensor) -> flambeau.Tensor:
        wide = flambeau.float32 if x.is_cuda else flambeau.float64
        w, b = [t.detach().to(x.device, wide).requires_grad_() for t in (weight, bias)]
        mean, var = flambeau.zeros(8, device=x.device, dtype=wide), flambeau.ones(8, device=x.device, dtype=wide)
        out = F.batch_norm(x, mean, var, w, b, True, 0.2, 1e-3)
        statistics.append((mean, var, w, b))
        return out

    out = cudnn_did(lambda: agree(compute, dtype, x, format=flambeau.channels_last))
    assert out.is_contiguous(memory_format=flambeau.channels_last)
    (mean, var, w, b), exact = statistics
    for found, wanted in zip((mean, var, w.grad, b.grad), (*exact[:2], exact[2].grad, exact[3].grad), strict=True):
        limit = 2 * TOLERANCES[dtype] * max(float(wanted.abs().max()), 1.0)
        numpy.testing.assert_allclose(found.cpu().numpy(), wanted.numpy(), 0, limit)


def test_batch_norm_that_cudnn_refuses_is_done_all_the_same() -> None:
    from flambeau_cupy.cudnn import library

    x = normal(3, 10, 4, 4)
    before = len(library.refusals())
    agree(lambda x: F.batch_norm(x, None, None, None, None, True), flambeau.float32, x, format=flambeau.channels_last)
    assert len(library.refusals()) == before  # not asked: there is no weight
    module = flambeau.nn.BatchNorm2d(10).to(CUDA)
    theirs = module(x.float().to(CUDA).contiguous(memory_format=flambeau.channels_last))
    assert len(library.refusals()) == before + 1
    ours = flambeau.nn.BatchNorm2d(10)
    numpy.testing.assert_allclose(theirs.detach().cpu().numpy(), ours(x.float()).detach().numpy(), 1e-4, 1e-5)
    numpy.testing.assert_allclose(module.running_var.cpu().numpy(), ours.running_var.numpy(), 1e-5)


# -- switches, plans, streams ------------------------------------------------------------------------------------------


def convolve(size: int = 6) -> flambeau.Tensor:
    return F.conv2d(normal(1, 3, size, size).float().to(CUDA), normal(4, 3, 2, 2).float().to(CUDA))


def test_it_can_be_switched_off() -> None:
    theirs = cudnn_did(lambda: convolve(11))
    with flambeau.backends.cudnn.flags(enabled=False):
        ours = cudnn_did_not(lambda: convolve(11))
    assert flambeau.allclose(theirs, ours, atol=1e-5)


def test_switches_are_part_of_a_plan() -> None:
    expected = convolve(12)
    for flag in ("allow_tf32", "deterministic", "benchmark"):
        with flambeau.backends.cudnn.flags(**{"enabled": True, "allow_tf32": False, flag: True}):
            out = cudnn_did(lambda: convolve(12))
        assert flambeau.allclose(out, expected, atol=1e-2 if flag == "allow_tf32" else 1e-5)
    flambeau.use_deterministic_algorithms(True)
    try:
        with flambeau.backends.cudnn.flags(enabled=True, deterministic=False, allow_tf32=False):
            cudnn_did_not(lambda: convolve(12))  # the plan of `deterministic` is there already
    finally:
        flambeau.use_deterministic_algorithms(False)


def test_so_many_plans_are_tried() -> None:
    """The stand-in's first two cannot be built, as those of cuDNN that the switches leave out."""
    import cudnn

    expected = convolve(13)
    for limit in (1, 2, 0):
        with flambeau.backends.cudnn.flags(enabled=True, benchmark=True, benchmark_limit=limit, allow_tf32=False):
            out = cudnn_did(lambda: convolve(13))
            assert flambeau.allclose(out, cudnn_did_not(lambda: convolve(13)), atol=1e-5)
        assert flambeau.allclose(out, expected, atol=1e-5)
        if hasattr(cudnn, "executed"):
            tried = [index for _, index in cudnn.executed[-2 * (limit or 2) - 2 : -2]]  # two runs each, then the best
            assert tried == [2, 2, 3, 3][: len(tried)] and cudnn.executed[-1] == cudnn.executed[-2]


def test_a_plan_is_made_once_and_a_step_does_not_wait() -> None:
    x, weight = normal(1, 3, 7, 7).float().to(CUDA), normal(4, 3, 2, 2).float().to(CUDA).requires_grad_()
    F.conv2d(x, weight).sum().backward()
    cuda.set_sync_debug_mode("error")
    try:
        cudnn_did_not(lambda: F.conv2d(x, weight).sum().backward())
    finally:
        cuda.set_sync_debug_mode("default")


def test_old_plans_go(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau_cupy.cudnn import library

    monkeypatch.setattr(library, "KEPT", 3)
    library._contexts.of.clear()
    for size in range(4, 10):
        convolve(size)
    assert len(list(library.problems())) == 3


def test_other_streams_and_threads() -> None:
    expected = convolve()
    side = cuda.Stream()
    with cuda.stream(side):
        found = [convolve()]
    side.synchronize()
    thread = threading.Thread(target=lambda: found.append(convolve()))
    thread.start()
    thread.join()
    assert all(flambeau.equal(one, expected) for one in found) and len(found) == 2


def test_the_version_is_known() -> None:
    assert flambeau.backends.cudnn.version() >= 90000
