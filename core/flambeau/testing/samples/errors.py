"""Calls that are refused: what an op demands beyond what its declaration says (see ``test_errors.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.testing.database import Maker, Refusal, errors, refusal


def _one(name: str, make: Callable[[Maker], Refusal]) -> None:
    """Register the refusal of an op that has one only."""

    def refusals(m: Maker) -> Iterator[Refusal]:
        yield make(m)

    errors(name)(refusals)


# -- joining and shaping ---------------------------------------------------------------------------------------------


@errors("cat")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "Sizes of tensors must match except in dimension 1", [make(2, 3), make(3, 2)], 1)
    yield refusal(RuntimeError, "same number of dimensions", [make(2, 3), make(3)], 0)
    yield refusal(RuntimeError, "zero-dimensional tensor", [make(), make()], 0)
    yield refusal(ValueError, "expected a non-empty list of Tensors", [])
    yield refusal(IndexError, "Dimension out of range", [make(2, 3), make(2, 3)], 2)
    yield refusal(TypeError, "must be a tuple or list of Tensors", make(2, 3))


@errors("stack")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "expects each tensor to be equal size, but got [2] at entry 0", [make(2), make(3)])
    yield refusal(RuntimeError, "expects a non-empty TensorList", [])


@errors("view")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "shape '[4]' is invalid for input of size 6", make(2, 3), (4,))
    yield refusal(RuntimeError, "only one dimension can be inferred", make(2, 3), (-1, -1))
    yield refusal(RuntimeError, "is ambiguous", make(0, 3), (-1, 0))


@errors("expand")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "must match the existing size (3) at non-singleton dimension 1", make(2, 3), (2, 4))
    yield refusal(RuntimeError, "must be greater or equal to the number of dimensions", make(2, 3), (3,))


@errors("permute")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "duplicate dims are not allowed", make(2, 3), (0, 0))
    yield refusal(RuntimeError, "input.dim() = 2 is not equal to len(dims) = 1", make(2, 3), (0,))
    yield refusal(IndexError, "Dimension out of range", make(2, 3), (0, 2))


@errors("select")
def _(make: Maker) -> Any:
    yield refusal(IndexError, "index 5 is out of range for dimension 0 with size 2", make(2, 3), 0, 5)
    yield refusal(IndexError, "0-dim tensor", make(), 0, 0)


@errors("split")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "sum exactly to 3", make(3), [1, 1])
    yield refusal(RuntimeError, "split_size must be positive", make(3), -1)


_one("reshape", lambda make: refusal(RuntimeError, "shape '[5]' is invalid for input of size 6", make(2, 3), (5,)))
_one("unsqueeze", lambda make: refusal(IndexError, "in range of [-2, 1], but got 3", make(2), 3))
_one(
    "narrow", lambda make: refusal(RuntimeError, "start (2) + length (5) exceeds dimension size (3)", make(3), 0, 2, 5)
)
_one("chunk", lambda make: refusal(RuntimeError, "expects `chunks` to be greater than 0, got: 0", make(3), 0))
_one("repeat", lambda make: refusal(RuntimeError, "Number of dimensions of repeat dims", make(2, 3), (2,)))
_one("flip", lambda make: refusal(RuntimeError, "a dim appears more than once", make(2), (0, 0)))
_one("roll", lambda make: refusal(RuntimeError, "shifts and dimensions must align", make(2), (1, 2), (0,)))
_one("unfold", lambda make: refusal(RuntimeError, "maximum size for tensor at dimension 0 is 3", make(3), 0, 5, 1))
_one("diagonal", lambda make: refusal(RuntimeError, "cannot be identical", make(3, 3), 0, 1, 1))
_one("flatten", lambda make: refusal(RuntimeError, "start_dim 1 cannot come after end_dim 0", make(3, 3), 1, 0))
_one("tril", lambda make: refusal(RuntimeError, "must have at least 2 dimensions", make(3)))
_one("triu", lambda make: refusal(RuntimeError, "must have at least 2 dimensions", make(3)))
_one(
    "constant_pad_nd",
    lambda make: refusal(RuntimeError, "plus negative padding -2 and -2, resulted in a negative", make(2, 3), (-2, -2)),
)
_one("pixel_shuffle", lambda make: refusal(RuntimeError, "divisible by 4", make(1, 3, 2, 2), 2))
_one("pad", lambda make: refusal(RuntimeError, "Padding length must be divisible by 2", make(2), (1,)))

# -- indexing --------------------------------------------------------------------------------------------------------


@errors("gather")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "Expected dtype int32 or int64 for index, got float32", make(2, 3), 0, make(2, 3))
    yield refusal(RuntimeError, "same number of dimensions as input", make(2, 3), 0, make.indices([0]))
    yield refusal(RuntimeError, "Size does not match at dimension 0", make(2, 3), 1, make.indices([[0], [0], [0]]))


@errors("scatter")
def _(make: Maker) -> Any:
    zero = make.indices([[0]])
    yield refusal(
        RuntimeError, "Expected self.dtype to be equal to src.dtype", make(2, 3), 0, zero, make.indices([[1]])
    )
    yield refusal(RuntimeError, "to be no larger in size than src", make(2, 3), 0, make.indices([[0, 0]]), make(1, 1))


_one("index_select", lambda m: refusal(IndexError, "index 5 is out of bounds for dimension 0", m(3), 0, m.indices([5])))
_one("index_add", lambda m: refusal(RuntimeError, "source has the shape [2]", m(3), 0, m.indices([0]), m(2)))
_one("masked_fill", lambda m: refusal(RuntimeError, "mask has to be of dtype bool", m(3), m(3), 1.0))
_one("masked_select", lambda m: refusal(RuntimeError, "expected BoolTensor for mask", m(3), m(3)))

# -- reductions and sorting ------------------------------------------------------------------------------------------

_one("amax", lambda m: refusal(IndexError, "Expected reduction dim 0 to have non-zero size", m(0, 3), 0))
_one("amin", lambda m: refusal(IndexError, "Expected reduction dim 0 to have non-zero size", m(0, 3), 0))
_one("argmax", lambda m: refusal(IndexError, "non-zero size", m(0), 0))
_one("argmin", lambda m: refusal(IndexError, "non-zero size", m(0), 0))
_one("max", lambda m: refusal(RuntimeError, "Expected reduction dim to be specified", m(0)))
_one("min", lambda m: refusal(RuntimeError, "Expected reduction dim to be specified", m(0)))
_one("mean", lambda m: refusal(RuntimeError, "could not infer output dtype", m.indices([1, 2])))
_one("topk", lambda m: refusal(RuntimeError, "selected index k out of range", m(3), 5))
_one("searchsorted", lambda m: refusal(RuntimeError, "the first N-1 dimensions of boundaries", m(2, 3), m(3, 3)))
_one("sum", lambda m: refusal(RuntimeError, "appears more than once", m(3, 3), (0, 0)))
_one("clamp", lambda m: refusal(RuntimeError, "At least one of 'min' or 'max' must not be None", m(3)))
_one("imag", lambda m: refusal(RuntimeError, "not implemented for tensors with non-complex dtypes", m(3)))
_one("bitwise_and", lambda m: refusal(NotImplementedError, "not implemented for", m(3), m(3)))

# -- products --------------------------------------------------------------------------------------------------------


@errors("matmul")
def _(make: Maker) -> Any:
    yield refusal(RuntimeError, "shapes cannot be multiplied (2x3 and 4x2)", make(2, 3), make(4, 2))
    yield refusal(RuntimeError, "at least 1D", make(), make(2))
    yield refusal(RuntimeError, "do not broadcast", make(2, 3, 4), make(3, 4, 2))


_one("mm", lambda m: refusal(RuntimeError, "must be a 2-dim tensor", m(2, 3), m(3)))
_one("bmm", lambda m: refusal(RuntimeError, "(b, m, n) and (b, n, p)", m(2, 3, 4), m(3, 4, 2)))
_one("mv", lambda m: refusal(RuntimeError, "shapes cannot be multiplied (2x3 and 2)", m(2, 3), m(2)))
_one("dot", lambda m: refusal(RuntimeError, "3 and 4", m(3), m(4)))
_one("addmm", lambda m: refusal(RuntimeError, "shapes cannot be multiplied", m(2, 2), m(2, 3), m(2, 3)))
_one("einsum", lambda m: refusal(RuntimeError, "subscript j has size 4", "ij,jk", [m(2, 3), m(4, 2)]))
_one("linear", lambda m: refusal(RuntimeError, "expected an input (*, 5)", m(2, 3), m(4, 5)))
_one("linalg_inv", lambda m: refusal(RuntimeError, "square", m(2, 3)))
_one("linalg_det", lambda m: refusal(RuntimeError, "square", m(2, 3)))

# -- layers and losses -----------------------------------------------------------------------------------------------

_one("conv2d", lambda m: refusal(RuntimeError, "to have 4 channels, but got 3", m(1, 3, 4, 4), m(2, 4, 3, 3)))
_one("max_pool2d", lambda m: refusal(RuntimeError, "at most half of effective kernel", m(1, 3, 4, 4), 2, padding=2))
_one("avg_pool2d", lambda m: refusal(RuntimeError, "at most half", m(1, 3, 4, 4), 2, padding=2))
_one("layer_norm", lambda m: refusal(RuntimeError, "expected input with shape [*, 4]", m(2, 3), (4,)))
_one("group_norm", lambda m: refusal(RuntimeError, "to be divisible by num_groups", m(2, 3), 2))
_one("glu", lambda m: refusal(RuntimeError, "Halving dimension must be even", m(3)))
_one("prelu", lambda m: refusal(RuntimeError, "parameter numbers = 2 and channel size = 3", m(1, 3), m(2)))
_one("mse_loss", lambda m: refusal(RuntimeError, "[2] and [3]", m(2), m(3)))
