"""PyTorch's own samples of its operators, brought over to Flambeau.

PyTorch tests its operators on the samples of `torch.testing._internal.common_methods_invocations.op_db`. Here each
entry finds the function of Flambeau that it stands for, and its samples become tensors of Flambeau with the same
values, dtypes and strides.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils._pytree import tree_flatten

import flambeau

DTYPES = {getattr(torch, name): kind for name, kind in flambeau.dtypes.DTYPES.items() if hasattr(torch, name)}

#: Prototypes, private operators, and what `docs/` lists as outside of Flambeau: sparse, nested, quantized tensors.
OUTSIDE = (
    "masked.",
    "sparse.",
    "torch.",
    "jiterator",
    "to_sparse",
    "_",
    "special.airy_",
    "nn.functional.scaled_mm",
    "nn.functional.scaled_grouped_mm",
    "native_dropout_backward",
    "max_pool2d_with_indices_backward",
)


def in_scope() -> list[Any]:
    """The entries of the database that Flambeau answers for."""
    named = [info for info in op_db if info.name != "slice"]  # a private operator, beside `slice_copy` and others
    return [info for info in named if not info.name.startswith(OUTSIDE) or info.name.startswith("__r")]


# -- functions -------------------------------------------------------------------------------------------------------


def counterpart(info: Any, function: Any = None) -> Any:
    """Flambeau's function for an entry: by its name, or, where PyTorch's tests wrap it, the wrapper around ours.

    Raises:
        AttributeError: when Flambeau has no such function.
    """
    function = info.op if function is None else function
    if info.name.startswith("__"):
        return getattr(flambeau.Tensor, info.name)
    if isinstance(function, types.FunctionType) and function.__module__.startswith("torch.testing"):
        return rebound(function)
    if info.name.startswith("__r"):  # of these __rmatmul__ is a Python function
        return getattr(flambeau.Tensor, info.name)
    if type(function).__name__ in ("method_descriptor", "wrapper_descriptor"):
        return getattr(flambeau.Tensor, function.__name__)
    found: Any = flambeau
    for part in info.name.split("."):
        found = getattr(found, part)
    return found


def rebound(function: Any) -> Any:
    """A function of PyTorch's tests that calls Flambeau where it says `torch`."""
    if not isinstance(function, types.FunctionType):
        return function
    names = {**function.__globals__, "torch": flambeau, "F": flambeau.nn.functional}
    cells = tuple(types.CellType(rebound(cell.cell_contents)) for cell in function.__closure__ or ())
    own = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
    own.__kwdefaults__ = {name: convert(value) for name, value in (function.__kwdefaults__ or {}).items()}
    own.__defaults__ = tuple(convert(value) for value in function.__defaults__ or ()) or None
    return own


# -- arguments -------------------------------------------------------------------------------------------------------


def to_flambeau(tensor: torch.Tensor, memory: dict[Any, Any] | None = None) -> flambeau.Tensor:
    """A tensor of Flambeau with the values, the dtype and the strides of one of PyTorch.

    Args:
        memory: Flambeau's copies of PyTorch's storages so far: tensors that share memory go on sharing it.
    """
    plain = tensor.detach().resolve_conj().resolve_neg()
    storage = plain.untyped_storage()
    key = (storage.data_ptr(), plain.dtype)
    flat = None if memory is None else memory.get(key)
    if flat is None:
        everything = torch.as_strided(plain, (storage.nbytes() // plain.element_size(),), (1,), 0)
        if plain.dtype is torch.bfloat16:
            flat = flambeau.from_numpy(everything.float().numpy()).bfloat16()
        else:
            flat = flambeau.from_numpy(everything.numpy().copy())
        if memory is not None and storage.data_ptr():
            memory[key] = flat
            memory[id(plain)] = plain  # kept, or a conjugate made here would lend its address to the next
    own = flambeau.as_strided(flat, tuple(plain.shape), tuple(plain.stride()), plain.storage_offset())
    own = own.detach()
    return own.requires_grad_() if tensor.requires_grad else own


def convert(value: Any, memory: dict[Any, Any] | None = None) -> Any:
    """An argument of PyTorch as one of Flambeau; see :func:`to_flambeau` for ``memory``."""
    if isinstance(value, torch.Tensor):
        return to_flambeau(value, memory)
    if isinstance(value, torch.dtype):
        return DTYPES[value]
    if isinstance(value, torch.device):
        return flambeau.device(str(value))
    if isinstance(value, torch.Size):
        return flambeau.Size(value)
    if isinstance(value, (torch.layout, torch.memory_format)):
        return getattr(flambeau, str(value).rpartition(".")[2])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(convert, value))
    if isinstance(value, (list, tuple)):
        return type(value)(convert(item, memory) for item in value)
    if isinstance(value, dict):
        return {name: convert(item, memory) for name, item in value.items()}
    if isinstance(value, torch.nn.Module):
        own = getattr(flambeau.nn, type(value).__name__)()
        own.__dict__.update({name: item for name, item in vars(value).items() if not name.startswith("_")})
        return own
    if isinstance(value, torch.nn.LinearCrossEntropyOptions):
        fields = {field.name: convert(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return flambeau.nn.LinearCrossEntropyOptions(**fields)
    if isinstance(value, torch.Generator):
        return flambeau.Generator().manual_seed(value.initial_seed())
    return value


def leaves(*arguments: Any) -> list[Any]:
    """The tensors among arguments, of either library, in their order."""
    return [item for item in tree_flatten(arguments)[0] if isinstance(item, (torch.Tensor, flambeau.Tensor))]


def samples(info: Any, kind: torch.dtype, requires_grad: bool, most: int) -> Iterator[Any]:
    """Up to ``most`` samples, the same at each call."""
    torch.manual_seed(0)
    numpy.random.seed(0)  # some samples are drawn with it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from itertools.islice(info.sample_inputs("cpu", kind, requires_grad=requires_grad), most)


#: Which of several equal elements these report is not specified (but for `stable=True`), and differs by size.
_ANY_OF_EQUALS = {"argsort": 0, "kthvalue": 1, "mode": 0, "sort": 0, "topk": 1}


def with_elements(name: str, sample: Any, result: Any) -> Any:
    """A result with the elements at the indices it holds in place of the indices, where any of equals would do."""
    place = _ANY_OF_EQUALS.get(name)
    if place is None or sample.kwargs.get("stable"):
        return result
    dim = sample.kwargs.get("dim", sample.args[place] if len(sample.args) > place else -1)
    values, indices = (None, result) if name == "argsort" else result
    source = sample.input.reshape(1) if sample.input.ndim == 0 else sample.input
    kept = indices if indices.ndim == source.ndim else indices.unsqueeze(dim)
    return values, source.gather(dim, kept)


# -- comparison ------------------------------------------------------------------------------------------------------

TOLERANCES = {1: (1e-1, 1e-1), 2: (1e-2, 1e-2), 4: (1e-4, 2e-5), 8: (1e-7, 1e-9)}


def values(tensor: Any) -> Any:
    """The elements as NumPy has them, bfloat16 as float32."""
    if isinstance(tensor, torch.Tensor):
        plain = tensor.detach().resolve_conj().resolve_neg()
        return (plain.float() if plain.dtype.itemsize < 4 and plain.dtype.is_floating_point else plain).numpy(
            force=True
        )
    plain = tensor.detach()
    return (plain.float() if plain.dtype.itemsize < 4 and plain.dtype.is_floating_point else plain).numpy()


def kind_of(tensor: Any) -> str:
    return str(tensor.dtype).rpartition(".")[2]


def difference(own: Any, theirs: Any, loose: float = 1.0) -> str:
    """How results differ, or nothing."""
    own = tuple(own) if isinstance(own, flambeau.Size) else own
    own_items, their_items = tree_flatten(own)[0], tree_flatten(theirs)[0]
    if len(own_items) != len(their_items):
        return f"{len(own_items)} results where PyTorch has {len(their_items)}"
    for number, (a, b) in enumerate(zip(own_items, their_items, strict=True)):
        found = _difference(a, b, loose)
        if found:
            return (f"result {number}: " if len(own_items) > 1 else "") + found
    return ""


def _difference(own: Any, theirs: Any, loose: float) -> str:
    if not isinstance(theirs, torch.Tensor):
        if isinstance(theirs, torch.dtype):
            theirs = DTYPES[theirs]
        same = own == theirs or (own != own and theirs != theirs)
        same = same or (isinstance(theirs, (float, complex)) and numpy.isclose(own, theirs, rtol=1e-5, atol=1e-6))
        return "" if same else f"{own!r} where PyTorch has {theirs!r}"
    if not isinstance(own, flambeau.Tensor):
        return f"{type(own).__name__} where PyTorch has a tensor"
    if kind_of(own) != kind_of(theirs):
        return f"{kind_of(own)} where PyTorch has {kind_of(theirs)}"
    if tuple(own.shape) != tuple(theirs.shape):
        return f"the shape {tuple(own.shape)} where PyTorch has {tuple(theirs.shape)}"
    a, b = values(own), values(theirs)
    with numpy.errstate(all="ignore"):
        if theirs.is_floating_point() or theirs.is_complex():
            rtol, atol = TOLERANCES[theirs.element_size() // (2 if theirs.is_complex() else 1)]
            rtol, atol = (6e-2, 6e-2) if theirs.dtype is torch.bfloat16 else (rtol, atol)
            close = numpy.isclose(a, b, rtol * loose, atol * loose, equal_nan=True)
        else:
            close = a == b
    if close.all():
        return ""
    wrong = ~numpy.atleast_1d(close)
    return (
        f"{kind_of(theirs)}{list(theirs.shape)} differs at {numpy.argwhere(wrong)[:2].tolist()}: "
        f"{numpy.atleast_1d(a)[wrong][:3]} where PyTorch has {numpy.atleast_1d(b)[wrong][:3]}"
    )
