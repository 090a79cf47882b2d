"""Nested containers as trees of their leaves (``torch.utils._pytree``).

Tuples, named tuples, lists, dicts, ordered and default dicts and deques are taken apart; everything else is a leaf,
None too. :func:`register_pytree_node` adds containers.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = [
    "LeafSpec", "TreeSpec", "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_iter", "tree_leaves",
    "tree_map", "tree_map_", "tree_map_only", "tree_structure", "tree_unflatten",
]  # fmt: skip

IsLeaf = Callable[[Any], bool] | None


class _Node(NamedTuple):
    """How a kind of container is taken apart and put together."""

    flatten: Callable[[Any], tuple[list[Any], Any]]
    unflatten: Callable[[list[Any], Any], Any]


_NODES: dict[Any, _Node] = {
    tuple: _Node(lambda x: (list(x), None), lambda items, _: tuple(items)),
    list: _Node(lambda x: (list(x), None), lambda items, _: list(items)),
    dict: _Node(lambda x: (list(x.values()), list(x)), lambda items, keys: dict(zip(keys, items, strict=True))),
    OrderedDict: _Node(
        lambda x: (list(x.values()), list(x)), lambda items, keys: OrderedDict(zip(keys, items, strict=True))
    ),
    defaultdict: _Node(
        lambda x: (list(x.values()), (x.default_factory, list(x))),
        lambda items, context: defaultdict(context[0], zip(context[1], items, strict=True)),
    ),
    deque: _Node(lambda x: (list(x), x.maxlen), lambda items, maxlen: deque(items, maxlen)),
}
_NAMED_TUPLE = _Node(lambda x: (list(x), type(x)), lambda items, kind: kind(*items))


class TreeSpec(NamedTuple):
    """The structure of a tree: what is left of it without its leaves.

    Attributes:
        type: the kind of container, None for a leaf.
        context: what the container is put together from beside its items.
        children: the structures of its items.
    """

    type: Any
    context: Any
    children: tuple[TreeSpec, ...]

    @property
    def num_leaves(self) -> int:
        """How many leaves there are."""
        return 1 if self.type is None else sum(child.num_leaves for child in self.children)

    @property
    def num_children(self) -> int:
        """How many items the container has."""
        return len(self.children)

    def is_leaf(self) -> bool:
        """Whether this is a leaf."""
        return self.type is None


def LeafSpec() -> TreeSpec:
    """The structure of a leaf."""
    return TreeSpec(None, None, ())


def register_pytree_node(
    cls: type,
    flatten_fn: Callable[[Any], tuple[list[Any], Any]],
    unflatten_fn: Callable[[list[Any], Any], Any],
    **options: Any,
) -> None:
    """Have objects of a class taken apart.

    Args:
        cls: the class, exactly.
        flatten_fn: from an object to the list of its items and what else it is made of.
        unflatten_fn: from those two to an object.

    Raises:
        ValueError: when the class is known already.
    """
    if cls in _NODES:
        raise ValueError(f"{cls} is already registered as pytree node")
    _NODES[cls] = _Node(flatten_fn, unflatten_fn)


def _node_of(tree: Any) -> tuple[Any, _Node | None]:
    kind = type(tree)
    found = _NODES.get(kind)
    if found is None and isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind, _NAMED_TUPLE
    return kind, found


def tree_flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree in order, and its structure."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list[Any], is_leaf: IsLeaf) -> TreeSpec:
    kind, node = _node_of(tree)
    if node is None or (is_leaf is not None and is_leaf(tree)):
        leaves.append(tree)
        return LeafSpec()
    items, context = node.flatten(tree)
    return TreeSpec(kind, context, tuple([_flatten(item, leaves, is_leaf) for item in items]))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of a structure with these leaves.

    Raises:
        ValueError: when there are more or fewer leaves than places.
    """
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten: {len(given)} leaves for a tree that has {treespec.num_leaves}")
    return _unflatten(iter(given), treespec)


def _unflatten(leaves: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(leaves)
    items = [_unflatten(leaves, child) for child in spec.children]
    return (_NODES.get(spec.type) or _NAMED_TUPLE).unflatten(items, spec.context)


def tree_leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of a tree in order."""
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: Any, is_leaf: IsLeaf = None) -> Iterable[Any]:
    """The leaves of a tree in order."""
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: Any, is_leaf: IsLeaf = None) -> TreeSpec:
    """The structure of a tree."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """A tree of what a function makes of each leaf, and of what is in its place in other trees of this structure.

    Raises:
        ValueError: when another tree has another number of leaves.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for rest in rests:
        others = tree_leaves(rest, is_leaf)
        if len(others) != len(leaves):
            raise ValueError(f"tree_map: trees with {len(leaves)} and {len(others)} leaves")
        columns.append(others)
    return tree_unflatten(map(func, *columns), spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """Call a function with each leaf, and return the tree."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(kind: type | tuple[type, ...], func: Callable[[Any], Any], tree: Any, is_leaf: IsLeaf = None) -> Any:
    """:func:`tree_map` over the leaves of a kind; the others stay."""
    return tree_map(lambda leaf: func(leaf) if isinstance(leaf, kind) else leaf, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether something holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    """Whether something holds for a leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
