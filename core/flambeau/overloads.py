"""Public functions with signatures that no op has: any number of operands, numbers in place of tensors, options."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from flambeau import dtypes
from flambeau.conversion import tensor
from flambeau.creation import empty, linspace
from flambeau.dtypes import dtype, int32
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.tensor import Size, Tensor

__all__ = [
    "BoolTensor",
    "ByteTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "chain_matmul",
    "corrcoef",
    "cov",
    "einsum",
    "histogram",
    "searchsorted",
]


def einsum(*arguments: Any) -> Tensor:
    """Return sums of products as the equation says (``torch.einsum``).

    ``einsum("ij,jk->ik", a, b)``, ``einsum("ij,jk->ik", [a, b])``, or with lists of numbers from 0 to 51 in place of
    letters: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``. See :func:`flambeau.ops.einsum.einsum` for the equation.

    Raises:
        RuntimeError: when the equation is malformed or does not fit the operands.
    """
    if not arguments:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    if isinstance(arguments[0], Tensor):
        equation, operands = _from_sublists(arguments)
    else:
        equation, operands = arguments[0], arguments[1:]
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    for i, operand in enumerate(operands):
        if not isinstance(operand, Tensor):
            raise TypeError(f"einsum(): operand {i} must be Tensor, not {type(operand).__name__}")
        if operand.dtype is not operands[0].dtype:
            raise RuntimeError(
                f"einsum: expected operands of one dtype, but got {operands[0].dtype} and {operand.dtype} (operand {i})"
            )
    result: Tensor = TENSORS.einsum(equation, list(operands))
    return result


def _from_sublists(arguments: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The equation of operands that are each followed by the numbers of their dimensions."""
    operands = arguments[0 : len(arguments) // 2 * 2 : 2]
    equation = ",".join(_letters(sublist) for sublist in arguments[1::2])
    if len(arguments) % 2:
        equation += "->" + _letters(arguments[-1])
    return equation, operands


def _letters(sublist: Any) -> str:
    if not isinstance(sublist, (list, tuple)):
        raise ValueError(f"einsum(): expected a list of subscripts after an operand, got {type(sublist).__name__}")
    letters = []
    for number in sublist:
        if number is Ellipsis:
            letters.append("...")
        elif isinstance(number, int) and 0 <= number < 52:
            letters.append(chr(ord("A") + number) if number < 26 else chr(ord("a") + number - 26))
        else:
            raise ValueError(f"einsum(): subscripts in the sublist format are ints within [0, 52), got {number!r}")
    return "".join(letters)


def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the product of matrices, in the cheapest order (``torch.chain_matmul``, see ``linalg.multi_dot``)."""
    if len(matrices) == 1:
        return matrices[0]
    result: Tensor = TENSORS.linalg_multi_dot(list(matrices))
    return result if out is None else write_out(OPS["linalg_multi_dot"], result, out)


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Return where elements go into a sequence that is ascending along its last dimension (``torch.searchsorted``).

    Args:
        sorted_sequence: shape (n,), or (..., n) with the leading dimensions of ``input``.
        input: a tensor or a number.
        out_int32: return int32 in place of int64 indices.
        right: behind equal elements in place of before them.
        side: ``"left"`` or ``"right"``, which says the same.
        sorter: indices that sort an unsorted ``sorted_sequence``.

    Raises:
        RuntimeError: for shapes that do not fit, or a ``side`` that contradicts ``right``.
    """
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"searchsorted: side can only be 'left' or 'right' but got {side}")
        if right and side == "left":
            raise RuntimeError(
                "searchsorted: side and right can't be set to opposites, got side='left' with right=True"
            )
        right = side == "right"
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                f"searchsorted: sorted_sequence and sorter must have the same shape, but they have "
                f"{list(sorted_sequence.shape)} and {list(sorter.shape)}"
            )
        sorted_sequence = TENSORS.gather(sorted_sequence, sorted_sequence.ndim - 1, sorter)
    values = input if isinstance(input, Tensor) else TENSORS.new_full(sorted_sequence, (), input)
    found: Tensor = TENSORS.searchsorted(sorted_sequence, values, right)
    return TENSORS.to_dtype(found, int32) if out_int32 else found


HistogramResult = namedtuple("HistogramResult", ("hist", "bin_edges"))


def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """Return the counts in bins, and the bins' edges, as a named tuple ``(hist, bin_edges)`` (``torch.histogram``).

    Args:
        bins: the number of equal bins over ``range`` (the smallest to the largest element unless given), or the
            ascending edges. The last bin includes its upper edge.
        weight: what each element counts, 1 unless given.
        density: divide so that the integral over all bins is 1.
    """
    values = input.detach().reshape(-1)
    edges = bins if isinstance(bins, Tensor) else _edges(values, bins, range)
    count = edges.numel() - 1
    inside = (values >= edges[0]) & (values <= edges[-1])
    place = (TENSORS.searchsorted(edges, values, True) - 1).clamp(0, count - 1)
    counted = inside.to(values.dtype)
    if weight is not None:
        counted = counted * weight.reshape(-1)
    hist = TENSORS.scatter_add(TENSORS.new_full(values, (count,), 0), 0, place, counted)
    if density:
        hist = hist / (hist.sum() * (edges[1:] - edges[:-1]))
    return HistogramResult(hist, edges)


def _edges(values: Tensor, bins: int, range: tuple[float, float] | None) -> Tensor:
    if range is not None:
        low, high = range
    else:
        low, high = (values.min().item(), values.max().item()) if values.numel() else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return linspace(low, high, bins + 1, dtype=values.dtype, device=values.device)


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """Return the covariance matrix of variables (rows) observed in the columns (``torch.cov``).

    Args:
        correction: subtracted from the number of observations in the divisor; with ``aweights`` in the way of
            ``numpy.cov``.
        fweights, aweights: integer frequencies and importance weights of the observations.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov: expected input to have two or fewer dimensions but got the shape {list(input.shape)}")
    observed = input.reshape(1, -1) if input.ndim < 2 else input
    weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    divisor: Any
    if weights is None:
        divisor = max(observed.shape[1] - correction, 0)
        centred = weighted = observed - observed.mean(1, keepdim=True)
    else:
        total = weights.sum()
        spread = 1 if aweights is None else (weights * aweights).sum() / total
        divisor = (total - correction * spread).clamp(min=0)
        centred = observed - (observed * weights).sum(1, keepdim=True) / total
        weighted = centred * weights
    return (weighted @ centred.mH / divisor).squeeze()


def corrcoef(input: Tensor) -> Tensor:
    """Return the correlation matrix of variables (rows) observed in the columns (``torch.corrcoef``)."""
    matrix = cov(input)
    if matrix.ndim == 0:
        return matrix / matrix
    variance = matrix.diagonal()
    deviation = (variance.real if matrix.is_complex() else variance).sqrt()
    matrix = matrix / deviation[:, None] / deviation[None, :]
    return matrix if matrix.is_complex() else matrix.clamp(-1, 1)


def _typed(name: str, kind: dtype) -> Any:
    def make(*args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], (int, Size)):
            return tensor(args[0], dtype=kind, device="cpu")
        size = args[0] if len(args) == 1 and isinstance(args[0], Size) else (args or (0,))
        return empty(*size, dtype=kind, device="cpu")

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""Return a CPU tensor of dtype {kind.name} from data, or an uninitialised one from sizes.

    PyTorch's old constructor; ``flambeau.tensor(data, dtype=...)`` says the same.
    """
    return make


BoolTensor = _typed("BoolTensor", dtypes.bool_)
ByteTensor = _typed("ByteTensor", dtypes.uint8)
IntTensor = _typed("IntTensor", dtypes.int32)
LongTensor = _typed("LongTensor", dtypes.int64)
HalfTensor = _typed("HalfTensor", dtypes.float16)
FloatTensor = _typed("FloatTensor", dtypes.float32)
DoubleTensor = _typed("DoubleTensor", dtypes.float64)
