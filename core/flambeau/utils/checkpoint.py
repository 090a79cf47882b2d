"""Trading time for memory: run a part of the model again in the backward pass (``torch.utils.checkpoint``)."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from flambeau import random
from flambeau.amp.autocast_mode import Modes
from flambeau.autograd.grad_mode import enable_grad, state
from flambeau.autograd.node import Node, Slot, next_seq, version_cell
from flambeau.tensor import Tensor

__all__ = [
    "CheckpointError", "checkpoint", "checkpoint_sequential", "noop_context_fn", "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]  # fmt: skip

ContextFunction = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]

_debug: contextvars.ContextVar[bool | None] = contextvars.ContextVar("checkpoint_debug", default=None)


class CheckpointError(RuntimeError):
    """A checkpointed function did something else when it was run again (``torch.utils.checkpoint.CheckpointError``)."""


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """The default ``context_fn``: two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class _Recompute:
    """Stands in for what the nodes of a checkpointed part saved; the first that is needed brings all of it back."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        preserve_rng_state: bool,
        context: AbstractContextManager[Any],
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.context = context
        self.modes = Modes()
        self.rng = random.get_rng_state() if preserve_rng_state else None
        inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        self.versions = [(tensor, version_cell(tensor)[0]) for tensor in inputs]
        self.nodes: list[Node] = []
        self.shapes: list[Any] | None = None
        self.debug = False

    def hold(self, nodes: list[Node], check_shapes: bool, debug: bool) -> None:
        """Take the place of what these nodes saved."""
        self.nodes = nodes
        self.debug = debug
        if check_shapes:
            self.shapes = [_shapes(node) for node in nodes]
        for node in nodes:
            node.saved = self  # type: ignore[assignment]
            node.checks = None

    def recompute(self) -> None:
        """Run the function again and give each node what its twin has saved.

        Raises:
            CheckpointError: when the function records other operations, or tensors of other shapes.
            RuntimeError: when an argument has been changed in place.
        """
        self._check_versions()
        before = random.get_rng_state() if self.rng is not None else None
        start = next_seq()
        try:
            if self.rng is not None:
                random.set_rng_state(self.rng)
            with enable_grad(), self.modes, self.context:
                again = _recorded_since(start, self.function(*self.args, **self.kwargs))
        finally:
            if before is not None:
                random.set_rng_state(before)
        self._compare(again)
        for i, (node, twin) in enumerate(zip(self.nodes, again, strict=True)):
            if node.saved is not self:  # type: ignore[comparison-overlap]
                continue
            node.saved, node.checks = twin.saved, twin.checks
            if isinstance(node.saved, _Recompute):  # a checkpoint inside this one: its turn comes later
                node.saved.nodes[node.saved.nodes.index(twin)] = self.nodes[i]

    def _check_versions(self) -> None:
        for tensor, version in self.versions:
            if version_cell(tensor)[0] != version:
                raise RuntimeError(
                    "checkpoint: one of the variables needed for gradient computation has been modified by an inplace "
                    f"operation: an argument of {_name(self.function)} of the shape {list(tensor.shape)} was given at "
                    f"version {version} and is at version {version_cell(tensor)[0]} now"
                )

    def _compare(self, again: list[Node]) -> None:
        names, expected = [node.name() for node in again], [node.name() for node in self.nodes]
        if names != expected:
            lists = f"\nThe first time: {', '.join(expected)}\nThe second time: {', '.join(names)}"
            raise CheckpointError(
                f"checkpoint: {_name(self.function)} recorded other operations when it was run again: {len(expected)} "
                f"the first time, {len(names)} the second; it has to do the same each time. "
                + (lists if self.debug else "Pass debug=True to see which.")
            )
        for node, twin, shapes in zip(self.nodes, again, self.shapes or (), strict=False):
            if _shapes(twin) != shapes:
                raise CheckpointError(
                    f"checkpoint: Recomputed values have different metadata than during the forward pass: what "
                    f"{node.name()} saved had the shapes and types {shapes}, and has {_shapes(twin)} now"
                )


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__name__)


def _shapes(node: Node) -> Any:
    """Shape and dtype of each array that a node saved."""
    saved = node.saved if isinstance(node.saved, tuple) else ()
    return [(tuple(a.shape), str(a.dtype)) for a in saved if hasattr(a, "shape") and hasattr(a, "dtype")]


def _recorded_since(start: int, outputs: Any) -> list[Node]:
    """The nodes behind ``outputs`` that were recorded after ``start``, oldest first."""
    pending: list[Any] = []
    _collect(outputs, pending)
    found: set[Node] = set()
    while pending:
        item = pending.pop()
        node = item.node if type(item) is Slot else item
        if isinstance(node, Node) and node.seq > start and node not in found:
            found.add(node)
            pending += node.parents
    return sorted(found, key=lambda node: node.seq)


def _collect(outputs: Any, into: list[Any]) -> None:
    if isinstance(outputs, Tensor):
        into.append(outputs._node)
    elif isinstance(outputs, (tuple, list)):
        for output in outputs:
            _collect(output, into)
    elif isinstance(outputs, dict):
        _collect(list(outputs.values()), into)


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: ContextFunction = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Run ``function(*args, **kwargs)`` without keeping what its backward pass needs; it is run again there
    (``torch.utils.checkpoint.checkpoint``).

    The second run has the random numbers and the ``autocast`` of the first. There is one implementation, which does
    all that PyTorch's two do: keyword arguments, ``autograd.grad``, higher derivatives, checkpoints in checkpoints.

    Args:
        function: does the same each time it is called with the same arguments.
        use_reentrant: accepted.
        context_fn: gives two context managers, for the first run and for the second.
        determinism_check: ``"default"`` compares the shapes and dtypes of what both runs save, ``"none"`` the
            operations only.
        debug: name the operations of both runs in the error when they differ.
        early_stop: accepted; the second run goes to its end.
        preserve_rng_state: use the same random numbers in the second run.

    Raises:
        ValueError: for an unknown ``determinism_check``.
        CheckpointError: in the backward pass, when the second run is different.
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"checkpoint: determinism_check should be one of ['default', 'none'], but got {determinism_check!r}"
        )
    first, second = context_fn()
    if not state.enabled:
        with first:
            return function(*args, **kwargs)
    stand_in = _Recompute(function, args, kwargs, preserve_rng_state, second)
    start = next_seq()
    with stand_in.modes, first:
        outputs = function(*args, **kwargs)
    chosen = _debug.get()
    stand_in.hold(_recorded_since(start, outputs), determinism_check == "default", debug if chosen is None else chosen)
    return outputs


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **options: Any
) -> Any:
    """Run a chain of modules in ``segments`` checkpointed parts, the last one plainly
    (``torch.utils.checkpoint.checkpoint_sequential``).

    Args:
        functions: an :class:`nn.Sequential` or a list of functions.
        segments: how many parts, at most as many as functions.
        input: what the first function is given.
        use_reentrant, options: as for :func:`checkpoint`.

    Raises:
        ValueError: when ``segments`` is out of range.
    """
    chain: Sequence[Any] = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(chain):
        raise ValueError(f"checkpoint_sequential: segments must be between 1 and {len(chain)}, got {segments}")

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(value: Any) -> Any:
            for j in range(start, end):
                value = chain[j](value)
            return value

        return forward

    size = len(chain) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, **options)
    return run(end, len(chain))(input)


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted inside a ``with`` block for PyTorch's sake: the second run of a function always goes to its end."""
    yield


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Set ``debug`` of all checkpoints inside a ``with`` block; None leaves it to each."""
    token = _debug.set(enabled)
    try:
        yield
    finally:
        _debug.reset(token)
