"""Attention a few heads, or a block of queries, at a time: the weights of all never lie in memory together.

Each block has all keys that its queries may look at, so that its softmax is the whole one. The gradient computes the
weights again (Dao et al., "FlashAttention", 2022, do the same).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.dtypes import float32
from flambeau.ops.declare import OPS

Array = Any
Place = tuple[slice, slice, slice]
Dropout = tuple[float, int, int]  # the probability, the seed and the offset into its stream
Cotangents = tuple[Array | None, Array | None, Array | None, None]

#: Weights of a block: 1 MB in single precision, which is in the second cache when the next step reads it.
BLOCK = 1 << 18

#: float32 numbers that one counter of the random stream gives.
_PER_COUNT = 8

#: The least queries of a block, however many keys: what a block adds to the keys' cotangents has to be worth the pass.
QUERIES = 128


def _is_served(query: Array, key: Array, value: Array, attn_mask: Array | None) -> bool:
    """Whether all are float32 or all float64, nothing is empty and only the mask broadcasts."""
    dtype, lead = query.dtype, query.shape[:-2]
    if dtype.char not in "fd" or key.dtype != dtype or value.dtype != dtype or query.ndim < 2:
        return False
    if key.shape[:-2] != lead or value.shape[:-2] != lead or 0 in query.shape or 0 in key.shape or 0 in value.shape:
        return False
    if attn_mask is None:
        return True
    scores = (*lead, query.shape[-2], key.shape[-2])
    return (attn_mask.dtype == dtype or attn_mask.dtype == bool) and numpy.broadcast_shapes(
        attn_mask.shape, scores
    ) == scores


def _by_heads(array: Array) -> Array:
    """An array (..., rows, columns) as (batch, heads, rows, columns), a view where there are up to two such."""
    shape = array.shape
    heads = shape[-3] if len(shape) > 2 else 1
    return array.reshape(math.prod(shape[:-3]), heads, *shape[-2:])


def _blocks(batch: int, heads: int, queries: int, keys: int, is_causal: bool) -> Iterator[Place]:
    """Slices of (batch, heads, queries), of about :data:`BLOCK` weights each, the last queries of a head first.

    Of later keys, which ``is_causal`` leaves out, the more is saved the fewer the queries are.
    """
    rows = min(queries, QUERIES if is_causal else max(QUERIES, BLOCK // keys))
    together = max(1, BLOCK // (rows * keys))  # heads of a block
    several = max(1, together // heads)  # whole members of the batch
    for b in range(0, batch, several):
        for h in range(0, heads, min(together, heads)):
            for end in range(queries, 0, -rows):
                yield slice(b, b + several), slice(h, h + together), slice(max(0, end - rows), end)


class _Problem:
    """Query, key, value and mask by heads, and the weights of a block of them."""

    def __init__(
        self,
        query: Array,
        key: Array,
        value: Array,
        attn_mask: Array | None,
        is_causal: bool,
        scale: float,
        dropout: Dropout | None,
    ) -> None:
        self.query, self.key, self.value = _by_heads(query), _by_heads(key), _by_heads(value)
        self.is_causal, self.scale, self.dropout = is_causal, scale, dropout
        self.xp = device("cpu").xp
        batch, heads, queries, _ = self.query.shape
        keys = self.key.shape[2]
        self.mask = None
        if attn_mask is not None:
            self.mask = _by_heads(numpy.broadcast_to(attn_mask, (*query.shape[:-1], keys)))
        self.blocks = _blocks(batch, heads, queries, keys, is_causal)

    def keys_of(self, block: Place) -> Place:
        """Where the keys and values are that a block's queries may look at."""
        stop = min(block[2].stop, self.key.shape[2]) if self.is_causal else self.key.shape[2]
        return *block[:2], slice(stop)

    def scaled(self, block: Place) -> Array:
        """The queries times the scale, which is cheaper than to scale the scores."""
        return numpy.multiply(self.query[block], self.scale)

    def weights(self, block: Place, scaled: Array) -> Array:
        key = self.key[self.keys_of(block)]
        scores = self.xp.matmul(scaled, key.swapaxes(2, 3))
        if self.is_causal:
            later = numpy.arange(key.shape[2]) > numpy.arange(block[2].start, block[2].stop)[:, None]
            numpy.copyto(scores, -numpy.inf, where=later)
        if self.mask is None:
            return self.xp.softmax(scores, 3)
        mask = self.mask[block][..., : key.shape[2]]
        if mask.dtype == bool:
            numpy.copyto(scores, -numpy.inf, where=numpy.logical_not(mask))
        else:
            numpy.add(scores, mask, scores)
        nowhere = numpy.equal(numpy.maximum.reduce(scores, 3, keepdims=True), -numpy.inf)
        if not nowhere.any():
            return self.xp.softmax(scores, 3)
        numpy.copyto(scores, 0, where=nowhere)
        weights = self.xp.softmax(scores, 3)
        numpy.copyto(weights, 0, where=nowhere)
        return weights

    def drawn(self, block: Place) -> Array | None:
        """The numbers that decide which weights of a block are kept; None for all."""
        if self.dropout is None:
            return None
        batch, heads, queries, _ = self.query.shape
        members, own = (range(*part.indices(size)) for part, size in zip(block[:2], (batch, heads), strict=True))
        rows = block[2]
        if rows.stop - rows.start == queries and (len(members) == 1 or len(own) == heads):  # they follow each other
            uniform = self._drawn(members[0] * heads + own[0], rows, len(members) * len(own))
        else:
            uniform = numpy.concatenate([self._drawn(b * heads + h, rows, 1) for b in members for h in own])
        uniform = uniform.reshape(len(members), len(own), -1, self.key.shape[2])
        return numpy.ascontiguousarray(uniform[..., self.keys_of(block)[2]])

    def dropped(self, weights: Array, drawn: Array | None) -> Array:
        """The weights, or their cotangents, after dropout."""
        return weights if drawn is None else self.xp.apply_dropout(weights, drawn, self.dropout[0])

    def _drawn(self, head: int, rows: slice, heads: int) -> Array:
        """The numbers for some queries of a head, or for all of several heads from there on."""
        assert self.dropout is not None
        _, seed, offset = self.dropout
        queries, keys = self.query.shape[2], self.key.shape[2]
        start = (head * queries + rows.start) * keys
        before = start % _PER_COUNT  # numbers are drawn from a multiple of so many on
        size = before + heads * (rows.stop - rows.start) * keys
        return self.xp.random_uniform((size,), float32, seed, offset + start // _PER_COUNT)[before:]


def attention(query: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float) -> Array:
    """``softmax(scale * query @ key.T + mask) @ value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    arguments = query, key, value, attn_mask, is_causal, scale
    if not _is_served(query, key, value, attn_mask):
        return OPS["attention"].body(device("cpu").xp, *arguments)
    return _attended(_Problem(*arguments, None), query, value)


def attention_with_dropout(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None,
    is_causal: bool,
    scale: float,
    p: float,
    seed: int,
    offset: int,
) -> Array:
    """:func:`attention` with dropout of the weights; the numbers that decide are drawn for a block at a time."""
    arguments = query, key, value, attn_mask, is_causal, scale
    if not _is_served(query, key, value, attn_mask):
        return OPS["attention_with_dropout"].body(device("cpu").xp, *arguments, p, seed, offset)
    return _attended(_Problem(*arguments, (p, seed, offset)), query, value)


def _attended(problem: _Problem, query: Array, value: Array) -> Array:
    out = numpy.empty((*query.shape[:-1], value.shape[-1]), query.dtype)
    target = _by_heads(out)
    for block in problem.blocks:
        weights = problem.dropped(problem.weights(block, problem.scaled(block)), problem.drawn(block))
        target[block] = problem.xp.matmul(weights, problem.value[problem.keys_of(block)])
    return out


# -- gradients -------------------------------------------------------------------------------------------------------


def attention_backward(
    g: Array,
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None,
    is_causal: bool,
    scale: float,
    needs: tuple[bool, bool, bool, bool],
) -> Cotangents:
    """The cotangents of query, key and value; that of a mask is left to the decomposition."""
    arguments = query, key, value, attn_mask, is_causal, scale
    if needs[3] or g.dtype != query.dtype or not _is_served(query, key, value, attn_mask):
        return OPS["attention_backward"].body(device("cpu").xp, g, *arguments, needs)
    return _cotangents(_Problem(*arguments, None), g, query, key, value, needs)


def attention_with_dropout_backward(
    g: Array,
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None,
    is_causal: bool,
    scale: float,
    p: float,
    seed: int,
    offset: int,
    needs: tuple[bool, bool, bool, bool],
) -> Cotangents:
    """:func:`attention_backward` of :func:`attention_with_dropout`."""
    arguments = query, key, value, attn_mask, is_causal, scale
    if needs[3] or g.dtype != query.dtype or not _is_served(query, key, value, attn_mask):
        return OPS["attention_with_dropout_backward"].body(device("cpu").xp, g, *arguments, p, seed, offset, needs)
    return _cotangents(_Problem(*arguments, (p, seed, offset)), g, query, key, value, needs)


def _cotangents(
    problem: _Problem, g: Array, query: Array, key: Array, value: Array, needs: tuple[bool, ...]
) -> Cotangents:
    matmul = problem.xp.matmul
    cotangent = _by_heads(g)
    # Keys beyond the last query are looked at by none where later ones are left out.
    new = numpy.zeros if problem.is_causal and key.shape[-2] > query.shape[-2] else numpy.empty
    gq, gk, gv = (
        new(x.shape, x.dtype) if needed else None for x, needed in zip((query, key, value), needs, strict=False)
    )
    of_query, of_key, of_value = (None if x is None else _by_heads(x) for x in (gq, gk, gv))
    for block in problem.blocks:
        keys = problem.keys_of(block)
        scaled, given = problem.scaled(block), cotangent[block]
        weights, drawn = problem.weights(block, scaled), problem.drawn(block)
        is_first = block[2].stop == query.shape[-2]  # and has all keys
        if of_value is not None:
            _put(of_value[keys], matmul(problem.dropped(weights, drawn).swapaxes(2, 3), given), is_first)
        if of_query is None and of_key is None:
            continue
        of_weights = problem.dropped(matmul(given, problem.value[keys].swapaxes(2, 3)), drawn)
        of_scores = problem.xp.softmax_backward(of_weights, weights, 3)
        if of_query is not None:
            numpy.multiply(matmul(of_scores, problem.key[keys]), problem.scale, of_query[block])
        if of_key is not None:
            _put(of_key[keys], matmul(of_scores.swapaxes(2, 3), scaled), is_first)
    return gq, gk, gv, None


def _put(target: Array, values: Array, is_first: bool) -> None:
    """Write ``values``, or add them to those of other queries."""
    if is_first:
        target[...] = values
    else:
        numpy.add(target, values, target)


KERNELS: dict[str, Callable[..., Any]] = {
    "attention": attention,
    "attention_backward": attention_backward,
    "attention_with_dropout": attention_with_dropout,
    "attention_with_dropout_backward": attention_with_dropout_backward,
}
