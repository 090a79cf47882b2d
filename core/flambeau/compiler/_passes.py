"""Improving on a list of kernel calls."""

from __future__ import annotations

from flambeau.compiler._graph import Call, Value


def improve(forward: list[Call], behind: list[Call], wanted: list[Value]) -> tuple[list[Call], list[Call]]:
    """The calls of both passes without what nobody needs.

    Args:
        forward, behind: the calls, and those of a backward pass that may come later.
        wanted: the values that are needed in the end.
    """
    return forward, behind
