"""What nodes have saved: asked for in a backward pass, and what is wrong when it is not as it was."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.node import ATTRIBUTE, INPUT, OUTPUT, Node, Slot
from flambeau.dtypes import FLOATING
from flambeau.tensor import Tensor, wrap


def restored(node: Node) -> Any:
    if node.saved is None:
        raise RuntimeError(
            f"{node.name()}: Trying to backward through the graph a second time (or directly access saved tensors "
            "after "
            "they have already been freed). Saved intermediate values of the graph are freed when you call .backward() "
            "or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time."
        )
    while type(node.saved) is not tuple:  # of a checkpoint, perhaps inside another
        node.saved.recompute()  # type: ignore[attr-defined]
    return node.saved


def modified(node: Node, cell: list[int], expected: int) -> RuntimeError:
    error = RuntimeError(
        f"one of the variables needed for gradient computation has been modified by an inplace operation: it was saved "
        f"by {node.plan.op.name} ({node.name()}) at version {expected} and is at version {cell[0]} now. Work on a "
        "clone(), or find the place with autograd.set_detect_anomaly(True)."
    )
    tell_forward(node, error)
    return error


def tell_forward(node: Node, error: Exception) -> None:
    if node.extra is not None and node.extra.traceback is not None:
        error.add_note(
            f"The forward call that recorded {node.name()} (most recent call last):\n{''.join(node.extra.traceback)}"
        )


def as_tensors(node: Node, saved: tuple[Any, ...]) -> list[Any]:
    """What was saved, as tensors with their places on the tape, for formulas that are recorded."""
    plan = node.plan
    where = node.device
    dtype_of = where.backend.dtype_of  # type: ignore[union-attr]

    def tensor(array: Any, origin: Any) -> Tensor:
        made = wrap(array, dtype_of(array), where)
        made._node = origin
        return made

    result: list[Any] = []
    place = 0
    for position, (kind, value) in enumerate(zip(plan.kinds, saved, strict=True)):
        own = place
        if kind == INPUT:
            sequence = plan.op.parameters[position].is_sequence
            length = len(node.parents) - len(plan.op.tensor_positions) + 1 if sequence else 1
            place += length
        if value is None or kind == ATTRIBUTE or isinstance(value, (bool, int, float, complex)):
            result.append(value)
        elif kind == INPUT:
            result.append(
                [None if array is None else tensor(array, node.parents[own + i]) for i, array in enumerate(value)]
                if isinstance(value, list)
                else tensor(value, node.parents[own])
            )
        elif kind >= OUTPUT:
            result.append(tensor(value, Slot(node, kind - OUTPUT) if dtype_of(value).category >= FLOATING else None))
        elif isinstance(value, tuple):
            result.append(
                tuple(
                    [
                        None if a is None else tensor(a, Slot(node, i) if dtype_of(a).category >= FLOATING else None)
                        for i, a in enumerate(value)
                    ]
                )
            )
        else:
            result.append(tensor(value, node))
    return result
