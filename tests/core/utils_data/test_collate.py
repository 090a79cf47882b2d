"""From samples to batches."""

from __future__ import annotations

import collections
import dataclasses
import types
from typing import Any, NamedTuple

import numpy
import pytest

import flambeau
from flambeau.utils.data import default_collate, default_convert
from flambeau.utils.data.collate import collate, default_collate_fn_map


class Point(NamedTuple):
    x: Any
    y: Any


def same(tensor: Any, values: Any, dtype: Any) -> None:
    assert isinstance(tensor, flambeau.Tensor)
    assert tensor.dtype is dtype
    assert tensor.tolist() == values


@pytest.mark.parametrize(
    "dtype", [flambeau.float32, flambeau.float64, flambeau.float16, flambeau.int32, flambeau.bool, flambeau.complex64]
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0, 3)])
def test_tensors_are_stacked(dtype: Any, shape: tuple[int, ...]) -> None:
    samples = [flambeau.ones(shape, dtype=dtype) * i for i in range(4)]
    expected = numpy.stack([sample.numpy() for sample in samples])
    batch = default_collate(samples)
    assert batch.dtype is samples[0].dtype
    assert batch.shape == (4, *shape)
    numpy.testing.assert_array_equal(batch.numpy(), expected)


def test_tensors_that_are_not_contiguous() -> None:
    x = flambeau.arange(12).reshape(3, 4)
    same(default_collate([x.t(), x.t()]), [x.numpy().T.tolist()] * 2, flambeau.int64)
    same(default_collate([row[::2] for row in x]), [[0, 2], [4, 6], [8, 10]], flambeau.int64)


def test_a_batch_is_a_copy() -> None:
    sample = flambeau.zeros(3)
    default_collate([sample]).fill_(1)
    assert sample.tolist() == [0, 0, 0]


def test_tensors_with_a_history_keep_it() -> None:
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    default_collate([x * 2, x * 3]).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [5.0, 5.0]


def test_arrays_and_numpy_scalars() -> None:
    same(default_collate([numpy.array([1.0, 2.0]), numpy.array([3.0, 4.0])]), [[1, 2], [3, 4]], flambeau.float64)
    same(default_collate([numpy.float32(1.5), numpy.float32(2.5)]), [1.5, 2.5], flambeau.float32)
    same(default_collate([numpy.float64(1.5)]), [1.5], flambeau.float64)
    same(default_collate([numpy.bool_(True), numpy.bool_(False)]), [True, False], flambeau.bool)
    same(default_collate([numpy.array(3), numpy.array(4)]), [3, 4], flambeau.int64)
    same(default_collate([numpy.zeros(2, numpy.int32), numpy.ones(2)]), [[0, 0], [1, 1]], flambeau.float64)


def test_python_numbers() -> None:
    same(default_collate([1, 2]), [1, 2], flambeau.int64)
    same(default_collate([True, False]), [True, False], flambeau.bool)
    same(default_collate([0.1, 0.2]), [0.1, 0.2], flambeau.float64)


def test_strings_stay() -> None:
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([b"a", b"b"]) == [b"a", b"b"]
    assert default_collate([numpy.str_("a"), numpy.str_("b")]) == ["a", "b"]


def test_tuples_give_lists_and_lists_lists() -> None:
    number, text = default_collate([(1, "a"), (2, "b")])
    same(number, [1, 2], flambeau.int64)
    assert text == ("a", "b")
    assert type(default_collate([(1, 2)])) is list
    assert type(default_collate([[1, 2]])) is list


def test_named_tuples_keep_their_type() -> None:
    batch = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert type(batch) is Point
    same(batch.x, [1, 3], flambeau.int64)
    same(batch.y, [2.0, 4.0], flambeau.float64)


def test_mappings_keep_their_type() -> None:
    samples = [{"a": 1, "b": {"c": numpy.zeros(2)}}, {"a": 2, "b": {"c": numpy.ones(2)}}]
    batch = default_collate(samples)
    assert type(batch) is dict
    same(batch["a"], [1, 2], flambeau.int64)
    same(batch["b"]["c"], [[0, 0], [1, 1]], flambeau.float64)
    assert samples[0]["a"] == 1

    default = collections.defaultdict(lambda: "default", a=1)
    batch = default_collate([default, default])
    assert type(batch) is collections.defaultdict
    assert batch["missing"] == "default"
    assert default["a"] == 1
    assert type(default_collate([collections.OrderedDict(a=1)])) is collections.OrderedDict
    proxy = default_collate([types.MappingProxyType({"a": 1})])
    assert type(proxy) is types.MappingProxyType
    same(proxy["a"], [1], flambeau.int64)


def test_sequences_keep_their_type_where_they_can() -> None:
    batch = default_collate([collections.UserList([1, 2]), collections.UserList([3, 4])])
    assert type(batch) is collections.UserList
    same(batch[0], [1, 3], flambeau.int64)
    batch = default_collate([range(2), range(2)])
    assert type(batch) is list
    same(batch[1], [1, 1], flambeau.int64)


def test_errors() -> None:
    with pytest.raises(RuntimeError, match=r"got \[2\] at entry 0 and \[3\] at entry 2"):
        default_collate([flambeau.zeros(2), flambeau.zeros(2), flambeau.zeros(3)])
    with pytest.raises(RuntimeError, match=r"got \[2\] at entry 0 and \[\] at entry 1"):
        default_collate([numpy.zeros(2), numpy.zeros(())])
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([[1, 2], [1]])
    with pytest.raises(TypeError, match="batch must contain tensors, numpy arrays, numbers, dicts or lists; found <U1"):
        default_collate([numpy.array(["a"])])
    with pytest.raises(TypeError, match="found <class 'object'>"):
        default_collate([object()])
    with pytest.raises(TypeError, match="found <class 'NoneType'>"):
        default_collate([(1, None), (2, None)])


@dataclasses.dataclass
class Box:
    value: int


class Crate(Box):
    pass


def test_a_table_of_ones_own() -> None:
    def boxes(batch: Any, *, collate_fn_map: Any = None) -> Any:
        return [box.value for box in batch]

    table = {**default_collate_fn_map, Box: boxes}
    same(collate([(1, Box(2))], collate_fn_map=table)[0], [1], flambeau.int64)
    assert collate([{"b": Crate(2)}, {"b": Crate(3)}], collate_fn_map=table) == {"b": [2, 3]}
    with pytest.raises(TypeError, match="Box"):
        default_collate([Box(1)])


def test_the_default_table_can_be_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.utils.data import DataLoader, TensorDataset

    def first_only(batch: Any, *, collate_fn_map: Any = None) -> Any:
        return batch[0]

    monkeypatch.setitem(default_collate_fn_map, flambeau.Tensor, first_only)
    (batch,) = next(iter(DataLoader(TensorDataset(flambeau.arange(4)), batch_size=4)))
    same(batch, 0, flambeau.int64)


def test_convert() -> None:
    same(default_convert(numpy.array([1, 2])), [1, 2], flambeau.int64)
    same(default_convert(numpy.float32(1.5)), 1.5, flambeau.float32)
    assert default_convert(3) == 3
    assert default_convert("text") == "text"
    strings = numpy.array(["a"])
    assert default_convert(strings) is strings
    tensor = flambeau.zeros(2)
    assert default_convert(tensor) is tensor
    converted = default_convert({"a": (numpy.zeros(1), "b"), "p": Point(numpy.ones(1), 2)})
    assert type(converted["a"]) is list
    same(converted["a"][0], [0], flambeau.float64)
    assert type(converted["p"]) is Point
    same(converted["p"].x, [1], flambeau.float64)
    assert converted["p"].y == 2
