"""Fourier transforms and spectrograms against NumPy and their definition; gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import fft
from flambeau.autograd.finite_differences import gradcheck, gradgradcheck
from flambeau.ops.declare import OPS

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((3, 6, 8))
COMPLEX = REAL + 1j * RANDOM.standard_normal((3, 6, 8))
NORMS = [None, "backward", "forward", "ortho"]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
@pytest.mark.parametrize(("n", "dim"), [(None, -1), (5, -1), (11, 1), (1, 0)])
def test_one_dimension(name, n, dim, norm):
    x = REAL if name in ("rfft", "ihfft") else COMPLEX
    result = getattr(fft, name)(flambeau.tensor(x), n, dim, norm)
    np.testing.assert_allclose(result.numpy(), getattr(np.fft, name)(x, n, dim, norm), rtol=1e-10, atol=1e-10)
    assert getattr(fft, name)(flambeau.tensor(x, device="meta"), n, dim, norm).shape == result.shape


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2"])
@pytest.mark.parametrize("options", [{}, {"s": (4, 9), "dim": (0, 1)}, {"s": (5, 7), "dim": (-1, 0)}])
def test_several_dimensions(name, options, norm):
    x = REAL if name.startswith("rfft") else COMPLEX
    result = getattr(fft, name)(flambeau.tensor(x), norm=norm, **options)
    options = {{"dim": "axes"}.get(key, key): value for key, value in options.items()}
    np.testing.assert_allclose(result.numpy(), getattr(np.fft, name)(x, norm=norm, **options), atol=1e-10)


def test_dtypes():
    assert fft.fft(flambeau.ones(4)).dtype is flambeau.complex64
    assert fft.rfft(flambeau.ones(4, dtype=flambeau.int32)).dtype is flambeau.complex64
    assert fft.irfft(flambeau.ones(4, dtype=flambeau.complex64)).dtype is flambeau.float32
    with pytest.raises(RuntimeError, match="expects a real input tensor, but got complex64"):
        fft.rfft(flambeau.ones(4, dtype=flambeau.complex64))
    with pytest.raises(RuntimeError, match="Unsupported dtype float16"):
        fft.fft(flambeau.ones(4, dtype=flambeau.float16))


def test_errors_name_what_is_wrong():
    x = flambeau.ones(4)
    with pytest.raises(RuntimeError, match=r"fft.fft: Invalid number of data points \(0\)"):
        fft.fft(x, 0)
    with pytest.raises(RuntimeError, match='Invalid normalization mode: "other"'):
        fft.fft(x, norm="other")
    with pytest.raises(RuntimeError, match="dims must be unique"):
        fft.fftn(flambeau.ones(4, 4), dim=(0, -2))
    with pytest.raises(IndexError, match="Dimension out of range"):
        fft.fft(x, dim=1)


@pytest.mark.parametrize("n", [7, 8])
def test_frequencies_and_their_order(n):
    np.testing.assert_allclose(fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5), rtol=1e-6)
    np.testing.assert_allclose(fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5), rtol=1e-6)
    x = RANDOM.standard_normal((n, 3))
    np.testing.assert_array_equal(fft.fftshift(flambeau.tensor(x)).numpy(), np.fft.fftshift(x))
    np.testing.assert_array_equal(fft.ifftshift(flambeau.tensor(x), 0).numpy(), np.fft.ifftshift(x, 0))


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (lambda t: fft.rfft(t, 5), REAL), (fft.rfftn, REAL), (fft.ihfft, REAL), (lambda t: fft.fft(t, 3), COMPLEX),
        (fft.irfftn, COMPLEX), (lambda t: fft.hfft(t, 5), COMPLEX), (fft.hfft2, COMPLEX),
    ],
)  # fmt: skip
def test_gradients(function, x):
    leaf = flambeau.tensor(x[:2, :3, :4]).requires_grad_()
    assert gradcheck(function, [leaf])
    assert gradgradcheck(function, [leaf])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
def test_the_decompositions_give_what_the_kernels_give(n):
    xp = flambeau.tensor(REAL)._device.xp
    z, x = COMPLEX[..., :n], REAL[..., :n]
    np.testing.assert_allclose(OPS["fft_c2c"].body(xp, z, (0, 2), True), np.fft.fftn(z, axes=(0, 2)), atol=1e-12)
    np.testing.assert_allclose(OPS["fft_r2c"].body(xp, x, 2), np.fft.rfft(x), atol=1e-12)
    half = z[..., : n // 2 + 1]
    np.testing.assert_allclose(OPS["fft_c2r"].body(xp, half, 2, n), n * np.fft.irfft(half, n), atol=1e-12)


def frames_of(x, window, n_fft, hop):
    return np.stack([np.fft.rfft(x[i : i + n_fft] * window) for i in range(0, len(x) - n_fft + 1, hop)], -1)


def test_stft_is_the_transform_of_each_frame():
    x = RANDOM.standard_normal(60)
    window = flambeau.hann_window(16, dtype=flambeau.float64)
    plain = flambeau.stft(flambeau.tensor(x), 16, 5, window=window, center=False, return_complex=True)
    np.testing.assert_allclose(plain.numpy(), frames_of(x, window.numpy(), 16, 5), atol=1e-12)
    padded = frames_of(np.pad(x, 8, mode="reflect"), window.numpy(), 16, 4)
    centered = flambeau.stft(flambeau.tensor(x)[None], 16, window=window, return_complex=False, normalized=True)
    np.testing.assert_allclose(centered.numpy(), np.stack([padded.real, padded.imag], -1)[None] / 4, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"hop_length": 5, "win_length": 12}, {"normalized": True, "onesided": False}])
def test_istft_inverts_stft(options):
    x = flambeau.tensor(RANDOM.standard_normal((2, 100)))
    window = flambeau.hamming_window(options.get("win_length", 16), dtype=flambeau.float64)
    spectrum = flambeau.stft(x, 16, window=window, return_complex=True, **options)
    np.testing.assert_allclose(flambeau.istft(spectrum, 16, window=window, length=100, **options).numpy(), x.numpy())


def test_spectrograms_name_what_does_not_fit():
    with pytest.raises(RuntimeError, match="requires the return_complex parameter"):
        flambeau.stft(flambeau.ones(30), 8)
    with pytest.raises(RuntimeError, match="expected a 1D window tensor of size equal to win_length=8"):
        flambeau.stft(flambeau.ones(30), 8, window=flambeau.ones(7), return_complex=True)
    spectrum = flambeau.stft(flambeau.ones(30), 8, return_complex=True)
    with pytest.raises(RuntimeError, match="window overlap add min: 0"):
        flambeau.istft(spectrum, 8, window=flambeau.zeros(8))


@pytest.mark.parametrize("length", [1, 2, 9, 10])
@pytest.mark.parametrize(
    "name", ["bartlett", "blackman", "cosine", "exponential", "gaussian", "hamming", "hann", "kaiser", "nuttall"]
)
def test_windows(name, length):
    signal = pytest.importorskip("scipy.signal")
    reference = {"gaussian": ("gaussian", 1.0), "kaiser": ("kaiser", 12.0)}.get(name, name)
    for sym in (True, False):
        if name == "bartlett" and length == 1:
            expected = np.ones(1)
        else:
            expected = signal.get_window(reference, length, fftbins=not sym)
        window = getattr(flambeau.signal.windows, name)(length, sym=sym, dtype=flambeau.float64)
        np.testing.assert_allclose(window.numpy(), expected, rtol=1e-10, atol=1e-12)
        if name in ("bartlett", "blackman", "hamming", "hann", "kaiser"):
            periodic = getattr(flambeau, f"{name}_window")(length, not sym, dtype=flambeau.float64)
            np.testing.assert_allclose(periodic.numpy(), window.numpy(), rtol=1e-12, atol=1e-15)
