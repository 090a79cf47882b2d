"""Modules against PyTorch's: signatures, reprs, state dicts, outputs, gradients."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn

torch = pytest.importorskip("torch")

# PyTorch says that it is about to copy the input.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.1, 0.9, size=shape).astype(np.float32)


def signs(*shape: int) -> np.ndarray:
    return RNG.choice([-1.0, 1.0], size=shape).astype(np.float32)


def indices(high: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, high, size=shape)


def log_probabilities(*shape: int) -> np.ndarray:
    scores = floats(*shape)
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def case(name: str, *args: Any, inputs: tuple[np.ndarray, ...], **kwargs: Any) -> Any:
    shown = ",".join([*map(str, args), *(f"{key}={value}" for key, value in kwargs.items())])
    return pytest.param(name, args, kwargs, inputs, id=f"{name}({shown})"[:70])


IMAGE = (floats(2, 4, 7, 6),)
LINE = (floats(2, 4, 9),)
CUBE = (floats(2, 4, 5, 6, 4),)
ROW = (floats(3, 8),)

LAYERS = [
    case("Identity", 3, a=1, inputs=ROW),
    case("Linear", 8, 5, inputs=ROW),
    case("Linear", 8, 5, bias=False, inputs=(floats(2, 3, 8),)),
    case("Linear", 8, 5, inputs=(floats(8),)),
    case("Bilinear", 3, 4, 5, inputs=(floats(6, 3), floats(6, 4))),
    case("Bilinear", 3, 4, 5, bias=False, inputs=(floats(2, 6, 3), floats(2, 6, 4))),
    case("Conv1d", 4, 6, 3, inputs=LINE),
    case("Conv1d", 4, 6, 3, stride=2, padding=1, dilation=2, groups=2, inputs=LINE),
    case("Conv1d", 4, 6, 3, padding="same", bias=False, inputs=(floats(4, 9),)),
    case("Conv2d", 4, 6, 3, inputs=IMAGE),
    case("Conv2d", 4, 8, (3, 2), (2, 1), (1, 0), (1, 2), 4, inputs=IMAGE),
    case("Conv2d", 4, 6, (2, 3), padding="same", inputs=IMAGE),
    case("Conv2d", 4, 6, 3, padding="valid", inputs=(floats(4, 7, 6),)),
    case("Conv2d", 4, 6, 3, padding=2, padding_mode="reflect", inputs=IMAGE),
    case("Conv2d", 4, 6, 3, padding=(1, 2), padding_mode="circular", inputs=IMAGE),
    case("Conv2d", 4, 6, (3, 2), padding="same", padding_mode="replicate", inputs=IMAGE),
    case("Conv3d", 4, 3, 2, padding=1, inputs=CUBE),
    case("ConvTranspose1d", 4, 6, 3, stride=2, padding=1, output_padding=1, inputs=LINE),
    case("ConvTranspose2d", 4, 6, 3, inputs=IMAGE),
    case("ConvTranspose2d", 4, 6, (3, 2), (2, 1), (1, 0), (1, 0), 2, False, 1, inputs=IMAGE),
    case("ConvTranspose3d", 4, 2, 2, stride=2, inputs=CUBE),
    case("MaxPool1d", 3, inputs=LINE),
    case("MaxPool2d", 3, 2, 1, inputs=IMAGE),
    case("MaxPool2d", (3, 2), dilation=2, ceil_mode=True, inputs=IMAGE),
    case("MaxPool3d", 2, inputs=CUBE),
    case("AvgPool1d", 3, 2, 1, inputs=LINE),
    case("AvgPool2d", 3, 2, 1, count_include_pad=False, inputs=IMAGE),
    case("AvgPool2d", (2, 3), ceil_mode=True, divisor_override=5, inputs=IMAGE),
    case("AvgPool3d", 2, inputs=CUBE),
    case("LPPool1d", 2, 3, inputs=LINE),
    case("LPPool2d", 2, 3, 2, ceil_mode=True, inputs=IMAGE),
    case("AdaptiveAvgPool1d", 4, inputs=LINE),
    case("AdaptiveAvgPool2d", (3, None), inputs=IMAGE),
    case("AdaptiveAvgPool2d", 1, inputs=(floats(4, 7, 6),)),
    case("AdaptiveAvgPool3d", (2, 3, 4), inputs=CUBE),
    case("AdaptiveMaxPool1d", 4, inputs=LINE),
    case("AdaptiveMaxPool2d", (3, 4), inputs=IMAGE),
    case("AdaptiveMaxPool3d", 2, inputs=CUBE),
    case("BatchNorm1d", 8, inputs=ROW),
    case("BatchNorm1d", 4, momentum=None, inputs=LINE),
    case("BatchNorm2d", 4, inputs=IMAGE),
    case("BatchNorm2d", 4, affine=False, inputs=IMAGE),
    case("BatchNorm2d", 4, eps=1e-2, track_running_stats=False, inputs=IMAGE),
    case("BatchNorm2d", 4, bias=False, inputs=IMAGE),
    case("BatchNorm3d", 4, inputs=CUBE),
    case("InstanceNorm1d", 4, inputs=LINE),
    case("InstanceNorm2d", 4, affine=True, inputs=IMAGE),
    case("InstanceNorm2d", 4, track_running_stats=True, inputs=IMAGE),
    case("InstanceNorm2d", 4, inputs=(floats(4, 7, 6),)),
    case("InstanceNorm3d", 4, inputs=CUBE),
    case("LayerNorm", 8, inputs=ROW),
    case("LayerNorm", (7, 6), eps=1e-3, inputs=IMAGE),
    case("LayerNorm", 8, bias=False, inputs=ROW),
    case("LayerNorm", [8], elementwise_affine=False, inputs=ROW),
    case("GroupNorm", 2, 4, inputs=IMAGE),
    case("GroupNorm", 4, 4, affine=False, inputs=LINE),
    case("GroupNorm", 1, 4, bias=False, inputs=IMAGE),
    case("RMSNorm", 8, inputs=ROW),
    case("RMSNorm", (7, 6), eps=1e-2, elementwise_affine=False, inputs=IMAGE),
    case("LocalResponseNorm", 3, alpha=0.5, inputs=IMAGE),
    case("Embedding", 10, 3, inputs=(indices(10, 2, 5),)),
    case("Embedding", 10, 3, padding_idx=-2, scale_grad_by_freq=True, inputs=(indices(10, 7),)),
    case("EmbeddingBag", 10, 3, inputs=(indices(10, 2, 5),)),
    case("EmbeddingBag", 10, 3, mode="sum", inputs=(indices(10, 6), np.array([0, 2, 2]))),
    case("EmbeddingBag", 10, 3, mode="max", inputs=(indices(10, 2, 5),)),
    case("Flatten", inputs=IMAGE),
    case("Flatten", 0, 2, inputs=IMAGE),
    case("Unflatten", 1, (2, 2), inputs=IMAGE),
    case("Unflatten", -1, (3, -1), inputs=IMAGE),
    case("Upsample", scale_factor=2, inputs=LINE),
    case("Upsample", size=(9, 11), mode="bilinear", inputs=IMAGE),
    case("Upsample", scale_factor=(2, 1.5), mode="bilinear", align_corners=True, inputs=IMAGE),
    case("Upsample", scale_factor=2, mode="bicubic", inputs=IMAGE),
    case("Upsample", size=14, mode="linear", inputs=LINE),
    case("Upsample", scale_factor=2, mode="trilinear", inputs=CUBE),
    case("UpsamplingNearest2d", scale_factor=2, inputs=IMAGE),
    case("UpsamplingBilinear2d", size=(9, 9), inputs=IMAGE),
    case("PixelShuffle", 2, inputs=IMAGE),
    case("PixelUnshuffle", 2, inputs=(floats(1, 2, 4, 6),)),
    case("ChannelShuffle", 2, inputs=IMAGE),
    case("Unfold", (2, 3), dilation=2, padding=1, stride=2, inputs=IMAGE),
    case("Fold", (4, 5), (2, 2), inputs=(floats(2, 8, 12),)),
    case("ConstantPad1d", (1, 2), 0.5, inputs=LINE),
    case("ConstantPad2d", (1, -1, 0, 2), 3, inputs=IMAGE),
    case("ConstantPad3d", 1, 0.5, inputs=CUBE),
    case("ZeroPad1d", 2, inputs=LINE),
    case("ZeroPad2d", (1, 2, 0, 1), inputs=IMAGE),
    case("ZeroPad3d", 1, inputs=CUBE),
    case("ReflectionPad1d", 2, inputs=LINE),
    case("ReflectionPad2d", (1, 2, 3, 0), inputs=IMAGE),
    case("ReflectionPad3d", 1, inputs=CUBE),
    case("ReplicationPad1d", (1, 3), inputs=LINE),
    case("ReplicationPad2d", 2, inputs=IMAGE),
    case("ReplicationPad3d", 1, inputs=CUBE),
    case("CircularPad1d", 2, inputs=LINE),
    case("CircularPad2d", (1, 2, 3, 0), inputs=IMAGE),
    case("CircularPad3d", 1, inputs=CUBE),
    case("CosineSimilarity", inputs=(floats(3, 8), floats(3, 8))),
    case("PairwiseDistance", p=3, keepdim=True, inputs=(floats(3, 8), floats(3, 8))),
]

ACTIVATIONS = [
    case("ReLU", inputs=ROW),
    case("ReLU6", inputs=(4 * floats(3, 8),)),
    case("Hardtanh", -0.5, 0.7, inputs=ROW),
    case("Hardsigmoid", inputs=(4 * floats(3, 8),)),
    case("Hardswish", inputs=(4 * floats(3, 8),)),
    case("SiLU", inputs=ROW),
    case("Mish", inputs=ROW),
    case("SELU", inputs=ROW),
    case("CELU", 0.7, inputs=ROW),
    case("ELU", 0.7, inputs=ROW),
    case("LeakyReLU", 0.2, inputs=ROW),
    case("PReLU", inputs=ROW),
    case("PReLU", 4, 0.1, inputs=IMAGE),
    case("Threshold", 0.1, 20, inputs=ROW),
    case("GELU", inputs=ROW),
    case("GELU", "tanh", inputs=ROW),
    case("Sigmoid", inputs=ROW),
    case("Tanh", inputs=ROW),
    case("LogSigmoid", inputs=ROW),
    case("Softplus", 2, 1.5, inputs=ROW),
    case("Softsign", inputs=ROW),
    case("Tanhshrink", inputs=ROW),
    case("Hardshrink", 0.6, inputs=ROW),
    case("Softshrink", 0.6, inputs=ROW),
    case("GLU", 1, inputs=IMAGE),
    case("Softmax", -1, inputs=ROW),
    case("Softmax", dim=1, inputs=IMAGE),
    case("Softmin", 0, inputs=ROW),
    case("LogSoftmax", 1, inputs=ROW),
    case("Softmax2d", inputs=IMAGE),
]

REAL = (floats(5, 4), floats(5, 4))
CLASSES = (floats(5, 4), indices(4, 5))

LOSSES = [
    case("L1Loss", inputs=REAL),
    case("MSELoss", reduction="sum", inputs=REAL),
    case("MSELoss", reduction="none", inputs=REAL),
    case("SmoothL1Loss", beta=0.5, inputs=REAL),
    case("HuberLoss", delta=0.5, inputs=REAL),
    case("NLLLoss", inputs=(log_probabilities(5, 4), indices(4, 5))),
    case("NLLLoss", reduction="none", inputs=(log_probabilities(2, 4, 3), indices(4, 2, 3))),
    case("CrossEntropyLoss", inputs=CLASSES),
    case("CrossEntropyLoss", ignore_index=1, label_smoothing=0.1, inputs=CLASSES),
    case("CrossEntropyLoss", reduction="sum", inputs=(floats(2, 4, 3, 2), indices(4, 2, 3, 2))),
    case("CrossEntropyLoss", inputs=(floats(5, 4), np.exp(log_probabilities(5, 4)))),
    case("BCELoss", inputs=(positive(5, 4), positive(5, 4))),
    case("BCEWithLogitsLoss", inputs=(floats(5, 4), positive(5, 4))),
    case("KLDivLoss", reduction="batchmean", inputs=(log_probabilities(5, 4), positive(5, 4))),
    case("KLDivLoss", log_target=True, reduction="sum", inputs=(log_probabilities(5, 4), log_probabilities(5, 4))),
    case("PoissonNLLLoss", full=True, inputs=(floats(5, 4), 3 * positive(5, 4))),
    case("PoissonNLLLoss", log_input=False, inputs=(positive(5, 4), positive(5, 4))),
    case("GaussianNLLLoss", full=True, inputs=(floats(5, 4), floats(5, 4), positive(5, 4))),
    case("HingeEmbeddingLoss", inputs=(floats(5, 4), signs(5, 4))),
    case("CosineEmbeddingLoss", 0.2, inputs=(floats(5, 4), floats(5, 4), signs(5))),
    case("MarginRankingLoss", 0.3, inputs=(floats(5), floats(5), signs(5))),
    case("TripletMarginLoss", swap=True, inputs=(floats(5, 4), floats(5, 4), floats(5, 4))),
    case("TripletMarginWithDistanceLoss", margin=0.7, inputs=(floats(5, 4), floats(5, 4), floats(5, 4))),
    case("SoftMarginLoss", inputs=(floats(5, 4), signs(5, 4))),
    case("MultiMarginLoss", 2, 0.8, inputs=CLASSES),
    case("MultiLabelMarginLoss", inputs=(floats(2, 4), np.array([[3, 0, -1, 1], [2, -1, 0, 0]]))),
    case("MultiLabelSoftMarginLoss", inputs=(floats(5, 4), (floats(5, 4) > 0).astype(np.float32))),
]


# PyTorch has no derivative by the target, or none that is more than zero by accident.
TARGET_IS_FIXED = {
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelSoftMarginLoss",
    "PoissonNLLLoss",
    "SoftMarginLoss",
}


def as_ours(value: np.ndarray) -> Any:
    return flambeau.from_numpy(value.copy())


def load(ours: nn.Module, theirs: Any) -> None:
    ours.load_state_dict({name: as_ours(value.numpy()) for name, value in theirs.state_dict().items()})


def run(module: Any, inputs: list[Any], differentiable: Any, seed: Any) -> tuple[Any, list[Any]]:
    """The output and all gradients, of the inputs and of the parameters."""
    for place in differentiable:
        if inputs[place].is_floating_point():
            inputs[place].requires_grad_()
    output = module(*inputs)
    if output.requires_grad:
        output.backward(seed(output.shape))
    return output, [value.grad for value in inputs] + [parameter.grad for parameter in module.parameters()]


def assert_close(ours: Any, theirs: Any, what: str) -> None:
    assert (ours is None) == (theirs is None), what
    if ours is None:
        return
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    assert ours.dtype == theirs.dtype, what
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5, err_msg=what)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("name", "args", "kwargs", "inputs"), LAYERS + ACTIVATIONS + LOSSES)
def test_module_computes_the_same(name: str, args: Any, kwargs: Any, inputs: Any, mode: str) -> None:
    ours, theirs = getattr(nn, name)(*args, **kwargs), getattr(torch.nn, name)(*args, **kwargs)
    assert repr(ours) == repr(theirs)
    assert {key: tuple(value.shape) for key, value in ours.state_dict().items()} == {
        key: tuple(value.shape) for key, value in theirs.state_dict().items()
    }
    load(ours, theirs)
    getattr(ours, mode)()
    getattr(theirs, mode)()
    noise = np.random.default_rng(1)
    shape_to_values: dict[Any, np.ndarray] = {}

    def seed(shape: Any) -> np.ndarray:
        return shape_to_values.setdefault(tuple(shape), noise.normal(size=tuple(shape)).astype(np.float32))

    differentiable = range(len(inputs) - 1 if name in TARGET_IS_FIXED else len(inputs))
    copies = [torch.from_numpy(value.copy()) for value in inputs]
    expected, expected_grads = run(theirs, copies, differentiable, lambda shape: torch.from_numpy(seed(shape)))
    output, grads = run(ours, [as_ours(value) for value in inputs], differentiable, lambda shape: as_ours(seed(shape)))
    assert tuple(output.shape) == tuple(expected.shape)
    assert_close(output, expected, "output")
    for place, (grad, expected_grad) in enumerate(zip(grads, expected_grads, strict=True)):
        assert_close(grad, expected_grad, f"gradient {place}")
    for (key, value), expected_value in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        assert_close(value, expected_value, key)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["NLLLoss", "CrossEntropyLoss", "MultiMarginLoss"])
def test_class_weights(name: str, reduction: str) -> None:
    weight, scores, target = positive(4), floats(6, 4), indices(4, 6)
    ours = getattr(nn, name)(weight=as_ours(weight), reduction=reduction)(as_ours(scores), as_ours(target))
    theirs = getattr(torch.nn, name)(weight=torch.from_numpy(weight), reduction=reduction)(
        torch.from_numpy(scores), torch.from_numpy(target)
    )
    assert_close(ours, theirs, name)


def test_binary_cross_entropy_weights() -> None:
    weight, pos_weight, scores, target = positive(5, 1), positive(4), floats(5, 4), positive(5, 4)
    ours = nn.BCEWithLogitsLoss(as_ours(weight), pos_weight=as_ours(pos_weight))(as_ours(scores), as_ours(target))
    theirs = torch.nn.BCEWithLogitsLoss(torch.from_numpy(weight), pos_weight=torch.from_numpy(pos_weight))(
        torch.from_numpy(scores), torch.from_numpy(target)
    )
    assert_close(ours, theirs, "BCEWithLogitsLoss")


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool_undoes_max_pool(dims: int) -> None:
    values = (LINE, IMAGE, CUBE)[dims - 1][0]
    results = []
    for mod, tensor in ((nn, as_ours(values)), (torch.nn, torch.from_numpy(values))):
        pooled, where = getattr(mod, f"MaxPool{dims}d")(2, stride=2, return_indices=True)(tensor)
        unpool = getattr(mod, f"MaxUnpool{dims}d")(2, stride=2)
        results.append((unpool(pooled, where, output_size=tensor.size()), repr(unpool)))
    assert results[0][1] == results[1][1]
    assert_close(results[0][0], results[1][0], "unpooled")


def test_conv_transpose_to_an_output_size() -> None:
    results = []
    for mod, tensor in ((nn, as_ours(IMAGE[0])), (torch.nn, torch.from_numpy(IMAGE[0]))):
        layer = mod.ConvTranspose2d(4, 2, 3, stride=2, padding=1)
        results.append(tuple(layer(tensor, output_size=(14, 11)).shape))
        with pytest.raises(ValueError, match="requested an output size of"):
            layer(tensor, output_size=(15, 11))
    assert results[0] == results[1] == (2, 2, 14, 11)


def _parameters(function: Any) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    # A default that is a function, as an activation, is each library's own.
    return [(p.name, p.kind, p.default.__name__ if callable(p.default) else p.default) for p in parameters]


# PyTorch's recurrent layers take `*args, **kwargs` and tell them apart themselves.
UNTYPED = {"GRU", "LSTM", "RNN", "RNNBase", "RNNCellBase"}
CLASSES_OF_NN = [name for name in nn.modules.__all__ if name != "Module" and name not in UNTYPED]


@pytest.mark.parametrize("name", CLASSES_OF_NN)
def test_arguments_have_the_same_names_order_and_defaults(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    assert _parameters(ours.__init__) == _parameters(theirs.__init__)
    if "forward" in dir(theirs) and not name.endswith(("List", "Dict")):
        assert _parameters(ours.forward) == _parameters(theirs.forward)


@pytest.mark.parametrize("name", [name for name in nn.init.__all__ if name.endswith("_")] + ["calculate_gain"])
def test_initializers_take_the_same_arguments(name: str) -> None:
    assert _parameters(getattr(nn.init, name)) == _parameters(getattr(torch.nn.init, name))


def test_every_initializer_of_pytorch_is_there() -> None:
    assert set(torch.nn.init.__all__) <= set(nn.init.__all__)


def models(mod: Any) -> Any:
    return mod.Sequential(
        mod.Conv2d(1, 4, 3),
        mod.BatchNorm2d(4),
        mod.ReLU(inplace=True),
        mod.ModuleList([mod.Linear(2, 2), mod.Linear(2, 2), mod.Dropout(0.2)]),
        mod.ModuleDict({"a": mod.Tanh(), "b": mod.Sequential()}),
    )


def test_nested_repr() -> None:
    assert repr(models(nn)) == repr(models(torch.nn))


def test_parameter_containers_repr() -> None:
    shown = [
        repr(mod.ParameterList([mod.Parameter(made.zeros(2, 3)), made.ones(2), 5]))
        + repr(mod.ParameterDict({"a": mod.Parameter(made.zeros(2, 3)), "b": "text"}))
        for mod, made in ((nn, flambeau), (torch.nn, torch))
    ]
    assert shown[0].replace("flambeau.", "torch.") == shown[1]


def test_named_members_and_state_dict_metadata() -> None:
    ours, theirs = models(nn), models(torch.nn)
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [name for name, _ in getattr(ours, method)()] == [name for name, _ in getattr(theirs, method)()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert dict(ours.state_dict()._metadata) == dict(theirs.state_dict()._metadata)


def test_messages_of_load_state_dict() -> None:
    messages = []
    for mod, made in ((nn, flambeau), (torch.nn, torch)):
        model = mod.Sequential(mod.Linear(3, 2), mod.BatchNorm1d(2))
        state = model.state_dict()
        del state["0.bias"]
        state["2.weight"] = made.zeros(1)
        state["0.weight"] = made.zeros(2, 4)
        with pytest.raises(RuntimeError) as caught:
            model.load_state_dict(state)
        messages.append(str(caught.value).replace("flambeau", "torch"))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda m, made: m.register_parameter("a.b", None), KeyError),
        (lambda m, made: m.register_parameter("", None), KeyError),
        (lambda m, made: m.register_parameter(1, None), TypeError),
        (lambda m, made: m.register_parameter("x", made.zeros(1)), TypeError),
        (lambda m, made: m.register_parameter("forward", None), KeyError),
        (lambda m, made: m.register_buffer("a.b", None), KeyError),
        (lambda m, made: m.register_buffer("x", 3), TypeError),
        (lambda m, made: m.add_module("a.b", m), KeyError),
        (lambda m, made: m.add_module("x", 3), TypeError),
        (lambda m, made: setattr(m, "weight", made.zeros(1)), TypeError),
        (lambda m, made: m.get_submodule("x"), AttributeError),
        (lambda m, made: m.get_submodule("weight"), AttributeError),
        (lambda m, made: m.get_parameter("in_features"), AttributeError),
        (lambda m, made: m.get_buffer("weight"), AttributeError),
        (lambda m, made: m.missing, AttributeError),
        (lambda m, made: m.train("yes"), ValueError),
        (lambda m, made: m.to(made.int64), TypeError),
    ],
)
def test_wrong_use_raises_the_same(make: Any, kind: type[Exception]) -> None:
    messages = []
    for mod, made in ((nn, flambeau), (torch.nn, torch)):
        with pytest.raises(kind) as caught:
            make(mod.Linear(2, 2), made)
        messages.append(str(caught.value).replace("flambeau", "torch"))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clip_grad_norm(norm_type: float, max_norm: float) -> None:
    grads = [floats(3, 2), floats(4)]
    found = []
    for mod, convert in ((nn, as_ours), (torch.nn, lambda value: torch.from_numpy(value.copy()))):
        parameters = [mod.Parameter(convert(np.zeros_like(grad))) for grad in grads]
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = convert(grad)
        norm = mod.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        found.append([norm, *[parameter.grad for parameter in parameters]])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, "clipped")


def test_old_reduction_arguments() -> None:
    for size_average in (None, True, False):
        for reduce in (None, True, False):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ours, theirs = nn.MSELoss(size_average, reduce), torch.nn.MSELoss(size_average, reduce)
            assert ours.reduction == theirs.reduction
