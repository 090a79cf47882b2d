"""Discrete Fourier transforms (``torch.fft``).

``norm`` says where the factor 1/n goes: ``"backward"`` (the default: into the inverse), ``"forward"``, or ``"ortho"``
(its root into both). Sizes ``n`` and ``s`` cut the input off or fill it up with zeros first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flambeau import creation
from flambeau.dtypes import FLOATING, dtype, get_default_dtype
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.ops.spec import wrap_dim
from flambeau.tensor import Tensor

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

Sizes = Sequence[int] | None
Dims = Sequence[int] | int | None


def _floating(op: str, input: Any, is_complex: bool | None) -> Tensor:
    """The input in the dtype to transform: complex, real (``is_complex=False``), or either (None)."""
    if not isinstance(input, Tensor):
        raise TypeError(f"fft.{op}(): argument 'input' must be Tensor, not {type(input).__name__}")
    kind = input.dtype
    if kind.category < FLOATING:
        kind = get_default_dtype()
    elif kind.name in ("float16", "bfloat16"):
        raise RuntimeError(f"fft.{op}: Unsupported dtype {kind.name}; use float32 or float64")
    if is_complex is False and kind.is_complex:
        raise RuntimeError(f"fft.{op}: expects a real input tensor, but got {kind.name}")
    return input.to(kind.to_complex() if is_complex else kind)


def _dims_and_sizes(op: str, input: Tensor, s: Sizes, dim: Dims) -> tuple[tuple[int, ...], list[int]]:
    """The dims to transform, non-negative, and the size of the signal in each."""
    if dim is None:
        dims = tuple(range(input.ndim)) if s is None else tuple(range(input.ndim - len(s), input.ndim))
        if dims and dims[0] < 0:
            raise RuntimeError(f"fft.{op}: Got shape with {len(s or ())} values but input tensor only has "
                               f"{input.ndim} dimensions.")  # fmt: skip
    else:
        dims = tuple([wrap_dim(f"fft.{op}", d, input.ndim) for d in ([dim] if isinstance(dim, int) else dim)])
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"fft.{op}: FFT dims must be unique, got {dim}")
        if s is not None and len(s) != len(dims):
            raise RuntimeError(
                f"fft.{op}: When given, dim and shape arguments must have the same length, got {len(dims)} and {len(s)}"
            )
    sizes = [input.shape[d] for d in dims]
    if s is not None:
        sizes = [own if n == -1 else n for n, own in zip(s, sizes, strict=True)]
    return dims, sizes


def _check_sizes(op: str, sizes: Sequence[int]) -> None:
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"fft.{op}: Invalid number of data points ({n}) specified; at least 1 is needed")


def _resized(input: Tensor, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """The input cut off or filled up with zeros to ``sizes``."""
    for d, n in zip(dims, sizes, strict=True):
        own = input.shape[d]
        if n < own:
            input = input.narrow(d, 0, n)
        elif n > own:
            tail = (*input.shape[:d], n - own, *input.shape[d + 1 :])
            input = TENSORS.cat([input, creation.zeros(tail, dtype=input.dtype, device=input.device)], d)
    return input


def _scaled(op: str, result: Tensor, norm: str | None, count: int, forward: bool) -> Tensor:
    """A sum over ``count`` terms normalised as ``norm`` says."""
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'fft.{op}: Invalid normalization mode: "{norm}"; use "backward", "forward" or "ortho"')
    if norm == "ortho":
        return TENSORS.mul(result, 1 / math.sqrt(count))
    return TENSORS.mul(result, 1 / count) if (norm == "forward") == forward else result


def _finish(op: str, result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else write_out(OPS[op], result, out)


def _c2c(op: str, input: Any, s: Sizes, dim: Dims, norm: str | None, forward: bool, out: Tensor | None) -> Tensor:
    input = _floating(op, input, True)
    dims, sizes = _dims_and_sizes(op, input, s, dim)
    _check_sizes(op, sizes)
    result = TENSORS.fft_c2c(_resized(input, dims, sizes), dims, forward) if dims else input
    return _finish("fft_c2c", _scaled(op, result, norm, math.prod(sizes), forward), out)


def _r2c(op: str, input: Any, s: Sizes, dim: Dims, norm: str | None, forward: bool, out: Tensor | None) -> Tensor:
    """Real to half a Hermitian spectrum; the inverse transform is the conjugate one."""
    input = _floating(op, input, False)
    dims, sizes = _dims_and_sizes(op, input, s, dim)
    _check_sizes(op, sizes)
    if not dims:
        raise RuntimeError(f"fft.{op}: must transform at least one axis")
    half = TENSORS.fft_r2c(_resized(input, dims, sizes), dims[-1])
    if not forward:
        half = TENSORS.conj(half)
    result = TENSORS.fft_c2c(half, dims[:-1], forward) if len(dims) > 1 else half
    return _finish("fft_r2c", _scaled(op, result, norm, math.prod(sizes), forward), out)


def _c2r(op: str, input: Any, s: Sizes, dim: Dims, norm: str | None, forward: bool, out: Tensor | None) -> Tensor:
    """Half a Hermitian spectrum to real; the forward transform is that of the conjugate."""
    input = _floating(op, input, True)
    dims, sizes = _dims_and_sizes(op, input, s, dim)
    if not dims:
        raise RuntimeError(f"fft.{op}: must transform at least one axis")
    if s is None or s[-1] == -1:
        sizes[-1] = 2 * (sizes[-1] - 1)
    _check_sizes(op, sizes)
    half = _resized(input, dims, [*sizes[:-1], sizes[-1] // 2 + 1])
    if len(dims) > 1:
        half = TENSORS.fft_c2c(half, dims[:-1], forward)
    if forward:
        half = TENSORS.conj(half)
    result = TENSORS.fft_c2r(half, dims[-1], sizes[-1])
    return _finish("fft_c2r", _scaled(op, result, norm, math.prod(sizes), forward), out)


def _one(n: int | None) -> Sizes:
    return None if n is None else (n,)


# -- one dimension ---------------------------------------------------------------------------------------------------


def fft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the transform along ``dim``: the sums over x[j] exp(-2 pi i j k / n)."""
    return _c2c("fft", input, _one(n), dim, norm, True, out)


def ifft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the inverse of :func:`fft`."""
    return _c2c("ifft", input, _one(n), dim, norm, False, out)


def rfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the n // 2 + 1 first values of the transform of a real signal; the others are their conjugates."""
    return _r2c("rfft", input, _one(n), dim, norm, True, out)


def irfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the inverse of :func:`rfft`, of the length ``n``, 2 (m - 1) for an input of m values."""
    return _c2r("irfft", input, _one(n), dim, norm, False, out)


def hfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the transform, which is real, of a Hermitian signal in time given by its n // 2 + 1 first values."""
    return _c2r("hfft", input, _one(n), dim, norm, True, out)


def ihfft(
    input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the inverse of :func:`hfft`: n // 2 + 1 values."""
    return _r2c("ihfft", input, _one(n), dim, norm, False, out)


# -- several dimensions ----------------------------------------------------------------------------------------------


def fftn(
    input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the transform along several dims, all by default."""
    return _c2c("fftn", input, s, dim, norm, True, out)


def ifftn(
    input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the inverse of :func:`fftn`."""
    return _c2c("ifftn", input, s, dim, norm, False, out)


def rfftn(
    input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the transform of a real signal along several dims; the last of them is cut to n // 2 + 1."""
    return _r2c("rfftn", input, s, dim, norm, True, out)


def irfftn(
    input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the inverse of :func:`rfftn`."""
    return _c2r("irfftn", input, s, dim, norm, False, out)


def hfftn(
    input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the real transform of a signal that is Hermitian in time, along several dims."""
    return _c2r("hfftn", input, s, dim, norm, True, out)


def ihfftn(
    input: Tensor, s: Sizes = None, dim: Dims = None, norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return the inverse of :func:`hfftn`."""
    return _r2c("ihfftn", input, s, dim, norm, False, out)


def fft2(
    input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return :func:`fftn` over the last two dims."""
    return _c2c("fft2", input, s, dim, norm, True, out)


def ifft2(
    input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return :func:`ifftn` over the last two dims."""
    return _c2c("ifft2", input, s, dim, norm, False, out)


def rfft2(
    input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return :func:`rfftn` over the last two dims."""
    return _r2c("rfft2", input, s, dim, norm, True, out)


def irfft2(
    input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return :func:`irfftn` over the last two dims."""
    return _c2r("irfft2", input, s, dim, norm, False, out)


def hfft2(
    input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return :func:`hfftn` over the last two dims."""
    return _c2r("hfft2", input, s, dim, norm, True, out)


def ihfft2(
    input: Tensor, s: Sizes = None, dim: Dims = (-2, -1), norm: str | None = None, *, out: Tensor | None = None
) -> Tensor:
    """Return :func:`ihfftn` over the last two dims."""
    return _r2c("ihfft2", input, s, dim, norm, False, out)


# -- frequencies and their order -------------------------------------------------------------------------------------


def fftfreq(n: int, d: float = 1.0, *, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """Return the frequencies of :func:`fft` for ``n`` samples at the distance ``d``: those >= 0 first."""
    positive = creation.arange((n + 1) // 2, dtype=dtype or get_default_dtype(), device=device)
    negative = creation.arange(-(n // 2), 0, dtype=dtype or get_default_dtype(), device=device)
    return TENSORS.cat([positive, negative], 0).mul(1.0 / (n * d))


def rfftfreq(n: int, d: float = 1.0, *, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """Return the n // 2 + 1 frequencies of :func:`rfft`."""
    return creation.arange(n // 2 + 1, dtype=dtype or get_default_dtype(), device=device).mul(1.0 / (n * d))


def _shifted(op: str, input: Tensor, dim: Dims, back: bool) -> Tensor:
    dims, sizes = _dims_and_sizes(op, input, None, dim)
    return input.roll([(n + 1) // 2 if back else n // 2 for n in sizes], list(dims)) if dims else input


def fftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """Return a transform reordered so that the frequency 0 is in the middle."""
    return _shifted("fftshift", input, dim, False)


def ifftshift(input: Tensor, dim: Dims = None) -> Tensor:
    """Return the inverse of :func:`fftshift`."""
    return _shifted("ifftshift", input, dim, True)
