"""``GradScaler``: the scale, the gradients, and the steps that it leaves out."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import amp, nn, optim


def setup(**options: Any) -> tuple[Any, Any, Any]:
    param = nn.Parameter(flambeau.tensor([1.0, 2.0]))
    options.setdefault("init_scale", 4.0)
    return param, optim.SGD([param], lr=0.5), amp.GradScaler("cpu", **options)


def iteration(param: Any, optimizer: Any, scaler: Any, factor: float = 1.0) -> None:
    optimizer.zero_grad()
    scaler.scale((param * factor).sum()).backward()
    scaler.step(optimizer)
    scaler.update()


def test_steps_are_those_without_a_scaler() -> None:
    param, optimizer, scaler = setup()
    iteration(param, optimizer, scaler)
    assert param.tolist() == [0.5, 1.5]
    assert param.grad.tolist() == [1.0, 1.0]


def test_gradients_can_be_clipped_in_between() -> None:
    param, optimizer, scaler = setup()
    scaler.scale((param * 3).sum()).backward()
    assert param.grad.tolist() == [12.0, 12.0]
    scaler.unscale_(optimizer)
    assert param.grad.tolist() == [3.0, 3.0]
    nn.utils.clip_grad_value_(param, 1.0)
    scaler.step(optimizer)
    assert param.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_overflows_are_left_out_and_shrink_the_scale(bad: float) -> None:
    param, optimizer, scaler = setup(backoff_factor=0.25, growth_interval=2, growth_factor=8.0)
    iteration(param, optimizer, scaler)
    iteration(param, optimizer, scaler, bad)
    assert param.tolist() == [0.5, 1.5]
    assert scaler.get_scale() == 1.0
    iteration(param, optimizer, scaler)
    assert scaler.get_scale() == 1.0  # the count of good steps began anew
    iteration(param, optimizer, scaler)
    assert scaler.get_scale() == 8.0
    assert param.tolist() == [-0.5, 0.5]


def test_the_scale_stays_finite() -> None:
    param, optimizer, scaler = setup(init_scale=2.0**127, growth_interval=1)
    iteration(param, optimizer, scaler, 1e-10)
    assert scaler.get_scale() == 2.0**127


def test_small_gradients_survive_float16() -> None:
    losses = {}
    for scale in (1.0, 2.0**14):
        weight = nn.Parameter(flambeau.ones(4, 4))
        scaler = amp.GradScaler("cpu", init_scale=scale)
        optimizer = optim.SGD([weight], lr=1.0)
        with flambeau.autocast("cpu", dtype=flambeau.float16):
            loss = (flambeau.ones(2, 4) @ weight).float().mean() * 1e-8
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        losses[scale] = weight.grad.abs().max().item()
    assert losses[1.0] == 0.0
    np.testing.assert_allclose(losses[2.0**14], 1e-8 / 4, rtol=0.05)


def test_several_outputs_and_optimizers() -> None:
    param, optimizer, scaler = setup()
    other = nn.Parameter(flambeau.ones(1))
    second = optim.SGD([other], lr=0.5)
    outputs = scaler.scale([param.sum(), (other * float("inf"),)])
    assert isinstance(outputs, list)
    assert isinstance(outputs[1], tuple)
    assert outputs[0].item() == 12.0
    assert next(iter(scaler.scale(iter([param.sum()])))).item() == 12.0
    (outputs[0] + outputs[1][0].sum()).backward()
    scaler.step(optimizer)
    scaler.step(second)
    scaler.update()
    assert param.tolist() == [0.5, 1.5]
    assert other.tolist() == [1.0]  # its gradient overflowed, the other's did not
    assert scaler.get_scale() == 2.0


def test_step_returns_what_the_optimizer_returns() -> None:
    param, _, scaler = setup()

    class Chatty(optim.SGD):
        def step(self, word: str) -> Any:  # type: ignore[override]
            super().step()
            return word

    optimizer = Chatty([param], lr=0.5)
    scaler.scale(param.sum()).backward()
    assert scaler.step(optimizer, "done") == "done"


def test_new_scale() -> None:
    param, optimizer, scaler = setup()
    iteration(param, optimizer, scaler)
    scaler.update(16.0)
    assert scaler.get_scale() == 16.0
    scaler.update(flambeau.tensor(32.0))
    assert scaler.get_scale() == 32.0
    with pytest.raises(AssertionError, match="new_scale should be"):
        scaler.update(flambeau.ones(2))


def test_state_dict_pickle_and_settings() -> None:
    param, optimizer, scaler = setup(growth_interval=3)
    iteration(param, optimizer, scaler)
    state = scaler.state_dict()
    assert state == {
        "scale": 4.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3, "_growth_tracker": 1,
    }  # fmt: skip
    restored = amp.GradScaler("cpu")
    restored.load_state_dict(state)
    for other in (restored, copy.deepcopy(scaler), pickle.loads(pickle.dumps(scaler))):
        assert other.state_dict() == state
    scaler.set_growth_factor(5.0)
    scaler.set_backoff_factor(0.1)
    scaler.set_growth_interval(2)
    assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (5.0, 0.1, 2)
    iteration(param, optimizer, scaler)
    assert scaler.get_scale() == 20.0
    scaler.scale(param.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(AssertionError, match="may only be pickled at the beginning of an iteration"):
        pickle.dumps(scaler)


def test_disabled() -> None:
    param, optimizer, scaler = setup(enabled=False)
    assert not scaler.is_enabled()
    assert scaler.get_scale() == 1.0
    assert scaler.scale(param) is param
    iteration(param, optimizer, scaler)
    assert param.tolist() == [0.5, 1.5]
    assert scaler.state_dict() == {}
    scaler.unscale_(optimizer)
    scaler.load_state_dict({})


def test_a_device_that_is_not_there_disables_it() -> None:
    if flambeau.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.warns(UserWarning, match="GradScaler is enabled for 'cuda', but CUDA is not available.  Disabling."):
        assert not amp.GradScaler().is_enabled()


def test_errors() -> None:
    param, optimizer, scaler = setup()
    with pytest.raises(AssertionError, match="Attempted step but _scale is None.  This may indicate your script"):
        scaler.step(optimizer)
    with pytest.raises(ValueError, match="outputs must be a Tensor or an iterable of Tensors"):
        scaler.scale(1.0)
    with pytest.raises(AssertionError, match="growth factor must be > 1.0"):
        amp.GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(AssertionError, match="backoff factor must be < 1.0"):
        amp.GradScaler("cpu", backoff_factor=1.0)
    narrow = nn.Parameter(flambeau.ones(2, dtype=flambeau.float16))
    scaler.scale(narrow.sum()).backward()
    with pytest.raises(ValueError, match=r"Attempting to unscale FP16 gradients\."):
        scaler.unscale_(optim.SGD([narrow]))
    iteration(param, optimizer, scaler)
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=lambda: None)
