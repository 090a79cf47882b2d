"""Attention with several heads and the transformer: against a naive attention in NumPy."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck
from flambeau.nn import functional as F

RNG = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def tensor(values: np.ndarray) -> Any:
    return flambeau.from_numpy(np.array(values))


def array(value: Any) -> np.ndarray:
    return value.detach().numpy()


def randomized(module: Any) -> Any:
    """The module in double precision with biases that are not 0."""
    module = module.double()
    with flambeau.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.5)
    return module


def attend(
    module: Any, q: np.ndarray, k: np.ndarray, v: np.ndarray, added: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One sequence, head by head; ``added`` (heads, L, S) is added to the scores."""
    size, heads = module.embed_dim, module.num_heads
    if module.in_proj_weight is not None:
        weights = np.split(array(module.in_proj_weight), 3)
    else:
        weights = [array(getattr(module, name + "_proj_weight")) for name in "qkv"]
    biases = np.split(array(module.in_proj_bias), 3) if module.in_proj_bias is not None else [np.zeros(size)] * 3
    q, k, v = (x @ w.T + b for x, w, b in zip((q, k, v), weights, biases, strict=True))
    if module.bias_k is not None:
        k, v = np.concatenate([k, array(module.bias_k)[0]]), np.concatenate([v, array(module.bias_v)[0]])
    if module.add_zero_attn:
        k, v = np.concatenate([k, np.zeros((1, size))]), np.concatenate([v, np.zeros((1, size))])
    added = np.concatenate([added, np.zeros((*added.shape[:2], len(k) - added.shape[2]))], 2)
    results, looked = [], []
    for head in range(heads):
        own = slice(head * size // heads, (head + 1) * size // heads)
        scores = q[:, own] @ k[:, own].T / math.sqrt(size / heads) + added[head]
        e = np.exp(scores - scores.max(1, keepdims=True))
        looked.append(e / e.sum(1, keepdims=True))
        results.append(looked[-1] @ v[:, own])
    out = np.concatenate(results, 1) @ array(module.out_proj.weight).T
    bias = module.out_proj.bias
    return out if bias is None else out + array(bias), np.array(looked)


OPTIONS = [
    {}, {"bias": False}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 3, "vdim": 5}, {"batch_first": True},
]  # fmt: skip
L, S, N, HEADS = 4, 5, 2, 2
HIDDEN = RNG.uniform(size=(L, S)) < 0.3
HIDDEN[:, 0] = False
PADDED = np.array([[False] * 5, [False, False, False, True, True]])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("masked", ["", "bool", "float", "each head"])
@pytest.mark.parametrize("padded", [False, True])
def test_attention(options: dict[str, Any], masked: str, padded: bool) -> None:
    module = randomized(nn.MultiheadAttention(6, HEADS, **options))
    q, k, v = normal(L, N, 6), normal(S, N, options.get("kdim", 6)), normal(S, N, options.get("vdim", 6))
    added = np.zeros((N, HEADS, L, S))
    mask = None
    if masked == "bool":
        mask, added[:, :, HIDDEN] = HIDDEN, -np.inf
    elif masked == "float":
        mask = normal(L, S)
        added += mask
    elif masked:
        mask = normal(N * HEADS, L, S)
        added += mask.reshape(added.shape)
    if padded:
        added = np.where(PADDED[:, None, None, :], -np.inf, added)
    given = [x.swapaxes(0, 1) if module.batch_first else x for x in (q, k, v)]
    keywords: dict[str, Any] = {
        "attn_mask": None if mask is None else tensor(mask),
        "key_padding_mask": tensor(PADDED) if padded else None,
    }
    output, weights = module(*map(tensor, given), average_attn_weights=False, **keywords)
    _, averaged = module(*map(tensor, given), **keywords)
    alone, nothing = module(*map(tensor, given), need_weights=False, **keywords)
    assert nothing is None
    for n in range(N):
        expected, looked = attend(module, q[:, n], k[:, n], v[:, n], added[n])
        own = (slice(None), n) if not module.batch_first else (n,)
        np.testing.assert_allclose(array(output)[own], expected, atol=1e-12)
        np.testing.assert_allclose(array(alone)[own], expected, atol=1e-12)
        np.testing.assert_allclose(array(weights)[n], looked, atol=1e-12)
        np.testing.assert_allclose(array(averaged)[n], looked.mean(0), atol=1e-12)


@pytest.mark.parametrize("batch_first", [False, True])
def test_self_attention_projects_once_with_the_same_result(batch_first: bool) -> None:
    module, x = randomized(nn.MultiheadAttention(6, 2, batch_first=batch_first)), normal(3, 4, 6)
    output, _ = module(*[tensor(x)] * 3)
    apart, _ = module(tensor(x), tensor(x), tensor(x))
    of_memory, _ = module(tensor(x), *[tensor(x)] * 2)
    for other in (apart, of_memory):
        np.testing.assert_allclose(array(output), array(other), atol=1e-12)


def test_one_sequence_without_a_batch() -> None:
    module, q, k = randomized(nn.MultiheadAttention(6, 2)), normal(4, 6), normal(5, 6)
    output, weights = module(tensor(q), tensor(k), tensor(k), key_padding_mask=tensor(PADDED[1]))
    added = np.where(PADDED[1], -np.inf, np.zeros((2, 4, 5)))
    expected, looked = attend(module, q, k, k, added)
    np.testing.assert_allclose(array(output), expected, atol=1e-12)
    np.testing.assert_allclose(array(weights), looked.mean(0), atol=1e-12)


def test_causal_hint() -> None:
    module, x = randomized(nn.MultiheadAttention(6, 2)), tensor(normal(4, 2, 6))
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    assert mask.tolist() == [[0 if j <= i else -math.inf for j in range(4)] for i in range(4)]
    masked, _ = module(x, x, x, attn_mask=mask, need_weights=False)
    hinted, _ = module(x, x, x, attn_mask=mask, need_weights=False, is_causal=True)
    np.testing.assert_allclose(array(hinted), array(masked), atol=1e-12)
    with pytest.raises(RuntimeError, match="Need attn_mask if specifying the is_causal hint"):
        module(x, x, x, is_causal=True)


def test_a_query_that_may_look_nowhere_gets_nothing() -> None:
    module, x = randomized(nn.MultiheadAttention(6, 2)), tensor(normal(4, 1, 6)).requires_grad_()
    hidden = flambeau.ones(4, 4, dtype=flambeau.bool)
    hidden[1:] = False
    output, weights = module(x, x, x, attn_mask=hidden)
    assert (weights[0, 0] == 0).all()
    np.testing.assert_allclose(array(output[0, 0]), array(module.out_proj.bias))
    output.sum().backward()
    assert flambeau.isfinite(x.grad).all()


def test_dropout_of_weights_is_in_training_only() -> None:
    module, x = nn.MultiheadAttention(6, 2, dropout=1.0), flambeau.randn(4, 1, 6)
    output, weights = module(x, x, x)
    assert (weights == 0).all()
    assert (module(x, x, x, need_weights=False)[0] == output).all()
    assert (module.eval()(x, x, x)[1] > 0).all()


def test_gradients_of_attention() -> None:
    module = randomized(nn.MultiheadAttention(4, 2, add_bias_kv=True))
    q, k = tensor(normal(2, 2, 4)).requires_grad_(), tensor(normal(3, 2, 4)).requires_grad_()
    assert gradcheck(lambda q, k: module(q, k, k)[0], (q, k))


def test_initial_values() -> None:
    module = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    assert (module.in_proj_bias == 0).all() and (module.out_proj.bias == 0).all()
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.9 * bound < module.in_proj_weight.abs().max() <= bound
    assert module.bias_k.shape == (1, 1, 64)


@pytest.mark.parametrize(
    ("shapes", "keywords", "message"),
    [
        (((2, 1, 6), (3, 6), (3, 6)), {}, "expected `key` and `value` to be 3-D but found 2-D and 2-D tensors"),
        (((2, 1, 1, 6), (3, 6), (3, 6)), {}, "query should be unbatched 2D or batched 3D tensor but received 4-D"),
        (((2, 1, 4), (3, 1, 6), (3, 1, 6)), {}, "was expecting embedding dimension of 6, but got 4"),
        (((2, 1, 6), (3, 1, 6), (4, 1, 6)), {}, "does not match value shape"),
        (((2, 1, 6), (3, 1, 6), (3, 1, 6)), {"key_padding_mask": flambeau.zeros(3)}, "expected `key_padding_mask`"),
        (
            ((2, 1, 6), (3, 1, 6), (3, 1, 6)),
            {"attn_mask": flambeau.zeros(2, 3, dtype=flambeau.int64)},
            "only bool and floating types of attn_mask are supported",
        ),
    ],
)
def test_a_wrong_call_says_what_is_wrong(shapes: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError) as raised:
        nn.MultiheadAttention(6, 2)(*map(flambeau.zeros, shapes), **keywords)
    assert message in str(raised.value)


def test_masks_of_a_wrong_shape() -> None:
    module, x = nn.MultiheadAttention(6, 2), flambeau.zeros(3, 1, 6)
    with pytest.raises(RuntimeError, match=r"2D attn_mask is \[3, 2\], but should be \[3, 3\]"):
        module(x, x, x, attn_mask=flambeau.zeros(3, 2))
    with pytest.raises(RuntimeError, match=r"3D attn_mask is \[1, 3, 3\], but should be \[2, 3, 3\]"):
        module(x, x, x, attn_mask=flambeau.zeros(1, 3, 3))


def test_arguments_are_checked() -> None:
    with pytest.raises(AssertionError, match="embed_dim must be divisible by num_heads, got 6 and 4"):
        nn.MultiheadAttention(6, 4)
    with pytest.raises(ValueError, match="must be greater than 0, got embed_dim=0"):
        nn.MultiheadAttention(0, 1)


# -- transformer -------------------------------------------------------------------------------------------------------


def normalize(x: np.ndarray, layer: Any) -> np.ndarray:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + layer.eps)
    return x * array(layer.weight) + array(layer.bias)


def feed_forward(x: np.ndarray, layer: Any) -> np.ndarray:
    x = np.maximum(x @ array(layer.linear1.weight).T + array(layer.linear1.bias), 0)
    return x @ array(layer.linear2.weight).T + array(layer.linear2.bias)


def looking(module: Any, x: np.ndarray, memory: np.ndarray) -> np.ndarray:
    return attend(module, x, memory, memory, np.zeros((module.num_heads, len(x), len(memory))))[0]


@pytest.mark.parametrize("norm_first", [False, True])
def test_layers(norm_first: bool) -> None:
    src, tgt = normal(5, 6), normal(4, 6)
    encoder = randomized(nn.TransformerEncoderLayer(6, 2, 7, norm_first=norm_first)).eval()
    decoder = randomized(nn.TransformerDecoderLayer(6, 2, 7, norm_first=norm_first)).eval()
    if norm_first:
        x = normalize(src, encoder.norm1)
        memory = src + looking(encoder.self_attn, x, x)
        memory = memory + feed_forward(normalize(memory, encoder.norm2), encoder)
        x = normalize(tgt, decoder.norm1)
        expected = tgt + looking(decoder.self_attn, x, x)
        expected = expected + looking(decoder.multihead_attn, normalize(expected, decoder.norm2), memory)
        expected = expected + feed_forward(normalize(expected, decoder.norm3), decoder)
    else:
        memory = normalize(src + looking(encoder.self_attn, src, src), encoder.norm1)
        memory = normalize(memory + feed_forward(memory, encoder), encoder.norm2)
        expected = normalize(tgt + looking(decoder.self_attn, tgt, tgt), decoder.norm1)
        expected = normalize(expected + looking(decoder.multihead_attn, expected, memory), decoder.norm2)
        expected = normalize(expected + feed_forward(expected, decoder), decoder.norm3)
    own = encoder(tensor(src))
    np.testing.assert_allclose(array(own), memory, atol=1e-10)
    np.testing.assert_allclose(array(decoder(tensor(tgt), own)), expected, atol=1e-10)


def test_stacks_apply_their_layers_and_the_norm() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8), 3, nn.LayerNorm(6)).eval()
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, 8), 2, nn.LayerNorm(6)).eval()
    src, tgt = flambeau.randn(5, 2, 6), flambeau.randn(4, 2, 6)
    memory, expected = src, tgt
    for layer in encoder.layers:
        memory = layer(memory)
    assert flambeau.equal(encoder(src), encoder.norm(memory))
    for layer in decoder.layers:
        expected = layer(expected, memory)
    assert flambeau.equal(decoder(tgt, memory), decoder.norm(expected))
    first, second = (list(layer.parameters()) for layer in decoder.layers)
    assert not {id(p) for p in first} & {id(p) for p in second}


def small(**kwargs: Any) -> Any:
    return nn.Transformer(6, 2, 1, 1, 8, **kwargs)


def test_masked_positions_change_nothing() -> None:
    model = small(batch_first=True).eval()
    src, tgt = flambeau.randn(2, 5, 6), flambeau.randn(2, 4, 6)
    padded = flambeau.tensor(PADDED)
    changed = flambeau.where(padded.unsqueeze(-1), 9.0, src)
    keywords = {"src_key_padding_mask": padded, "memory_key_padding_mask": padded}
    assert flambeau.allclose(model(src, tgt, **keywords), model(changed, tgt, **keywords), atol=1e-6)
    assert not flambeau.allclose(model(src, tgt), model(changed, tgt), atol=1e-3)
    later = tgt.clone()
    later[:, 2:] = 5.0
    mask = model.generate_square_subsequent_mask(4)
    for keywords in ({"tgt_mask": mask}, {"tgt_mask": mask, "tgt_is_causal": True}):
        one, other = model(src, tgt, **keywords), model(src, later, **keywords)
        assert flambeau.allclose(one[:, :2], other[:, :2], atol=1e-6)
        assert not flambeau.allclose(one[:, 2:], other[:, 2:], atol=1e-3)


def test_batch_first_is_a_matter_of_order() -> None:
    model = small().eval()
    other = small(batch_first=True).eval()
    other.load_state_dict(model.state_dict())
    src, tgt = flambeau.randn(5, 2, 6), flambeau.randn(4, 2, 6)
    swapped = other(src.transpose(0, 1), tgt.transpose(0, 1)).transpose(0, 1)
    assert flambeau.allclose(model(src, tgt), swapped, atol=1e-6)


def test_activations() -> None:
    x = flambeau.randn(3, 1, 6)
    gelu = nn.TransformerEncoderLayer(6, 2, 8, activation="gelu").eval()
    assert gelu.activation is F.gelu
    other = nn.TransformerEncoderLayer(6, 2, 8, activation=nn.GELU()).eval()
    other.load_state_dict(gelu.state_dict())
    assert flambeau.equal(gelu(x), other(x))
    with pytest.raises(RuntimeError, match="activation should be relu/gelu, not swish"):
        nn.TransformerEncoderLayer(6, 2, activation="swish")


def test_own_encoder_and_decoder() -> None:
    class Double(nn.Module):
        def forward(self, src: Any, **kwargs: Any) -> Any:
            return 2 * src

    class Sum(nn.Module):
        def forward(self, tgt: Any, memory: Any, **kwargs: Any) -> Any:
            return tgt + memory

    model = nn.Transformer(6, 2, custom_encoder=Double(), custom_decoder=Sum())
    x = flambeau.randn(3, 1, 6)
    assert flambeau.equal(model(x, x), 3 * x)


def test_every_parameter_learns() -> None:
    model = small()
    loss = model(flambeau.randn(5, 2, 6), flambeau.randn(4, 2, 6)).square().sum()
    loss.backward()
    assert all(p.grad is not None and flambeau.isfinite(p.grad).all() for p in model.parameters())
    assert repr(copy.deepcopy(model)) == repr(model)


def test_sizes_are_checked() -> None:
    model = small()
    with pytest.raises(RuntimeError, match="the batch number of src and tgt must be equal"):
        model(flambeau.zeros(5, 2, 6), flambeau.zeros(4, 3, 6))
    with pytest.raises(RuntimeError, match="the feature number of src and tgt must be equal to d_model"):
        model(flambeau.zeros(5, 2, 6), flambeau.zeros(4, 2, 7))
