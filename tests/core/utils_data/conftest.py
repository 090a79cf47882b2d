"""Programs that the tests of the loader start, and what they leave behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Seconds after which a program that hangs is given up; nothing is measured by it.
HANG = 120


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start Python source as a program of its own (with a ``__main__`` that spawned processes can import).

    It leads a process group, as a program does that is started from a shell.
    """
    started: list[tuple[subprocess.Popen[str], threading.Timer]] = []

    def start(source: str) -> subprocess.Popen[str]:
        script = tmp_path / f"program{len(started)}.py"
        script.write_text(textwrap.dedent(source))
        program = subprocess.Popen(
            [sys.executable, "-W", "ignore:This DataLoader", str(script)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        guard = threading.Timer(HANG, program.kill)
        guard.start()
        started.append((program, guard))
        return program

    yield start
    for program, guard in started:
        guard.cancel()
        guard.join()
        if program.poll() is None:
            program.kill()
        program.communicate()


@pytest.fixture
def run_program(start_program: Callable[[str], subprocess.Popen[str]]) -> Callable[[str], str]:
    """Run Python source as a program that must succeed and write nothing to stderr; returns its output."""

    def run(source: str) -> str:
        program = start_program(source)
        out, err = program.communicate(timeout=HANG)
        assert (program.returncode, err) == (0, "")
        return out

    return run


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie that nobody has collected."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists()
    return state != "Z"


@pytest.fixture
def until_gone() -> Callable[[list[int]], list[int]]:
    """Wait for processes to end; returns those that have not when it is time to give up."""

    def wait(pids: list[int]) -> list[int]:
        deadline = time.monotonic() + HANG
        while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    return wait


@pytest.fixture
def no_leftovers() -> Iterator[None]:
    """The test leaves nothing in shared memory and opens no files that stay open."""

    def found() -> tuple[set[str], int]:
        names = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
        return names, len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    names, files = found()
    yield
    gc.collect()  # an exception that a test has caught holds the frames that it went through
    names_after, files_after = found()
    assert names_after - names == set()
    assert files_after <= files
