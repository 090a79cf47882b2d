"""Recurrent layers, transformers, CTC, packed sequences and parametrizations against PyTorch's, with its weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn

torch = pytest.importorskip("torch")
prune_there = pytest.importorskip("torch.nn.utils.prune")

pytestmark = [
    # PyTorch says which of its fast paths it does not take, and that old names will go.
    pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning"),
    pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning"),
]

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The module in PyTorch and here, in double precision, with the same parameters."""
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    own = getattr(nn, name)(*args, **kwargs).double()
    share(theirs, own)
    return theirs, own


def share(theirs: Any, own: Any) -> None:
    state = theirs.state_dict()
    assert list(own.state_dict()) == list(state)
    own.load_state_dict({name: flambeau.from_numpy(value.numpy().copy()) for name, value in state.items()})


def tensors_in(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return [value]


def compare(theirs: Any, own: Any, call: Callable[..., Any], *inputs: np.ndarray) -> None:
    """Outputs, gradients of inputs and of parameters of ``call(library, module, *inputs)``."""
    results = []
    for library, module in ((torch, theirs), (flambeau, own)):
        leaves = [library.from_numpy(value.copy()).requires_grad_() for value in inputs]
        outputs = tensors_in(call(library, module, *leaves))
        # Weights that tell every element of the outputs from the others.
        loss = sum(
            (out * library.from_numpy(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))).sum()
            for out in outputs
        )
        loss.backward()
        parameters = list(module.named_parameters()) if hasattr(module, "named_parameters") else []
        results.append(
            {f"output {i}": out.detach().numpy() for i, out in enumerate(outputs)}
            | {f"input {i}": None if leaf.grad is None else leaf.grad.numpy() for i, leaf in enumerate(leaves)}
            | {name: None if p.grad is None else p.grad.numpy() for name, p in parameters}
        )
    assert list(results[0]) == list(results[1])
    for name, expected in results[0].items():
        actual = results[1][name]
        if expected is None:
            assert actual is None, name
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(
    "name",
    [
        "CTCLoss", "GRUCell", "LSTMCell", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyConv1d", "LazyConv2d",
        "LazyConvTranspose2d", "LazyInstanceNorm1d", "LazyLinear", "MultiheadAttention", "RNNCell", "Transformer",
        "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
    ],
)  # fmt: skip
def test_signatures(name: str) -> None:
    theirs, own = (inspect.signature(getattr(library, name).__init__).parameters for library in (torch.nn, nn))
    assert list(own) == list(theirs)
    for parameter in own:
        if not callable(own[parameter].default):
            assert own[parameter].default == theirs[parameter].default, parameter


@pytest.mark.parametrize(
    "name",
    ["multi_head_attention_forward", "ctc_loss"],
)
def test_signatures_of_functions(name: str) -> None:
    theirs, own = (
        inspect.signature(getattr(library, name)).parameters for library in (torch.nn.functional, nn.functional)
    )
    assert list(own) == list(theirs)


# -- recurrent layers --------------------------------------------------------------------------------------------------

LAYERS = [
    ("RNN", {}),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2}),
    ("RNN", {"bias": False, "bidirectional": True}),
    ("GRU", {}),
    ("GRU", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("GRU", {"bias": False}),
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"batch_first": True, "num_layers": 3}),
    ("LSTM", {"bias": False}),
    ("LSTM", {"proj_size": 2}),
    ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True, "bias": False}),
]


def initial_states(name: str, kwargs: dict[str, Any], *batch: int) -> list[np.ndarray]:
    layers = kwargs.get("num_layers", 1) * (2 if kwargs.get("bidirectional") else 1)
    sizes = [kwargs.get("proj_size") or 4] + ([4] if name == "LSTM" else [])
    return [floats(layers, *batch, size) for size in sizes]


def as_hx(states: tuple[Any, ...]) -> Any:
    return None if not states else states[0] if len(states) == 1 else states


@pytest.mark.parametrize(("name", "kwargs"), LAYERS)
@pytest.mark.parametrize("given", ["states", "no states", "one sequence"])
def test_recurrent_layer(name: str, kwargs: dict[str, Any], given: str) -> None:
    theirs, own = pair(name, 5, 4, **kwargs)
    assert repr(own) == repr(theirs)
    batch = () if given == "one sequence" else (3,)
    shape = (6, *batch, 5)
    if kwargs.get("batch_first") and batch:
        shape = (3, 6, 5)
    states = [] if given == "no states" else initial_states(name, kwargs, *batch)
    compare(theirs, own, lambda _, module, x, *hx: module(x, as_hx(hx)), floats(*shape), *states)


@pytest.mark.parametrize(("name", "kwargs"), LAYERS)
@pytest.mark.parametrize("lengths", [[6, 3, 2], [2, 6, 3], [4, 4, 4]])
def test_packed_sequences(name: str, kwargs: dict[str, Any], lengths: list[int]) -> None:
    theirs, own = pair(name, 5, 4, **kwargs)
    first = kwargs.get("batch_first", False)
    ordered = lengths == sorted(lengths, reverse=True)

    def call(library: Any, module: Any, x: Any, *hx: Any) -> Any:
        utils = library.nn.utils.rnn
        packed = utils.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=ordered)
        output, last = module(packed, as_hx(hx))
        padded, found = utils.pad_packed_sequence(output, batch_first=first, padding_value=0.5, total_length=7)
        assert found.tolist() == lengths
        return padded, last

    x = floats(3, 6, 5) if first else floats(6, 3, 5)
    compare(theirs, own, call, x, *initial_states(name, kwargs, 3))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("given", [True, False])
def test_cells(name: str, bias: bool, batch: tuple[int, ...], given: bool) -> None:
    theirs, own = pair(name, 5, 4, bias=bias)
    assert repr(own) == repr(theirs)
    states = [floats(*batch, 4) for _ in range(2 if name == "LSTMCell" else 1)] if given else []
    compare(theirs, own, lambda _, module, x, *hx: module(x, as_hx(hx)), floats(*batch, 5), *states)


def test_sequence_utilities() -> None:
    parts = [floats(length, 2) for length in (2, 4, 1)]
    results = []
    for library in (torch, flambeau):
        utils = library.nn.utils.rnn
        tensors = [library.from_numpy(part.copy()) for part in parts]
        packed = utils.pack_sequence(tensors, enforce_sorted=False)
        results.append(
            [
                *packed,
                utils.pad_sequence(tensors, padding_value=3.0),
                utils.pad_sequence(tensors, batch_first=True, padding_side="left"),
                *utils.unpack_sequence(packed),
                *utils.unpad_sequence(utils.pad_sequence(tensors), library.tensor([2, 4, 1])),
            ]
        )
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_array_equal(actual.numpy(), expected.numpy())


# -- attention ---------------------------------------------------------------------------------------------------------

ATTENTION = [
    {}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 5, "vdim": 7}, {"batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True, "kdim": 5, "bias": False},
]  # fmt: skip
CAUSAL = np.triu(np.ones((4, 6), bool), 3)
PADDED = np.arange(6) >= np.array([[6], [4], [5]])


@pytest.mark.parametrize("kwargs", ATTENTION, ids=str)
@pytest.mark.parametrize("attn_mask", [None, CAUSAL, floats(4, 6), floats(6, 4, 6)], ids=["", "bool", "2D", "3D"])
@pytest.mark.parametrize("padded", [False, True])
def test_attention(kwargs: dict[str, Any], attn_mask: np.ndarray | None, padded: bool) -> None:
    theirs, own = pair("MultiheadAttention", 8, 2, **kwargs)
    assert repr(own) == repr(theirs)
    inputs = [floats(4, 3, 8), floats(6, 3, kwargs.get("kdim", 8)), floats(6, 3, kwargs.get("vdim", 8))]
    if kwargs.get("batch_first"):
        inputs = [x.swapaxes(0, 1) for x in inputs]
    for options in ({}, {"average_attn_weights": False}, {"need_weights": False}):

        def call(library: Any, module: Any, *qkv: Any, options: Any = options) -> Any:
            mask = None if attn_mask is None else library.from_numpy(attn_mask)
            padding = library.from_numpy(PADDED) if padded else None
            return module(*qkv, attn_mask=mask, key_padding_mask=padding, **options)

        compare(theirs, own, call, *inputs)


def test_self_attention_of_one_sequence() -> None:
    compare(*pair("MultiheadAttention", 8, 2), lambda _, module, x: module(x, x, x), floats(4, 8))


def test_causal_attention() -> None:
    def call(library: Any, module: Any, x: Any) -> Any:
        mask = library.nn.Transformer.generate_square_subsequent_mask(4, dtype=library.float64)
        return module(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)

    compare(*pair("MultiheadAttention", 8, 2), call, floats(4, 3, 8))


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("activation", "bias"), [("relu", True), ("gelu", False)])
def test_transformer(norm_first: bool, batch_first: bool, activation: str, bias: bool) -> None:
    theirs, own = pair(
        "Transformer", 8, 2, 2, 2, 16, 0.0, activation, batch_first=batch_first, norm_first=norm_first, bias=bias
    )
    assert repr(own) == repr(theirs)

    def call(library: Any, module: Any, src: Any, tgt: Any) -> Any:
        padding = library.from_numpy(PADDED)
        mask = library.nn.Transformer.generate_square_subsequent_mask(4, dtype=library.float64)
        return module(src, tgt, tgt_mask=mask, src_key_padding_mask=padding, memory_key_padding_mask=padding)

    inputs = floats(6, 3, 8), floats(4, 3, 8)
    compare(theirs, own, call, *[x.swapaxes(0, 1) for x in inputs] if batch_first else inputs)


# -- connectionist temporal classification -----------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_loss(reduction: str, joined: bool, zero_infinity: bool) -> None:
    lengths = [5, 3, 0, 4]
    labels = RNG.integers(1, 6, (4, 5))
    labels[0, :3] = 2
    given = np.concatenate([row[:n] for row, n in zip(labels, lengths, strict=True)]) if joined else labels
    # With `zero_infinity` one input is too short.
    steps = [12, 10, 7, 3 if zero_infinity else 5]

    def call(library: Any, module: Any, x: Any) -> Any:
        return module(x.log_softmax(2), library.from_numpy(given), steps, lengths)

    arguments = {"reduction": reduction, "zero_infinity": zero_infinity}
    compare(torch.nn.CTCLoss(**arguments), nn.CTCLoss(**arguments), call, floats(12, 4, 6))


def test_ctc_loss_of_one_sample() -> None:
    def call(library: Any, module: Any, x: Any) -> Any:
        return module(x.log_softmax(1), library.tensor([1, 2, 2]), library.tensor(7), library.tensor(3))

    compare(torch.nn.CTCLoss(blank=3), nn.CTCLoss(blank=3), call, floats(7, 4))


# -- parametrizations --------------------------------------------------------------------------------------------------


def parametrized(make: Callable[[Any], Any]) -> tuple[Any, Any]:
    theirs, own = make(torch).double(), make(flambeau).double()
    share(theirs, own)
    return theirs, own


def apply(_: Any, module: Any, x: Any) -> Any:
    return module(x)


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("old", [False, True])
def test_weight_norm(dim: int | None, old: bool) -> None:
    def make(library: Any) -> Any:
        utils = library.nn.utils
        return (utils if old else utils.parametrizations).weight_norm(library.nn.Conv1d(3, 4, 2), dim=dim)

    compare(*parametrized(make), apply, floats(2, 3, 5))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_spectral_norm(old: bool, training: bool) -> None:
    def make(library: Any) -> Any:
        utils = library.nn.utils
        return (
            (utils if old else utils.parametrizations)
            .spectral_norm(library.nn.ConvTranspose1d(3, 4, 2))
            .train(training)
        )

    theirs, own = parametrized(make)
    for _ in range(3):
        compare(theirs, own, apply, floats(2, 3, 5))
    for (name, expected), actual in zip(theirs.named_buffers(), own.buffers(), strict=True):
        np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivialized", [False, True])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_orthogonal(orthogonal_map: str | None, trivialized: bool, shape: tuple[int, int]) -> None:
    def make(library: Any) -> Any:
        layer = library.nn.Linear(*shape).double()
        return library.nn.utils.parametrizations.orthogonal(
            layer, "weight", orthogonal_map, use_trivialization=trivialized
        )

    compare(*parametrized(make), apply, floats(2, shape[0]))


def test_reflections_of_a_weight() -> None:
    """Householder's map without trivialization is inverted in the same way."""
    weight = floats(5, 3)
    results = []
    for library in (torch, flambeau):
        layer = library.nn.Linear(3, 5).double()
        layer.weight = library.nn.Parameter(library.from_numpy(weight.copy()))
        library.nn.utils.parametrizations.orthogonal(layer, orthogonal_map="householder", use_trivialization=False)
        # PyTorch's original also has R above the diagonal, which nobody reads.
        original = layer.parametrizations.weight.original.detach().numpy()
        results.append((layer.weight.detach().numpy(), np.tril(original)))
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_pruning() -> None:
    weights = [floats(4, 5), floats(3, 4)]
    results = []
    for library in (torch, flambeau):
        prune = prune_there if library is torch else library.nn.utils.prune
        layers = [library.nn.Linear(5, 4).double(), library.nn.Linear(4, 3).double()]
        for layer, weight in zip(layers, weights, strict=True):
            layer.weight = library.nn.Parameter(library.from_numpy(weight.copy()))
        prune.l1_unstructured(layers[0], "weight", 0.3)
        prune.ln_structured(layers[0], "weight", 1, 2, 0)
        prune.l1_unstructured(layers[0], "weight", 3)
        prune.global_unstructured([(layers[0], "weight"), (layers[1], "weight")], prune.L1Unstructured, amount=0.4)
        assert list(layers[0].state_dict()) == ["bias", "weight_orig", "weight_mask"]
        masks = [layer.weight_mask.numpy() for layer in layers]
        prune.remove(layers[0], "weight")
        assert list(layers[0].state_dict()) == ["bias", "weight"]
        results.append([*masks, *[layer.weight.detach().numpy() for layer in layers]])
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("LazyLinear", (3,), (2, 4)),
        ("LazyConv2d", (4, 3), (2, 6, 5, 5)),
        ("LazyConvTranspose1d", (4, 3), (2, 6, 5)),
        ("LazyBatchNorm1d", (), (4, 3)),
        ("LazyInstanceNorm1d", (1e-5, 0.1, True), (3, 4, 5)),
    ],
)
def test_lazy_modules(name: str, args: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    x = floats(*shape).astype(np.float32)
    layers = []
    for library in (torch, flambeau):
        layer = getattr(library.nn, name)(*args)
        before = repr(layer)
        layer(library.from_numpy(x))
        layers.append((before, layer))
    (before, theirs), (own_before, own) = layers
    assert own_before == before
    assert repr(own) == repr(theirs)
    share(theirs, own)
