"""Initial values: distributions by their moments, structures exactly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

import flambeau
from flambeau import nn
from flambeau.nn import init


def values(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64).ravel()


def assert_follows(tensor: Any, distribution: Any) -> None:
    # One false alarm in a thousand seeds; the seed is fixed.
    assert stats.kstest(values(tensor), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("fill", "distribution"),
    [
        (lambda t: init.uniform_(t, -1, 3), stats.uniform(-1, 4)),
        (lambda t: init.normal_(t, 2, 0.5), stats.norm(2, 0.5)),
        (lambda t: init.trunc_normal_(t), stats.truncnorm(-2, 2)),
        (lambda t: init.trunc_normal_(t, 1.0, 2.0, -1.0, 1.5), stats.truncnorm(-1, 0.25, 1, 2)),
        (lambda t: init.trunc_normal_(t, 0.0, 1.0, 1.0, 4.0), stats.truncnorm(1, 4)),
        (lambda t: init.xavier_uniform_(t, 2), stats.uniform(-2 * math.sqrt(6 / 300), 4 * math.sqrt(6 / 300))),
        (lambda t: init.xavier_normal_(t), stats.norm(0, math.sqrt(2 / 300))),
        (lambda t: init.kaiming_uniform_(t), stats.uniform(-math.sqrt(6 / 200), 2 * math.sqrt(6 / 200))),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"), stats.norm(0, math.sqrt(2 / 100))),
        (lambda t: init.kaiming_normal_(t, a=1), stats.norm(0, math.sqrt(1 / 200))),
    ],
)
def test_distributions(fill: Any, distribution: Any) -> None:
    tensor = nn.Parameter(flambeau.empty(100, 200))
    assert fill(tensor) is tensor
    assert tensor.requires_grad
    assert tensor.is_leaf
    assert_follows(tensor, distribution)


def test_truncated_normal_stays_within_its_bounds() -> None:
    for bounds in ((-0.5, 0.7), (1.5, 3.0)):
        drawn = values(init.trunc_normal_(flambeau.empty(2000), 0.0, 1.0, *bounds))
        assert bounds[0] <= drawn.min() < drawn.max() <= bounds[1]
    with pytest.warns(UserWarning, match=r"mean is more than 2 std from \[a, b\]"):
        init.trunc_normal_(flambeau.empty(10), 0.0, 1.0, 3.0, 4.0)


def test_fans_count_the_window() -> None:
    assert init._calculate_fan_in_and_fan_out(flambeau.empty(8, 3, 5, 2)) == (30, 80)
    assert init._calculate_correct_fan(flambeau.empty(8, 3), "FAN_OUT") == 8
    with pytest.raises(ValueError, match="can not be computed for tensor with fewer than 2 dimensions"):
        init.xavier_uniform_(flambeau.empty(3))
    with pytest.raises(ValueError, match=r"Mode fan not supported, please use one of \['fan_in', 'fan_out'\]"):
        init.kaiming_uniform_(flambeau.empty(3, 3), mode="fan")


def test_gains() -> None:
    assert (
        init.calculate_gain("linear") == init.calculate_gain("conv_transpose2d") == init.calculate_gain("sigmoid") == 1
    )
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    assert init.calculate_gain("leaky_relu", 1) == 1
    assert init.calculate_gain("selu") == 0.75
    for wrong in (True, "0.1"):
        with pytest.raises(ValueError, match=f"negative_slope {wrong} not a valid number"):
            init.calculate_gain("leaky_relu", wrong)
    with pytest.raises(ValueError, match="Unsupported nonlinearity gelu"):
        init.calculate_gain("gelu")


def test_constants() -> None:
    tensor = flambeau.empty(2, 3)
    assert init.constant_(tensor, 0.3).tolist() == flambeau.full((2, 3), 0.3).tolist()
    assert init.ones_(tensor).tolist() == [[1.0] * 3] * 2
    assert init.zeros_(tensor).tolist() == [[0.0] * 3] * 2
    assert init.eye_(tensor).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    with pytest.raises(ValueError, match="Only tensors with 2 dimensions are supported"):
        init.eye_(flambeau.empty(2))


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_keeps_the_channels(groups: int) -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1, groups=groups, bias=False)
    init.dirac_(layer.weight, groups)
    x = flambeau.randn(1, 4, 5, 5)
    np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="dim 0 must be divisible by groups"):
        init.dirac_(flambeau.empty(3, 3, 3), 2)
    with pytest.raises(ValueError, match="Only tensors with 3, 4, or 5 dimensions are supported"):
        init.dirac_(flambeau.empty(3, 3))


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 2, 3)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal_(flambeau.empty(shape), gain=2).numpy().reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-5)
    with pytest.raises(ValueError, match="Only tensors with 2 or more dimensions are supported"):
        init.orthogonal_(flambeau.empty(3))


def test_orthogonal_matrices_are_not_all_alike() -> None:
    # Without the signs of R, the diagonal of Q would have one sign most of the time.
    diagonals = [np.diag(init.orthogonal_(flambeau.empty(3, 3)).numpy()) for _ in range(100)]
    assert 0.35 < (np.array(diagonals) > 0).mean() < 0.65


def test_sparse_columns() -> None:
    matrix = init.sparse_(flambeau.empty(10, 200), 0.25, std=2.0).numpy()
    assert ((matrix == 0).sum(0) == 3).all()
    kept = matrix[matrix != 0]
    assert abs(kept.std() - 2) < 0.2
    assert len({tuple(column) for column in (matrix == 0).T}) > 50


def test_empty_and_meta_tensors() -> None:
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        init.kaiming_uniform_(flambeau.empty(0, 3))
    for fill in (init.trunc_normal_, init.orthogonal_, lambda t: init.sparse_(t, 0.5)):
        tensor = flambeau.empty(3, 3, device="meta")
        assert fill(tensor) is tensor


def test_generators_decide_alone() -> None:
    def drawn() -> list[Any]:
        generator = flambeau.Generator()
        generator.manual_seed(3)
        return [
            init.uniform_(flambeau.empty(3), generator=generator).tolist(),
            init.xavier_normal_(flambeau.empty(3, 3), generator=generator).tolist(),
            init.trunc_normal_(flambeau.empty(3), generator=generator).tolist(),
            init.orthogonal_(flambeau.empty(3, 3), generator=generator).tolist(),
            init.kaiming_uniform_(flambeau.empty(3, 3), generator=generator).tolist(),
        ]

    first = drawn()
    flambeau.rand(5)
    assert drawn() == first


def test_names_of_old() -> None:
    with pytest.warns(FutureWarning, match="`nn.init.constant` is now deprecated in favor of `nn.init.constant_`"):
        assert init.constant(flambeau.empty(1), 3).item() == 3
