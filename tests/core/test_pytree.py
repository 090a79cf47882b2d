"""Trees of nested containers."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import pytest

from flambeau.utils import pytree

Point = namedtuple("Point", "x y")
TREES: list[tuple[Any, list[Any]]] = [
    (3, [3]),
    (None, [None]),
    ([1, (2, {"b": 3, "a": [4]})], [1, 2, 3, 4]),
    (Point(1, [2, 3]), [1, 2, 3]),
    (OrderedDict(z=1, a=2), [1, 2]),
    (defaultdict(list, {"k": [1, 2]}), [1, 2]),
    (deque([1, 2], maxlen=3), [1, 2]),
    ([], []),
]


@pytest.mark.parametrize(("tree", "leaves"), TREES, ids=str)
def test_there_and_back(tree: Any, leaves: list[Any]) -> None:
    found, spec = pytree.tree_flatten(tree)
    assert found == leaves and spec.num_leaves == len(leaves)
    again = pytree.tree_unflatten(found, spec)
    assert again == tree and type(again) is type(tree)
    assert getattr(again, "maxlen", None) == getattr(tree, "maxlen", None)
    assert getattr(again, "default_factory", None) == getattr(tree, "default_factory", None)
    assert pytree.tree_structure(again) == spec and spec.is_leaf() == (leaves == [tree])


def test_maps() -> None:
    tree = {"a": [1, 2], "b": (3,)}
    assert pytree.tree_map(lambda x: x * 2, tree) == {"a": [2, 4], "b": (6,)}
    assert pytree.tree_map(lambda x, y: x + y, tree, tree) == {"a": [2, 4], "b": (6,)}
    assert pytree.tree_map_only(str, str.upper, [1, "a"]) == [1, "A"]
    assert pytree.tree_leaves(tree, is_leaf=lambda x: isinstance(x, list)) == [[1, 2], 3]
    assert pytree.tree_all(lambda x: x > 0, tree) and not pytree.tree_any(lambda x: x > 3, tree)
    with pytest.raises(ValueError, match="trees with 3 and 1 leaves"):
        pytree.tree_map(lambda x, y: x, tree, [1])
    with pytest.raises(ValueError, match="2 leaves for a tree that has 3"):
        pytree.tree_unflatten([1, 2], pytree.tree_structure(tree))


def test_containers_of_ones_own() -> None:
    class Box:
        def __init__(self, item: Any) -> None:
            self.item = item

    pytree.register_pytree_node(Box, lambda box: ([box.item], None), lambda items, _: Box(*items))
    assert pytree.tree_map(lambda x: x + 1, [Box(1)])[0].item == 2
    with pytest.raises(ValueError, match="already registered"):
        pytree.register_pytree_node(Box, lambda box: ([box.item], None), lambda items, _: Box(*items))
