"""assert_close, make_tensor and the sample database."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.testing import assert_close, make_tensor
from flambeau.testing.database import CASES, Maker, case, sample


def test_equal_things_are_close():
    for value in (
        flambeau.tensor([1.0, 2.0]), flambeau.zeros(0, 3), flambeau.tensor(3), 1.5, np.arange(3), None,
        [flambeau.ones(2), 1], {"a": flambeau.ones(2), "b": (1, 2.0)},
    ):  # fmt: skip
        assert_close(value, value)
    assert_close(flambeau.tensor([1.0]), flambeau.tensor([1.0 + 1e-6]))
    assert_close(flambeau.tensor([1.0, 3.0]), flambeau.tensor([1.1, 2.9]), rtol=0, atol=0.11)
    assert_close(flambeau.tensor([float("nan")]), flambeau.tensor([float("nan")]), equal_nan=True)
    assert_close(flambeau.tensor([1 + 1j]), flambeau.tensor([1 + 1j]))


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        (flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, 3.0]), "Mismatched elements: 1 / 2 (50.0%)"),
        (flambeau.tensor([1.0, 2.0]), flambeau.tensor([1.0, 3.0]), "Greatest absolute difference: 1.0 at index (1,)"),
        (flambeau.tensor(1.0), flambeau.tensor(2.0), "Scalars are not close!\n\nExpected 2.0 but got 1.0."),
        (flambeau.zeros(2), flambeau.zeros(3), "The values for attribute 'shape' do not match: [2] != [3]."),
        (
            flambeau.zeros(2), flambeau.zeros(2).double(),
            "The values for attribute 'dtype' do not match: flambeau.float32 != flambeau.float64.",
        ),
        ([flambeau.zeros(2)], [flambeau.ones(2)], "Tensor-likes are not close at item [0]!"),
        ({"a": 1}, {"b": 1}, "The keys of the mappings do not match: ['a'] and ['b']"),
        ([1, 2], [1], "The length of the sequences do not match: 2 != 1"),
        (flambeau.tensor([float("nan")]), flambeau.tensor([float("nan")]), "Mismatched elements: 1 / 1"),
        (flambeau.tensor([1, 2]), flambeau.tensor([1, 3]), "Mismatched elements: 1 / 2"),
        (None, 1, "None and not None: None and 1"),
    ],
)  # fmt: skip
def test_what_differs_is_said(actual, expected, message):
    with pytest.raises(AssertionError) as error:
        assert_close(actual, expected)
    assert message in str(error.value)


def test_decompose_leaves_only_the_kernels_of_primitives():
    from flambeau import dispatch

    x = flambeau.randn(3, 4)
    by_kernel = flambeau.softmax(x, 1)
    before = dispatch.kernel_origins("cpu")
    try:
        dispatch.decompose("cpu")
        origins = dispatch.kernel_origins("cpu")
        primitives = {name for name, op in flambeau.ops.OPS.items() if op.primitive}
        assert {name for name, origin in origins.items() if origin != "decomposition"} == primitives
        assert_close(flambeau.softmax(x, 1), by_kernel)
    finally:
        dispatch.decompose("cpu", False)
    assert dispatch.kernel_origins("cpu") == before


def test_messages_and_options():
    with pytest.raises(AssertionError, match="^mine$"):
        assert_close(1, 2, msg="mine")
    with pytest.raises(AssertionError, match="^mine: Scalars"):
        assert_close(1, 2, msg=lambda text: f"mine: {text}")
    with pytest.raises(ValueError, match="rtol and atol must both be specified"):
        assert_close(1, 2, rtol=0.1)
    assert_close(flambeau.zeros(2), flambeau.zeros(2).double(), check_dtype=False)
    with pytest.raises(AssertionError, match="'device' do not match: cpu != meta"):
        assert_close(flambeau.zeros(2), flambeau.zeros(2, device="meta"))
    with pytest.raises(AssertionError, match=r"'stride\(\)' do not match"):
        assert_close(flambeau.zeros(2, 3).t(), flambeau.zeros(3, 2), check_stride=True)


def test_make_tensor():
    tensor = make_tensor(2, 3, dtype=flambeau.float32, device="cpu", low=1, high=2, requires_grad=True)
    assert tensor.shape == (2, 3)
    assert tensor.requires_grad
    assert tensor.min().item() >= 1
    assert tensor.max().item() < 2
    assert make_tensor((4,), dtype=flambeau.uint8, device="cpu").dtype is flambeau.uint8
    strided = make_tensor(3, 4, dtype=flambeau.float64, device="cpu", noncontiguous=True)
    assert strided.shape == (3, 4)
    assert not strided.is_contiguous()
    assert (make_tensor(100, dtype=flambeau.int32, device="cpu", low=0, high=2, exclude_zero=True) != 0).all()
    assert make_tensor(3, dtype=flambeau.complex64, device="cpu").is_complex()


def test_a_case_gives_the_same_samples_each_time():
    @case("a_case_of_this_test")
    def samples(make: Maker):
        yield sample(make(2, 3), make.index(4, high=3), 1.5)
        yield sample(make.distinct(5))

    try:
        one = CASES["a_case_of_this_test"]
        for first, second in zip(
            one.samples("cpu", flambeau.float32), one.samples("cpu", flambeau.float32), strict=True
        ):
            assert_close(list(first.args), list(second.args))
        with pytest.raises(ValueError, match="the samples of 'a_case_of_this_test' are given twice"):
            case("a_case_of_this_test")(samples)
    finally:
        del CASES["a_case_of_this_test"]
    with pytest.raises(TypeError, match="unknown options"):
        case("another", nonsense=True)(samples)
