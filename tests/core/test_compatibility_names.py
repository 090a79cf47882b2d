"""Small names that PyTorch programs use in passing."""

from __future__ import annotations

import flambeau


def test_old_constructors():
    assert flambeau.FloatTensor([1, 2]).dtype is flambeau.float32
    assert flambeau.LongTensor([1, 2]).tolist() == [1, 2]
    assert flambeau.IntTensor(2, 3).shape == (2, 3)
    assert flambeau.DoubleTensor(flambeau.Size([4])).shape == (4,)
    assert flambeau.BoolTensor([1, 0]).tolist() == [True, False]
    assert flambeau.HalfTensor().shape == (0,)


def test_variable_is_a_tensor():
    x = flambeau.autograd.Variable(flambeau.ones(2), requires_grad=True)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    assert not flambeau.autograd.Variable(flambeau.ones(2)).requires_grad


def test_switches_of_other_libraries_are_kept_and_nothing_else():
    flambeau.backends.cudnn.benchmark = True
    assert flambeau.backends.cudnn.benchmark is True
    flambeau.backends.cudnn.benchmark = False
    assert not flambeau.backends.cudnn.is_available()
    assert not flambeau.backends.mps.is_available()


def test_spectrogram_methods():
    x = flambeau.arange(16.0)
    window = flambeau.hann_window(8)
    assert x.stft(8, window=window, return_complex=True).equal(flambeau.stft(x, 8, window=window, return_complex=True))
