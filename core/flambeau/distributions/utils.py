"""What the distributions share (``torch.distributions.utils``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.tensor import Tensor

__all__ = [
    "broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]  # fmt: skip


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """The values, tensors and numbers, as tensors of their common shape.

    Raises:
        ValueError: for what is neither.
    """
    for value in values:
        if not isinstance(value, (Tensor, int, float)):
            raise ValueError(
                "Input arguments must all be instances of Number or torch.Tensor in PyTorch's terms: "
                f"expected numbers and tensors, got {type(value).__name__}"
            )
    like = next((value for value in values if isinstance(value, Tensor)), None)
    kind, where = (flambeau.get_default_dtype(), None) if like is None else (like.dtype, like.device)
    if not kind.is_floating_point:
        kind = flambeau.get_default_dtype()
    tensors = [v if isinstance(v, Tensor) else flambeau.tensor(v, dtype=kind, device=where) for v in values]
    return flambeau.broadcast_tensors(*tensors)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities kept an epsilon away from 0 and 1, so that their logarithms are finite."""
    eps = flambeau.finfo(probs.dtype).eps
    return probs.clamp(eps, 1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of log-odds (``is_binary``), or of log-probabilities along the last dimension."""
    return flambeau.sigmoid(logits) if is_binary else flambeau.softmax(logits, -1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Log-odds (``is_binary``) or log-probabilities, of probabilities kept away from 0 and 1."""
    kept = clamp_probs(probs)
    return flambeau.log(kept) - flambeau.log1p(-kept) if is_binary else flambeau.log(kept)


class lazy_property:
    """A property that is computed when it is first read and kept in the instance's ``__dict__``."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.name = function.__name__
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with flambeau.enable_grad():
            value = self.function(instance)
        instance.__dict__[self.name] = value
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements of matrices on and below a diagonal, row by row, as vectors."""
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    row, column = _lower(n, diag)
    return mat[..., row, column]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Vectors as the elements on and below a diagonal of square matrices, else zeros."""
    length = vec.shape[-1]
    size = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * length + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if abs(size - round(size)) > flambeau.finfo(vec.dtype).eps:
        raise ValueError(f"The size of last dimension is {length} which cannot be expressed as the lower triangular "
                         "part of a square D x D matrix.")  # fmt: skip
    n = round(size)
    row, column = _lower(n, diag)
    # Each place of the matrix reads one element of the vector with a zero behind it.
    source = flambeau.full((n, n), length, dtype=flambeau.int64)
    source[row, column] = flambeau.arange(length)
    padded = flambeau.cat([vec, flambeau.zeros((*vec.shape[:-1], 1), dtype=vec.dtype, device=vec.device)], -1)
    taken: Tensor = padded[..., source.reshape(-1).to(vec.device)]
    return taken.reshape((*vec.shape[:-1], n, n))


def _lower(n: int, diag: int) -> tuple[Tensor, Tensor]:
    places = flambeau.tril_indices(n, n, diag)
    return places[0], places[1]
