"""What all tests share: a process-wide state that no test leaves changed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not any(entry.name == "numpy" for entry in importlib.metadata.entry_points(group="flambeau")):
        pytest.exit("Flambeau's plugins are not found, it is not installed: pip install -e '.[dev]'", returncode=4)


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """A seed for each test; the defaults and the recording mode as they were, afterwards."""
    import flambeau
    from flambeau import devices, dtypes
    from flambeau.autograd.grad_mode import state

    flambeau.manual_seed(0)
    before = dtypes.get_default_dtype(), devices._process_default, devices._defaults.stack, state.enabled
    yield
    dtypes.set_default_dtype(before[0])
    devices._process_default = before[1]
    devices._defaults.stack = before[2]
    state.enabled = before[3]
