"""The version of PyTorch that a program sees, comparable as PyTorch's is (``torch.torch_version``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_RELEASE = re.compile(r"v?(?P<release>\d+(\.\d+)*)((?P<stage>\.dev|a|b|rc)(?P<number>\d*))?\w*(\+(?P<local>[\w.]+))?$")
# Before the release, in this order (PEP 440).
_STAGES = {".dev": 0, "a": 1, "b": 2, "rc": 3, None: 4}


def _key(version: Any) -> tuple[Any, ...]:
    text = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    found = _RELEASE.match(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no version")
    release = [int(part) for part in found["release"].split(".")]
    while release and not release[-1]:
        release.pop()
    return tuple(release), _STAGES[found["stage"]], int(found["number"] or 0), found["local"] or ""


def _comparison(name: str) -> Callable[[TorchVersion, Any], Any]:
    def compare(self: TorchVersion, other: Any) -> Any:
        try:
            return getattr(_key(self), name)(_key(other))
        except ValueError:  # no version: compared as the string that this is
            return getattr(str, name)(self, other)

    return compare


class TorchVersion(str):
    """A version that is a string and compares as a version, with strings, tuples and objects that print as one.

    ``TorchVersion("2.13.0") > "2.9"``, ``>= (2, 0)``.
    """

    __slots__ = ()

    __lt__ = _comparison("__lt__")
    __le__ = _comparison("__le__")
    __gt__ = _comparison("__gt__")
    __ge__ = _comparison("__ge__")
    __eq__ = _comparison("__eq__")
    __ne__ = _comparison("__ne__")
    __hash__ = str.__hash__
