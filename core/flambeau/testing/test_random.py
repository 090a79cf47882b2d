"""A seed gives the same random numbers on the device as on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import flambeau
from flambeau.dispatch import available, kernel_origins
from flambeau.testing.checks import held_dtypes
from flambeau.testing.comparison import host

# What is drawn, and by how much it may differ: uniforms and integers are equal bit for bit.
DRAWS: dict[str, tuple[Callable[[str], Any], float]] = {
    "rand": (lambda device: flambeau.rand(7, 3, device=device), 0.0),
    "randn": (lambda device: flambeau.randn(5, 5, device=device), 2e-6),
    "randint": (lambda device: flambeau.randint(-5, 100, (40,), device=device), 0.0),
    "uniform_": (lambda device: flambeau.empty(9, device=device).uniform_(-1, 1), 1e-6),
    "bernoulli": (lambda device: flambeau.bernoulli(flambeau.full((50,), 0.3, device=device)), 0.0),
}


@pytest.mark.parametrize("name", list(DRAWS))
def test_stream_is_the_cpus(name: str, device: str) -> None:
    if device == "cpu" or "cpu" not in available():
        pytest.skip("there is no other device to compare with")
    decomposed = kernel_origins(device.partition(":")[0])["random_integers"] == "decomposition"
    if name == "randint" and decomposed and "float64" not in held_dtypes(device):
        pytest.skip(
            "integers are made of float64 uniforms, which the device does not hold, and it has no kernel for them"
        )
    draw, tolerance = DRAWS[name]
    drawn = []
    for where in (device, "cpu"):
        flambeau.manual_seed(20)
        drawn.append([host(draw(where)) for _ in range(3)])
    for own, other in zip(*drawn, strict=True):
        assert own.dtype == other.dtype
        numpy.testing.assert_allclose(own, other, rtol=tolerance, atol=tolerance)


def test_draws_differ_and_a_seed_repeats_them(device: str) -> None:
    flambeau.manual_seed(3)
    first, second = host(flambeau.rand(100, device=device)), host(flambeau.rand(100, device=device))
    assert (first != second).any()
    assert ((first >= 0) & (first < 1)).all()
    flambeau.manual_seed(3)
    assert (host(flambeau.rand(100, device=device)) == first).all()


def test_float64_has_53_random_bits(device: str) -> None:
    if "float64" not in held_dtypes(device):
        pytest.skip("the device does not hold float64")
    flambeau.manual_seed(4)
    drawn = host(flambeau.rand(64, dtype=flambeau.float64, device=device))
    assert (drawn * 2**53 % 2).any()
    assert (drawn * 2**53 % 1 == 0).all()
