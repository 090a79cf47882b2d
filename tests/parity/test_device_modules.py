"""`flambeau.cuda` and `flambeau.accelerator`: the arguments are PyTorch's, and the answers where there is no device."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

import flambeau


def functions(module: str) -> list[str]:
    mine, theirs = getattr(flambeau, module), getattr(torch, module)
    return [f"{module}.{name}" for name in mine.__all__ if callable(getattr(theirs, name, None))]


def found(library: Any, path: str) -> Any:
    module, name = path.split(".")
    return getattr(getattr(library, module), name)


def arguments(function: Any) -> list[tuple[str, Any]] | None:
    try:
        listed = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [(one.name, one.default) for one in listed if one.kind is not one.VAR_KEYWORD]


@pytest.mark.parametrize("path", functions("cuda") + functions("accelerator"))
def test_arguments(path: str) -> None:
    theirs = arguments(found(torch, path))
    if theirs is not None:
        assert arguments(found(flambeau, path)) == theirs


def test_every_name_is_pytorchs() -> None:
    for module in ("cuda", "accelerator"):
        for name in getattr(flambeau, module).__all__:
            assert hasattr(getattr(torch, module), name), f"{module}.{name}"


@pytest.mark.skipif(torch.cuda.is_available() or flambeau.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.cuda.is_available(), lambda m: m.cuda.device_count(), lambda m: m.cuda.is_initialized(),
        lambda m: m.cuda.memory_allocated(), lambda m: m.cuda.max_memory_reserved(), lambda m: m.cuda.memory_stats(),
        lambda m: m.cuda.get_arch_list(), lambda m: m.cuda.get_gencode_flags(), lambda m: m.cuda.is_bf16_supported(),
        lambda m: m.cuda.is_tf32_supported(), lambda m: m.cuda.empty_cache(), lambda m: m.cuda.get_rng_state_all(),
        lambda m: m.cuda.default_generators, lambda m: m.cuda.has_half, lambda m: m.cuda.manual_seed_all(1),
        lambda m: m.ones(1).is_pinned(), lambda m: m.device("cuda").index, lambda m: str(m.device("cuda")),
        lambda m: m.device("cuda") == m.device("cuda:0"), lambda m: repr(m.device("cuda")),
    ],
)  # fmt: skip
def test_what_is_answered_without_a_device(ask: Any) -> None:
    assert ask(flambeau) == ask(torch)
