"""Public functions with signatures that no op has: any number of operands, numbers in place of tensors, options."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, ClassVar

from flambeau import dtypes
from flambeau.conversion import tensor
from flambeau.creation import empty, linspace
from flambeau.dtypes import dtype as _DType
from flambeau.dtypes import int32
from flambeau.forms import Size
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.tensor import Tensor

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "chain_matmul",
    "corrcoef",
    "cov",
    "einsum",
    "histogram",
    "histogramdd",
    "lu",
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
    out: Tensor | None = None,
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
    found = TENSORS.to_dtype(found, int32) if out_int32 else found
    return found if out is None else write_out(OPS["searchsorted"], found, out, (sorted_sequence, values))


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
    if isinstance(bins, int) and bins <= 0:
        raise RuntimeError(f"histogram: bins must be > 0, got {bins}")
    edges = bins if isinstance(bins, Tensor) else _edges(values, bins, range)
    return HistogramResult(_counted(values[:, None], [edges], weight, density), edges)


HistogramddResult = namedtuple("HistogramddResult", ("hist", "bin_edges"))


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """Return the counts of points in boxes, and the boxes' edges, as ``(hist, bin_edges)`` (``torch.histogramdd``).

    Args:
        input: shape (..., d), points of d coordinates.
        bins: a number of equal bins, one number a coordinate, or one tensor of ascending edges a coordinate.
        range: the lowest and the highest edge of each coordinate, one after the other; those of the points unless
            given.
        weight: what each point counts, of the shape of ``input`` without its last dimension; 1 unless given.
        density: divide so that the integral over all boxes is 1.

    Raises:
        RuntimeError: when something does not fit ``input``.
    """
    if input.ndim < 2:
        raise RuntimeError(f"histogramdd: input tensor should have at least 2 dimensions, but got {input.ndim}")
    count = input.shape[-1]
    wanted = [bins] * count if isinstance(bins, int) else list(bins)
    if len(wanted) != count:
        raise RuntimeError(
            f"histogramdd: the size of bins must be equal to the innermost dimension of the input, got {len(wanted)} "
            f"and {count}"
        )
    if range is not None and len(range) != 2 * count:
        raise RuntimeError(f"histogramdd: for a {count}-dimensional histogram, range should have {2 * count} elements")
    if weight is not None and weight.shape != input.shape[:-1]:
        raise RuntimeError(
            f"histogramdd: weight should have the shape {list(input.shape[:-1])}, but got {list(weight.shape)}"
        )
    points = input.detach().reshape(-1, count)
    edges = []
    for d, part in enumerate(wanted):
        if isinstance(part, Tensor):
            if part.dtype is not input.dtype:
                raise RuntimeError(
                    f"histogramdd: input and bins[{d}] should have one dtype: {input.dtype}, {part.dtype}"
                )
            edges.append(part)
        else:
            if part <= 0:
                raise RuntimeError(f"histogramdd: the number of bins must be positive, got {part} for dimension {d}")
            edges.append(_edges(points[:, d], part, None if range is None else (range[2 * d], range[2 * d + 1])))
    return HistogramddResult(_counted(points, edges, weight, density), edges)


def _counted(points: Tensor, edges: list[Tensor], weight: Tensor | None, density: bool) -> Tensor:
    """How many of the points (n, d) are in each box between ``edges``."""
    shape = [edge.numel() - 1 for edge in edges]
    inside: Any = None
    place: Any = None
    for d, edge in enumerate(edges):
        values = points[:, d].contiguous()
        within = (values >= edge[0]) & (values <= edge[-1])
        at = (TENSORS.searchsorted(edge, values, True) - 1).clamp(0, shape[d] - 1)
        inside = within if inside is None else inside & within
        place = at if place is None else place * shape[d] + at
    counted = inside.to(points.dtype)
    if weight is not None:
        counted = counted * weight.reshape(-1)
    hist = TENSORS.scatter_add(TENSORS.new_full(points, (math.prod(shape),), 0), 0, place, counted).reshape(shape)
    if density:
        hist = hist / hist.sum()
        for d, edge in enumerate(edges):
            hist = hist / (edge[1:] - edge[:-1]).reshape([-1] + [1] * (len(shape) - 1 - d))
    return hist


def _edges(values: Tensor, bins: int, range: tuple[float, float] | None) -> Tensor:
    if range is not None:
        low, high = range
        if not -math.inf < low <= high < math.inf:
            raise RuntimeError(f"histogram: the range of [{low}, {high}] is not finite and ascending")
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
        fweights, aweights: integer frequencies and floating-point importance weights of the observations.

    Raises:
        RuntimeError: for more than two dimensions, bools, and weights of another type or number, or negative ones.
    """
    if input.ndim > 2:
        raise RuntimeError(f"cov: expected input to have two or fewer dimensions but got the shape {list(input.shape)}")
    if input.dtype is dtypes.bool_:
        raise RuntimeError("cov: bool dtype is not supported for input")
    observed = input.reshape(1, -1) if input.ndim < 2 else input
    _check_weights("fweights", fweights, observed.shape[1], "integral")
    _check_weights("aweights", aweights, observed.shape[1], "floating point")
    weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    divisor: Any
    if weights is None:
        divisor = max(observed.shape[1] - correction, 0)
        centred = weighted = observed - observed.sum(1, keepdim=True) / observed.shape[1]
    else:
        total = weights.sum()
        if observed.shape[1] and total.item() == 0:
            raise RuntimeError("cov: weights sum to zero, can't be normalized")
        spread = 1 if aweights is None else (weights * aweights).sum() / total
        divisor = (total - correction * spread).clamp(min=0)
        centred = observed - (observed * weights).sum(1, keepdim=True) / total
        weighted = centred * weights
    return (centred @ weighted.mH / divisor).squeeze()


def _check_weights(name: str, weights: Tensor | None, count: int, kind: str) -> None:
    if weights is None:
        return
    if weights.ndim > 1:
        raise RuntimeError(
            f"cov: expected {name} to have one or fewer dimensions but got the shape {list(weights.shape)}"
        )
    floating = weights.dtype.is_floating_point
    if floating != (kind == "floating point") or weights.dtype.is_complex or weights.dtype is dtypes.bool_:
        raise RuntimeError(f"cov: expected {name} to have {kind} dtype but got {name} with {weights.dtype}")
    if weights.numel() != count:
        raise RuntimeError(
            f"cov: expected {name} to have the same numel as there are observations in the input but got "
            f"{weights.numel()} != {count}"
        )
    if count and weights.min().item() < 0:
        raise RuntimeError(f"cov: {name} cannot be negative")


def corrcoef(input: Tensor) -> Tensor:
    """Return the correlation matrix of variables (rows) observed in the columns (``torch.corrcoef``)."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef: expected input to have two or fewer dimensions but got the shape {list(input.shape)}"
        )
    matrix = cov(input)
    if matrix.ndim == 0:
        return matrix / matrix
    variance = matrix.diagonal()
    deviation = (variance.real if matrix.is_complex() else variance).sqrt()
    matrix = matrix / deviation[:, None] / deviation[None, :]
    if matrix.is_complex():
        return TENSORS.complex(matrix.real.clamp(-1, 1), matrix.imag.clamp(-1, 1))
    return matrix.clamp(-1, 1)


LUResult = namedtuple("LUResult", ("LU", "pivots"))
LUInfosResult = namedtuple("LUInfosResult", ("LU", "pivots", "infos"))


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """Return the LU decomposition ``(LU, pivots)`` of matrices (``torch.lu``, the older ``linalg.lu_factor``).

    Args:
        pivot: exchange rows for the largest pivots.
        get_infos: return ``(LU, pivots, infos)`` and raise nothing where a matrix is singular.
    """
    from flambeau import linalg

    packed, pivots, info = linalg.lu_factor_ex(A, pivot=pivot, check_errors=not get_infos)
    result = LUInfosResult(packed, pivots, info) if get_infos else LUResult(packed, pivots)
    return result if out is None else write_out(OPS["linalg_lu_factor_ex"], result, out)


for _function in (corrcoef, cov, lu):
    setattr(Tensor, _function.__name__, _function)


class TensorType(type):
    """The class of ``FloatTensor`` and its like, PyTorch's old constructors.

    ``FloatTensor(2, 3)`` and ``FloatTensor([1, 2])`` make CPU tensors, and ``isinstance(x, FloatTensor)`` asks for
    their dtype and device.
    """

    dtype: _DType
    _all: ClassVar[dict[str, TensorType]] = {}

    def __new__(cls, name: str, kind: _DType) -> TensorType:
        doc = f"""CPU tensors of dtype {kind.name}, from data or, uninitialised, from sizes.

    PyTorch's old constructor; ``flambeau.tensor(data, dtype=...)`` says the same.
    """
        made = super().__new__(cls, name, (), {"dtype": kind, "__doc__": doc, "__module__": "flambeau"})
        TensorType._all[name] = made
        return made

    def __init__(cls, name: str, kind: _DType) -> None:
        super().__init__(name, (), {})

    def __call__(cls, *args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], (int, Size)):
            return tensor(args[0], dtype=cls.dtype, device="cpu")
        size = args[0] if len(args) == 1 and isinstance(args[0], Size) else (args or (0,))
        return empty(*size, dtype=cls.dtype, device="cpu")

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.is_cpu

    @staticmethod
    def named(name: str) -> TensorType | None:
        """The type of this name."""
        return TensorType._all.get(name)


BoolTensor = TensorType("BoolTensor", dtypes.bool_)
ByteTensor = TensorType("ByteTensor", dtypes.uint8)
CharTensor = TensorType("CharTensor", dtypes.int8)
ShortTensor = TensorType("ShortTensor", dtypes.int16)
IntTensor = TensorType("IntTensor", dtypes.int32)
LongTensor = TensorType("LongTensor", dtypes.int64)
HalfTensor = TensorType("HalfTensor", dtypes.float16)
BFloat16Tensor = TensorType("BFloat16Tensor", dtypes.bfloat16)
FloatTensor = TensorType("FloatTensor", dtypes.float32)
DoubleTensor = TensorType("DoubleTensor", dtypes.float64)
