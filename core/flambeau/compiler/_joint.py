"""The backward pass of what a compiled function returns, recorded ahead of time.

When a result has a place on the tape, the pass from there to the tensors from outside is run once on cotangents of
ones, under the recorder. A replay hangs its results on one node, whose formula is those kernel calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.engine import _Pass
from flambeau.autograd.function import FunctionNode, _FunctionOp, _FunctionPlan
from flambeau.autograd.grad_mode import switch
from flambeau.autograd.node import Node, Slot, extra_of, next_seq
from flambeau.compiler._graph import Value
from flambeau.compiler._recorder import Held, Recorder
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor, wrap


def owner(node: Any) -> Any:
    """The node that a place on the tape belongs to."""
    return node.node if type(node) is Slot else node


def has_hooks(node: Any) -> bool:
    """Whether somebody wants to see, or to change, what a backward pass brings here."""
    extra = node.extra
    return extra is not None and any(
        (extra.hooks, extra.pre_hooks, extra.post_hooks, extra.retained is not None, extra.slots)
    )


def inner_nodes(tensor: Tensor, outside: set[Any]) -> list[Node]:
    """The nodes between a result and what is outside of the recording."""
    found: set[Node] = set()
    pending = [tensor._node]
    while pending:
        item = pending.pop()
        node = owner(item)
        if item in outside or node in found or not isinstance(node, Node):
            continue
        found.add(node)
        pending += [parent for parent in node.parents if parent is not None]
    return sorted(found, key=lambda node: node.seq)


class Backward:
    """A recorded backward pass.

    Attributes:
        roots: the results that it begins at.
        targets: the tensors from outside that it leads to.
        gradients: for each target the value of its gradient.
        start: how many calls were recorded before.
    """

    def __init__(self, roots: list[Tensor], targets: list[Held], gradients: list[Value | None], start: int) -> None:
        self.roots = roots
        self.targets = targets
        self.gradients = gradients
        self.start = start


def record_backward(recorder: Recorder, results: Any, held: list[Held]) -> Backward | None:
    """Record the pass from the results with a place on the tape to the tensors in ``held``."""
    roots: list[Tensor] = results.roots
    places = {one.node: one for one in held if one.node is not None}
    nodes: list[Node] = []
    for root in roots:
        nodes += inner_nodes(root, set(places))
    nodes = sorted(set(nodes), key=lambda node: node.seq)
    useful: set[Any] = set()
    for node in nodes:
        if has_hooks(node):
            recorder.stop_for("a hook is registered on, or the gradient retained of, an intermediate result")
            return None
        if any(parent in places or owner(parent) in useful for parent in node.parents if parent is not None):
            useful.add(node)
    useful.update([p for node in useful for p in node.parents if type(p) is Slot and p.node in useful])
    start = len(recorder.calls)
    put_aside: list[tuple[Any, Any]] = []
    for place in places:
        if type(place) is Slot:
            extra_of(place)  # one of several outputs is read off when its node is reached
        elif place.extra is not None:
            put_aside.append((place, place.extra))
            place.extra = None
    cotangents = []
    for i, root in enumerate(roots):
        where: Any = root._device
        recorder.depth += 1
        array = where.backend.as_array(where.xp.full(root._array.shape, 1.0, root._dtype, where))
        recorder.depth -= 1
        results.cotangents.append(recorder.register(array, where.backend, ("cotangent", i)))
        cotangents.append(wrap(array, root._dtype, where))
    before = switch(False)
    try:
        one_pass = _Pass(True, False, None, roots, False)
        one_pass.targets = {place: one.tensor for place, one in places.items()}
        one_pass.useful = useful
        found = one_pass.run(roots, cotangents)
    finally:
        switch(before)
        for place, extra in put_aside:
            place.extra = extra
    targets = [one for place, one in places.items() if place in found]
    gradients = [recorder.value_of(found[one.node]) for one in targets]
    return None if recorder.reason is not None else Backward(roots, targets, gradients, start)


class GraphNode(FunctionNode):
    """The node of a replay, on which its results hang."""

    __slots__ = ()

    def name(self) -> str:
        return "CompiledFunctionBackward"


def node_maker(
    backward: Callable[..., Any], results: list[tuple[Any, ...]], count: int
) -> Callable[[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...] | None], GraphNode]:
    """A function that makes the node of a replay from its parents, what it saved and the versions to be checked.

    Args:
        backward: the recorded pass, from cotangents and what was saved to gradients.
        results: shape, dtype and device of each result with a gradient.
        count: the number of parents.
    """

    def joint(xp: Any, g: list[Any], needs: tuple[bool, ...], saved: tuple[Any, ...]) -> Any:
        if xp is TENSORS:
            raise RuntimeError(
                "compile: a compiled function cannot be differentiated twice (create_graph=True); call the function "
                "that was compiled, or leave it out with flambeau.compiler.disable"
            )
        cotangents = [
            where.xp.full(shape, 0.0, kind, where) if given is None else given
            for given, (shape, kind, where) in zip(g, results, strict=True)
        ]
        return backward(*cotangents, *saved)

    plan = _FunctionPlan(_FunctionOp("compiled"), (True,) * count, joint)
    where = results[0][2]

    def make(parents: tuple[Any, ...], saved: tuple[Any, ...], checks: tuple[Any, ...] | None) -> GraphNode:
        node = GraphNode()
        node.plan = plan
        node.parents = parents
        node.saved = (saved,)
        node.checks = checks
        node.shapes = None
        node.extra = None
        node.device = where
        node.outputs = len(results)
        node.seq = next_seq()
        return node

    return make


def is_released(tensor: Tensor, outside: set[Any]) -> bool:
    """Whether a backward pass has gone through the history of a result already."""
    return any(node.saved is None for node in inner_nodes(tensor, outside))


def released_node(plan: Any, where: Any) -> Node:
    """A node through which a backward pass has gone already."""
    node = Node()
    node.plan = plan
    node.parents = ()
    node.saved = node.checks = node.shapes = node.extra = None
    node.device = where
    node.seq = next_seq()
    node.outputs = 1
    return node
