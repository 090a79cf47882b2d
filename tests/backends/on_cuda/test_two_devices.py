"""Two devices: kernels run where their arrays are."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import cuda
from flambeau.nn import functional as F

pytestmark = pytest.mark.skipif(cuda.device_count() < 2, reason="there are no two CUDA devices here")


def test_kernels_run_where_their_arrays_are() -> None:
    x = flambeau.arange(6.0, device="cuda:1").reshape(2, 3).requires_grad_()
    y = F.softmax(x @ flambeau.rand(3, 4, device="cuda:1"), 1).sum() + x.pow(2).sum()
    y.backward()
    assert x.grad.device == flambeau.device("cuda:1")
    assert x.detach().to("cuda:0").device.index == 0
    with pytest.raises(RuntimeError, match="device"):
        flambeau.ones(2, device="cuda:0") + flambeau.ones(2, device="cuda:1")
    with pytest.raises(IndexError, match="index: index 9"):
        flambeau.arange(3, device="cuda:1")[flambeau.tensor([9], device="cuda:1")].cpu()
