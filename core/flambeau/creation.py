"""Factory functions: tensors from sizes and numbers.

All take ``dtype=``, ``device=`` and ``requires_grad=``. ``zeros``, ``ones``, ``empty``, ``full`` and their forms with
``_like`` put what they make into pinned memory with ``pin_memory=True``; the others leave that to ``pin_memory()``.
``layout`` and ``memory_format`` are accepted for PyTorch's sake and change nothing: every tensor is dense, and its
memory layout is the backend's affair.
"""

from __future__ import annotations

import builtins
import itertools
import operator
from collections.abc import Sequence
from typing import Any

from flambeau import determinism, dtypes
from flambeau.conversion import tensor
from flambeau.devices import device as device_class
from flambeau.dtypes import bool_, dtype, int64, scalar_dtype
from flambeau.ops import creation as ops
from flambeau.ops.call import TENSORS, apply
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.tensor import Tensor

__all__ = [
    "arange", "block_diag", "cartesian_prod", "combinations", "complex", "empty", "empty_like", "empty_permuted",
    "empty_strided", "eye", "full", "full_like", "linspace", "logspace", "meshgrid", "ones", "ones_like", "range",
    "tril_indices", "triu_indices", "vander", "zeros", "zeros_like",
]  # fmt: skip

DeviceLike = str | int | device_class | None

_PYTHON_DTYPES = {bool: bool_, int: int64, float: dtypes.float64}


def finish(op: str, result: Tensor, requires_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """Give a new tensor ``requires_grad``, or write it into ``out``."""
    if out is not None:
        return write_out(OPS[op], result, out)
    return result.requires_grad_() if requires_grad else result


def resolve_dtype(op: str, given: Any, default: dtype) -> dtype:
    """``given`` as a dtype, ``default`` for None."""
    if given is None:
        return default
    if isinstance(given, dtype):
        return given
    found = _PYTHON_DTYPES.get(given)
    if found is None:
        raise TypeError(f"{op}(): argument 'dtype' must be flambeau.dtype, not {type(given).__name__}")
    return found


def resolve_size(op: str, size: tuple[Any, ...]) -> tuple[int, ...]:
    """``(2, 3)`` of ``zeros(2, 3)``, ``zeros((2, 3))`` and ``zeros([2, 3])``.

    Raises:
        TypeError: for a size that is no int.
        RuntimeError: for a negative size.
    """
    if len(size) == 1 and not hasattr(size[0], "__index__"):
        size = size[0]
        if not isinstance(size, (tuple, list)):
            raise TypeError(f"{op}(): argument 'size' must be ints or a tuple of ints, not {type(size).__name__}")
    try:
        checked = tuple([operator.index(n) for n in size])
    except TypeError:
        described = ", ".join(type(n).__name__ for n in size)
        raise TypeError(
            f"{op}(): argument 'size' must be a tuple of ints, but it has elements of types {described}"
        ) from None
    for n in checked:
        if n < 0:
            raise RuntimeError(f"{op}: Trying to create tensor with negative dimension {n}: {list(checked)}")
    return checked


def _device(given: DeviceLike) -> device_class | None:
    return None if given is None else device_class(given)


def _filled(
    op: str, size: tuple[Any, ...], value: Any, given_dtype: Any, device: DeviceLike, requires_grad: bool, out: Any,
    pinned: bool,
) -> Tensor:  # fmt: skip
    resolved = resolve_dtype(op, given_dtype, dtypes.get_default_dtype() if out is None else out.dtype)
    result = apply(ops.full, [resolve_size(op, size), value, resolved, _device(device)])
    if pinned:
        result = result.pin_memory()
    return finish("full", result, requires_grad, out) if requires_grad or out is not None else result


def zeros(
    *size: Any, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    pin_memory: bool = False, requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Return a tensor of zeros (``torch.zeros``): ``zeros(2, 3)`` or ``zeros((2, 3))``."""
    return _filled("zeros", _named_size("zeros", size, named), 0, dtype, device, requires_grad, out, pin_memory)


def ones(
    *size: Any, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    pin_memory: bool = False, requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Return a tensor of ones (``torch.ones``): ``ones(2, 3)`` or ``ones((2, 3))``."""
    return _filled("ones", _named_size("ones", size, named), 1, dtype, device, requires_grad, out, pin_memory)


def empty(
    *size: Any, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None, **named: Any,
) -> Tensor:  # fmt: skip
    """Return a tensor with unspecified contents (``torch.empty``); they happen to be zeros, so runs repeat.

    In deterministic mode they are NaN, see :func:`flambeau.use_deterministic_algorithms`.
    """
    kind = resolve_dtype("empty", dtype, dtypes.get_default_dtype() if out is None else out.dtype)
    value = determinism.unspecified(kind)
    return _filled("empty", _named_size("empty", size, named), value, kind, device, requires_grad, out, pin_memory)


def empty_strided(
    size: Sequence[int], stride: Sequence[int], *, dtype: dtype | None = None, layout: Any = None,
    device: DeviceLike = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return an empty tensor of this size (``torch.empty_strided``) whose elements lie ``stride`` apart."""
    resolve_size("empty_strided", (size,))
    length = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if all(size) else 0
    storage = empty(length, dtype=dtype, device=device)
    return finish("full", storage.as_strided(tuple(size), tuple(stride), 0), requires_grad)


def empty_permuted(
    size: Sequence[int], physical_layout: Sequence[int], *, dtype: dtype | None = None, layout: Any = None,
    device: DeviceLike = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Return an empty tensor of this size (``torch.empty_permuted``) whose dimensions lie in memory in another order.

    Args:
        physical_layout: the dimensions from the outermost to the innermost in memory.

    Raises:
        RuntimeError: when it does not name each dimension once.
    """
    order = [operator.index(d) for d in physical_layout]
    if sorted(order) != list(builtins.range(len(size))):
        raise RuntimeError(
            f"empty_permuted: physical_layout has to name each of the {len(size)} dimensions once, got {order}"
        )
    back = sorted(builtins.range(len(order)), key=order.__getitem__)
    made = empty([size[d] for d in order], dtype=dtype, device=device).permute(back)
    return finish("full", made.detach(), requires_grad)


def _named_size(op: str, size: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """The size, which may also have come as ``size=``."""
    if not named:
        return size
    if set(named) == {"size"} and not size:
        return (named["size"],)
    raise TypeError(f"{op}() got an unexpected keyword argument '{next(iter(named))}'")


def full(
    size: Any, fill_value: Any, *, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
    device: DeviceLike = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return a tensor with ``fill_value`` everywhere (``torch.full``); the dtype follows from the value."""
    if isinstance(fill_value, Tensor):
        default = fill_value.dtype
        fill_value = fill_value.item()
    else:
        default = scalar_dtype(fill_value)
    resolved = resolve_dtype("full", dtype, default if out is None else out.dtype)
    return _filled("full", (size,), fill_value, resolved, device, requires_grad, out, pin_memory)


def full_like(
    input: Tensor, fill_value: Any, *, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    pin_memory: bool = False, requires_grad: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """Return a tensor like ``input`` (size, dtype, device) with ``fill_value`` everywhere (``torch.full_like``)."""
    if not isinstance(input, Tensor):
        raise TypeError(f"full_like(): argument 'input' must be Tensor, not {type(input).__name__}")
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    resolved = resolve_dtype("full_like", dtype, input.dtype)
    result = apply(ops.full, [tuple(input.shape), value, resolved, _device(device) or input.device])
    return finish("full", result.pin_memory() if pin_memory else result, requires_grad)


def zeros_like(input: Tensor, **options: Any) -> Tensor:
    """Return zeros like ``input`` (``torch.zeros_like``); keywords as :func:`full_like`."""
    return full_like(input, 0, **options)


def ones_like(input: Tensor, **options: Any) -> Tensor:
    """Return ones like ``input`` (``torch.ones_like``); keywords as :func:`full_like`."""
    return full_like(input, 1, **options)


def empty_like(input: Tensor, **options: Any) -> Tensor:
    """Return a tensor like ``input`` with unspecified contents (``torch.empty_like``), as :func:`empty` does."""
    return full_like(input, determinism.unspecified(options.get("dtype") or input.dtype), **options)


# -- ranges --------------------------------------------------------------------------------------------------------


def arange(
    *bounds: Any, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None, device: DeviceLike = None,
    pin_memory: bool = False, requires_grad: bool = False, **named: Any,
) -> Tensor:  # fmt: skip
    """Return ``start, start + step, ...`` up to but without ``end`` (``torch.arange``).

    ``arange(end)``, ``arange(start, end)`` or ``arange(start, end, step)``. Ints give int64, a float the default dtype.

    Raises:
        RuntimeError: when ``step`` is 0 or leads away from ``end``.
    """
    start, end, step = _bounds(bounds, named)
    resolved = resolve_dtype("arange", dtype, _range_dtype(start, end, step) if out is None else out.dtype)
    if step == 0:
        raise RuntimeError("arange: step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"arange: upper bound and lower bound inconsistent with step sign, got start={start}, end={end}, "
            f"step={step}"
        )
    if not abs(end - start) < float("inf"):
        raise RuntimeError(f"arange: unsupported range: {start} -> {end}")
    if resolved.category <= dtypes.INTEGER:
        if resolved is int64:
            start, end, step = int(start), int(end), int(step) or step
        # As in PyTorch: the length follows from the bounds as they were given, the values from whole ones.
        length = ops.arange_length(start, end, step)
        start, step = int(start), int(step)
        if step == 0:
            raise ValueError(f"arange: step must be nonzero, and as {resolved.name} it is 0")
        end = start + length * step
    return finish("arange", apply(ops.arange, [start, end, step, resolved, _device(device)]), requires_grad, out)


def _bounds(bounds: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, Any]:
    unknown = set(named) - {"start", "end", "step"}
    if unknown:
        raise TypeError(f"arange() got an unexpected keyword argument '{min(unknown)}'")
    names = ("end",) if len(bounds) == 1 and "end" not in named else ("start", "end", "step")
    if len(bounds) > len(names):
        raise TypeError(f"arange() takes 1 to 3 positional arguments but {len(bounds)} were given")
    values = {"start": 0, "step": 1, **dict(zip(names, bounds, strict=False)), **named}
    if "end" not in values:
        raise TypeError("arange() missing required argument: 'end'")
    return tuple(_number("arange", name, values[name]) for name in ("start", "end", "step"))


def _number(op: str, name: str, value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, (int, float)):
        raise TypeError(f"{op}(): argument '{name}' must be a real number, not {type(value).__name__}")
    return value


def _range_dtype(*values: Any) -> dtype:
    return int64 if all(isinstance(value, int) for value in values) else dtypes.get_default_dtype()


def range(start: float = 0, end: float = 0, step: float = 1, **options: Any) -> Tensor:
    """Return ``start`` to ``end``, ``end`` included, in the default dtype (``torch.range``, which prefers arange)."""
    length = int((end - start) / step) + 1
    values = arange(length, dtype=dtypes.get_default_dtype(), device=options.pop("device", None)) * step + start
    requires_grad = options.pop("requires_grad", False)
    wanted = options.pop("dtype", None)
    return finish("arange", values if wanted is None else values.to(wanted), requires_grad)


def linspace(
    start: Any, end: Any, steps: int, *, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
    device: DeviceLike = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return ``steps`` evenly spaced values from ``start`` to ``end``, both included (``torch.linspace``).

    Raises:
        RuntimeError: when ``steps`` is negative.
    """
    return _spaced(ops.linspace, start, end, steps, (), out, dtype, device, requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, out: Tensor | None = None, dtype: dtype | None = None,
    layout: Any = None, device: DeviceLike = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return ``steps`` values from ``base ** start`` to ``base ** end``, evenly spaced in the exponent
    (``torch.logspace``)."""
    return _spaced(ops.logspace, start, end, steps, (base,), out, dtype, device, requires_grad)


def _spaced(
    op: Any, start: Any, end: Any, steps: int, base: tuple[float, ...], out: Any, dtype: Any, device: Any, grad: bool
) -> Tensor:
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{op.name}(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError(f"{op.name}: number of steps must be non-negative, got {steps}")
    for name, value in (("start", start), ("end", end)):
        if getattr(value, "ndim", 0):
            raise RuntimeError(
                f"{op.name} only supports 0-dimensional start and end tensors, but got {name} with {value.ndim} "
                "dimension(s)"
            )
    start, end = (value.item() if hasattr(value, "item") else value for value in (start, end))
    default = dtypes.get_default_dtype()
    if isinstance(start, builtins.complex) or isinstance(end, builtins.complex):
        default = default.to_complex()
    resolved = resolve_dtype(op.name, dtype, default if out is None else out.dtype)
    if resolved.category == dtypes.INTEGER:
        start, end = int(start), int(end)
    return finish(op.name, apply(op, [start, end, steps, *base, resolved, _device(device)]), grad, out)


# -- matrices ------------------------------------------------------------------------------------------------------


def eye(
    n: int, m: int | None = None, *, out: Tensor | None = None, dtype: dtype | None = None, layout: Any = None,
    device: DeviceLike = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return the (n, m) matrix with ones on the diagonal (``torch.eye``); ``m`` is ``n`` unless given."""
    n, m = resolve_size("eye", (n, n if m is None else m))
    resolved = resolve_dtype("eye", dtype, dtypes.get_default_dtype() if out is None else out.dtype)
    return finish("eye", apply(ops.eye, [n, m, resolved, _device(device)]), requires_grad, out)


def tril_indices(
    row: int, col: int, offset: int = 0, *, dtype: dtype = int64, device: DeviceLike = None, layout: Any = None
) -> Tensor:
    """Return the (2, k) row and column indices of a (row, col) matrix's lower triangle (``torch.tril_indices``)."""
    mask = TENSORS.tril(ones(row, col, dtype=bool_, device=device), offset)
    return mask.nonzero().t().contiguous().to(dtype)


def triu_indices(
    row: int, col: int, offset: int = 0, *, dtype: dtype = int64, device: DeviceLike = None, layout: Any = None
) -> Tensor:
    """Return the (2, k) row and column indices of a (row, col) matrix's upper triangle (``torch.triu_indices``)."""
    mask = TENSORS.triu(ones(row, col, dtype=bool_, device=device), offset)
    return mask.nonzero().t().contiguous().to(dtype)


def complex(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the complex tensor with these parts (``torch.complex``).

    Raises:
        TypeError: when one is no tensor.
        RuntimeError: when they are not of one floating-point dtype.
    """
    for name, part in (("real", real), ("imag", imag)):
        if not isinstance(part, Tensor):
            raise TypeError(f"complex(): argument '{name}' must be Tensor, not {type(part).__name__}")
    if real.dtype is not imag.dtype or not real.dtype.is_floating_point:
        raise RuntimeError(
            f"complex: expected real and imag of one floating-point dtype, got {real.dtype} and {imag.dtype}"
        )
    if out is not None and out.dtype is not real.dtype.to_complex():
        raise RuntimeError(f"complex: expected an out of dtype {real.dtype.to_complex()}, got {out.dtype}")
    return finish("complex", TENSORS.complex(real, imag), False, out)


def block_diag(*tensors: Tensor) -> Tensor:
    """Return the matrix with ``tensors`` (at most 2-dim) as blocks along the diagonal (``torch.block_diag``)."""
    matrices = []
    for operand in tensors:
        if operand.ndim > 2:
            raise RuntimeError(f"block_diag: input tensors must have 2 or fewer dimensions, got {list(operand.shape)}")
        matrices.append(operand if operand.ndim == 2 else TENSORS.reshape(operand, (1, -1)))
    width = sum(matrix.shape[1] for matrix in matrices)
    rows, before = [], 0
    for matrix in matrices:
        height, own = matrix.shape
        left = TENSORS.new_full(matrix, (height, before), 0)
        right = TENSORS.new_full(matrix, (height, width - before - own), 0)
        rows.append(TENSORS.cat([left, matrix, right], 1))
        before += own
    return TENSORS.cat(rows, 0) if rows else empty(1, 0)


# -- grids ---------------------------------------------------------------------------------------------------------


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return the coordinates of the grid that 0-dim or 1-dim tensors span (``torch.meshgrid``).

    Args:
        tensors: tensors, or one sequence of them, of the lengths n0, n1, ...; each result has the shape (n0, n1, ...).
        indexing: ``"ij"``, or ``"xy"`` to swap the first two dimensions of the results.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be one of 'xy' or 'ij', but received: {indexing!r}")
    if not tensors:
        raise RuntimeError("meshgrid: expects a non-empty sequence of tensors")
    for operand in tensors:
        if operand.ndim > 1:
            raise RuntimeError(f"meshgrid: expected scalars or 1-dim tensors, got the shape {list(operand.shape)}")
    swap = indexing == "xy" and len(tensors) > 1
    ordered = (tensors[1], tensors[0], *tensors[2:]) if swap else tensors
    size = tuple(operand.numel() for operand in ordered)
    grids = []
    for d, operand in enumerate(ordered):
        shape = [1] * len(size)
        shape[d] = -1
        grids.append(operand.reshape(shape).expand(size))
    return (grids[1], grids[0], *grids[2:]) if swap else tuple(grids)


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """Return all tuples of one element from each 1-dim operand, as rows (``torch.cartesian_prod``)."""
    for operand in tensors:
        if operand.ndim != 1:
            raise RuntimeError(f"cartesian_prod: expected 1-dim tensors, got the shape {list(operand.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return TENSORS.stack([grid.reshape(-1) for grid in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """Return all combinations of ``r`` elements of a 1-dim tensor, as rows (``torch.combinations``)."""
    if input.ndim != 1:
        raise RuntimeError(f"combinations: expected a 1-dim tensor, got the shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"combinations: expected a non-negative number of elements, got {r}")
    if r == 0:
        return empty(0, dtype=input.dtype, device=input.device)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    chosen = list(choose(builtins.range(input.shape[0]), r))
    rows = tensor(chosen, dtype=int64, device=input.device) if chosen else empty(0, r, dtype=int64, device=input.device)
    return input[rows.reshape(-1)].reshape(-1, r)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Return the Vandermonde matrix, whose columns are the powers of ``x`` (``torch.vander``)."""
    if x.ndim != 1:
        raise RuntimeError(f"vander: expected a 1-dim tensor, got the shape {list(x.shape)}")
    n = x.shape[0] if N is None else N
    powers = arange(n, device=x.device)
    if not increasing:
        powers = TENSORS.flip(powers, (0,))
    return x[:, None] ** powers
