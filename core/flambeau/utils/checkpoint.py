"""Trading time for memory: run a part of the model again in the backward pass (``torch.utils.checkpoint``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import random
from flambeau.autograd.grad_mode import enable_grad, state
from flambeau.autograd.node import Node, Slot, next_seq
from flambeau.tensor import Tensor


class _Recompute:
    """Stands in for what the nodes of a checkpointed part saved; the first that is needed brings all of it back."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, rng: Tensor | None) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.rng = rng
        self.nodes: list[Node] = []

    def recompute(self) -> None:
        """Run the function again and give each node what its twin has saved."""
        before = random.get_rng_state() if self.rng is not None else None
        start = next_seq()
        try:
            if self.rng is not None:
                random.set_rng_state(self.rng)
            with enable_grad():
                again = _recorded_since(start, self.function(*self.args, **self.kwargs))
        finally:
            if before is not None:
                random.set_rng_state(before)
        names, expected = [node.name() for node in again], [node.name() for node in self.nodes]
        if names != expected:
            raise RuntimeError(
                f"checkpoint: the function recorded other operations when it was run again: {len(expected)} the first "
                f"time, {len(names)} the second; it has to do the same each time"
            )
        for node, twin in zip(self.nodes, again, strict=True):
            if node.saved is self:  # type: ignore[comparison-overlap]
                node.saved, node.checks = twin.saved, twin.checks


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
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """Run ``function(*args)`` without keeping what its backward pass needs; it is run again there.

    Args:
        function: does the same each time it is called with the same arguments.
        use_reentrant: accepted for PyTorch's sake; there is one implementation, which works with
            ``autograd.grad`` and higher derivatives too.
        preserve_rng_state: use the same random numbers in the second run.
    """
    if not state.enabled:
        return function(*args, **kwargs)
    rng = random.get_rng_state() if preserve_rng_state else None
    start = next_seq()
    outputs = function(*args, **kwargs)
    stand_in = _Recompute(function, args, kwargs, rng)
    stand_in.nodes = _recorded_since(start, outputs)
    for node in stand_in.nodes:
        node.saved = stand_in  # type: ignore[assignment]
        node.checks = None
    return outputs


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **options: Any
) -> Any:
    """Run a chain of modules in ``segments`` checkpointed parts (the last one is run plainly)."""
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
