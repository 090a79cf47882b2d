"""Several modules at once, a thread each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flambeau


def parallel_apply(
    modules: Sequence[Any],
    inputs: Sequence[Any],
    kwargs_tup: Sequence[dict[str, Any]] | None = None,
    devices: Sequence[Any] | None = None,
) -> list[Any]:
    """Return what each module makes of its arguments.

    Args:
        inputs: the positional arguments of each module, a tuple, or the only one.
        kwargs_tup: the keyword arguments of each.
        devices: accepted; the tensors say where each module runs.

    Raises:
        ValueError: when there are not as many arguments as modules; and whatever a module raises.
    """
    named = [{} for _ in modules] if kwargs_tup is None else kwargs_tup
    if not len(modules) == len(inputs) == len(named):
        raise ValueError(
            f"parallel_apply: {len(modules)} modules need as many inputs and keyword arguments, got {len(inputs)} and "
            f"{len(named)}"
        )
    recording = flambeau.is_grad_enabled()

    def run(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        with flambeau.set_grad_enabled(recording):  # a property of the thread
            return module(*(args if isinstance(args, (tuple, list)) else (args,)), **kwargs)

    if len(modules) == 1:
        return [run(modules[0], inputs[0], named[0])]
    with ThreadPoolExecutor(len(modules)) as threads:
        return list(threads.map(run, modules, inputs, named))
