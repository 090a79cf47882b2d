"""Tensors look as they do in PyTorch, character by character."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.printing import set_printoptions

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _default_options() -> Any:
    yield
    set_printoptions(profile="default")
    torch.set_printoptions(profile="default")


def same_text(array: Any, **options: Any) -> None:
    """Compare the two texts of the same values under the same options."""
    set_printoptions(profile="default")
    torch.set_printoptions(profile="default")
    set_printoptions(**options)
    torch.set_printoptions(**options)
    ours = repr(flambeau.from_numpy(array))
    assert ours.replace("flambeau.", "torch.") == without_break(repr(torch.from_numpy(array)), ours)


def without_break(theirs: str, ours: str) -> str:
    # "flambeau." is three characters longer than "torch.", so that a suffix may go to the next line where PyTorch's
    # still fits. Then the break is put into PyTorch's text as well; everything else has to be equal.
    found = re.search(r",\n( +)dtype=flambeau", ours)
    return theirs.replace(", dtype=torch", f",\n{found[1]}dtype=torch") if found else theirs


random = np.random.default_rng(0)
REALS = [0.0, -0.0, 1.0, -1.0, 3.0, 0.5, -2.25, 1e-5, 1e5, 123456.789, 1e9, 1e-30, np.nan, np.inf, -np.inf]
FLOATS = [np.float16, np.float32, np.float64]
INTS = [np.uint8, np.int8, np.int16, np.int32, np.int64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 2, 2), (1, 1, 1, 1), (40,), (4, 30), (30, 2)])
def test_random_floats_of_any_shape(dtype: Any, shape: tuple[int, ...]) -> None:
    for scale in (1.0, 1e-3, 1e4, 1e-8):
        same_text(np.asarray(random.standard_normal(shape) * scale, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:overflow")
def test_every_choice_of_special_values(dtype: Any, count: int) -> None:
    for values in itertools.combinations(REALS, count):
        same_text(np.array(values, dtype))


@pytest.mark.parametrize("dtype", [*INTS, np.bool_])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (2, 3, 4), (50,), (1001,), (40, 30)])
def test_integers_and_bools(dtype: Any, shape: tuple[int, ...]) -> None:
    same_text(np.asarray(random.integers(0, 100, shape)).astype(dtype))
    same_text(np.asarray(random.integers(-100, 3, shape)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (30,), (1500,), (20, 60)])
def test_complex(dtype: Any, shape: tuple[int, ...]) -> None:
    values = random.standard_normal(shape) + 1j * random.standard_normal(shape) * 1e3
    same_text(np.asarray(values, dtype))
    same_text(np.asarray(np.round(values), dtype))


def test_complex_special_values() -> None:
    for real, imag in itertools.product([0.0, -0.0, 1.5, -2.0, np.nan, np.inf, -np.inf, 1e10], repeat=2):
        same_text(np.array([complex(real, imag), 1 + 2j], np.complex64))
        same_text(np.array(complex(real, imag), np.complex128))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_, np.complex64])
def test_empty(shape: tuple[int, ...], dtype: Any) -> None:
    same_text(np.empty(shape, dtype))


@pytest.mark.parametrize(
    "shape", [(1000,), (1001,), (5000,), (100, 100), (3, 400), (400, 3), (11, 12, 13), (1, 1, 2000)]
)
def test_large_tensors_are_summarised(shape: tuple[int, ...]) -> None:
    same_text(random.standard_normal(shape).astype(np.float32))
    same_text(np.arange(np.prod(shape)).reshape(shape))


def test_a_summary_chooses_its_form_by_what_it_shows() -> None:
    values = np.ones((50, 50), np.float32)
    values[25, 25] = 1e20
    same_text(values)
    values[0, 0] = 1e20
    same_text(values)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"precision": 0},
        {"precision": 8},
        {"threshold": 5},
        {"threshold": 0},
        {"edgeitems": 1, "threshold": 3},
        {"edgeitems": 2, "threshold": 3},
        {"linewidth": 30},
        {"linewidth": 200},
        {"linewidth": 1},
        {"profile": "short"},
        {"profile": "full"},
        {"profile": "short", "precision": 6},
        {"sci_mode": True},
        {"sci_mode": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(), (3,), (12,), (5, 8), (9, 8, 7), (1100,)])
def test_options(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    same_text(np.asarray(random.standard_normal(shape) * 1e3, np.float32), **options)
    same_text(np.asarray(random.integers(-1000, 1000, shape)), **options)
    same_text(np.asarray(random.standard_normal(shape) * (2 - 3j), np.complex64), **options)


def test_nothing_but_the_ellipsis_without_edge_items() -> None:
    for shape in ((10,), (4, 5)):
        same_text(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), edgeitems=0, threshold=2)


def test_bfloat16() -> None:
    pytest.importorskip("ml_dtypes")
    for values in ([1.0, 2.0], [0.1, 1e-3, 7.0], [float("nan"), 1e30], [[1e4, 2.5]], 3.14159):
        ours = repr(flambeau.tensor(values, dtype=flambeau.bfloat16))
        assert ours.replace("flambeau.", "torch.") == repr(torch.tensor(values, dtype=torch.bfloat16))


def test_gradients_are_named() -> None:
    def texts(module: Any) -> list[str]:
        a = module.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        long = module.ones(6, 4).requires_grad_()
        return [repr(a), repr(a * 2), repr(a.sum()), repr(a.detach()), repr(long.exp()), repr(a.double().exp())]

    ours = [text.replace("flambeau.", "torch.") for text in texts(flambeau)]
    for mine, theirs in zip(ours, texts(torch), strict=True):
        assert mine == theirs


def test_parameters() -> None:
    values = [[1.0, 2.0], [3.0, 4.5]]
    ours = flambeau.nn.Parameter(flambeau.tensor(values))
    assert repr(ours) == repr(torch.nn.Parameter(torch.tensor(values)))
    assert repr(flambeau.nn.Parameter(flambeau.tensor(values), False)) == repr(
        torch.nn.Parameter(torch.tensor(values), False)
    )


def test_meta_tensors() -> None:
    for shape, dtype in itertools.product([(), (2, 3), (0,)], ["float32", "int64", "float64"]):
        ours = repr(flambeau.empty(shape, dtype=getattr(flambeau, dtype), device="meta"))
        theirs = repr(torch.empty(shape, dtype=getattr(torch, dtype), device="meta"))
        assert ours.replace("flambeau.", "torch.") == theirs


def test_another_default_dtype() -> None:
    try:
        flambeau.set_default_dtype(flambeau.float64)
        torch.set_default_dtype(torch.float64)
        for dtype in (np.float32, np.float64, np.complex64, np.complex128):
            same_text(np.ones(2, dtype))
            same_text(np.ones(0, dtype))
    finally:
        flambeau.set_default_dtype(flambeau.float32)
        torch.set_default_dtype(torch.float32)
