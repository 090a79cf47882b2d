"""Write what the tests of cuDNN have it do, a problem and its settings a line, with the stand-ins for CuPy and cuDNN.

PYTHONPATH=tests/backends/cupy_on_cpu:tests/backends/cudnn_on_cpu python collect_problems.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


class Notes:
    """A plugin of pytest's that notes each graph that is built."""

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}

    def pytest_sessionstart(self) -> None:
        from flambeau_cupy.cudnn import library

        build = library.built

        def built(problem: Any, chosen: Any, workspace: int, **options: Any) -> Any:
            graph = build(problem, chosen, workspace, **options)
            self.seen[f"{problem!r}, {chosen!r}"] = None
            return graph

        library.built = built


def main(target: str) -> int:
    """Run the tests; their exit status."""
    notes = Notes()
    tests = str(HERE.parent / "on_cuda" / "test_cudnn.py")
    failed = pytest.main(["-q", "-p", "no:cacheprovider", tests], plugins=[notes])
    Path(target).write_text("\n".join(notes.seen))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
