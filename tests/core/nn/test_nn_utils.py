"""Clipping gradients; parameters as one vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.nn import utils


def parameters(*grads: list[float] | None) -> list[Any]:
    made = []
    for grad in grads:
        parameter = nn.Parameter(flambeau.zeros(len(grad or [0.0])))
        parameter.grad = None if grad is None else flambeau.tensor(grad)
        made.append(parameter)
    return made


@pytest.mark.parametrize(
    ("norm_type", "expected"),
    [(2, 13.0), (1, 19.0), (math.inf, 12.0), (-math.inf, 3.0), (3, (27 + 64 + 1728) ** (1 / 3)), (0, math.sqrt(3))],
)
def test_the_norm_is_that_of_one_vector(norm_type: float, expected: float) -> None:
    params = parameters([3.0, -4.0], None, [12.0])
    if norm_type == 0:
        # PyTorch takes the norm of the norms here, too: the number of tensors that are not all zero.
        expected = 2.0
    assert utils.clip_grad_norm_(params, 1e9, norm_type).item() == pytest.approx(expected, rel=1e-6)
    assert params[0].grad.tolist() == [3.0, -4.0]


def test_clipping_scales_all_gradients_alike() -> None:
    params = parameters([3.0, 4.0], [12.0])
    assert utils.clip_grad_norm_(iter(params), 6.5).item() == 13
    np.testing.assert_allclose(params[0].grad.numpy(), [1.5, 2.0], rtol=1e-5)
    np.testing.assert_allclose(params[1].grad.numpy(), [6.0], rtol=1e-5)
    total = utils.get_total_norm([parameter.grad for parameter in params])
    utils.clip_grads_with_norm_(params, 1.0, total)
    assert utils.get_total_norm([parameter.grad for parameter in params]).item() == pytest.approx(1, rel=1e-5)


def test_a_single_tensor_and_none_at_all() -> None:
    (parameter,) = parameters([3.0, 4.0])
    assert utils.clip_grad_norm_(parameter, 1.0).item() == 5
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.clip_grad_norm_(parameters(None), 1.0).item() == 0


def test_gradients_that_are_not_finite() -> None:
    params = parameters([math.nan, 1.0])
    assert math.isnan(utils.clip_grad_norm_(params, 1.0).item())
    with pytest.raises(RuntimeError, match="The total norm of order 2.0 for gradients from `parameters` is non-finite"):
        utils.clip_grad_norm_(parameters([math.inf]), 1.0, error_if_nonfinite=True)


def test_clipping_values() -> None:
    params = parameters([3.0, -0.2], None, [-5.0])
    utils.clip_grad_value_(params, 0.5)
    np.testing.assert_allclose(params[0].grad.numpy(), [0.5, -0.2], rtol=1e-6)
    assert params[2].grad.tolist() == [-0.5]


def test_vectors_and_back() -> None:
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    vector = utils.parameters_to_vector(source.parameters())
    assert tuple(vector.shape) == (9,)
    assert vector[:6].tolist() == source.weight.flatten().tolist()
    vector.sum().backward()
    assert source.bias.grad.tolist() == [1.0] * 3
    before = list(target.parameters())
    utils.vector_to_parameters(vector.detach(), target.parameters())
    assert target.weight.tolist() == source.weight.tolist()
    assert all(one is other for one, other in zip(before, target.parameters(), strict=True))
    assert target.weight.requires_grad
    with pytest.raises(TypeError, match=r"expected flambeau\.Tensor, but got: list"):
        utils.vector_to_parameters([1.0], target.parameters())


def test_parameters_on_two_devices() -> None:
    mixed = [nn.Parameter(flambeau.zeros(1)), nn.Parameter(flambeau.zeros(1, device="meta"))]
    with pytest.raises(TypeError, match="Found two parameters on different devices"):
        utils.parameters_to_vector(mixed)


def test_half_precision_does_not_overflow() -> None:
    parameter = nn.Parameter(flambeau.zeros(2, dtype=flambeau.float16))
    parameter.grad = flambeau.tensor([3000.0, 4000.0], dtype=flambeau.float16)
    norm = utils.clip_grad_norm_([parameter], 5.0)
    assert norm.dtype == flambeau.float16
    assert norm.item() == 5000
    np.testing.assert_allclose(parameter.grad.numpy(), [3, 4], rtol=1e-2)


def test_gradients_of_two_dtypes() -> None:
    params = [nn.Parameter(flambeau.zeros(1, dtype=dtype)) for dtype in (flambeau.float32, flambeau.float64)]
    for parameter, value in zip(params, (3.0, 4.0), strict=True):
        parameter.grad = flambeau.full((1,), value, dtype=parameter.dtype)
    assert utils.clip_grad_norm_(params, 2.5).item() == 5
    assert [parameter.grad.item() for parameter in params] == pytest.approx([1.5, 2.0], rel=1e-5)
    assert [parameter.grad.dtype for parameter in params] == [flambeau.float32, flambeau.float64]


def test_modules_without_initial_values() -> None:
    before = flambeau.get_rng_state().tolist()
    layer = utils.skip_init(nn.Linear, 3, 2, bias=False)
    assert flambeau.get_rng_state().tolist() == before  # nothing was drawn
    assert (layer.weight.device.type, tuple(layer.weight.shape), layer.bias) == ("cpu", (2, 3), None)
    assert utils.skip_init(nn.Linear, 3, 2, device="meta").weight.is_meta
    with pytest.raises(RuntimeError, match="Module must support a 'device' arg"):
        utils.skip_init(nn.ReLU)
    with pytest.raises(RuntimeError, match="Expected a Module; got <class 'int'>"):
        utils.skip_init(int, 3)
