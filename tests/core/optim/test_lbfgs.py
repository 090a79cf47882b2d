"""L-BFGS and its line search on functions whose minima are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim.line_search import Point, cubic_minimum, strong_wolfe


def minimize(objective: Any, start: Any, steps: int, **options: Any) -> tuple[np.ndarray, Any]:
    param = nn.Parameter(flambeau.tensor(start, dtype=flambeau.float64))
    optimizer = optim.LBFGS([param], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = objective(param)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return param.detach().numpy(), optimizer


def rosenbrock(x: Any) -> Any:
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_rosenbrock() -> None:
    found, optimizer = minimize(rosenbrock, [-1.2, 1.0], 3, line_search_fn="strong_wolfe", tolerance_change=1e-14)
    np.testing.assert_allclose(found, [1, 1], rtol=1e-8)
    state = optimizer.state_dict()["state"][0]
    assert state["n_iter"] <= 60
    assert state["func_evals"] <= 75


@pytest.mark.parametrize("options", [{"lr": 0.5}, {"line_search_fn": "strong_wolfe"}, {"history_size": 2, "lr": 0.5}])
def test_quadratic(options: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    root = random.normal(size=(6, 6))
    matrix, target = root @ root.T + np.eye(6), random.normal(size=6)
    a, b = flambeau.from_numpy(matrix), flambeau.from_numpy(target)
    found, _ = minimize(
        lambda x: 0.5 * x @ (a @ x) - b @ x, np.zeros(6).tolist(), 15, tolerance_change=1e-16, **options
    )
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-5, atol=1e-7)


def test_history_is_limited() -> None:
    _, optimizer = minimize(rosenbrock, [-1.2, 1.0], 2, line_search_fn="strong_wolfe", history_size=3, max_iter=6)
    state = optimizer.state_dict()["state"][0]
    assert len(state["old_dirs"]) == len(state["old_stps"]) == len(state["ro"]) == 3


def test_parameters_without_gradients_and_several_shapes() -> None:
    used, unused = nn.Parameter(flambeau.ones(2, 2)), nn.Parameter(flambeau.ones(3))
    optimizer = optim.LBFGS([unused, used], line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = ((used - 3) ** 2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    assert first.item() == 16.0
    np.testing.assert_allclose(used.detach().numpy(), np.full((2, 2), 3.0), rtol=1e-6)
    np.testing.assert_array_equal(unused.detach().numpy(), np.ones(3))


def test_nothing_happens_at_a_minimum() -> None:
    found, optimizer = minimize(rosenbrock, [1.0, 1.0], 1)
    np.testing.assert_array_equal(found, [1, 1])
    assert optimizer.state_dict()["state"][0] == {"func_evals": 1, "n_iter": 0}


def test_errors() -> None:
    param = nn.Parameter(flambeau.ones(2))
    with pytest.raises(ValueError, match="LBFGS doesn't support per-parameter options"):
        optim.LBFGS([{"params": [param]}, {"params": [nn.Parameter(flambeau.ones(2))]}])
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optim.LBFGS([param], line_search_fn="armijo").step(lambda: param.sum())


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_complex_parameters_are_minimized_by_their_parts(line_search_fn: str | None) -> None:
    target = flambeau.tensor([1 + 2j, -3j, 0.5], dtype=flambeau.complex128)
    param = nn.Parameter(flambeau.zeros(3, dtype=flambeau.complex128))
    optimizer = optim.LBFGS([param], line_search_fn=line_search_fn)

    def closure() -> flambeau.Tensor:
        optimizer.zero_grad()
        loss = ((param - target).abs() ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(param.detach().numpy(), target.numpy(), atol=1e-7)


# -- the line search ---------------------------------------------------------------------------------------------------


def point(function: Any, slope: Any, step: float) -> Point:
    return Point(step, function(step), None, slope(step))


@pytest.mark.parametrize("ends", [(0.0, 3.0), (3.0, 0.0), (0.5, 2.5)])
def test_cubic_minimum_of_a_cubic(ends: tuple[float, float]) -> None:
    function, slope = (lambda x: x**3 - 3 * x**2 + x), (lambda x: 3 * x**2 - 6 * x + 1)
    found = cubic_minimum(*(point(function, slope, end) for end in ends))
    assert found == pytest.approx(1 + np.sqrt(2 / 3))


def test_cubic_minimum_stays_within_bounds() -> None:
    function, slope = (lambda x: (x - 5) ** 2), (lambda x: 2 * (x - 5))
    ends = point(function, slope, 0.0), point(function, slope, 1.0)
    assert cubic_minimum(*ends) == 1.0
    assert cubic_minimum(*ends, bounds=(1.01, 10.0)) == pytest.approx(5)
    falling = Point(0.0, 0.0, None, -1.0), Point(1.0, -4.0, None, -1.0)  # a cubic without a minimum between
    assert cubic_minimum(Point(0.0, 0.0, None, 1.0), Point(1.0, 0.5, None, 0.25)) in (0.0, 0.5, 1.0)
    assert 0 <= cubic_minimum(*falling) <= 1


@pytest.mark.parametrize("step", [1e-3, 0.1, 1.0, 30.0])
def test_the_strong_wolfe_conditions_hold(step: float) -> None:
    # Function 1 of Moré and Thuente (1994).
    function = lambda x: -x / (x**2 + 2)
    slope = lambda x: (x**2 - 2) / (x**2 + 2) ** 2
    start = point(function, slope, 0.0)
    found, evaluations = strong_wolfe(lambda x: point(function, slope, x), start, step, 1.0)
    assert found.value <= start.value + 1e-4 * found.step * start.slope
    assert abs(found.slope) <= 0.9 * abs(start.slope)
    assert evaluations <= 12


def test_the_search_gives_up_when_told_to() -> None:
    calls = []

    def falling(x: float) -> Point:
        calls.append(x)
        return Point(x, -x, None, -1.0)

    found, evaluations = strong_wolfe(falling, Point(0.0, 0.0, None, -1.0), 1.0, 1.0, c2=0.5, max_evaluations=3)
    assert evaluations == len(calls) == 4
    assert found.value <= -1
