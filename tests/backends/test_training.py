"""Training on every device that is here: ten steps have the losses of the CPU."""

from __future__ import annotations

import numpy
import pytest
from training_models import MODELS, Training

from flambeau import backends, devices, dispatch

DEVICES = [name for name in dispatch.available() if name not in devices.SINGLE]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("device", DEVICES)
def test_ten_steps_have_the_losses_of_the_cpu(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.cudnn, "allow_tf32", False)  # cuDNN's convolutions would be in TF32, as in PyTorch
    expected = Training(name, "cpu").losses(10)
    assert expected[-1] < expected[0]
    # A loss is the difference of scores of about 10, which float32 rounds at the sixth digit.
    numpy.testing.assert_allclose(Training(name, device).losses(10), expected, rtol=1e-4, atol=5e-6)
