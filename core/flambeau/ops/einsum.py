"""Einstein summation, by transposing, reshaping and multiplying pairs of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.ops.declare import composite
from flambeau.ops.spec import numel

Tensor = Any

# A dimension that an ellipsis stands for is labelled with its place counted from the back, -1, -2 ...; so the
# ellipses of several operands broadcast against each other.
Label = str | int
Labels = tuple[Label, ...]


@composite(public=())
def einsum(xp: Any, equation: str, operands: Sequence[Tensor]) -> Tensor:
    """Return sums of products of the operands' elements, as the equation says.

    ``"ij,jk->ik"`` multiplies matrices, ``"bij->bji"`` transposes, ``"ii"`` is the trace, ``"...ij,...jk"`` multiplies
    batches. Letters name dimensions; a letter that is not on the right is summed over. Without ``->`` the result
    has the ellipsis' dimensions and then, in alphabetical order, the letters that occur once.

    Operands are multiplied in pairs from left to right. Dimensions of size 1 broadcast.

    Raises:
        RuntimeError: when the equation is malformed or does not fit the operands.
    """
    inputs, output = parse(equation, [tuple(x.shape) for x in operands])
    _sizes(equation, inputs, [tuple(x.shape) for x in operands])
    terms = [_diagonals(xp, x, labels) for x, labels in zip(operands, inputs, strict=True)]
    result, labels = terms[0]
    for i, (other, other_labels) in enumerate(terms[1:], start=1):
        wanted = set(output).union(*(later for _, later in terms[i + 1 :]))
        result, labels = _multiply(xp, result, labels, other, other_labels, wanted)
    return _arrange(xp, result, labels, output)


def parse(equation: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's dimensions, and of the result's."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    subscripts = left.split(",")
    if len(subscripts) != len(shapes):
        raise RuntimeError(
            f"einsum: the equation {equation!r} has {len(subscripts)} operands, but {len(shapes)} were given"
        )
    inputs = [
        _operand(equation, i, subscript, len(shape))
        for i, (subscript, shape) in enumerate(zip(subscripts, shapes, strict=True))
    ]
    used = [label for labels in inputs for label in labels]
    broadcast = tuple(sorted({label for label in used if isinstance(label, int)}))
    if not arrow:
        once = sorted(label for label in set(used) if isinstance(label, str) and used.count(label) == 1)
        return inputs, (*broadcast, *once)
    letters = _letters(equation, "the output", right)
    output: list[Label] = []
    for letter in letters:
        if letter == "...":
            output += broadcast
        elif letter in output:
            raise RuntimeError(f"einsum: output subscript {letter} appears more than once in {equation!r}")
        elif letter not in used:
            raise RuntimeError(f"einsum: output subscript {letter} does not appear in any input of {equation!r}")
        else:
            output.append(letter)
    return inputs, tuple(output)


def _letters(equation: str, where: str, subscript: str) -> list[str]:
    """The letters, with the ellipsis as one of them."""
    head, ellipsis, tail = subscript.partition("...")
    for letter in head + tail:
        if not (letter.isascii() and letter.isalpha()):
            raise RuntimeError(
                f"einsum: invalid subscript {letter!r} in {where} of {equation!r}; subscripts are letters, and "
                "at most one ellipsis '...' for an operand"
            )
    return [*head, *([ellipsis] if ellipsis else []), *tail]


def _operand(equation: str, place: int, subscript: str, ndim: int) -> Labels:
    letters = _letters(equation, f"operand {place}", subscript)
    named = sum(letter != "..." for letter in letters)
    if named > ndim or (named < ndim and "..." not in letters):
        raise RuntimeError(
            f"einsum: the number of subscripts in the equation ({named}) does not match the number of dimensions "
            f"({ndim}) for operand {place} of {equation!r}"
        )
    labels: list[Label] = []
    for letter in letters:
        labels += range(named - ndim, 0) if letter == "..." else [letter]
    return tuple(labels)


def _sizes(equation: str, inputs: list[Labels], shapes: Sequence[tuple[int, ...]]) -> None:
    """Check that a label has one size everywhere, or 1."""
    sizes: dict[Label, int] = {}
    for place, (labels, shape) in enumerate(zip(inputs, shapes, strict=True)):
        for d, (label, size) in enumerate(zip(labels, shape, strict=True)):
            known = sizes.setdefault(label, size)
            if known == 1:
                sizes[label] = size
            elif size not in (1, known):
                named = f"subscript {label}" if isinstance(label, str) else "the ellipsis"
                raise RuntimeError(
                    f"einsum: operands do not broadcast in {equation!r}: {named} has size {size} for dimension {d} of "
                    f"operand {place}, which does not broadcast with previously seen size {known}"
                )


def _diagonals(xp: Any, x: Any, labels: Labels) -> tuple[Any, Labels]:
    """Take the diagonal over labels that occur twice."""
    repeated = next((label for label in labels if labels.count(label) > 1), None)
    if repeated is None:
        return x, labels
    first = labels.index(repeated)
    second = labels.index(repeated, first + 1)
    if x.shape[first] != x.shape[second]:
        raise RuntimeError(
            f"einsum: subscript {repeated} is repeated for an operand, but its sizes {x.shape[first]} and "
            f"{x.shape[second]} differ"
        )
    # The diagonal becomes the last dimension.
    rest = tuple(label for d, label in enumerate(labels) if d not in (first, second))
    return _diagonals(xp, xp.diagonal(x, 0, first, second), (*rest, repeated))


def _sum_out(xp: Any, x: Any, labels: Labels, drop: set[Label]) -> tuple[Any, Labels]:
    dims = tuple(d for d, label in enumerate(labels) if label in drop)
    return (xp.sum(x, dims, False), tuple(label for label in labels if label not in drop)) if dims else (x, labels)


def _multiply(xp: Any, a: Any, labels_a: Labels, b: Any, labels_b: Labels, wanted: set[Label]) -> tuple[Any, Labels]:
    """The product of two operands, summed over what is not wanted any more."""
    a, labels_a = _sum_out(xp, a, labels_a, set(labels_a) - set(labels_b) - wanted)
    b, labels_b = _sum_out(xp, b, labels_b, set(labels_b) - set(labels_a) - wanted)
    common = [label for label in labels_a if label in labels_b]
    size_a, size_b = dict(zip(labels_a, a.shape, strict=True)), dict(zip(labels_b, b.shape, strict=True))
    # Where a size is 1 against n, summing multiplies one element with a sum, which is done first.
    for label in [label for label in common if label not in wanted and size_a[label] != size_b[label]]:
        one_a = size_a[label] == 1
        if one_a:
            b = xp.sum(b, (labels_b.index(label),), True)
        else:
            a = xp.sum(a, (labels_a.index(label),), True)
        size_a[label] = size_b[label] = 1
    batch = [label for label in common if label in wanted]
    summed = [label for label in common if label not in wanted]
    only_a = [label for label in labels_a if label not in common]
    only_b = [label for label in labels_b if label not in common]
    lead_a, lead_b = tuple(size_a[label] for label in batch), tuple(size_b[label] for label in batch)
    free_a, free_b = [size_a[label] for label in only_a], [size_b[label] for label in only_b]
    inner = numel([size_a[label] for label in summed])
    left = xp.reshape(_ordered(xp, a, labels_a, (*batch, *only_a, *summed)), (*lead_a, numel(free_a), inner))
    right = xp.reshape(_ordered(xp, b, labels_b, (*batch, *summed, *only_b)), (*lead_b, inner, numel(free_b)))
    # Without a sum a plain product is faster, and exact in every dtype.
    product = xp.matmul(left, right) if summed else xp.mul(left, right)
    lead = tuple(product.shape[: len(batch)])
    return xp.reshape(product, (*lead, *free_a, *free_b)), (*batch, *only_a, *only_b)


def _ordered(xp: Any, x: Any, labels: Labels, wanted: Labels) -> Any:
    order = tuple(labels.index(label) for label in wanted)
    return x if order == tuple(range(len(order))) else xp.permute(x, order)


def _arrange(xp: Any, x: Any, labels: Labels, output: Labels) -> Any:
    x, labels = _sum_out(xp, x, labels, set(labels) - set(output))
    return _ordered(xp, x, labels, output)
