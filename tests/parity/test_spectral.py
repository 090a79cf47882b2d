"""Fourier transforms, spectrograms and windows, side by side with PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((3, 6, 8))
COMPLEX = REAL + 1j * RANDOM.standard_normal((3, 6, 8))


@pytest.mark.parametrize("options", [{}, {"norm": "ortho"}, {"norm": "forward"}, {"s": (4, 9), "dim": (0, 1)}])
@pytest.mark.parametrize(
    "name", ["fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2", "fftn", "irfftn", "hfftn", "ihfftn"]
)
def test_transforms(name, options):
    x = REAL if name.startswith(("rfft", "ihfft")) else COMPLEX
    ours = getattr(flambeau.fft, name)(flambeau.tensor(x), **options)
    theirs = getattr(torch.fft, name)(torch.tensor(x), **options).resolve_conj()
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"n_fft": 16},
        {"n_fft": 16, "hop_length": 5, "win_length": 10},
        {"n_fft": 16, "normalized": True, "onesided": False},
        {"n_fft": 15, "hop_length": 3},
    ],
)
@pytest.mark.parametrize("length", [None, 90, 110])
@pytest.mark.filterwarnings("ignore:The length of signal")
def test_spectrograms_and_back(options, length):
    signal = RANDOM.standard_normal((2, 100))
    window = flambeau.hann_window(options.get("win_length", options["n_fft"]), dtype=flambeau.float64)
    theirs_window = torch.tensor(window.numpy())
    ours = flambeau.stft(flambeau.tensor(signal), window=window, return_complex=True, **options)
    theirs = torch.stft(torch.tensor(signal), window=theirs_window, return_complex=True, **options)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-10)
    if length == 110 and "win_length" in options:
        # The last frame ends before: both refuse.
        for library, spectrum, weights in ((flambeau, ours, window), (torch, theirs, theirs_window)):
            with pytest.raises(RuntimeError, match="window overlap add min"):
                library.istft(spectrum, window=weights, length=length, **options)
        return
    back = flambeau.istft(ours, window=window, length=length, **options)
    theirs_back = torch.istft(theirs, window=theirs_window, length=length, **options)
    np.testing.assert_allclose(back.numpy(), theirs_back.numpy(), atol=1e-8)


@pytest.mark.parametrize("length", [0, 1, 2, 9, 10])
@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows(name, length):
    for periodic in (True, False):
        ours = getattr(flambeau, f"{name}_window")(length, periodic)
        theirs = getattr(torch, f"{name}_window")(length, periodic)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
