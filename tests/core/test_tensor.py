"""What a tensor is: dtypes and promotion, attributes, memory, ways in and out, the errors of wrong calls."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import flambeau
from flambeau import plugins
from flambeau.dispatch import Backend
from flambeau.forms import LARGE
from flambeau.hookspec import hookimpl

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


def made(dtype, *shape):
    return flambeau.ones(*shape, dtype=getattr(flambeau, dtype))


# -- promotion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("int32", "int64", "int64"), ("uint8", "int8", "int16"), ("uint8", "int16", "int16"),
        ("int64", "float16", "float16"),
        ("float16", "float32", "float32"), ("float64", "complex64", "complex128"), ("bool", "uint8", "uint8"),
        ("float16", "complex64", "complex64"), ("int64", "float32", "float32"), ("bfloat16", "float16", "float32"),
    ],
)  # fmt: skip
def test_promotion_of_tensors(left, right, expected):
    a, b = getattr(flambeau, left), getattr(flambeau, right)
    assert flambeau.promote_types(a, b) is flambeau.promote_types(b, a) is getattr(flambeau, expected)
    if "bfloat16" not in (left, right):
        assert (made(left, 2) + made(right, 2)).dtype is getattr(flambeau, expected)


@pytest.mark.parametrize(
    ("tensor", "number", "expected"),
    [
        ("int8", 300, "int8"), ("int8", 1.5, "float32"), ("float16", 2, "float16"), ("float64", 1.5, "float64"),
        ("bool", 1, "int64"), ("bool", True, "bool"), ("uint8", 1j, "complex64"), ("float64", 1j, "complex128"),
        ("float32", 1j, "complex64"),
    ],
)  # fmt: skip
def test_promotion_with_python_numbers(tensor, number, expected):
    assert (made(tensor, 2) * number).dtype is getattr(flambeau, expected)
    assert (number * made(tensor, 2)).dtype is getattr(flambeau, expected)


@pytest.mark.parametrize(
    ("dimensioned", "zero_dim", "expected"),
    [("float32", "float64", "float32"), ("int32", "int64", "int32"), ("int32", "float64", "float64"),
     ("float16", "complex128", "complex64"), ("bool", "int8", "int8")],
)  # fmt: skip
def test_zero_dim_tensors_do_not_widen_within_a_category(dimensioned, zero_dim, expected):
    assert (made(dimensioned, 2) + made(zero_dim)).dtype is getattr(flambeau, expected)
    assert flambeau.result_type(made(dimensioned, 2), made(zero_dim)) is getattr(flambeau, expected)


def test_integers_become_floats_where_the_result_is_one():
    for name in ("int64", "bool"):
        x = made(name, 3)
        assert (x / 2).dtype is flambeau.float32
        assert x.exp().dtype is flambeau.float32
        assert flambeau.atan2(x, x).dtype is flambeau.float32
    flambeau.set_default_dtype(flambeau.float64)
    assert (made("int64", 3) / 2).dtype is flambeau.float64
    assert flambeau.tensor(1.5).dtype is flambeau.float64
    with pytest.raises(TypeError, match="only floating-point types"):
        flambeau.set_default_dtype(flambeau.int64)


def test_sums_of_integers_are_int64_and_comparisons_bool():
    assert made("int8", 3).sum().dtype is flambeau.int64
    assert made("bool", 3).prod().dtype is flambeau.int64
    assert made("int8", 3).cumsum(0).dtype is flambeau.int64
    assert made("float16", 3).sum().dtype is flambeau.float16
    assert (made("float32", 3) > 0).dtype is flambeau.bool
    assert made("int32", 3).sum(dtype=flambeau.float64).dtype is flambeau.float64


# -- making, and ways out --------------------------------------------------------------------------------------------


def test_inference_of_dtypes():
    assert flambeau.tensor([1, 2]).dtype is flambeau.int64
    assert flambeau.tensor([1, 2.0]).dtype is flambeau.float32
    assert flambeau.tensor([True, False]).dtype is flambeau.bool
    assert flambeau.tensor([1, 1j]).dtype is flambeau.complex64
    assert flambeau.tensor(np.ones(2)).dtype is flambeau.float64
    assert flambeau.tensor([]).shape == (0,) and flambeau.tensor([]).dtype is flambeau.float32
    assert flambeau.tensor([flambeau.tensor(1), flambeau.tensor(2)]).tolist() == [1, 2]
    assert flambeau.tensor([[1, 2], [3, 4]], dtype=flambeau.float16).dtype is flambeau.float16
    assert flambeau.Tensor([1, 2]).dtype is flambeau.float32 and flambeau.Tensor(2, 3).shape == (2, 3)


def test_host_memory_of_dlpack_is_the_cpus_whatever_plugins_have_theirs_there():
    class HostBackend(Backend):
        name = "other_host"
        array_type = list
        dlpack_type = 1

    class Plugin:
        @hookimpl
        def flambeau_backends(self):
            return [HostBackend()]

    plugin = Plugin()
    plugins.register(plugin, name="other-host")
    try:
        assert flambeau.from_dlpack(np.ones(2)).device == flambeau.device("cpu")
    finally:
        plugins.unregister("other-host")


def test_wrong_data():
    with pytest.raises(ValueError, match="nested sequences must all have the same length"):
        flambeau.tensor([[1, 2], [3]])
    with pytest.raises(TypeError, match="data must be a number or a sequence of numbers, not str"):
        flambeau.tensor("abc")
    with pytest.raises(TypeError, match=r"can't convert a numpy array of type <U1"):
        flambeau.from_numpy(np.array(["a"]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_and_dlpack_share_memory(dtype):
    array = np.ones((2, 3), dtype=dtype)
    tensor = flambeau.from_numpy(array)
    assert tensor.dtype is getattr(flambeau, dtype)
    array[0, 0] = 0
    assert tensor[0, 0] == 0
    assert np.shares_memory(tensor.numpy(), array)
    assert np.shares_memory(np.asarray(tensor), array)
    assert np.shares_memory(np.from_dlpack(tensor), array)
    assert np.shares_memory(flambeau.from_dlpack(tensor).numpy(), array)
    assert not np.shares_memory(flambeau.tensor(array).numpy(), array)


def test_bfloat16_through_ml_dtypes():
    pytest.importorskip("ml_dtypes")
    x = flambeau.tensor([1.0, 2.5, 3.14159], dtype=flambeau.bfloat16)
    assert (x * 2).dtype is flambeau.bfloat16 and x.sum().dtype is flambeau.bfloat16
    assert x.float().tolist() == [1.0, 2.5, 3.140625]
    assert (x @ x).dtype is flambeau.bfloat16


def test_gradients_do_not_leave_by_the_back_door():
    x = flambeau.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Use tensor.detach\(\).numpy\(\)"):
        x.numpy()
    with pytest.raises(BufferError, match="detach"):
        np.from_dlpack(x)
    assert x.numpy(force=True).tolist() == [1, 1]


def test_numbers():
    x = flambeau.tensor(3)
    assert int(x) == 3 and float(x) == 3.0 and [10, 20, 30, 40][x] == 40 and bool(x) and complex(x) == 3
    assert f"{flambeau.tensor(1.23456):.2f}" == "1.23"
    assert flambeau.tensor([[5]]).item() == 5
    with pytest.raises(RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"):
        flambeau.ones(2).item()
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        bool(flambeau.ones(2))
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(x)
    with pytest.raises(TypeError, match="only integer tensors"):
        [1, 2][flambeau.tensor(1.0)]


def test_shape_and_memory():
    x = flambeau.arange(24).reshape(2, 3, 4)
    assert isinstance(x.shape, flambeau.Size) and x.shape.numel() == 24 and x.size(-1) == 4 and x.dim() == 3
    assert repr(x.shape) == "flambeau.Size([2, 3, 4])"
    assert x.stride() == (12, 4, 1) and x.is_contiguous()
    y = x.transpose(0, 2)
    assert y.stride() == (1, 4, 12) and not y.is_contiguous() and y.contiguous().is_contiguous()
    assert x[1].storage_offset() == 12 and x[1].data_ptr() == x.data_ptr() + 12 * 8
    assert x.nbytes == 192 and x.element_size() == 8 and len(x) == 2
    with pytest.raises(RuntimeError, match="without a copy"):
        y.view(24)
    assert y.reshape(24).tolist() == x.numpy().transpose(2, 1, 0).reshape(-1).tolist()
    with pytest.raises(
        IndexError, match=r"size: Dimension out of range \(expected to be in range of \[-3, 2\], but got 3\)"
    ):
        x.size(3)


def test_conversions():
    x = flambeau.ones(2)
    assert x.to(flambeau.float32) is x and x.to("cpu") is x and x.float() is x
    assert x.to("cpu", flambeau.int8).dtype is flambeau.int8
    assert x.to(flambeau.zeros(1, dtype=flambeau.float64)).dtype is flambeau.float64
    assert x.to(flambeau.float32, copy=True) is not x
    assert x.long().type() == "flambeau.LongTensor" and x.type(flambeau.half).dtype is flambeau.float16
    assert x.type_as(flambeau.ones(1, dtype=flambeau.int8)).dtype is flambeau.int8
    assert flambeau.tensor([1.9, -1.9]).int().tolist() == [1, -1]
    assert x.new_zeros(3).tolist() == [0, 0, 0] and x.new_tensor([1]).dtype is flambeau.float32
    with pytest.raises(TypeError, match="to: expected a dtype, a device or a Tensor"):
        x.to([])


def test_pickle_and_deepcopy():
    x = flambeau.arange(6.0).reshape(2, 3)[:, 1:]
    for twin in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert twin.tolist() == x.tolist() and twin.dtype is x.dtype
        twin.add_(1)
    assert x.tolist() == [[1, 2], [4, 5]]
    assert pickle.loads(pickle.dumps(flambeau.float16)) is flambeau.float16
    assert pickle.loads(pickle.dumps(flambeau.device("cpu"))) is flambeau.device("cpu")


def test_operators_with_numpy_and_others():
    x = flambeau.tensor([1.0, 2.0])
    assert (2 - x).tolist() == [1.0, 0.0] and (2 / x).tolist() == [2.0, 1.0] and (2**x).tolist() == [2.0, 4.0]
    assert (7 // flambeau.tensor([2, 3])).tolist() == [3, 2] and (7 % flambeau.tensor([2, 4])).tolist() == [1, 3]
    assert (np.float64(2) * x).tolist() == [2.0, 4.0]
    assert isinstance(np.ones(2, np.float32) * x, flambeau.Tensor)
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    assert 2.0 in x and 5.0 not in x
    assert (~flambeau.tensor([True, False])).tolist() == [False, True]
    assert (-x).tolist() == [-1.0, -2.0] and abs(-x).tolist() == [1.0, 2.0]
    y = x.clone()
    y += 1
    y *= x
    assert y.tolist() == [2.0, 6.0]
    with pytest.raises(TypeError, match=r"add\(\): argument 'other' must be Tensor or a number, not str"):
        x + "a"


def test_keywords_of_arithmetic():
    x = flambeau.tensor([7.0, -7.0])
    assert flambeau.add(x, x, alpha=2).tolist() == [21.0, -21.0]
    assert x.sub(1, alpha=3).tolist() == [4.0, -10.0]
    assert flambeau.div(x, 2, rounding_mode="floor").tolist() == [3.0, -4.0]
    assert flambeau.div(flambeau.tensor([7, -7]), 2, rounding_mode="trunc").tolist() == [3, -3]
    assert x.clone().add_(x, alpha=0.5).tolist() == [10.5, -10.5]
    with pytest.raises(RuntimeError, match="rounding_mode to be one of"):
        flambeau.div(x, 2, rounding_mode="up")


def test_out():
    out = flambeau.empty(2)
    assert flambeau.add(flambeau.ones(2), 1, out=out) is out and out.tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type int64"):
        flambeau.add(flambeau.ones(2), 1, out=flambeau.empty(2, dtype=flambeau.int64))


# -- devices ---------------------------------------------------------------------------------------------------------


def test_devices():
    assert flambeau.device("cpu") is flambeau.ones(1).device and str(flambeau.device("opencl", 1)) == "opencl:1"
    with flambeau.device("meta"):
        assert flambeau.ones(2).is_meta
    flambeau.set_default_device("meta")
    assert flambeau.ones(2).is_meta
    flambeau.set_default_device(None)
    assert flambeau.ones(2).is_cpu
    for wrong in ("cpu:x", "c p u"):
        with pytest.raises(RuntimeError, match="invalid device string"):
            flambeau.device(wrong)
    with pytest.raises(
        RuntimeError, match=r"device 'nowhere:0': no plugin provides the device type 'nowhere'; there are: .*cpu"
    ):
        flambeau.ones(2, device="nowhere")


def test_meta_tensors_have_shapes_only():
    x = flambeau.ones(2, 3, device="meta")
    y = (x @ flambeau.ones(3, 4, device="meta")).softmax(1).sum(0)
    assert y.shape == (4,) and y.is_meta
    with pytest.raises(NotImplementedError, match="no data"):
        y.tolist()
    with pytest.raises(NotImplementedError, match="no data"):
        y.cpu()


def test_tensors_on_two_devices():
    with pytest.raises(
        RuntimeError, match="expected all tensors to be on the same device, but found at least two devices"
    ):
        flambeau.ones(2) + flambeau.ones(2, device="meta")


# -- wrong calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x + flambeau.ones(3), RuntimeError, r"add: the shapes \[2, 4\] and \[3\] cannot be broadcast"),
        (
            lambda x: x.sum(2),
            IndexError,
            r"sum: Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)",
        ),
        (lambda x: x.sum((0, 0)), RuntimeError, "a dim appears more than once"),
        (
            lambda x: x.sum(dims=1),
            TypeError,
            "got an unexpected keyword argument 'dims'; it takes: input, dim, keepdim, dtype",
        ),
        (lambda x: x.sum(1, dim=1), TypeError, "got multiple values for argument 'dim'"),
        (lambda x: flambeau.exp(), TypeError, "exp() missing required argument: 'input'"),
        (lambda x: flambeau.exp(1.0), TypeError, r"exp\(\): argument 'input' must be Tensor, not float"),
        (lambda x: x.exp(1, 2), TypeError, "takes at most 1 positional arguments but 3 were given"),
        (lambda x: x.reshape(3, 3), RuntimeError, r"shape '\[3, 3\]' is invalid for input of size 8"),
        (lambda x: x.view(-1, 3), RuntimeError, r"shape '\[-1, 3\]' is invalid for input of size 8"),
        (lambda x: x.permute(0), RuntimeError, "number of dimensions in the tensor input does not match"),
        (
            lambda x: x.expand(3, 4),
            RuntimeError,
            r"The expanded size of the tensor \(3\) must match the existing size \(2\)",
        ),
        (lambda x: flambeau.cat([]), ValueError, "non-empty list of Tensors"),
        (lambda x: flambeau.cat([x, x.t()]), RuntimeError, "Sizes of tensors must match except in dimension 0"),
        (lambda x: flambeau.stack([x, x.t()]), RuntimeError, "stack expects each tensor to be equal size"),
        (lambda x: flambeau.cat([x, 1]), TypeError, "element 1 of argument 'tensors' must be Tensor, not int"),
        (lambda x: x @ x, RuntimeError, r"matmul: .*\(2x4 and 2x4\)"),
        (
            lambda x: x.int().mean(),
            RuntimeError,
            "Input dtype must be either a floating point or complex dtype. Got: int32",
        ),
        (lambda x: x[:0].max(), RuntimeError, "Expected reduction dim to be specified"),
        (lambda x: x[:0].max(0), IndexError, "Expected reduction dim 0 to have non-zero size"),
        (lambda x: x.clamp(), RuntimeError, "At least one of 'min' or 'max' must not be None"),
        (lambda x: x.split([1, 2]), RuntimeError, "expects split_sizes to sum exactly to 2"),
        (lambda x: x.squeeze(5), IndexError, "squeeze: Dimension out of range"),
        (lambda x: len(flambeau.tensor(1)), TypeError, "len() of a 0-d tensor"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error) as caught:
        call(flambeau.ones(2, 4))
    import re

    assert re.search(message, str(caught.value)) or message in str(caught.value), str(caught.value)


def test_the_shape_follows_the_memory() -> None:
    def shaped(x: flambeau.Tensor, *shape: int) -> None:
        assert x.shape == shape and x.size() == shape and x.numpy().shape == shape
        assert (x + x).shape == shape and (x * 2).exp().shape == shape

    x = flambeau.ones(2, 3)
    shaped(x, 2, 3)
    x.resize_(4)
    shaped(x, 4)
    x.unsqueeze_(0)
    shaped(x, 1, 4)
    x.data = flambeau.zeros(5)
    shaped(x, 5)
    x.set_(flambeau.ones(3, 1))
    shaped(x, 3, 1)
    flambeau.add(flambeau.ones(2), 1, out=x.resize_(0))
    shaped(x, 2)
    shaped(x.share_memory_(), 2)


def test_a_shape_is_one_object_however_it_came_about() -> None:
    a, b = flambeau.ones(2, 3), flambeau.zeros(3, 2).t()
    assert a.shape is b.shape and (a + b).shape is a.shape and a.exp().shape is a.shape
    assert isinstance(a.shape, flambeau.Size) and a.shape.numel() == 6
    assert (a + flambeau.ones(3)).shape == (2, 3) and (flambeau.ones(3) + a).shape == (2, 3)
    assert (a[:, :1] * a[:1]).shape == (2, 3) and (flambeau.ones(3, 3) @ flambeau.ones(3, 3)).shape == (3, 3)
    assert (flambeau.ones(3) @ flambeau.ones(3)).shape == ()


def test_the_bare_form_of_a_kernel_serves_small_arrays() -> None:
    calls = []

    def kernel(input: np.ndarray, other: np.ndarray) -> np.ndarray:
        calls.append("whole")
        return np.add(input, other)

    def bare(input: np.ndarray, other: np.ndarray) -> np.ndarray:
        calls.append("bare")
        return np.add(input, other)

    kernel.bare = bare  # type: ignore[attr-defined]

    class Plugin:
        @hookimpl
        def flambeau_kernels(self, device_type):
            return [(50, {"add": kernel})] if device_type == "cpu" else []

    small, large = flambeau.ones(2), flambeau.ones(LARGE)
    plugins.register(Plugin(), name="bare-add")
    try:
        assert [(small + small).sum().item(), (small + 1).sum().item(), (large + large).sum().item()] == [
            4,
            4,
            2 * LARGE,
        ]
        assert calls == ["bare", "whole", "whole"]
        with flambeau.profiler.profile() as seen:
            small + small
        assert calls[3:] == ["whole"] and "add" in seen.key_averages().table()
    finally:
        plugins.unregister("bare-add")
