"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau.nn import Module
from flambeau.tensor import Tensor

State = dict[str, Tensor]


@contextmanager
def _swapped(module: Module, state: State, tie_weights: bool, strict: bool) -> Iterator[None]:
    """Have ``state`` in the place of the parameters and buffers of those names; of shared ones, under all of them."""
    homes: dict[int, list[tuple[Any, str]]] = {}
    named: dict[str, Tensor] = {}
    places: dict[str, tuple[Any, str]] = {}
    for prefix, owner in module.named_modules(remove_duplicate=False):
        tables: tuple[Any, ...] = (owner._parameters, owner._buffers)
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None:
                    path = f"{prefix}.{name}" if prefix else name
                    named[path], places[path] = tensor, (table, name)
                    homes.setdefault(id(tensor), []).append((table, name))
    unknown = sorted(set(state) - set(named))
    missing = sorted(set(named) - set(state))
    if unknown or (strict and missing):
        raise RuntimeError(
            f"functional_call: the module {type(module).__name__} has no parameter or buffer named {unknown}"
            if unknown
            else f"functional_call: missing key(s) for the module {type(module).__name__}: {missing}"
        )
    before: list[tuple[Any, str, Any]] = []
    try:
        for name, tensor in state.items():
            for table, key in homes[id(named[name])] if tie_weights else [places[name]]:
                before.append((table, key, table[key]))
                table[key] = tensor
        yield
    finally:
        for table, key, tensor in reversed(before):
            table[key] = tensor


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: State | Sequence[State],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Return ``module(*args, **kwargs)`` computed with other parameters and buffers (``torch.func.functional_call``).

    Args:
        parameter_and_buffer_dicts: tensors by the names of ``named_parameters()``; one dict or several.
        args: the positional arguments, or the only one.
        tie_weights: a tensor that stands in the place of a shared one does so under all its names.
        strict: demand a tensor for every parameter and buffer.

    Raises:
        RuntimeError: for names that the module does not have.
        ValueError: when one name is in several dicts.
    """
    state: State = {}
    for part in (
        [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, dict) else (parameter_and_buffer_dicts)
    ):
        doubled = sorted(set(state) & set(part))
        if doubled:
            raise ValueError(
                f"functional_call: {doubled} appeared in multiple dictionaries; behavior would be ambiguous"
            )
        state.update(part)
    positional = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(module, state, tie_weights, strict):
        return module(*positional, **(kwargs or {}))


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """Return ``func`` itself (``torch.func.functionalize``).

    PyTorch rewrites a function without its in-place operations and views for those who trace it. Here nobody has to:
    in-place operations and views are recorded, mapped and differentiated as they are.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(f"functionalize: remove has to be 'mutations' or 'mutations_and_views', but got {remove!r}")
    return func


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Have the batch norms in ``root`` forget their running statistics, in place, and return ``root``.

    In training they write into buffers that all examples share, which :func:`~flambeau.func.vmap` cannot allow; without
    statistics they normalise by those of the input, in evaluation as well.
    """
    from flambeau.nn.modules.batchnorm import _BatchNorm

    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def stack_module_state(models: Sequence[Module] | Any) -> tuple[State, State]:
    """Return the parameters and the buffers of several models of one architecture, each stacked in a new first dim.

    Raises:
        RuntimeError: for no models, or models of different classes or modes.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({(type(model), model.training) for model in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class and in the same mode")
    from flambeau.ops.call import TENSORS

    def stacked(tables: list[State]) -> State:
        return {name: TENSORS.stack([table[name].detach() for table in tables], 0) for name in tables[0]}

    parameters = stacked([dict(model.named_parameters()) for model in models])
    trained = dict(models[0].named_parameters())
    parameters = {name: tensor.requires_grad_(trained[name].requires_grad) for name, tensor in parameters.items()}
    return parameters, stacked([dict(model.named_buffers()) for model in models])
