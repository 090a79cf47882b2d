"""Short-time Fourier transforms and the windows at the top level (``torch.stft``, ``torch.hann_window`` ...)."""

from __future__ import annotations

from typing import Any

from flambeau import creation, fft
from flambeau.dtypes import dtype, float64, get_default_dtype
from flambeau.ops.call import TENSORS
from flambeau.signal import windows
from flambeau.tensor import Tensor

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "istft", "kaiser_window", "stft"]


def _window(op: str, window: Tensor | None, n_fft: int, win_length: int, like: Tensor) -> Tensor:
    """The window, ones where there is none, with zeros on both sides up to ``n_fft``."""
    if window is None:
        window = creation.ones(win_length, dtype=like.dtype.to_real(), device=like.device)
    elif window.ndim != 1 or window.shape[0] != win_length:
        raise RuntimeError(
            f"{op}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    left = (n_fft - win_length) // 2
    return TENSORS.pad(window, (left, n_fft - win_length - left)) if win_length < n_fft else window


def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
) -> Tensor:
    """Return the Fourier transforms of overlapping frames of a signal: (L) or (B, L) -> (..., N, T).

    Args:
        hop_length: the distance of the frames, ``n_fft // 4`` by default.
        window: what a frame is multiplied with, of ``win_length`` (``n_fft`` by default) values.
        center: frame t is around ``t * hop_length``; the signal is padded by ``n_fft // 2`` as ``pad_mode`` says.
        normalized: multiply by ``n_fft ** -0.5``.
        onesided: N = n_fft // 2 + 1 frequencies in place of n_fft; the default for a real signal and window.
        return_complex: False gives real and imaginary parts in a last dimension of 2.

    Raises:
        RuntimeError: for sizes that do not fit, and when a real signal comes without ``return_complex``.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    is_complex = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not is_complex:
            raise RuntimeError("stft: requires the return_complex parameter be given for real inputs")
        return_complex = True
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, got the shape {list(input.shape)}")
    if onesided is None:
        onesided = not is_complex
    elif onesided and is_complex:
        raise RuntimeError("stft: Cannot have onesided output if window or input is complex")
    if hop < 1:
        raise RuntimeError(f"stft: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < length <= n_fft:
        raise RuntimeError(f"stft: expected 0 < win_length <= n_fft, but got win_length={length}, n_fft={n_fft}")
    signal = input if input.ndim == 2 else input.unsqueeze(0)
    if center:
        half = n_fft // 2
        signal = TENSORS.pad(signal.unsqueeze(1), (half, half), pad_mode).squeeze(1)
    if not 0 < n_fft <= signal.shape[1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {signal.shape[1]}, but got n_fft={n_fft}")
    frames = TENSORS.mul(signal.unfold(-1, n_fft, hop), _window("stft", window, n_fft, length, input))
    norm = "ortho" if normalized else None
    spectrum = (fft.rfft(frames, norm=norm) if onesided else fft.fft(frames, norm=norm)).transpose(1, 2)
    if input.ndim == 1:
        spectrum = spectrum.squeeze(0)
    return spectrum if return_complex else _parts(spectrum)


def _parts(spectrum: Tensor) -> Tensor:
    return TENSORS.stack([TENSORS.real(spectrum), TENSORS.imag(spectrum)], -1)


def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """Return the signal of which ``input`` is the :func:`stft`: (..., N, T) -> (..., L), the least-squares estimate.

    Griffin & Lim, "Signal estimation from modified short-time Fourier transform", 1984.

    Args:
        length: how long the signal was; what lies beyond the frames is 0.

    Raises:
        RuntimeError: for sizes that do not fit, and when the windows leave a gap.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    window_length = n_fft if win_length is None else win_length
    if not input.is_complex():
        raise RuntimeError(f"istft: requires a complex-valued input tensor, got {input.dtype}; see view_as_complex")
    if input.ndim not in (2, 3) or not input.numel():
        raise RuntimeError(
            f"istft: expected a non-empty tensor with 2 or 3 dimensions (B, N, T), got {list(input.shape)}"
        )
    if not 0 < hop <= window_length <= n_fft:
        raise RuntimeError(
            f"istft: expected 0 < hop_length <= win_length <= n_fft, but got {hop}, {window_length} and {n_fft}"
        )
    if onesided is None:
        onesided = input.shape[-2] != n_fft
    if input.shape[-2] != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(
            f"istft: expected {n_fft // 2 + 1 if onesided else n_fft} frequencies (dim -2) for n_fft={n_fft} and "
            f"onesided={onesided}, got {input.shape[-2]}"
        )
    if return_complex and onesided:
        raise RuntimeError("istft: cannot have onesided input for a complex output")
    spectrum = (input if input.ndim == 3 else input.unsqueeze(0)).transpose(1, 2)
    weights = _window("istft", window, n_fft, window_length, input)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = fft.ifft(spectrum, norm=norm)
    else:
        if not onesided:
            spectrum = spectrum.narrow(-1, 0, n_fft // 2 + 1)
        frames = fft.irfft(spectrum, n_fft, norm=norm)
    frames = TENSORS.mul(frames, weights)
    count = frames.shape[1]
    expected = n_fft + hop * (count - 1)
    signal = _overlapped(frames, hop, expected)
    envelope = _overlapped(TENSORS.mul(weights, weights).expand(1, count, n_fft), hop, expected)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else expected - start
    signal, envelope = signal[:, start:end], envelope[:, start:end]
    lowest = envelope.abs().min().item() if envelope.numel() else 0.0
    if lowest <= 1e-11:
        raise RuntimeError(
            f"istft: window overlap add min: {lowest:g}; the windows have to cover every place of the signal"
        )
    signal = TENSORS.div(signal, envelope)
    if end > expected:
        signal = TENSORS.pad(signal, (0, end - expected))
    return signal if input.ndim == 3 else signal.squeeze(0)


def _overlapped(frames: Tensor, hop: int, length: int) -> Tensor:
    """The sum of frames that begin ``hop`` apart: (B, T, n) -> (B, length)."""
    batch, count, n = frames.shape
    starts = creation.arange(count, device=frames.device).unsqueeze(1) * hop
    places = (starts + creation.arange(n, device=frames.device)).reshape(-1)
    empty = creation.zeros((batch, length), dtype=frames.dtype, device=frames.device)
    return empty.index_add(1, places, frames.reshape(batch, count * n))


# -- windows ---------------------------------------------------------------------------------------------------------


def _window_of(
    make: Any, length: int, periodic: bool, dtype: dtype | None, device: Any, requires_grad: bool, **shape: Any
) -> Tensor:
    """A window of :mod:`flambeau.signal.windows`, which has float32 and float64 only, in any floating-point dtype."""
    kind = dtype or get_default_dtype()
    if not kind.is_floating_point:
        raise RuntimeError(f"{make.__name__}_window: expects floating point dtypes, got {kind}")
    window: Tensor = make(length, sym=not periodic, dtype=float64, device=device, **shape).to(kind)
    return window.requires_grad_(requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return sin(pi k / N)^2 with N = window_length, or window_length - 1 where not ``periodic``."""
    return _window_of(windows.hann, window_length, periodic, dtype, device, requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: dtype | None = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return alpha - beta cos(2 pi k / N)."""
    return _window_of(windows.general_cosine, window_length, periodic, dtype, device, requires_grad, a=(alpha, beta))


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return 0.42 - 0.5 cos(2 pi k / N) + 0.08 cos(4 pi k / N)."""
    return _window_of(windows.blackman, window_length, periodic, dtype, device, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return the triangle 1 - |2 k / N - 1|."""
    return _window_of(windows.bartlett, window_length, periodic, dtype, device, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: dtype | None = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Return I0(beta sqrt(1 - (2 k / N - 1)^2)) / I0(beta)."""
    return _window_of(windows.kaiser, window_length, periodic, dtype, device, requires_grad, beta=beta)
