"""``autocast`` and ``GradScaler`` against PyTorch's: which op computes in which dtype, and training with a scaler."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytest.importorskip("ml_dtypes")

LIBRARIES = (flambeau, torch)

# Calls of (library, a tensor (3, 3), one (3, 3, 3), one (1, 2, 4, 4, 4)).
CALLS = {
    "matmul": lambda t, m, b, v: t.matmul(m, m),
    "operator": lambda t, m, b, v: m @ m,
    "method": lambda t, m, b, v: m.matmul(m),
    "mm": lambda t, m, b, v: t.mm(m, m),
    "bmm": lambda t, m, b, v: t.bmm(b, b),
    "mv": lambda t, m, b, v: t.mv(m, m[0]),
    "dot": lambda t, m, b, v: t.dot(m[0], m[1]),
    "addmm": lambda t, m, b, v: t.addmm(m, m, m),
    "addmv": lambda t, m, b, v: t.addmv(m[0], m, m[0]),
    "baddbmm": lambda t, m, b, v: t.baddbmm(b, b, b),
    "addbmm": lambda t, m, b, v: t.addbmm(m, b, b),
    "einsum": lambda t, m, b, v: t.einsum("ij,jk->ik", m, m),
    "linear": lambda t, m, b, v: t.nn.functional.linear(m, m, m[0]),
    "bilinear": lambda t, m, b, v: t.nn.functional.bilinear(m, m, b),
    "conv1d": lambda t, m, b, v: t.nn.functional.conv1d(b, b),
    "conv2d": lambda t, m, b, v: t.nn.functional.conv2d(v[0], v[0], padding="same"),
    "conv3d": lambda t, m, b, v: t.nn.functional.conv3d(v, v),
    "conv_transpose2d": lambda t, m, b, v: t.nn.functional.conv_transpose2d(v[0], v[0].transpose(0, 1)),
    "prelu": lambda t, m, b, v: t.nn.functional.prelu(m, m[0, :1]),
    "attention": lambda t, m, b, v: t.nn.functional.scaled_dot_product_attention(b, b, b),
    "multi_dot": lambda t, m, b, v: t.linalg.multi_dot([m, m, m]),
    "cdist": lambda t, m, b, v: t.cdist(m, m),
    "prod": lambda t, m, b, v: t.prod(m),
    "trace": lambda t, m, b, v: t.trace(m),
    "quantile": lambda t, m, b, v: t.quantile(m.float() if m.dtype != t.float32 else m, 0.5),
    "mse_loss": lambda t, m, b, v: t.nn.functional.mse_loss(m, m),
    "l1_loss": lambda t, m, b, v: t.nn.functional.l1_loss(m, m),
    "smooth_l1_loss": lambda t, m, b, v: t.nn.functional.smooth_l1_loss(m, m),
    "huber_loss": lambda t, m, b, v: t.nn.functional.huber_loss(m, m),
    "bce": lambda t, m, b, v: t.nn.functional.binary_cross_entropy(m, m),
    "bce_with_logits": lambda t, m, b, v: t.nn.functional.binary_cross_entropy_with_logits(m, m),
    "kl_div": lambda t, m, b, v: t.nn.functional.kl_div(m, m, reduction="sum"),
    "cross_entropy": lambda t, m, b, v: t.nn.functional.cross_entropy(m, t.tensor([0, 1, 2])),
    "soft_cross_entropy": lambda t, m, b, v: t.nn.functional.cross_entropy(m, m),
    "nll_loss": lambda t, m, b, v: t.nn.functional.nll_loss(m, t.tensor([0, 1, 2])),
    "poisson_nll_loss": lambda t, m, b, v: t.nn.functional.poisson_nll_loss(m, m),
    "triplet_margin_loss": lambda t, m, b, v: t.nn.functional.triplet_margin_loss(m, m, m),
    "cosine_embedding_loss": lambda t, m, b, v: t.nn.functional.cosine_embedding_loss(m, m, t.ones(3)),
    "hinge_embedding_loss": lambda t, m, b, v: t.nn.functional.hinge_embedding_loss(m, m),
    "soft_margin_loss": lambda t, m, b, v: t.nn.functional.soft_margin_loss(m, m),
    "ctc_loss": lambda t, m, b, v: t.nn.functional.ctc_loss(
        b, t.tensor([[1, 2], [2, 1], [1, 1]]), t.tensor([3, 3, 3]), t.tensor([2, 2, 1])
    ),
    "softmax": lambda t, m, b, v: t.softmax(m, 0),
    "log_softmax": lambda t, m, b, v: t.nn.functional.log_softmax(m, 1),
    "layer_norm": lambda t, m, b, v: t.nn.functional.layer_norm(m, (3,)),
    "group_norm": lambda t, m, b, v: t.nn.functional.group_norm(b, 3),
    "norm": lambda t, m, b, v: t.norm(m),
    "exp": lambda t, m, b, v: t.exp(m),
    "log": lambda t, m, b, v: m.log(),
    "pow": lambda t, m, b, v: m**2,
    "sum": lambda t, m, b, v: m.sum(),
    "mean": lambda t, m, b, v: m.mean(0),
    "cumsum": lambda t, m, b, v: t.cumsum(m, 0),
    "relu": lambda t, m, b, v: t.relu(m),
    "gelu": lambda t, m, b, v: t.nn.functional.gelu(m),
    "add": lambda t, m, b, v: m + m,
    "mul": lambda t, m, b, v: m * 2.0,
    "cat": lambda t, m, b, v: t.cat([m, m]),
    "max_pool2d": lambda t, m, b, v: t.nn.functional.max_pool2d(v[0], 2),
    "max_pool3d": lambda t, m, b, v: t.nn.functional.max_pool3d(v, 2),
    "avg_pool2d": lambda t, m, b, v: t.nn.functional.avg_pool2d(v[0], 2),
    "avg_pool3d": lambda t, m, b, v: t.nn.functional.avg_pool3d(v, 2),
    "adaptive_avg_pool3d": lambda t, m, b, v: t.nn.functional.adaptive_avg_pool3d(v, 2),
    "reflection_pad2d": lambda t, m, b, v: t.nn.functional.pad(v[0], (1, 1, 1, 1), mode="reflect"),
    "replication_pad2d": lambda t, m, b, v: t.nn.functional.pad(v[0], (1, 1, 1, 1), mode="replicate"),
    "zero_pad": lambda t, m, b, v: t.nn.functional.pad(m, (1, 1)),
    "solve": lambda t, m, b, v: t.linalg.solve(m, m),
    "inv": lambda t, m, b, v: t.linalg.inv(m),
    "inplace": lambda t, m, b, v: m.clone().mul_(2),
}
SHAPES = ((3, 3), (3, 3, 3), (1, 2, 4, 4, 4))


def inputs(library: Any, dtype: str) -> list[Any]:
    random = np.random.default_rng(0)
    made = []
    for shape in SHAPES:
        values = random.uniform(0.1, 0.9, shape).astype("float32")
        if len(shape) == 2:
            values += 2 * np.eye(3, dtype="float32") * (values.max() < 0)
        made.append(library.from_numpy(values).to(getattr(library, dtype)))
    return made


def shown(dtype: Any) -> str:
    return str(dtype).partition(".")[2]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fast", ["bfloat16", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "fast", "float64"])
def test_dtype_of_results(name: str, fast: str, dtype: str) -> None:
    if dtype == "float64" and name == "quantile":
        pytest.skip("this sample is cast to float32 by hand")
    found = []
    for library in LIBRARIES:
        tensors = inputs(library, fast if dtype == "fast" else dtype)
        with library.autocast("cpu", dtype=getattr(library, fast)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(CALLS[name](library, *tensors))
    own, expected = found
    assert shown(own.dtype) == shown(expected.dtype)
    tolerance = {"bfloat16": 0.03, "float16": 0.01}[fast]
    np.testing.assert_allclose(
        own.detach().double().numpy(), expected.detach().double().numpy(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ["cat", "stack", "add", "matmul", "where"])
def test_dtype_of_mixed_operands(name: str) -> None:
    found = []
    for library in LIBRARIES:
        wide, fast = library.ones(2, 2), library.ones(2, 2, dtype=library.bfloat16)
        calls = {
            "cat": lambda library=library, pair=(fast, wide): library.cat(pair),
            "stack": lambda library=library, pair=(fast, wide): library.stack(pair),
            "add": lambda pair=(fast, wide): pair[0] + pair[1],
            "matmul": lambda pair=(fast, wide): pair[0] @ pair[1],
            "where": lambda library=library, pair=(fast, wide): library.where(pair[1] > 0, *pair),
        }
        with library.autocast("cpu"):
            found.append(shown(calls[name]().dtype))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer"])
def test_dtype_of_layers(name: str) -> None:
    found = []
    for library in LIBRARIES:
        layer = getattr(library.nn, name)(4, 5 if name in ("RNN", "LSTM", "GRU") else 2)
        x = library.ones(3, 2, 4)
        with library.autocast("cpu", dtype=library.bfloat16):
            result = layer(x, x, x) if name == "MultiheadAttention" else layer(x)
        result = result[0] if isinstance(result, tuple) else result
        result.float().sum().backward()
        found.append((shown(result.dtype), {shown(param.grad.dtype) for param in layer.parameters()}))
    assert found[0] == found[1]


def network(library: Any, start: dict[str, Any] | None) -> Any:
    modules = library.nn
    made = modules.Sequential(
        modules.Conv2d(2, 4, 3), modules.BatchNorm2d(4), modules.ReLU(), modules.MaxPool2d(2), modules.Flatten(),
        modules.Linear(16, 8), modules.LayerNorm(8), modules.GELU(), modules.Linear(8, 3),
    )  # fmt: skip
    if start is not None:
        made.load_state_dict({name: library.from_numpy(np.array(value)) for name, value in start.items()})
    return made


@pytest.mark.parametrize("fast", ["bfloat16", "float16"])
@pytest.mark.parametrize("cache", [True, False])
def test_training(fast: str, cache: bool) -> None:
    start = {name: value.numpy() for name, value in network(torch, None).state_dict().items()}
    random = np.random.default_rng(0)
    data = [random.normal(size=(8, 2, 6, 6)).astype("float32") for _ in range(6)]
    found = []
    for library in LIBRARIES:
        model = network(library, start)
        optimizer = library.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        scaler = library.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
        losses, scales = [], []
        for batch in data:
            optimizer.zero_grad()
            with library.autocast("cpu", dtype=getattr(library, fast), cache_enabled=cache):
                output = model(library.from_numpy(batch))
                loss = library.nn.functional.cross_entropy(output, library.tensor([0, 1, 2, 0, 1, 2, 0, 1]))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
            scales.append(scaler.get_scale())
        assert all(shown(param.grad.dtype) == "float32" for param in model.parameters())
        found.append((losses, scales, scaler.state_dict(), shown(output.dtype)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=0.03, atol=0.03)
    assert found[0][1:] == found[1][1:]


def test_scaler_leaves_out_overflows() -> None:
    found = []
    for library in LIBRARIES:
        param = library.nn.Parameter(library.ones(3))
        other = library.nn.Parameter(library.ones(2, dtype=library.float64))
        optimizer = library.optim.SGD([param, other], lr=1.0)
        scaler = library.amp.GradScaler(
            "cpu", init_scale=8.0, growth_factor=3.0, backoff_factor=0.25, growth_interval=2
        )
        scales = []
        for factor in (1.0, float("inf"), 1.0, 1.0, float("nan"), 2.0):
            optimizer.zero_grad()
            loss = (param * library.tensor([1.0, factor, 1.0])).sum() + (other * 0.5).sum()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        found.append((scales, scaler.state_dict(), param.tolist(), other.tolist()))
    assert found[0][:2] == found[1][:2]
    for own, expected in zip(found[0][2:], found[1][2:], strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-7)  # PyTorch's reciprocal of the scale is a float32


def test_scaler_takes_the_others_state() -> None:
    one = flambeau.amp.GradScaler("cpu", init_scale=4.0, growth_interval=7)
    other = torch.amp.GradScaler("cpu")
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == one.state_dict()
    back = flambeau.amp.GradScaler("cpu")
    back.load_state_dict(other.state_dict())
    assert back.state_dict() == one.state_dict()


def unscaled_twice(scaler: Any, optimizer: Any, loss: Any) -> None:
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)


def stepped_twice(scaler: Any, optimizer: Any, loss: Any) -> None:
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.step(optimizer)


def unscaled_after_step(scaler: Any, optimizer: Any, loss: Any) -> None:
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.unscale_(optimizer)


def without_gradients(scaler: Any, optimizer: Any, loss: Any) -> None:
    scaler.scale(loss)
    scaler.step(optimizer)


@pytest.mark.parametrize(
    "misuse",
    [
        unscaled_twice,
        stepped_twice,
        unscaled_after_step,
        without_gradients,
        lambda scaler, optimizer, loss: scaler.step(optimizer, closure=lambda: None),
        lambda scaler, optimizer, loss: scaler.unscale_(optimizer),
        lambda scaler, optimizer, loss: scaler.update(),
        lambda scaler, optimizer, loss: scaler.scale(3),
        lambda scaler, optimizer, loss: scaler.load_state_dict({}),
    ],
)
def test_misuse_of_the_scaler(misuse: Any) -> None:
    raised = []
    for library in LIBRARIES:
        param = library.nn.Parameter(library.ones(2))
        with pytest.raises((RuntimeError, AssertionError, ValueError)) as error:
            misuse(library.amp.GradScaler("cpu"), library.optim.SGD([param], lr=1.0), (param * 2).sum())
        raised.append((error.type, str(error.value)))
    assert raised[0] == raised[1]


@pytest.mark.parametrize("name", ["autocast", "GradScaler"])
def test_signatures(name: str) -> None:
    one = inspect.signature(getattr(flambeau.amp, name).__init__).parameters
    other = inspect.signature(getattr(torch.amp, name).__init__).parameters
    assert [(p.name, p.default) for p in one.values()] == [(p.name, p.default) for p in other.values()]
    assert list(inspect.signature(flambeau.amp.custom_fwd).parameters) == ["fwd", "device_type", "cast_inputs"]


def test_custom_functions() -> None:
    found = []
    for library in LIBRARIES:
        seen: list[str] = []

        class Product(library.autograd.Function):
            @staticmethod
            @library.amp.custom_fwd(device_type="cpu", cast_inputs=library.float32)
            def forward(ctx: Any, a: Any, b: Any, seen: Any = seen, library: Any = library) -> Any:
                ctx.save_for_backward(a, b)
                seen.append(f"{shown(a.dtype)} {library.is_autocast_enabled('cpu')}")
                return a @ b

            @staticmethod
            @library.amp.custom_bwd(device_type="cpu")
            def backward(ctx: Any, grad: Any, seen: Any = seen, library: Any = library) -> Any:
                a, b = ctx.saved_tensors
                seen.append(f"{shown(grad.dtype)} {library.is_autocast_enabled('cpu')}")
                return grad @ b.T, a.T @ grad, None, None

        class Plain(library.autograd.Function):
            @staticmethod
            @library.amp.custom_fwd(device_type="cpu")
            def forward(ctx: Any, a: Any, seen: Any = seen) -> Any:
                seen.append(shown((a @ a).dtype))
                return a * 2

            @staticmethod
            @library.amp.custom_bwd(device_type="cpu")
            def backward(ctx: Any, grad: Any, seen: Any = seen) -> Any:
                seen.append(shown((grad @ grad).dtype))
                return grad * 2

        a = library.ones(2, 2, requires_grad=True)
        with library.autocast("cpu"):
            half = a @ a
            out = Product.apply(half, half)
            plain = Plain.apply(a)
        (out.sum() + plain.sum()).backward()
        found.append((sorted(seen), shown(out.dtype), a.grad.tolist()))
    assert found[0] == found[1]


# PyTorch has a policy for these; here it is that of the op that they are made of.
MADE_OF_OTHERS = {f"conv{transposed}{dims}d" for transposed in ("", "_transpose") for dims in (1, 2, 3)} | {
    "view_as_complex"
}


@pytest.mark.parametrize(("key", "device_type"), [("AutocastCPU", "cpu"), ("AutocastCUDA", "cuda")])
def test_every_op_with_a_policy_in_pytorch_has_one(key: str, device_type: str) -> None:
    from flambeau.amp._lists import lists_of
    from flambeau.ops.declare import OPS

    registered = {
        name.partition("::")[2].partition(".")[0]
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("aten::") and torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
    }
    assert len(registered) > 50
    listed = set().union(*lists_of(device_type).values())
    assert sorted((registered & set(OPS)) - listed - MADE_OF_OTHERS) == []
