"""Scaled dot-product attention by cuDNN's flash kernels (Dao et al., 2022): scores are never in memory.

For operands of 16 bits without a mask, on GPUs since compute capability 8.0. Heads may lie beside each other in a row,
as a projection leaves them; results then lie as their operands do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy
import numpy

from flambeau import backends
from flambeau_cupy.cudnn import library
from flambeau_cupy.layout import element_strides

Array = Any
Size = tuple[int, ...]

#: The numbers of the tensors; gradients have those of what they are gradients of, and ten more.
QUERY, KEY, VALUE, OUT, STATISTICS, COTANGENT = range(1, 7)
GRADIENT = 10

#: What the sizes of heads, and the steps between rows, have to be multiples of.
_MULTIPLE = 8


class Attention(NamedTuple):
    """Attention over (N, heads, length, size), or its gradients.

    Attributes:
        way: ``"forward"``, ``"training"`` (with the logarithm of each row's sum, for the gradients) or ``"backward"``.
        kind: NumPy's character of the dtype.
        tensors: number, shape and strides of every tensor but the statistics.
        deterministic: for the gradients; the others always are.
    """

    way: str
    kind: str
    tensors: tuple[tuple[int, Size, Size], ...]
    scale: float
    is_causal: bool
    deterministic: bool

    def add_to(self, graph: Any) -> None:
        """Add the tensors and the operation to a graph."""
        lying = {number: (shape, strides) for number, shape, strides in self.tensors}
        rows = (*lying[OUT][0][:3], 1)
        row_strides = (rows[1] * rows[2], rows[2], 1, 1)

        def read(number: int) -> Any:
            return library.operand(graph, number, *lying[number], self.kind)

        settings: dict[str, Any] = {"attn_scale": self.scale, "name": "attention"}
        if self.is_causal:
            settings["diagonal_alignment"] = library.frontend().diagonal_alignment.TOP_LEFT
            settings["diagonal_band_right_bound"] = 0
        if self.way == "backward":
            gradients = graph.sdpa_backward(
                q=read(QUERY), k=read(KEY), v=read(VALUE), o=read(OUT), dO=read(COTANGENT),
                stats=library.operand(graph, STATISTICS, rows, row_strides, "f"),
                use_deterministic_algorithm=self.deterministic, **settings,
            )  # fmt: skip
            for number, tensor in zip((QUERY, KEY, VALUE), gradients, strict=True):
                library.result(tensor, number + GRADIENT, *lying[number + GRADIENT], self.kind)
            return
        trains = self.way == "training"
        out, statistics = graph.sdpa(q=read(QUERY), k=read(KEY), v=read(VALUE), generate_stats=trains, **settings)
        library.result(out, OUT, *lying[OUT], self.kind)
        if trains:
            library.result(statistics, STATISTICS, rows, row_strides, "f")


def _serves(query: Array, key: Array, value: Array) -> bool:
    """Whether cuDNN may be asked; what else it cannot do it says itself."""
    return (
        query.dtype.char in "eE"
        and query.ndim <= 4
        and query.shape[-1] % _MULTIPLE == value.shape[-1] % _MULTIPLE == 0
        and max(query.size, key.size, value.size) <= library.LARGEST
        and backends.cuda.cudnn_sdp_enabled()
        and library.is_on()
    )


def _four(array: Array) -> Array:
    """(..., length, size) as (N, heads, length, size), in a way that cuDNN reads: a copy where it lies otherwise."""
    if array.ndim == 2:
        array = array[None, None]
    elif array.ndim == 3:
        array = array[:, None]
    *steps, last = element_strides(array)
    fits = last == 1 and all(step > 0 and step % _MULTIPLE == 0 for step in steps)
    return array if fits and array.data.ptr % library.ALIGNMENT == 0 else array.copy()


def _like(array: Array, size: int) -> Array:
    """A new (N, heads, length, ``size``) with the heads beside each other in a row where they are so in ``array``."""
    batch, heads, length, _ = array.shape
    _, between_heads, between_rows, _ = element_strides(array)
    if heads > 1 and between_heads < between_rows:
        return cupy.empty((batch, length, heads, size), array.dtype).transpose(0, 2, 1, 3)
    return cupy.empty((batch, heads, length, size), array.dtype)


def _run(
    way: str, arrays: dict[int, Array], statistics: Array | None, scale: float, is_causal: bool, chosen: Any
) -> bool:
    tensors = tuple([(number, array.shape, element_strides(array)) for number, array in arrays.items()])
    deterministic = chosen.deterministic and way == "backward"
    problem = Attention(way, arrays[QUERY].dtype.char, tensors, scale, is_causal, deterministic)
    places = {number: array.data.ptr for number, array in arrays.items()}
    if statistics is not None:
        places[STATISTICS] = statistics.data.ptr
    return library.run(problem, chosen._replace(deterministic=False), places)


def attention(query: Array, key: Array, value: Array, is_causal: bool, scale: float) -> Array | None:
    """``softmax(scale * query @ key.T) @ value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    if not _serves(query, key, value):
        return None
    arrays = {QUERY: _four(query), KEY: _four(key), VALUE: _four(value)}
    arrays[OUT] = _like(arrays[QUERY], value.shape[-1])
    if not _run("forward", arrays, None, scale, is_causal, library.settings(query.dtype.char, trying=False)):
        return None
    return arrays[OUT].reshape((*query.shape[:-1], value.shape[-1]))


def attention_backward(
    g: Array, query: Array, key: Array, value: Array, is_causal: bool, scale: float
) -> tuple[Array, Array, Array] | None:
    """The cotangents of query, key and value.

    The forward pass is done again: the op keeps neither its result nor the sums of its rows.
    """
    if not _serves(query, key, value):
        return None
    chosen = library.settings(query.dtype.char, trying=False)
    arrays = {QUERY: _four(query), KEY: _four(key), VALUE: _four(value)}
    arrays[OUT] = _like(arrays[QUERY], value.shape[-1])
    statistics = cupy.empty((*arrays[OUT].shape[:3], 1), numpy.float32)
    if not _run("training", arrays, statistics, scale, is_causal, chosen):
        return None
    arrays[COTANGENT] = _four(g)
    for number in (QUERY, KEY, VALUE):
        arrays[number + GRADIENT] = _like(arrays[number], arrays[number].shape[-1])
    if not _run("backward", arrays, statistics, scale, is_causal, chosen):
        return None
    gq, gk, gv = [arrays[number + GRADIENT] for number in (QUERY, KEY, VALUE)]
    return gq.reshape(query.shape), gk.reshape(key.shape), gv.reshape(value.shape)
