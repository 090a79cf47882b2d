"""``vmap``: a function of single examples made one of batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.func.nested import leaves_of, rebuilt
from flambeau.ops.call import TENSORS
from flambeau.ops.spec import wrap_dim
from flambeau.tensor import Tensor

_told = False


def _tell_once() -> None:
    global _told
    if not _told:
        _told = True
        warnings.warn(
            "vmap calls the function once for each example of the batch and stacks the results; a function written "
            "for batches is faster",
            UserWarning,
            stacklevel=4,
        )


def _per_leaf(name: str, dims: Any, nested: Any) -> list[int | None]:
    """``dims``, which may stand for whole containers, as one entry a leaf of ``nested``."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(leaves_of(nested))
    if isinstance(nested, dict) and isinstance(dims, dict) and set(nested) == set(dims):
        return [d for key, value in nested.items() for d in _per_leaf(name, dims[key], value)]
    if isinstance(nested, (tuple, list)) and isinstance(dims, (tuple, list)) and len(dims) == len(nested):
        return [d for dim, item in zip(dims, nested, strict=True) for d in _per_leaf(name, dim, item)]
    raise ValueError(f"vmap: {name}={dims!r} does not fit the structure of what it is for: {type(nested).__name__}")


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that applies ``func`` to each example of a batch (``torch.func.vmap``).

    It runs ``func`` once an example, which it says once, and stacks what comes out; all of it can be differentiated.

    Args:
        in_dims: which dim of each positional argument is the batch, None for what all examples share; nested as the
            arguments. Keyword arguments are batched along dim 0.
        out_dims: where the batch is in the results.
        randomness: ``"different"`` or ``"same"`` random numbers for the examples; ``"error"`` is as ``"different"``.
        chunk_size: taken for compatibility; the examples are computed one by one.

    Raises:
        ValueError: when no argument is batched, or the sizes of the batch differ.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"vmap: Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    def call(*args: Any, **kwargs: Any) -> Any:
        given = (args, kwargs)
        dims = _per_leaf("in_dims", tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
        dims += _per_leaf("in_dims", 0, kwargs)
        leaves = leaves_of(given)
        dims = [
            wrap_dim("vmap", d, leaf.ndim) if isinstance(leaf, Tensor) and d is not None else None
            for d, leaf in zip(dims, leaves, strict=True)
        ]
        sizes = {leaf.shape[d] for d, leaf in zip(dims, leaves, strict=True) if d is not None}
        if len(sizes) != 1:
            raise ValueError(
                "vmap: at least one argument has to be a batched tensor"
                if not sizes
                else f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                f"{sorted(sizes)}"
            )
        size = sizes.pop()
        if not size:
            raise ValueError("vmap: the batch is empty, so the shapes of the results are not known")
        _tell_once()
        results = []
        for i in range(size):
            if randomness == "same":
                _rewind(i)
            picked = [leaf if d is None else leaf.select(d, i) for d, leaf in zip(dims, leaves, strict=True)]
            example_args, example_kwargs = rebuilt(given, picked)
            results.append(func(*example_args, **example_kwargs))
        columns = list(zip(*[leaves_of(result) for result in results], strict=True))
        places = _per_leaf("out_dims", out_dims, results[0])
        stacked = [_stacked(column, place) for column, place in zip(columns, places, strict=True)]
        return rebuilt(results[0], stacked)

    start: list[Any] = []

    def _rewind(i: int) -> None:
        from flambeau.random import get_rng_state, set_rng_state

        if i == 0:
            start[:] = [get_rng_state()]
        set_rng_state(start[0])

    return call


def _stacked(column: tuple[Any, ...], place: int | None) -> Any:
    if not all(isinstance(item, Tensor) for item in column):
        raise ValueError(
            f"vmap: the function must only return Tensors, got type {type(column[0]).__name__} as a return"
        )
    return column[0] if place is None else TENSORS.stack(list(column), place)
