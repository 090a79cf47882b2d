"""``vmap``: a function of single examples made one of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.devices import levels
from flambeau.func.nested import leaves_of, rebuilt
from flambeau.levels import Level, differs, enter, leave, share
from flambeau.ops.call import TENSORS
from flambeau.ops.spec import wrap_dim
from flambeau.tensor import Tensor, wrap


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """Return a function that applies ``func`` to each example of a batch, all at once (``torch.vmap``).

    ``func`` is called once, with tensors that have the shape of one example and stand for all of them. Each op computes
    the whole batch in one call; the few that cannot say so once, in a warning, and go through the examples. Everything
    can be differentiated, inside and outside, and calls can be nested.

    What cannot be one computation for all examples raises: values as Python numbers (``.item()``, ``if x > 0``), shapes
    that depend on values (``nonzero``, masks as indices), and writing in place into a tensor that all examples share.

    Args:
        func: takes tensors (in tuples, lists and dicts) and returns tensors (likewise).
        in_dims: which dim of each positional argument is the batch, None for what all examples share; nested as the
            arguments, or one for all. Keyword arguments are shared.
        out_dims: where the batch is to be in each result; None for a result that is the same for all examples.
        randomness: random numbers are ``"different"`` or the ``"same"`` for the examples, or an ``"error"``.
        chunk_size: compute so many examples at a time, which takes less memory.

    Raises:
        ValueError: when no argument is mapped, sizes of the batch differ, or dims do not fit the arguments or results.
        RuntimeError: for what cannot be computed for all examples at once.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"vmap: Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    def call(*args: Any, **kwargs: Any) -> Any:
        leaves = leaves_of(args)
        dims, size = _batch(in_dims, args, leaves)
        if chunk_size is None or chunk_size >= size:
            return _unwrapped(*_mapped(func, args, leaves, dims, size, randomness, kwargs), out_dims)
        start = _rng_state() if randomness == "same" else None
        chunks = []
        for first in range(0, size, chunk_size):
            if start is not None:
                _rng_state(start)
            count = min(chunk_size, size - first)
            part = [x if d is None else x.narrow(d, first, count) for x, d in zip(leaves, dims, strict=True)]
            chunks.append(_unwrapped(*_mapped(func, args, part, dims, count, randomness, kwargs), out_dims))
        return _joined(chunks, out_dims)

    return call


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """Return the tensor that holds the whole batch of a tensor inside of :func:`vmap`, off the tape, for debugging.

    Args:
        recurse: of all enclosing calls, not of the innermost only.
    """
    while tensor._device.depth:
        tensor = wrap(tensor._array.value, tensor._dtype, tensor._device.below)  # type: ignore[attr-defined]
        if not recurse:
            break
    return tensor


# -- dims ------------------------------------------------------------------------------------------------------------


def _per_leaf(name: str, dims: Any, nested: Any) -> list[int | None]:
    """``dims``, which may stand for whole containers, as one entry a leaf of ``nested``."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(leaves_of(nested))
    if isinstance(nested, dict) and isinstance(dims, dict) and set(nested) == set(dims):
        return [d for key, value in nested.items() for d in _per_leaf(name, dims[key], value)]
    if isinstance(nested, (tuple, list)) and isinstance(dims, (tuple, list)) and len(dims) == len(nested):
        return [d for dim, item in zip(dims, nested, strict=True) for d in _per_leaf(name, dim, item)]
    if isinstance(dims, (tuple, list)) and len(dims) == 1 and not isinstance(nested, (tuple, list, dict)):
        return _per_leaf(name, dims[0], nested)
    raise ValueError(
        f"vmap: {name}={dims!r} is not compatible with the structure of what it is for, a {type(nested).__name__}"
        + (f" of {len(nested)}" if isinstance(nested, (tuple, list, dict)) else "")
    )


def _batch(in_dims: Any, args: tuple[Any, ...], leaves: list[Any]) -> tuple[list[int | None], int]:
    """The dim of each leaf, not negative, and the size of the batch."""
    if not args:
        raise ValueError(
            "vmap: got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function with no "
            "inputs. The latter is unsupported."
        )
    dims: list[int | None] = []
    sizes: dict[int, None] = {}
    for leaf, d in zip(leaves, _per_leaf("in_dims", tuple(in_dims) if isinstance(in_dims, list) else in_dims, args),
                       strict=True):  # fmt: skip
        if d is None:
            dims.append(None)
            continue
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"vmap: got in_dim={d} for an input of the type {type(leaf).__name__}. Only tensors can be mapped "
                "over; use None as its in_dim"
            )
        if not -leaf.ndim <= d < leaf.ndim:
            raise ValueError(
                f"vmap: got in_dim={d} for an input of dimensionality {leaf.ndim}, so expected in_dim to satisfy "
                f"-{leaf.ndim} <= in_dim < {leaf.ndim}"
            )
        dims.append(d % leaf.ndim)
        sizes[leaf.shape[d]] = None
    if not sizes:
        raise ValueError("vmap: at least one argument has to be a tensor to map over; all in_dims are None")
    if len(sizes) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {list(sizes)} for "
            "the mapped dimension"
        )
    return dims, next(iter(sizes))


# -- in and out ------------------------------------------------------------------------------------------------------


def _mapped(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    leaves: list[Any],
    dims: list[int | None],
    size: int,
    randomness: str,
    kwargs: dict[str, Any],
) -> tuple[Any, Level]:
    """What ``func`` returns, on a level of its own."""
    stack = levels.stack
    below = stack[-1] if stack else next(x._device for x, d in zip(leaves, dims, strict=True) if d is not None)
    level = Level(below, size, randomness)
    inside = [leaf if d is None else enter(share(leaf, below), d, level) for leaf, d in zip(leaves, dims, strict=True)]
    levels.stack = (*stack, level)
    try:
        return func(*rebuilt(args, inside), **kwargs), level
    finally:
        levels.stack = stack


def _unwrapped(results: Any, level: Level, out_dims: Any) -> Any:
    leaves = leaves_of(results)
    outside = []
    for leaf, place in zip(leaves, _per_leaf("out_dims", out_dims, results), strict=True):
        if not isinstance(leaf, Tensor):
            raise ValueError(f"vmap: the function must only return Tensors, got type {type(leaf).__name__} as a return")
        own = share(leaf, level)
        if place is not None:
            outside.append(leave(own, wrap_dim("vmap: out_dims", place, own.ndim + 1), level))
        elif differs(own, level):
            raise ValueError("vmap: a result differs from example to example, so its out_dim cannot be None")
        else:
            outside.append(leave(own, 0, level).select(0, 0) if level.size else leaf)
    return rebuilt(results, outside)


def _joined(chunks: list[Any], out_dims: Any) -> Any:
    """The results of the chunks, joined along the batch."""
    columns = zip(*[leaves_of(chunk) for chunk in chunks], strict=True)
    places = _per_leaf("out_dims", out_dims, chunks[0])
    joined = [c[0] if place is None else TENSORS.cat(list(c), place) for c, place in zip(columns, places, strict=True)]
    return rebuilt(chunks[0], joined)


def _rng_state(new: Any = None) -> Any:
    """The state of the default generator, or put into a former one."""
    from flambeau.random import get_rng_state, set_rng_state

    return get_rng_state() if new is None else set_rng_state(new)
