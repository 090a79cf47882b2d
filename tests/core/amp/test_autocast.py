"""``autocast``: where it holds, what it casts, and that nothing is left of it afterwards."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import amp, dispatch, nn
from flambeau.amp import _lists
from flambeau.nn import functional as F
from flambeau.ops import entry
from flambeau.ops.declare import OPS

f16, f32, f64 = flambeau.float16, flambeau.float32, flambeau.float64


def half() -> amp.autocast:
    return flambeau.autocast("cpu", dtype=f16)


def square(*shape: int, dtype: Any = None) -> Any:
    return flambeau.full(shape or (3, 3), 0.5, dtype=dtype)


def product_dtype() -> Any:
    return (square() @ square()).dtype


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    yield
    assert not entry._interceptors
    assert product_dtype() is f32


# -- what is cast ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "product",
    [
        lambda m: m @ m,
        lambda m: m.matmul(m),
        lambda m: flambeau.mm(m, m),
        lambda m: F.linear(m, m, m[0]),
        lambda m: flambeau.einsum("ij,jk->ik", m, m),
        lambda m: flambeau.linalg.multi_dot([m, m, m]),
        lambda m: F.conv1d(m[None], m[:, :, None]),
        lambda m: F.scaled_dot_product_attention(m, m, m),
    ],
)
def test_products_run_in_the_fast_dtype(product: Any) -> None:
    expected = product(square(dtype=f64)).numpy()
    with half():
        found = product(square())
        assert product(square(dtype=f64)).dtype is f64
    assert found.dtype is f16
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-3)
    assert product(square()).dtype is f32


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("transposed", ["", "_transpose"])
def test_convolutions_take_what_the_layer_before_gave(dims: int, transposed: str) -> None:
    convolve = getattr(F, f"conv{transposed}{dims}d")
    x, weight, bias = flambeau.randn(2, 3, *[4] * dims), flambeau.randn(3, 3, *[2] * dims), flambeau.randn(3)
    with half():
        found = convolve(x.half(), weight, bias)
    assert found.dtype is f16
    np.testing.assert_allclose(found.float(), convolve(x, weight, bias), rtol=2e-2, atol=2e-2)


def test_losses_run_in_float32() -> None:
    target = flambeau.tensor([0, 2, 1])
    for loss in (
        lambda m: F.cross_entropy(m, target),
        lambda m: F.mse_loss(m, m + 1),
        lambda m: F.binary_cross_entropy_with_logits(m, m),
        lambda m: F.nll_loss(m, target),
        lambda m: nn.L1Loss()(m, m + 1),
    ):
        with half():
            assert loss(square(dtype=f16)).dtype is f32
        assert loss(square(dtype=f16)).dtype is f16


def test_other_ops_keep_their_dtype() -> None:
    with half():
        for dtype in (f16, f32, f64):
            m = square(dtype=dtype)
            for result in (m + m, m.exp(), m.softmax(0), F.relu(m), m.sum(), F.gelu(m), m.clone().mul_(2)):
                assert result.dtype is dtype
        assert (flambeau.ones(2, 2, dtype=flambeau.int64) @ flambeau.ones(2, 2, dtype=flambeau.int64)).dtype \
            is flambeau.int64  # fmt: skip
        assert flambeau.cat([square(dtype=f16), square()]).dtype is f32


def test_out_and_in_place_forms_keep_their_dtype() -> None:
    out = flambeau.zeros(3, 3)
    with half():
        flambeau.matmul(square(), square(), out=out)
        out.addmm_(square(), square())
    assert out.dtype is f32
    np.testing.assert_allclose(out.numpy(), 1.5)


def test_gradients_have_the_dtype_of_the_parameters() -> None:
    layer = nn.Linear(4, 3)
    with half():
        loss = F.mse_loss(layer(flambeau.ones(2, 4)), flambeau.zeros(2, 3))
    assert loss.dtype is f32
    loss.backward()
    own = [param.grad.clone() for param in layer.parameters()]
    layer.zero_grad()
    F.mse_loss(layer(flambeau.ones(2, 4)), flambeau.zeros(2, 3)).backward()
    for param, grad in zip(layer.parameters(), own, strict=True):
        assert grad.dtype is f32
        np.testing.assert_allclose(grad.numpy(), param.grad.numpy(), rtol=1e-2, atol=1e-3)


def test_the_mode_is_off_inside_a_listed_op() -> None:
    """Pairwise distances are float32, although they are made of matrix products."""
    with half():
        distance = flambeau.cdist(square(dtype=f16), 2 * square(dtype=f16))
    assert distance.dtype is f32
    np.testing.assert_allclose(distance.numpy(), np.sqrt(0.75), rtol=1e-3)


def test_bfloat16_is_the_default_on_the_cpu() -> None:
    pytest.importorskip("ml_dtypes")
    with flambeau.autocast("cpu"):
        assert flambeau.get_autocast_dtype("cpu") is flambeau.bfloat16
        assert product_dtype() is flambeau.bfloat16


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = dispatch.backends()["cpu"][0]  # another object once a plugin has been registered
    monkeypatch.setattr(backend, "dtypes", backend.dtypes - {"bfloat16"})
    message = r"the device type 'cpu' has no flambeau.bfloat16 here: pip install 'flambeau\[bfloat16\]'"
    with pytest.raises(RuntimeError, match=message):
        flambeau.autocast("cpu")
    with flambeau.autocast("cpu", enabled=False):
        assert product_dtype() is f32


# -- the cache ---------------------------------------------------------------------------------------------------------


def cast_nodes(loss: Any) -> int:
    """How many casts of parameters the tape holds."""
    seen, todo, casts = set(), [loss._node], 0
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        parents = getattr(node, "parents", ())
        plan = getattr(node, "plan", None)
        casts += plan is not None and plan.op.name == "to_dtype"
        todo += parents
    return casts


@pytest.mark.parametrize(("cache", "casts"), [(True, 1), (False, 3)])
def test_parameters_are_cast_once(cache: bool, casts: int) -> None:
    weight = nn.Parameter(square())
    x = square(dtype=f16)
    with flambeau.autocast("cpu", dtype=f16, cache_enabled=cache):
        loss = x @ weight + x @ weight + x @ weight
    assert cast_nodes(loss) == casts
    assert not amp.autocast_mode._state.cache


def test_a_parameter_that_changed_is_cast_again() -> None:
    weight = nn.Parameter(square())
    with half():
        before = (square() @ weight).sum()
        with flambeau.no_grad():
            weight.mul_(2)
        after = (square() @ weight).sum()
    assert after.item() == 2 * before.item()


def test_what_is_cast_without_gradients_is_not_used_with_them() -> None:
    weight = nn.Parameter(square())
    with half():
        with flambeau.no_grad():
            square() @ weight
        assert (square() @ weight).requires_grad


# -- where it holds ----------------------------------------------------------------------------------------------------


def test_modes_nest() -> None:
    with half():
        with flambeau.autocast("cpu", enabled=False):
            assert product_dtype() is f32
            assert not flambeau.is_autocast_enabled("cpu")
            with half():
                assert product_dtype() is f16
            assert product_dtype() is f32
        assert product_dtype() is f16
    assert not flambeau.is_autocast_enabled("cpu")


def test_it_ends_after_an_error() -> None:
    with pytest.raises(RuntimeError, match="matmul"), half():
        square(2, 3) @ square(2, 3)
    assert not flambeau.is_autocast_enabled("cpu")


def test_decorator() -> None:
    @flambeau.autocast("cpu", dtype=f16)
    def depth(n: int) -> list[Any]:
        """Doc."""
        return [product_dtype(), *(depth(n - 1) if n else [])]

    assert depth(2) == [f16] * 3
    assert depth.__doc__ == "Doc."
    assert product_dtype() is f32
    with pytest.raises(TypeError, match="requires a callable, but got Tensor"):
        half()(square())


def test_it_belongs_to_the_thread() -> None:
    inside, done = threading.Event(), threading.Event()
    found: dict[str, Any] = {}

    def other() -> None:
        inside.wait()
        found["other"] = product_dtype(), F.linear(square(), square()).dtype, flambeau.is_autocast_enabled("cpu")
        with flambeau.autocast("cpu", dtype=f16):
            found["other inside"] = product_dtype()
        found["other after"] = product_dtype()
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with half():
        inside.set()
        done.wait()
        found["this"] = product_dtype()
    thread.join()
    assert found == {"other": (f32, f32, False), "other inside": f16, "other after": f32, "this": f16}


def test_threads_come_and_go() -> None:
    """Others enter and leave the mode while this thread runs listed ops in it, and out of it."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def others() -> None:
        try:
            while not stop.is_set():
                with half():
                    assert product_dtype() is f16
                assert product_dtype() is f32
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=others) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        assert product_dtype() is f32
        with half():
            assert product_dtype() is f16
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_switches_without_a_block() -> None:
    flambeau.set_autocast_dtype("cpu", f16)
    flambeau.set_autocast_enabled("cpu", True)
    try:
        assert product_dtype() is f16
    finally:
        flambeau.set_autocast_enabled("cpu", False)
        amp.autocast_mode._state.dtypes.clear()


def test_double_backward_outside_the_mode() -> None:
    weight = nn.Parameter(square())
    with half():
        loss = (square() @ weight).float().pow(3).sum()
    (grad,) = flambeau.autograd.grad(loss, weight, create_graph=True)
    (second,) = flambeau.autograd.grad(grad.sum(), weight)
    assert second.dtype is f32
    np.testing.assert_allclose(second.numpy(), np.full((3, 3), 27 * 0.75 * 0.5), rtol=1e-2)


# -- errors and lists --------------------------------------------------------------------------------------------------


def test_errors() -> None:
    with pytest.raises(RuntimeError, match="User specified an unsupported autocast device_type 'gpu'; there are: "):
        flambeau.autocast("gpu")
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        flambeau.autocast(flambeau.device("cpu"))
    with pytest.warns(UserWarning, match="CPU autocast, but the target dtype flambeau.float64 is not supported"):
        mode = flambeau.autocast("cpu", dtype=f64)
    with mode:
        assert product_dtype() is f32
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        amp.custom_fwd(device_type=1)


def test_an_unavailable_device_disables_the_mode() -> None:
    if flambeau.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.warns(UserWarning, match="'cuda', but CUDA is not available. Disabling autocast."):
        mode = flambeau.autocast("cuda")
    with mode:
        assert not flambeau.is_autocast_enabled("cuda")
        assert product_dtype() is f32


def test_tensors_of_another_device_type_are_left_alone() -> None:
    with flambeau.autocast("meta", dtype=f16):
        assert product_dtype() is f32
        on_meta = flambeau.ones(3, 3, device="meta")
        assert (on_meta @ on_meta).dtype is f16
        for listed in (on_meta.exp(), on_meta.half().softmax(0), on_meta.half() ** 2, on_meta.half().sum()):
            assert listed.dtype is f32
        assert on_meta.half().sum(dtype=f16).dtype is f16
        with pytest.raises(RuntimeError, match="binary_cross_entropy: unsafe to autocast"):
            F.binary_cross_entropy(on_meta, on_meta)


@pytest.mark.parametrize("lists", [_lists.CPU, _lists.OTHERS], ids=["cpu", "others"])
def test_lists(lists: dict[str, set[str]]) -> None:
    names = [name for policy in lists.values() for name in policy]
    assert len(names) == len(set(names)), "an op has two policies"
    planned = {  # PyTorch lists them; they are not ops here yet
        "chain_matmul", "erfinv", "fractional_max_pool2d", "fractional_max_pool3d", "geqrf", "linalg_cholesky_ex",
        "linalg_eig", "linalg_eigvals", "linalg_eigvalsh", "linalg_householder_product", "linalg_inv_ex",
        "linalg_svdvals", "linalg_tensorinv", "linalg_tensorsolve", "linalg_vecdot", "lu_solve", "nuclear_norm",
        "orgqr", "ormqr", "pdist", "renorm", "triangular_solve",
    }  # fmt: skip
    assert set(names) - set(OPS) <= planned


# -- older names -------------------------------------------------------------------------------------------------------


def test_the_older_names_warn_and_do_the_same() -> None:
    import flambeau.cpu.amp
    import flambeau.cuda.amp

    with pytest.warns(FutureWarning, match=r"Please use `flambeau.amp.autocast\('cpu', args...\)` instead"):
        mode = flambeau.cpu.amp.autocast(dtype=flambeau.float16)
    x = flambeau.ones(2, 2)
    with mode:
        assert (x @ x).dtype is flambeau.float16
    with pytest.warns(FutureWarning, match="GradScaler"):
        scaler = flambeau.cpu.amp.GradScaler(init_scale=4.0)
    assert scaler.get_scale() == 4.0
    assert isinstance(scaler, flambeau.amp.GradScaler)
    if not flambeau.cuda.is_available():
        with (
            pytest.warns(FutureWarning, match="cuda.amp.autocast"),
            pytest.warns(UserWarning, match="CUDA is not available. Disabling autocast"),
        ):
            mode = flambeau.cuda.amp.autocast()
        with mode:
            assert (x @ x).dtype is flambeau.float32

    with pytest.warns(FutureWarning, match="custom_fwd"), pytest.warns(FutureWarning, match="custom_bwd"):

        class Double(flambeau.autograd.Function):
            @staticmethod
            @flambeau.cuda.amp.custom_fwd(cast_inputs=flambeau.float16)
            def forward(ctx: object, t: flambeau.Tensor) -> flambeau.Tensor:
                return t * 2

            @staticmethod
            @flambeau.cuda.amp.custom_bwd
            def backward(ctx: object, g: flambeau.Tensor) -> flambeau.Tensor:
                return g * 2

    w = flambeau.ones(2, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CUDA is not available
        Double.apply(w).sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]
