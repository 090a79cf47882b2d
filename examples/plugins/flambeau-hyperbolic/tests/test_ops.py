"""The ops: what they mean, gradients at the edges, the kernel, and the conformance kit."""

from __future__ import annotations

import math
import subprocess
import sys

import flambeau
import pytest
from flambeau import dispatch, ops

NAMES = "tanhc,atanhc,poincare_exp,poincare_log,mobius_add,poincare_distance"


def points(*shape: int) -> flambeau.Tensor:
    flambeau.manual_seed(0)
    return flambeau.rand(*shape, dtype=flambeau.float64) - 0.5


def test_log_undoes_exp_and_a_point_less_itself_is_the_center() -> None:
    x = points(5, 3)
    flambeau.testing.assert_close(ops.poincare_log(ops.poincare_exp(x, 0.7), 0.7), x)
    flambeau.testing.assert_close(ops.mobius_add(-x, x), flambeau.zeros_like(x))


def test_distance_from_the_center_and_by_the_sum() -> None:
    x, y = points(5, 3), points(10, 3)[5:]
    center = flambeau.zeros(3, dtype=flambeau.float64)
    flambeau.testing.assert_close(ops.poincare_distance(center, ops.poincare_exp(x)), 2 * x.norm(dim=-1))
    along = ops.poincare_log(ops.mobius_add(-x, y)).norm(dim=-1)
    flambeau.testing.assert_close(ops.poincare_distance(x, y), 2 * along)


def test_gradient_of_no_distance_is_zero_and_of_a_small_one_exact() -> None:
    x = flambeau.tensor([[0.1, 0.2], [0.3, 0.0]], requires_grad=True)
    ops.poincare_distance(x, x.detach()).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    near = flambeau.tensor([0.3, 1e-4], requires_grad=True)
    distance = ops.poincare_distance(near, flambeau.tensor([0.3, 0.0]))
    distance.backward()
    assert near.grad is not None
    assert distance.item() == pytest.approx(2e-4 / (1 - 0.09), rel=1e-5)
    assert near.grad[1].item() == pytest.approx(2 / (1 - 0.09), rel=1e-5)


def test_the_kernel_runs_on_the_cpu_and_gives_what_the_declaration_says() -> None:
    assert dispatch.kernel_origins("cpu")["poincare_distance"] == "hyperbolic"
    x, y = points(50, 4), points(100, 4)[50:]
    own = ops.poincare_distance(x, y)
    try:
        dispatch.decompose("cpu")
        flambeau.testing.assert_close(own, ops.poincare_distance(x, y))
    finally:
        dispatch.decompose("cpu", False)
    assert ops.poincare_distance(x.half(), y.half()).dtype is flambeau.float16


def test_triangles_obey_the_hyperbolic_law_of_cosines() -> None:
    """``cosh c = cosh a cosh b - sinh a sinh b cos gamma``, with the center at the corner gamma."""
    a, b = (flambeau.tensor(sides, dtype=flambeau.float64) for sides in ([0.5, 1.0, 4.0, 6.0], [2.0, 1.0, 3.0, 6.0]))
    for gamma in (0.3, 1.0, 2.5, math.pi):
        one = flambeau.stack([a, flambeau.zeros_like(a)], -1) / 2
        other = flambeau.stack([b * math.cos(gamma), b * math.sin(gamma)], -1) / 2
        c = ops.poincare_distance(ops.poincare_exp(one), ops.poincare_exp(other))
        flambeau.testing.assert_close(c.cosh(), a.cosh() * b.cosh() - a.sinh() * b.sinh() * math.cos(gamma))


def test_the_mean_of_points_is_found_by_descent() -> None:
    """Of points around the center, moved by ``z +``, which keeps distances, it is z."""
    around = ops.poincare_exp(points(6, 2))
    z = flambeau.tensor([0.6, -0.3], dtype=flambeau.float64)
    moved = ops.mobius_add(z, flambeau.cat([around, -around]))
    place = flambeau.zeros(2, dtype=flambeau.float64, requires_grad=True)
    optimizer = flambeau.optim.SGD([place], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        ops.poincare_distance(ops.poincare_exp(place), moved).square().mean().backward()
        optimizer.step()
    flambeau.testing.assert_close(ops.poincare_exp(place).detach(), z, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_point_outside_of_the_ball_has_no_logarithm() -> None:
    assert ops.poincare_log(flambeau.ones(2)).isnan().all()


def test_refusals() -> None:
    with pytest.raises(RuntimeError, match=r"poincare_exp: expected a positive curvature, got 0"):
        ops.poincare_exp(flambeau.ones(2), 0)
    with pytest.raises(RuntimeError, match=r"mobius_add: expected other to hold vectors, of shape \(..., D\)"):
        ops.mobius_add(flambeau.ones(2), flambeau.tensor(1.0))


def test_the_ops_pass_the_conformance_kit() -> None:
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "flambeau.testing"]
    options = ["--samples", "flambeau_hyperbolic.samples", "--op", NAMES]
    done = subprocess.run([*kit, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
