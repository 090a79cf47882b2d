"""`flambeau.nn.functional` beside `torch.nn.functional`: values, gradients, errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import plugins
from flambeau.hookspec import hookimpl
from flambeau.ops.declare import OPS
from flambeau_numpy.backend import NumpyBackend

torch = pytest.importorskip("torch")
TF = torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore")


class Bare(NumpyBackend):
    """A device type that has the primitives and nothing else: what a new backend runs on its first day."""

    name = "bare"

    def kernels(self) -> dict[str, Callable[..., Any]]:
        return {name: kernel for name, kernel in super().kernels().items() if name in OPS and OPS[name].primitive}


class BarePlugin:
    @hookimpl
    def flambeau_backends(self) -> list[Bare]:
        return [Bare()]


@pytest.fixture(scope="module", autouse=True)
def _bare_device() -> Iterator[None]:
    name = plugins.register(BarePlugin(), "bare")
    yield
    plugins.unregister(name)


Case = tuple[str, Callable[..., Any], Sequence[Any]]


def normal(*shape: int, seed: int = 0) -> Any:
    return numpy.random.default_rng(seed + sum(shape)).normal(size=shape)


def positive(*shape: int, seed: int = 0) -> Any:
    return numpy.random.default_rng(seed + sum(shape)).uniform(0.05, 0.95, size=shape)


def classes(*shape: int, high: int, seed: int = 0) -> Any:
    return numpy.random.default_rng(seed).integers(0, high, size=shape)


def signs(*shape: int) -> Any:
    return numpy.random.default_rng(1).integers(0, 2, size=shape) * 2.0 - 1


# Around the places where the pieces of a function meet, on both sides of them and at them.
KINKS = numpy.array([-25.0, -6.5, -3.0, -2.999, -1.0, -0.5, -0.499, 0.0, 0.3, 0.5, 1.0, 2.5, 3.0, 6.0, 6.5, 25.0])

ACTIVATIONS: list[Case] = [
    (name, lambda f, x, name=name: getattr(f, name)(x), [KINKS])
    for name in (
        "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "logsigmoid",
        "hardtanh", "hardsigmoid", "hardswish", "softplus", "softsign", "softshrink", "hardshrink", "tanhshrink",
        "tanh", "rrelu",
    )
]  # fmt: skip
ACTIVATIONS += [
    ("leaky_relu slope", lambda f, x: f.leaky_relu(x, 0.3), [KINKS]),
    ("leaky_relu negative slope", lambda f, x: f.leaky_relu(x, -0.3), [KINKS]),
    ("elu alpha", lambda f, x: f.elu(x, 0.7), [KINKS]),
    ("celu alpha", lambda f, x: f.celu(x, 0.7), [KINKS]),
    ("gelu tanh", lambda f, x: f.gelu(x, approximate="tanh"), [KINKS]),
    ("hardtanh limits", lambda f, x: f.hardtanh(x, -0.5, 2.5), [KINKS]),
    ("softplus beta", lambda f, x: f.softplus(x, 2.0, 4.0), [KINKS]),
    ("softshrink lambda", lambda f, x: f.softshrink(x, 1.0), [KINKS]),
    ("hardshrink lambda", lambda f, x: f.hardshrink(x, 1.0), [KINKS]),
    ("threshold", lambda f, x: f.threshold(x, 0.5, -7.0), [KINKS]),
    ("rrelu bounds", lambda f, x: f.rrelu(x, 0.1, 0.5), [KINKS]),
    ("prelu", lambda f, x, w: f.prelu(x, w), [normal(3, 4, 5), normal(4)]),
    ("prelu single", lambda f, x, w: f.prelu(x, w), [normal(3, 4), normal(1)]),
    ("prelu 1d", lambda f, x, w: f.prelu(x, w), [normal(4), normal(1)]),
    ("glu", lambda f, x: f.glu(x), [normal(3, 6)]),
    ("glu dim", lambda f, x: f.glu(x, 0), [normal(4, 3)]),
    ("softmax", lambda f, x: f.softmax(x, 1), [normal(3, 6, 2)]),
    ("softmax last", lambda f, x: f.softmax(x, -1), [normal(3, 6)]),
    ("softmax implicit", lambda f, x: f.softmax(x), [normal(3, 6)]),
    ("softmax scalar", lambda f, x: f.softmax(x, 0), [normal()]),
    ("softmax empty", lambda f, x: f.softmax(x, 1), [normal(3, 0)]),
    ("softmin", lambda f, x: f.softmin(x, 1), [normal(3, 6)]),
    ("log_softmax", lambda f, x: f.log_softmax(x, 0), [normal(3, 6)]),
    ("log_softmax large", lambda f, x: f.log_softmax(x * 1000, 1), [normal(3, 6)]),
    ("softmax infinite", lambda f, x: f.softmax(f.threshold(x, 0.0, -numpy.inf), 1), [abs(normal(2, 3)) * [1, -1, 1]]),
    ("dropout off", lambda f, x: f.dropout(x, 0.5, False), [normal(3)]),
    ("dropout all", lambda f, x: f.dropout(x, 1.0, True), [normal(3)]),
]


def reductions(name: str, call: Callable[..., Any], inputs: Sequence[Any]) -> list[Case]:
    return [
        (f"{name} {how}", lambda f, *tensors, how=how: call(f, *tensors, reduction=how), inputs)
        for how in ("mean", "sum", "none")
    ]


LOSSES: list[Case] = []
for _name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
    LOSSES += reductions(
        _name,
        lambda f, *t, reduction, _name=_name: getattr(f, _name)(*t, reduction=reduction),
        [normal(4, 3), normal(4, 3, seed=1)],
    )
for _name in ("mse_loss", "l1_loss", "huber_loss"):
    LOSSES += reductions(
        _name + " weight",
        lambda f, x, y, w, reduction, _name=_name: getattr(f, _name)(x, y, weight=w, reduction=reduction),
        [normal(4, 3), normal(4, 3, seed=1), positive(4, 3)],
    )
LOSSES += [
    ("mse_loss broadcast", lambda f, x, y: f.mse_loss(x, y), [normal(4, 1), normal(4)]),
    ("mse_loss legacy", lambda f, x, y: f.mse_loss(x, y, size_average=False), [normal(4), normal(4, seed=1)]),
    ("smooth_l1_loss beta", lambda f, x, y: f.smooth_l1_loss(x, y, beta=0.3), [normal(4, 3), normal(4, 3, seed=1)]),
    ("smooth_l1_loss beta 0", lambda f, x, y: f.smooth_l1_loss(x, y, beta=0.0), [normal(4, 3), normal(4, 3, seed=1)]),
    ("huber_loss delta", lambda f, x, y: f.huber_loss(x, y, delta=0.3), [normal(4, 3), normal(4, 3, seed=1)]),
    (
        "bce weight",
        lambda f, x, y, w: f.binary_cross_entropy(x, y, w.detach()),
        [positive(4, 3), positive(4, 3, seed=1), positive(3)],
    ),
    (
        "bce edge",
        lambda f, x, y: f.binary_cross_entropy(x, y),
        [numpy.array([0.0, 1.0, 0.0]), numpy.array([1.0, 1, 0])],
    ),
    (
        "bce logits pos_weight",
        lambda f, x, y, w: f.binary_cross_entropy_with_logits(x, y, pos_weight=w.detach()),
        [normal(4, 3) * 30, positive(4, 3), positive(3)],
    ),
    (
        "bce logits weight",
        lambda f, x, y, w: f.binary_cross_entropy_with_logits(x, y, w.detach()),
        [normal(4, 3), positive(4, 3), positive(3)],
    ),
    ("kl_div batchmean", lambda f, x, y: f.kl_div(x, y, reduction="batchmean"), [normal(4, 3), positive(4, 3)]),
    (
        "kl_div log",
        lambda f, x, y: f.kl_div(x, y, reduction="sum", log_target=True),
        [normal(4, 3), normal(4, 3, seed=1)],
    ),
    ("poisson", lambda f, x, y: f.poisson_nll_loss(x, y, full=True), [normal(4, 3), positive(4, 3) * 5]),
    ("poisson linear", lambda f, x, y: f.poisson_nll_loss(x, y, log_input=False), [positive(4, 3), positive(4, 3) * 5]),
    (
        "gaussian",
        lambda f, x, y, v: f.gaussian_nll_loss(x, y, v, full=True),
        [normal(4, 3), normal(4, 3, seed=1), positive(4, 3)],
    ),
    (
        "gaussian per row",
        lambda f, x, y, v: f.gaussian_nll_loss(x, y, v),
        [normal(4, 3), normal(4, 3, seed=1), positive(4)],
    ),
    (
        "gaussian low",
        lambda f, x, y, v: f.gaussian_nll_loss(x, y, v, eps=0.5),
        [normal(4, 3), normal(4, 3, seed=1), positive(4, 3)],
    ),
    ("gaussian number", lambda f, x, y: f.gaussian_nll_loss(x, y, 0.3), [normal(4, 3), normal(4, 3, seed=1)]),
    ("cosine_similarity", lambda f, x, y: f.cosine_similarity(x, y), [normal(4, 3), normal(4, 3, seed=1)]),
    ("cosine_similarity broadcast", lambda f, x, y: f.cosine_similarity(x, y, dim=-1), [normal(4, 1, 3), normal(2, 3)]),
    ("pairwise_distance", lambda f, x, y: f.pairwise_distance(x, y), [normal(4, 3), normal(4, 3, seed=1)]),
    (
        "pairwise_distance p",
        lambda f, x, y: f.pairwise_distance(x, y, 3.0, keepdim=True),
        [normal(4, 3), normal(4, 3, seed=1)],
    ),
    ("pairwise_distance 1", lambda f, x, y: f.pairwise_distance(x, y, 1.0), [normal(4, 3), normal(3)]),
    ("pairwise_distance inf", lambda f, x, y: f.pairwise_distance(x, y, float("inf")), [normal(4, 3), normal(3)]),
    ("normalize", lambda f, x: f.normalize(x), [normal(4, 3)]),
    ("normalize zero", lambda f, x: f.normalize(x), [numpy.zeros((2, 3))]),
    ("normalize p", lambda f, x: f.normalize(x, p=3.0, dim=0), [normal(4, 3)]),
    ("normalize p1", lambda f, x: f.normalize(x, p=1, dim=-1), [normal(4, 3)]),
    (
        "triplet swap",
        lambda f, a, p, n: f.triplet_margin_loss(a, p, n, margin=2.0, swap=True),
        [normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)],
    ),
    (
        "triplet distance",
        lambda f, a, p, n: f.triplet_margin_with_distance_loss(a, p, n, margin=2.0, swap=True),
        [normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)],
    ),
    ("multi_margin", lambda f, x, t: f.multi_margin_loss(x, t), [normal(4, 5), classes(4, high=5)]),
    (
        "multi_margin p weight",
        lambda f, x, t, w: f.multi_margin_loss(x, t, 2, 0.7, w.detach(), reduction="none"),
        [normal(4, 5), classes(4, high=5), positive(5)],
    ),
    ("multi_margin 1d", lambda f, x, t: f.multi_margin_loss(x, t), [normal(5), numpy.array(3)]),
    (
        "multilabel_margin",
        lambda f, x, t: f.multilabel_margin_loss(x, t),
        [normal(3, 4), numpy.array([[3, 0, -1, 1], [-1, 2, 2, 2], [0, 1, 2, 3]])],
    ),
    ("multilabel_margin 1d", lambda f, x, t: f.multilabel_margin_loss(x, t), [normal(4), numpy.array([3, 0, -1, 1])]),
    (
        "multilabel_soft_margin",
        lambda f, x, t, w: f.multilabel_soft_margin_loss(x, t, w),
        [normal(3, 4), positive(3, 4).round(), positive(4)],
    ),
]
for _name, _inputs in {
    "binary_cross_entropy": [positive(4, 3), positive(4, 3, seed=1)],
    "binary_cross_entropy_with_logits": [normal(4, 3), positive(4, 3, seed=1)],
    "soft_margin_loss": [normal(4, 3), signs(4, 3).astype(int)],
    "hinge_embedding_loss": [normal(4, 3), signs(4, 3)],
    "margin_ranking_loss": [normal(4), normal(4, seed=1), signs(4)],
    "cosine_embedding_loss": [normal(4, 3), normal(4, 3, seed=1), signs(4)],
    "triplet_margin_loss": [normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)],
    "kl_div": [normal(4, 3), positive(4, 3)],
    "nll_loss": [normal(4, 3), classes(4, high=3)],
    "cross_entropy": [normal(4, 3), classes(4, high=3)],
}.items():
    LOSSES += reductions(
        _name, lambda f, *t, reduction, _name=_name: getattr(f, _name)(*t, reduction=reduction), _inputs
    )
for _name in ("cross_entropy", "nll_loss"):
    LOSSES += [
        (_name + " 1d", lambda f, x, t, _name=_name: getattr(f, _name)(x, t), [normal(5), numpy.array(3)]),
        (_name + " empty", lambda f, x, t, _name=_name: getattr(f, _name)(x, t), [normal(0, 5), classes(0, high=3)]),
    ]
    for _how in ("mean", "sum", "none"):
        LOSSES += [
            (
                f"{_name} weight {_how}",
                lambda f, x, t, w, _name=_name, _how=_how: getattr(f, _name)(x, t, w.detach(), reduction=_how),
                [normal(6, 3), classes(6, high=3), positive(3)],
            ),
            (
                f"{_name} weight ignore {_how}",
                lambda f, x, t, w, _name=_name, _how=_how: getattr(f, _name)(
                    x, t, w.detach(), ignore_index=1, reduction=_how
                ),
                [normal(6, 3, 2), classes(6, 2, high=3), positive(3)],
            ),
            (
                f"{_name} ignore {_how}",
                lambda f, x, t, _name=_name, _how=_how: getattr(f, _name)(x, t, reduction=_how),
                [normal(6, 3, 2, 2), numpy.where(classes(6, 2, 2, high=4) == 3, -100, classes(6, 2, 2, high=3))],
            ),
        ]
for _how in ("mean", "sum", "none"):
    LOSSES += [
        (
            f"cross_entropy smoothing {_how}",
            lambda f, x, t, _how=_how: f.cross_entropy(x, t, label_smoothing=0.2, reduction=_how),
            [normal(6, 3, 2), classes(6, 2, high=3)],
        ),
        (
            f"cross_entropy smoothing weight ignore {_how}",
            lambda f, x, t, w, _how=_how: f.cross_entropy(
                x, t, w.detach(), label_smoothing=0.2, ignore_index=2, reduction=_how
            ),
            [normal(6, 3), classes(6, high=3), positive(3)],
        ),
        (
            f"cross_entropy probabilities {_how}",
            lambda f, x, t, w, _how=_how: f.cross_entropy(x, t, w.detach(), label_smoothing=0.1, reduction=_how),
            [normal(6, 3, 2), positive(6, 3, 2), positive(3)],
        ),
    ]

NORMS: list[Case] = [
    (
        "layer_norm",
        lambda f, x, w, b: f.layer_norm(x, (4, 5), w, b),
        [normal(3, 4, 5), normal(4, 5), normal(4, 5, seed=1)],
    ),
    ("layer_norm plain", lambda f, x: f.layer_norm(x, (5,), eps=0.1), [normal(3, 4, 5)]),
    ("layer_norm no bias", lambda f, x, w: f.layer_norm(x, (5,), w), [normal(5), normal(5)]),
    ("rms_norm", lambda f, x, w: f.rms_norm(x, (5,), w), [normal(3, 4, 5), normal(5)]),
    ("rms_norm plain", lambda f, x: f.rms_norm(x, (4, 5), eps=0.1), [normal(3, 4, 5)]),
    ("group_norm", lambda f, x, w, b: f.group_norm(x, 2, w, b), [normal(3, 4, 5), normal(4), normal(4, seed=1)]),
    ("group_norm plain", lambda f, x: f.group_norm(x, 4), [normal(3, 4, 2, 2)]),
    (
        "instance_norm",
        lambda f, x, w, b: f.instance_norm(x, weight=w, bias=b),
        [normal(3, 4, 5), normal(4), normal(4, seed=1)],
    ),
    (
        "instance_norm running",
        lambda f, x, m, v: f.instance_norm(x, m.detach(), v.detach(), use_input_stats=False),
        [normal(3, 4, 5), normal(4), positive(4)],
    ),
    (
        "batch_norm training",
        lambda f, x, w, b: f.batch_norm(x, None, None, w, b, True),
        [normal(3, 4, 5), normal(4), normal(4, seed=1)],
    ),
    ("batch_norm plain", lambda f, x: f.batch_norm(x, None, None, training=True, eps=0.1), [normal(5, 3)]),
    (
        "batch_norm evaluation",
        lambda f, x, m, v, w, b: f.batch_norm(x, m.detach(), v.detach(), w, b),
        [normal(3, 4, 2, 2), normal(4), positive(4), normal(4, seed=2), normal(4, seed=1)],
    ),
    ("local_response_norm", lambda f, x: f.local_response_norm(x, 3, 0.5, 0.75, 2.0), [normal(2, 5, 4)]),
    ("local_response_norm even", lambda f, x: f.local_response_norm(x, 4, 0.5), [normal(2, 5, 4, 3)]),
]

LINEAR: list[Case] = [
    ("linear", lambda f, x, w, b: f.linear(x, w, b), [normal(4, 3), normal(2, 3), normal(2)]),
    ("linear deep", lambda f, x, w, b: f.linear(x, w, b), [normal(5, 4, 3), normal(2, 3), normal(2)]),
    ("linear vector", lambda f, x, w, b: f.linear(x, w, b), [normal(3), normal(2, 3), normal(2)]),
    ("linear no bias", lambda f, x, w: f.linear(x, w), [normal(4, 3), normal(2, 3)]),
    ("linear one output", lambda f, x, w: f.linear(x, w), [normal(4, 3), normal(3)]),
    ("linear empty", lambda f, x, w, b: f.linear(x, w, b), [normal(0, 3), normal(2, 3), normal(2)]),
    (
        "bilinear",
        lambda f, x, y, w, b: f.bilinear(x, y, w, b),
        [normal(4, 2, 3), normal(4, 2, 5), normal(2, 3, 5), normal(2)],
    ),
]
for _d, _size in ((1, (9,)), (2, (7, 6)), (3, (5, 4, 6))):
    _x, _k = normal(2, 4, *_size), (3, 2, 3)[:_d]
    for _id, _options, _weight, _bias in (
        ("plain", {}, normal(6, 4, *_k), None),
        ("bias", {"padding": 1}, normal(6, 4, *_k), normal(6)),
        ("stride", {"stride": 2, "padding": 1}, normal(6, 4, *_k), normal(6)),
        ("dilation", {"dilation": 2, "padding": 2}, normal(6, 4, *_k), None),
        ("groups", {"groups": 2, "stride": 2}, normal(6, 2, *_k), normal(6)),
        ("depthwise", {"groups": 4, "padding": 1}, normal(4, 1, *_k), normal(4)),
        ("same", {"padding": "same"}, normal(6, 4, *_k), normal(6)),
        ("valid", {"padding": "valid"}, normal(6, 4, *_k), normal(6)),
        ("pointwise", {}, normal(6, 4, *(1,) * _d), None),
    ):
        LINEAR.append(
            (
                f"conv{_d}d {_id}",
                lambda f, x, w, *b, _d=_d, _o=_options: getattr(f, f"conv{_d}d")(x, w, *b, **_o),
                [_x, _weight] + ([] if _bias is None else [_bias]),
            )
        )
    for _id, _options, _weight, _bias in (
        ("plain", {}, normal(4, 3, *_k), None),
        ("stride", {"stride": 2, "padding": 1, "output_padding": 1}, normal(4, 3, *_k), normal(3)),
        ("stride 3", {"stride": 3}, normal(4, 3, *_k), normal(3)),
        ("dilation", {"dilation": 2, "padding": 1}, normal(4, 3, *_k), None),
        ("output padding", {"dilation": 3, "stride": 2, "output_padding": 2}, normal(4, 3, *_k), None),
        ("groups", {"groups": 2, "stride": 2}, normal(4, 3, *_k), normal(6)),
        ("cut", {"padding": 2}, normal(4, 3, *_k), None),
    ):
        LINEAR.append(
            (
                f"conv_transpose{_d}d {_id}",
                lambda f, x, w, *b, _d=_d, _o=_options: getattr(f, f"conv_transpose{_d}d")(x, w, *b, **_o),
                [_x, _weight] + ([] if _bias is None else [_bias]),
            )
        )
    LINEAR += [
        (
            f"conv{_d}d unbatched",
            lambda f, x, w, _d=_d: getattr(f, f"conv{_d}d")(x, w),
            [normal(4, *_size), normal(6, 4, *_k)],
        ),
        (
            f"conv_transpose{_d}d unbatched",
            lambda f, x, w, _d=_d: getattr(f, f"conv_transpose{_d}d")(x, w),
            [normal(4, *_size), normal(4, 3, *_k)],
        ),
    ]

POOLS: list[Case] = []
for _d, _size in ((1, (9,)), (2, (7, 6)), (3, (5, 4, 6))):
    _x = normal(2, 3, *_size)
    for _options in (
        (2,), (3, 2), (3, 2, 1), (3, 1, 1), (2, 1, 0, 2), (3, 2, 1, 1, True), (2, 3, 1, 1, True), (2, 2, 0, 1, True),
    ):  # fmt: skip
        POOLS += [
            (
                f"max_pool{_d}d {_options}",
                lambda f, x, _d=_d, _o=_options: getattr(f, f"max_pool{_d}d")(x, *_o, return_indices=True),
                [_x],
            )
        ]
    for _options in (
        (2,), (3, 2), (3, 2, 1), (3, 1, 1), (3, 2, 1, True), (2, 2, 0, True), (3, 2, 1, True, False),
        (3, 2, 1, False, False),
    ):  # fmt: skip
        POOLS += [
            (f"avg_pool{_d}d {_options}", lambda f, x, _d=_d, _o=_options: getattr(f, f"avg_pool{_d}d")(x, *_o), [_x])
        ]
    for _out in (1, 2, 3, 4, tuple(_size)):
        POOLS += [
            (
                f"adaptive_avg_pool{_d}d {_out}",
                lambda f, x, _d=_d, _o=_out: getattr(f, f"adaptive_avg_pool{_d}d")(x, _o),
                [_x],
            ),
            (
                f"adaptive_max_pool{_d}d {_out}",
                lambda f, x, _d=_d, _o=_out: getattr(f, f"adaptive_max_pool{_d}d")(x, _o, return_indices=True),
                [_x],
            ),
        ]
    POOLS += [
        (f"max_pool{_d}d unbatched", lambda f, x, _d=_d: getattr(f, f"max_pool{_d}d")(x, 2), [_x[0]]),
        (f"max_pool{_d}d low", lambda f, x, _d=_d: getattr(f, f"max_pool{_d}d")(x, 3, 2, 1), [_x - 100]),
        (f"avg_pool{_d}d unbatched", lambda f, x, _d=_d: getattr(f, f"avg_pool{_d}d")(x, 2), [_x[0]]),
        (f"lp_pool{_d}d", lambda f, x, _d=_d: getattr(f, f"lp_pool{_d}d")(x, 2.0, 2), [_x]),
        (
            f"max_unpool{_d}d",
            lambda f, x, _d=_d: getattr(f, f"max_unpool{_d}d")(
                *getattr(f, f"max_pool{_d}d")(x, 2, return_indices=True), 2, output_size=x.shape
            ),
            [_x],
        ),
    ]
POOLS += [
    ("avg_pool2d divisor", lambda f, x: f.avg_pool2d(x, 2, 1, 1, True, True, 5), [normal(2, 3, 5, 5)]),
    ("max_pool2d sizes", lambda f, x: f.max_pool2d(x, (2, 3), (1, 2), (1, 0)), [normal(2, 3, 5, 6)]),
    ("adaptive_avg_pool2d None", lambda f, x: f.adaptive_avg_pool2d(x, (None, 3)), [normal(2, 3, 5, 7)]),
]

SPACES: list[Case] = [
    ("pad", lambda f, x: f.pad(x, (1, 2)), [normal(2, 3)]),
    ("pad value", lambda f, x: f.pad(x, (1, 2, 0, 3), value=0.5), [normal(2, 3)]),
    ("pad negative", lambda f, x: f.pad(x, (-1, 2, 1, -2)), [normal(4, 3)]),
    ("pad all negative", lambda f, x: f.pad(x, (-1, -1)), [normal(4, 3)]),
    ("unfold", lambda f, x: f.unfold(x, (2, 3), 2, 1, 2), [normal(2, 3, 7, 8)]),
    ("unfold unbatched", lambda f, x: f.unfold(x, 2), [normal(3, 4, 5)]),
    ("fold", lambda f, x: f.fold(x, (6, 7), (2, 3), padding=1, stride=2), [normal(2, 12, 16)]),
    ("fold unbatched", lambda f, x: f.fold(x, (3, 4), 2), [normal(8, 6)]),
    ("pixel_shuffle", lambda f, x: f.pixel_shuffle(x, 2), [normal(2, 8, 3, 4)]),
    ("pixel_unshuffle", lambda f, x: f.pixel_unshuffle(x, 2), [normal(2, 3, 4, 6)]),
    ("channel_shuffle", lambda f, x: f.channel_shuffle(x, 3), [normal(2, 6, 3, 4)]),
]
for _mode in ("reflect", "replicate", "circular"):
    for _pads, _size in (
        ((2, 1), (2, 3, 5)),
        ((2, 1, 1, 2), (2, 3, 4, 5)),
        ((1, 2, 2, 1, 1, 0), (1, 2, 3, 4, 4)),
        ((-1, 2), (3, 5)),
    ):
        SPACES.append((f"pad {_mode} {_pads}", lambda f, x, _p=_pads, _m=_mode: f.pad(x, _p, _m), [normal(*_size)]))
for _mode, _size in (
    ("nearest", (2, 3, 5)), ("nearest", (2, 3, 4, 5)), ("nearest", (1, 2, 3, 4, 3)), ("nearest-exact", (2, 3, 4, 5)),
    ("linear", (2, 3, 5)), ("bilinear", (2, 3, 4, 5)), ("bicubic", (2, 3, 4, 5)), ("trilinear", (1, 2, 3, 4, 3)),
    ("area", (2, 3, 4, 5)),
):  # fmt: skip
    _x = normal(*_size)
    for _option in (
        {"scale_factor": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.6}, {"size": 7}, {"size": 2},
        {"scale_factor": 1.7, "recompute_scale_factor": True},
    ):  # fmt: skip
        SPACES.append(
            (
                f"interpolate {_mode} {_x.ndim}d {_option}",
                lambda f, x, _m=_mode, _o=_option: f.interpolate(x, mode=_m, **_o),
                [_x],
            )
        )
        if "linear" in _mode or "cubic" in _mode:
            SPACES.append(
                (
                    f"interpolate {_mode} {_x.ndim}d {_option} corners",
                    lambda f, x, _m=_mode, _o=_option: f.interpolate(x, mode=_m, align_corners=True, **_o),
                    [_x],
                )
            )
        if _mode in ("bilinear", "bicubic"):
            SPACES.append(
                (
                    f"interpolate {_mode} {_x.ndim}d {_option} antialias",
                    lambda f, x, _m=_mode, _o=_option: f.interpolate(x, mode=_m, antialias=True, **_o),
                    [_x],
                )
            )

for _mode in ("bilinear", "nearest", "bicubic"):
    for _outside in ("zeros", "border", "reflection"):
        for _corners in (False, True):
            SPACES += [
                (
                    f"grid_sample {_mode} {_outside} {_corners}",
                    lambda f, x, g, _m=_mode, _p=_outside, _c=_corners: f.grid_sample(x, g, _m, _p, _c),
                    [normal(2, 3, 4, 5), normal(2, 3, 6, 2) * 1.5],
                ),
            ]
            if _mode != "bicubic":
                SPACES += [
                    (
                        f"grid_sample 3d {_mode} {_outside} {_corners}",
                        lambda f, x, g, _m=_mode, _p=_outside, _c=_corners: f.grid_sample(x, g, _m, _p, _c),
                        [normal(1, 2, 4, 3, 5), normal(1, 3, 2, 6, 3) * 1.5],
                    ),
                ]
for _corners in (False, True):
    SPACES += [
        (
            f"affine_grid {_corners}",
            lambda f, t, _c=_corners: f.affine_grid(t, (2, 3, 4, 5), _c),
            [normal(2, 2, 3)],
        ),
        (
            f"affine_grid 3d {_corners}",
            lambda f, t, _c=_corners: f.affine_grid(t, (2, 3, 4, 1, 5), _c),
            [normal(2, 3, 4)],
        ),
    ]

ROWS: list[Case] = [
    ("embedding", lambda f, i, w: f.embedding(i, w), [classes(3, 4, high=5), normal(5, 2)]),
    ("embedding padding", lambda f, i, w: f.embedding(i, w, padding_idx=-2), [classes(3, 4, high=5), normal(5, 2)]),
    ("embedding freq", lambda f, i, w: f.embedding(i, w, scale_grad_by_freq=True), [classes(9, high=5), normal(5, 2)]),
    ("one_hot", lambda f, i: f.one_hot(i), [classes(3, 4, high=5)]),
    ("one_hot classes", lambda f, i: f.one_hot(i, 9), [classes(3, 4, high=5)]),
]
for _mode in ("sum", "mean", "max"):
    ROWS += [
        (
            f"bag {_mode}",
            lambda f, i, w, _m=_mode: f.embedding_bag(i, w, mode=_m),
            [classes(3, 4, high=5), normal(5, 2)],
        ),
        (
            f"bag offsets {_mode}",
            lambda f, i, w, o, _m=_mode: f.embedding_bag(i, w, o, mode=_m, padding_idx=2),
            [classes(9, high=5), normal(5, 2), numpy.array([0, 2, 2, 7])],
        ),
    ]
ROWS += [
    (
        "bag weights",
        lambda f, i, w, s: f.embedding_bag(i, w, mode="sum", per_sample_weights=s),
        [classes(3, 4, high=5), normal(5, 2), normal(3, 4)],
    ),
    (
        "bag last offset",
        lambda f, i, w, o: f.embedding_bag(i, w, o, mode="sum", include_last_offset=True),
        [classes(9, high=5), normal(5, 2), numpy.array([0, 2, 9])],
    ),
]

_q, _kv = normal(2, 4, 3, 5), (normal(2, 4, 6, 5), normal(2, 4, 6, 7))
ATTENTION: list[Case] = [
    ("attention", lambda f, q, k, v: f.scaled_dot_product_attention(q, k, v), [_q, *_kv]),
    ("attention causal", lambda f, q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True), [_q, *_kv]),
    ("attention scale", lambda f, q, k, v: f.scaled_dot_product_attention(q, k, v, scale=0.3), [_q, *_kv]),
    ("attention added", lambda f, q, k, v, m: f.scaled_dot_product_attention(q, k, v, m), [_q, *_kv, normal(3, 6)]),
    (
        "attention mask",
        lambda f, q, k, v, m: f.scaled_dot_product_attention(q, k, v, m),
        [_q, *_kv, numpy.array([[1, 0, 1, 1, 0, 0], [0] * 6, [1] * 6], dtype=bool)],
    ),
    (
        "attention groups",
        lambda f, q, k, v: f.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [_q, _kv[0][:, :2], _kv[1][:, :2]],
    ),
]

# Where PyTorch computes with a constant of single precision even for float64.
COARSE = {"hardsigmoid", "celu alpha", "bce edge"}

CASES = ACTIVATIONS + LOSSES + NORMS + LINEAR + POOLS + SPACES + ROWS + ATTENTION


def _run(
    module: Any, f: Any, call: Callable[..., Any], inputs: Sequence[Any], kind: str, device: str = "cpu"
) -> tuple[list[Any], list[Any]]:
    """Outputs and gradients as NumPy arrays."""
    tensors = []
    for values in inputs:
        values = numpy.asarray(values)
        if values.dtype == numpy.float64:
            tensors.append(module.tensor(values, dtype=getattr(module, kind), device=device).requires_grad_())
        else:
            tensors.append(module.tensor(values, device=device))
    result = call(f, *tensors)
    outputs = list(result) if isinstance(result, tuple) else [result]
    first = outputs[0]
    if first.requires_grad:
        weights = numpy.random.default_rng(5).normal(size=tuple(first.shape))
        first.backward(module.tensor(weights, dtype=first.dtype, device=device))
    gradients = [None if t.grad is None else t.grad.numpy(force=True) for t in tensors]
    return [output.numpy(force=True) for output in outputs], gradients


@pytest.mark.parametrize(("kind", "device"), [("float64", "cpu"), ("float32", "cpu"), ("float64", "bare")])
@pytest.mark.parametrize(("name", "call", "inputs"), CASES, ids=[case[0] for case in CASES])
def test_values_and_gradients(
    name: str, call: Callable[..., Any], inputs: Sequence[Any], kind: str, device: str
) -> None:
    theirs, their_gradients = _run(torch, TF, call, inputs, kind)
    ours, our_gradients = _run(flambeau, F, call, inputs, kind, device)
    exact = {"rtol": 1e-6 if name in COARSE else 1e-9, "atol": 1e-11}
    tolerance = exact if kind == "float64" else {"rtol": 2e-4, "atol": 2e-5}
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        assert own.dtype == other.dtype
        assert own.shape == other.shape
        numpy.testing.assert_allclose(own, other, **tolerance)
    for own, other in zip(our_gradients, their_gradients, strict=True):
        if own is None or other is None:
            assert (own is None or not own.any()) and (other is None or not other.any())
        else:
            numpy.testing.assert_allclose(own, other, **tolerance)


def _run_twice(module: Any, f: Any, call: Callable[..., Any], inputs: Sequence[Any], device: str) -> list[Any]:
    """The gradients of a weighted sum of the gradients, as NumPy arrays."""
    tensors = []
    for values in inputs:
        # Where pieces meet there is no second derivative to agree upon.
        values = numpy.asarray(values) if values is not KINKS else KINKS + 0.0123
        made = module.tensor(values, device=device)
        tensors.append(made.requires_grad_() if values.dtype == numpy.float64 else made)
    result = call(f, *tensors)
    first = result[0] if isinstance(result, tuple) else result
    sources = [t for t in tensors if t.requires_grad]
    random = numpy.random.default_rng(5)
    weights = module.tensor(random.normal(size=tuple(first.shape)), device=device).requires_grad_()
    gradients = module.autograd.grad(first, sources, weights, create_graph=True, allow_unused=True)
    total = None
    for gradient in gradients:
        if gradient is not None and gradient.requires_grad:
            part = (gradient * module.tensor(random.normal(size=tuple(gradient.shape)), device=device)).sum()
            total = part if total is None else total + part
    if total is None:
        return []
    seconds = module.autograd.grad(total, [*sources, weights], allow_unused=True)
    return [None if second is None else second.numpy(force=True) for second in seconds]


# PyTorch gives NaN for the first three, and forgets the frequencies in the second pass of the last.
SECOND_DIFFERS = {"normalize zero", "nll_loss empty", "cross_entropy empty", "embedding freq"}
TWICE = [case for case in CASES if case[0] not in SECOND_DIFFERS]


@pytest.mark.parametrize("device", ["cpu", "bare"])
@pytest.mark.parametrize(("name", "call", "inputs"), TWICE, ids=[case[0] for case in TWICE])
def test_second_gradients(name: str, call: Callable[..., Any], inputs: Sequence[Any], device: str) -> None:
    try:
        theirs = _run_twice(torch, TF, call, inputs, "cpu")
    except RuntimeError as error:
        pytest.skip(f"PyTorch: {error}")
    ours = _run_twice(flambeau, F, call, inputs, device)
    for own, other in zip(ours, theirs, strict=True):
        if own is None or other is None:
            assert (own is None or not own.any()) and (other is None or not other.any())
        else:
            numpy.testing.assert_allclose(own, other, rtol=1e-5 if name in COARSE else 1e-8, atol=1e-9)


def _zeros(m: Any, *shape: int, dtype: str = "float32") -> Any:
    return m.zeros(*shape, dtype=getattr(m, dtype))


ERRORS: dict[str, Callable[[Any, Any], Any]] = {
    "linear shape": lambda m, f: f.linear(_zeros(m, 3, 4), _zeros(m, 6, 5)),
    "linear bias": lambda m, f: f.linear(_zeros(m, 3, 4), _zeros(m, 6, 4), _zeros(m, 5)),
    "linear dtype": lambda m, f: f.linear(_zeros(m, 3, 4), _zeros(m, 6, 4, dtype="float64")),
    "conv channels": lambda m, f: f.conv2d(_zeros(m, 1, 4, 8, 8), _zeros(m, 8, 3, 3, 3)),
    "conv rank": lambda m, f: f.conv2d(_zeros(m, 4, 8), _zeros(m, 8, 3, 3, 3)),
    "conv small": lambda m, f: f.conv2d(_zeros(m, 1, 3, 2, 2), _zeros(m, 8, 3, 3, 3)),
    "conv bias": lambda m, f: f.conv1d(_zeros(m, 1, 3, 5), _zeros(m, 8, 3, 3), _zeros(m, 3)),
    "conv stride": lambda m, f: f.conv1d(_zeros(m, 1, 3, 5), _zeros(m, 8, 3, 3), stride=0),
    "conv padding": lambda m, f: f.conv1d(_zeros(m, 1, 3, 5), _zeros(m, 8, 3, 3), padding=-1),
    "conv padding name": lambda m, f: f.conv1d(_zeros(m, 1, 3, 5), _zeros(m, 8, 3, 3), padding="full"),
    "conv same stride": lambda m, f: f.conv1d(_zeros(m, 1, 3, 5), _zeros(m, 8, 3, 3), stride=2, padding="same"),
    "conv groups": lambda m, f: f.conv1d(_zeros(m, 1, 4, 5), _zeros(m, 5, 2, 3), groups=2),
    "conv dtype": lambda m, f: f.conv1d(_zeros(m, 1, 3, 5), _zeros(m, 8, 3, 3, dtype="float64")),
    "transposed": lambda m, f: f.conv_transpose1d(_zeros(m, 1, 4, 5), _zeros(m, 4, 2, 3), output_padding=1),
    "pool small": lambda m, f: f.max_pool2d(_zeros(m, 1, 1, 2, 2), 3),
    "pool padding": lambda m, f: f.max_pool2d(_zeros(m, 1, 1, 8, 8), 3, padding=2),
    "pool rank": lambda m, f: f.max_pool2d(_zeros(m, 8, 8), 2),
    "pool divisor": lambda m, f: f.avg_pool2d(_zeros(m, 1, 1, 8, 8), 2, divisor_override=0),
    "unpool": lambda m, f: f.max_unpool1d(_zeros(m, 1, 1, 4), _zeros(m, 1, 1, 4, dtype="int64"), 2, output_size=(20,)),
    "batch_norm single": lambda m, f: f.batch_norm(_zeros(m, 1, 3), None, None, training=True),
    "batch_norm channels": lambda m, f: f.batch_norm(_zeros(m, 2, 3), _zeros(m, 4), _zeros(m, 3)),
    "batch_norm missing": lambda m, f: f.batch_norm(_zeros(m, 2, 3), None, None),
    "instance_norm single": lambda m, f: f.instance_norm(_zeros(m, 2, 3, 1)),
    "layer_norm": lambda m, f: f.layer_norm(_zeros(m, 2, 3), (4,)),
    "layer_norm weight": lambda m, f: f.layer_norm(_zeros(m, 2, 3), (3,), _zeros(m, 2)),
    "rms_norm": lambda m, f: f.rms_norm(_zeros(m, 2, 3), (4,)),
    "group_norm": lambda m, f: f.group_norm(_zeros(m, 2, 3, 4), 2),
    "local_response_norm": lambda m, f: f.local_response_norm(_zeros(m, 2, 3), 2),
    "target": lambda m, f: f.cross_entropy(_zeros(m, 3, 10), m.tensor([1, 10, 2])),
    "target negative": lambda m, f: f.cross_entropy(_zeros(m, 3, 10), m.tensor([1, -1, 2])),
    "target batch": lambda m, f: f.cross_entropy(_zeros(m, 3, 10), m.tensor([1, 2])),
    "target size": lambda m, f: f.nll_loss(_zeros(m, 2, 3, 4), _zeros(m, 2, 5, dtype="int64")),
    "target dtype": lambda m, f: f.cross_entropy(_zeros(m, 3, 10), _zeros(m, 3)),
    "class weight": lambda m, f: f.cross_entropy(_zeros(m, 3, 10), m.tensor([1, 2, 3]), _zeros(m, 4)),
    "smoothing": lambda m, f: f.cross_entropy(_zeros(m, 3, 10), m.tensor([1, 2, 3]), label_smoothing=1.5),
    "reduction": lambda m, f: f.mse_loss(_zeros(m, 3), _zeros(m, 3), reduction="average"),
    "mse weight": lambda m, f: f.mse_loss(_zeros(m, 3), _zeros(m, 3), weight=_zeros(m, 2)),
    "bce range": lambda m, f: f.binary_cross_entropy(_zeros(m, 3) + 1.5, _zeros(m, 3)),
    "bce size": lambda m, f: f.binary_cross_entropy(_zeros(m, 3), _zeros(m, 4)),
    "bce logits size": lambda m, f: f.binary_cross_entropy_with_logits(_zeros(m, 3), _zeros(m, 4)),
    "smooth_l1 beta": lambda m, f: f.smooth_l1_loss(_zeros(m, 3), _zeros(m, 3), beta=-1),
    "huber delta": lambda m, f: f.huber_loss(_zeros(m, 3), _zeros(m, 3), delta=0),
    "gaussian var": lambda m, f: f.gaussian_nll_loss(_zeros(m, 3), _zeros(m, 3), _zeros(m, 3) - 1),
    "gaussian size": lambda m, f: f.gaussian_nll_loss(_zeros(m, 3, 4), _zeros(m, 3, 4), _zeros(m, 2)),
    "multi_margin p": lambda m, f: f.multi_margin_loss(_zeros(m, 2, 3), m.tensor([0, 1]), p=3),
    "triplet margin": lambda m, f: f.triplet_margin_loss(*[_zeros(m, 2, 3)] * 3, margin=0),
    "triplet rank": lambda m, f: f.triplet_margin_loss(_zeros(m, 2, 3), _zeros(m, 3), _zeros(m, 2, 3)),
    "ranking rank": lambda m, f: f.margin_ranking_loss(_zeros(m, 2), _zeros(m, 2), _zeros(m, 2, 1)),
    "cosine rank": lambda m, f: f.cosine_embedding_loss(_zeros(m, 2), _zeros(m, 2), _zeros(m, 2)),
    "index": lambda m, f: f.embedding(m.tensor([0, 5]), _zeros(m, 5, 2)),
    "index negative": lambda m, f: f.embedding(m.tensor([0, -1]), _zeros(m, 5, 2)),
    "index dtype": lambda m, f: f.embedding(_zeros(m, 2), _zeros(m, 5, 2)),
    "padding_idx": lambda m, f: f.embedding(m.tensor([0]), _zeros(m, 5, 2), padding_idx=5),
    "one_hot": lambda m, f: f.one_hot(m.tensor([0, 5]), 5),
    "one_hot negative": lambda m, f: f.one_hot(m.tensor([0, -5])),
    "one_hot dtype": lambda m, f: f.one_hot(_zeros(m, 2)),
    "dropout": lambda m, f: f.dropout(_zeros(m, 3), 1.5),
    "glu": lambda m, f: f.glu(_zeros(m, 2, 3)),
    "gelu": lambda m, f: f.gelu(_zeros(m, 3), approximate="erf"),
    "prelu": lambda m, f: f.prelu(_zeros(m, 2, 3), _zeros(m, 2)),
    "softshrink": lambda m, f: f.softshrink(_zeros(m, 2), -1.0),
    "celu": lambda m, f: f.celu(_zeros(m, 2), 0.0),
    "hardtanh": lambda m, f: f.hardtanh(_zeros(m, 2), 1.0, -1.0),
    "rrelu": lambda m, f: f.rrelu(_zeros(m, 2), 0.5, 0.2),
    "softmax dim": lambda m, f: f.softmax(_zeros(m, 2, 3), 2),
    "pad odd": lambda m, f: f.pad(_zeros(m, 2, 3), (1, 1, 1)),
    "pad many": lambda m, f: f.pad(_zeros(m, 2), (1, 1, 1, 1)),
    "pad reflect": lambda m, f: f.pad(_zeros(m, 2, 3), (3, 1), "reflect"),
    "pad mode": lambda m, f: f.pad(_zeros(m, 2, 3), (3, 1), "mirror"),
    "pad rank": lambda m, f: f.pad(_zeros(m, 3), (1, 1), "reflect"),
    "pad circular": lambda m, f: f.pad(_zeros(m, 2, 3), (4, 1), "circular"),
    "pad negative": lambda m, f: f.pad(_zeros(m, 2, 3), (-4, 0)),
    "interpolate rank": lambda m, f: f.interpolate(_zeros(m, 1, 2, 3, 4), 5, mode="linear"),
    "interpolate nothing": lambda m, f: f.interpolate(_zeros(m, 1, 2, 3)),
    "interpolate both": lambda m, f: f.interpolate(_zeros(m, 1, 2, 3), 5, 2),
    "interpolate corners": lambda m, f: f.interpolate(_zeros(m, 1, 2, 3), 5, align_corners=True),
    "interpolate mode": lambda m, f: f.interpolate(_zeros(m, 1, 2, 3), 5, mode="smooth"),
    "grid_sample": lambda m, f: f.grid_sample(_zeros(m, 1, 2, 3, 3), _zeros(m, 2, 3, 3, 2)),
    "grid_sample mode": lambda m, f: f.grid_sample(_zeros(m, 1, 2, 3, 3), _zeros(m, 1, 3, 3, 2), "cubic"),
    "affine_grid": lambda m, f: f.affine_grid(_zeros(m, 1, 2, 2), (1, 2, 3, 3)),
    "pixel_shuffle": lambda m, f: f.pixel_shuffle(_zeros(m, 1, 3, 2, 2), 2),
    "pixel_unshuffle": lambda m, f: f.pixel_unshuffle(_zeros(m, 1, 3, 3, 2), 2),
    "fold": lambda m, f: f.fold(_zeros(m, 1, 8, 5), (3, 4), 2),
    "unfold": lambda m, f: f.unfold(_zeros(m, 1, 2, 2, 2), 3),
    "attention": lambda m, f: f.scaled_dot_product_attention(_zeros(m, 2, 3), _zeros(m, 4, 5), _zeros(m, 4, 3)),
    "bilinear": lambda m, f: f.bilinear(_zeros(m, 2, 3), _zeros(m, 2, 4), _zeros(m, 5, 3, 3)),
    "relu number": lambda m, f: f.relu(3.0),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_the_same_type(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch, TF)
    with pytest.raises(theirs.type):
        ERRORS[name](flambeau, F)


SIGNATURES = [
    name
    for name in dir(TF)
    if hasattr(F, name) and inspect.isfunction(getattr(F, name)) and inspect.isfunction(getattr(TF, name))
    and getattr(F, name).__module__.startswith("flambeau.nn.functional._")
    and "args" not in inspect.signature(getattr(TF, name)).parameters
]  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (F, TF))
    assert list(ours) == list(theirs)
    for own, other in zip(ours.values(), theirs.values(), strict=True):
        assert own.kind == other.kind
        assert own.default == other.default or own.default == pytest.approx(other.default)
