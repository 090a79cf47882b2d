"""The functions that stand in for OpenCL's on PoCL, against double precision on the host."""

from __future__ import annotations

import numpy
import pytest

pytest.importorskip("pyopencl")
pytest.importorskip("scipy")

from scipy import special

import flambeau
from flambeau_opencl.backend import OpenCLBackend
from flambeau_opencl.inlined import inlined

pytestmark = pytest.mark.skipif(not OpenCLBackend().is_available(), reason="there is no OpenCL device here")

_SPECIAL = [0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38, 1.0, -1.0]

REFERENCES = {
    "exp": (numpy.exp, (-110, 95)),
    "expm1": (numpy.expm1, (-25, 95)),
    "tanh": (numpy.tanh, (-12, 12)),
    "log": (numpy.log, (-1, 50)),
    "log1p": (numpy.log1p, (-2, 50)),
    "log2": (numpy.log2, (-1, 50)),
    "log10": (numpy.log10, (-1, 50)),
    "exp2": (numpy.exp2, (-155, 135)),
    "sin": (numpy.sin, (-50, 50)),
    "cos": (numpy.cos, (-50, 50)),
    "erf": (special.erf, (-5, 5)),
    "sqrt": (numpy.sqrt, (-1, 50)),
    "floor": (numpy.floor, (-9, 9)),
    "ceil": (numpy.ceil, (-9, 9)),
    "round": (numpy.round, (-9, 9)),
    "trunc": (numpy.trunc, (-9, 9)),
    "abs": (numpy.abs, (-9, 9)),
}


def _arguments(low: float, high: float) -> numpy.ndarray:
    generator = numpy.random.default_rng(0)
    small = 10.0 ** generator.uniform(-38, 0, 20_000) * generator.choice([-1, 1], 20_000)
    large = numpy.exp(generator.uniform(-80, 88, 20_000))
    return numpy.concatenate([generator.uniform(low, high, 60_000), small, large, _SPECIAL]).astype(numpy.float32)


@pytest.mark.parametrize("name", REFERENCES)
def test_errors_are_a_few_units_in_the_last_place(name: str) -> None:
    reference, (low, high) = REFERENCES[name]
    x = _arguments(low, high)
    actual = getattr(flambeau.from_numpy(x).to("opencl"), name)().cpu().numpy()
    with numpy.errstate(all="ignore"):
        exact = reference(x.astype(numpy.float64))
        expected = exact.astype(numpy.float32)
    finite = numpy.isfinite(expected) & (numpy.abs(expected) > 1.2e-38)
    numpy.testing.assert_array_equal(actual[~numpy.isfinite(expected)], expected[~numpy.isfinite(expected)])
    units = numpy.abs(actual[finite] - exact[finite]) / numpy.spacing(numpy.abs(expected[finite]))
    worst = units.argmax()
    assert units[worst] < (6 if name == "erf" else 3), (
        f"{name}({x[finite][worst]!r}) is off by {units[worst]} units in the last place"
    )
    tiny = numpy.isfinite(expected) & ~finite
    numpy.testing.assert_allclose(actual[tiny], expected[tiny], rtol=0, atol=1e-44)


def test_powers() -> None:
    generator = numpy.random.default_rng(1)
    bases = numpy.concatenate([_arguments(-10, 10), _arguments(0.9, 1.1)])
    exponents = numpy.concatenate([generator.uniform(-20, 20, bases.size // 2), generator.integers(-9, 9, bases.size)])
    special_bases, special_exponents = numpy.meshgrid(_SPECIAL, [*_SPECIAL, 2.0, 3.0, -3.0, 0.5, -0.5, 2.0**24 + 2])
    x = numpy.concatenate([generator.permutation(bases), special_bases.ravel()]).astype(numpy.float32)
    y = numpy.concatenate([exponents[: bases.size], special_exponents.ravel()]).astype(numpy.float32)
    actual = flambeau.pow(*(flambeau.from_numpy(a).to("opencl") for a in (x, y))).cpu().numpy()
    with numpy.errstate(all="ignore"):
        exact = numpy.power(x.astype(numpy.float64), y.astype(numpy.float64))
        expected = exact.astype(numpy.float32)
    normal = numpy.isfinite(expected) & (numpy.abs(expected) > 1.2e-38)
    numpy.testing.assert_array_equal(actual[~numpy.isfinite(expected)], expected[~numpy.isfinite(expected)])
    units = numpy.abs(actual[normal] - exact[normal]) / numpy.spacing(numpy.abs(expected[normal]))
    assert units.max() < 1
    tiny = numpy.isfinite(expected) & ~normal
    numpy.testing.assert_allclose(actual[tiny], expected[tiny], rtol=0, atol=1e-44)
    numpy.testing.assert_array_equal(numpy.signbit(actual[tiny]), numpy.signbit(expected[tiny]))


def test_a_program_gets_only_the_functions_that_it_uses() -> None:
    source = "__kernel void k(__global float *q) { q[0] = tanh(q[0]); }"
    found = inlined(source)
    assert "own_tanh" in found
    assert "own_log" not in found and "double" not in found
    assert found.endswith(source)
    assert inlined("__kernel void k(__global float *q) { q[0] = 1; }").count("\n") == 0
