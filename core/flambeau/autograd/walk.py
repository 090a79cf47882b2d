"""Looking over the tape before a backward pass, where something has to be known of it in advance."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.node import Leaf, Node, Slot, extra_of
from flambeau.tensor import Tensor


def oldest_uses(roots: list[Tensor]) -> dict[Leaf, tuple[int, int]]:
    """For each leaf with hooks below ``roots`` the number of the oldest node that it is a parent of, and its place
    there."""
    oldest: dict[Leaf, tuple[int, int]] = {}
    seen: set[Any] = set()
    pending: list[Any] = [root._node for root in roots]
    while pending:
        item = pending.pop()
        node = item.node if type(item) is Slot else item
        if node in seen or not isinstance(node, Node):
            continue
        seen.add(node)
        for place, parent in enumerate(node.parents):
            if type(parent) is not Leaf:
                pending.append(parent)
            elif parent.extra is not None:
                use = node.seq, place
                oldest[parent] = min(oldest.get(parent, use), use)
    return oldest


def leading_to(targets: dict[Any, Tensor], roots: list[Tensor]) -> set[Any]:
    """The nodes (and slots standing for them) from which a target can be reached going back."""
    found: set[Any] = set()
    pending = [root._node for root in roots]
    while pending:
        item = pending.pop()
        node = item.node if type(item) is Slot else item
        if isinstance(node, Node) and node not in found:
            found.add(node)
            pending += [parent for parent in node.parents if parent is not None]
    useful: set[Any] = set()
    # A node's parents are older, so one sweep from the oldest decides.
    for node in sorted(found, key=lambda node: node.seq):
        for parent in node.parents:
            owner = parent.node if type(parent) is Slot else parent
            if parent is not None and (parent in targets or owner in targets or owner in useful):
                useful.add(node)
                break
    slots = [
        parent
        for node in useful
        for parent in node.parents
        if type(parent) is Slot
        and (parent.node in useful or any(getattr(t, "node", None) is parent.node for t in targets))
    ]
    useful.update(slots)
    for target in targets:
        if type(target) is Slot:
            # A target that is one of several outputs is read off when its node is reached.
            extra_of(target)
    return useful
