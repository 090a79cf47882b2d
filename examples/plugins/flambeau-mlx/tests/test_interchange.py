"""Tensors and MLX arrays share memory, and no write."""

from __future__ import annotations

import flambeau
import mlx.core as mx
import numpy
import pytest

from flambeau_mlx.interchange import from_mlx, to_mlx


def address(array: mx.array) -> int:
    """Where the elements of an MLX array are."""
    found: int = numpy.asarray(array).__array_interface__["data"][0]
    return found


@pytest.mark.parametrize("name", ["float32", "float16", "int64", "uint8", "complex64", "bool_"])
def test_elements_are_shared_both_ways(name: str) -> None:
    array = mx.arange(6).astype(getattr(mx, name)).reshape(2, 3)
    mx.eval(array)
    tensor = from_mlx(array)
    assert tensor.device.type == "mlx"
    assert str(tensor.dtype).removeprefix("flambeau.") == name.removesuffix("_")
    assert tensor.tolist() == array.tolist()
    back = to_mlx(tensor)
    assert back.dtype == array.dtype
    assert address(back) == address(array)


def test_bfloat16_comes_and_goes() -> None:
    array = mx.array([1.5, -2.0], mx.bfloat16)
    assert from_mlx(array).tolist() == [1.5, -2.0]
    assert to_mlx(from_mlx(array)).dtype == mx.bfloat16


def test_neither_sees_what_is_written_to_the_other() -> None:
    array = mx.zeros((3,))
    tensor = from_mlx(array)
    given = to_mlx(tensor)
    array[0] = 1
    assert tensor.tolist() == [0, 0, 0]
    tensor[1] = 2
    assert array.tolist() == [1, 0, 0]
    assert given.tolist() == [0, 0, 0]
    given[2] = 3
    assert tensor.tolist() == [0, 2, 0]


def test_gradients_flow_from_an_mlx_array() -> None:
    weight = from_mlx(mx.array([1.0, 2.0])).requires_grad_()
    (weight * weight).sum().backward()
    assert to_mlx(weight.grad).tolist() == [2.0, 4.0]


def test_views_and_other_devices_are_laid_out_anew() -> None:
    tensor = flambeau.arange(6, device="mlx").reshape(2, 3).t()
    assert to_mlx(tensor).tolist() == tensor.tolist()
    assert to_mlx(flambeau.ones(2)).tolist() == [1.0, 1.0]


def test_dlpack_gives_the_memory_away_for_reading() -> None:
    tensor = flambeau.arange(4.0, device="mlx")
    taken = numpy.from_dlpack(tensor)
    assert taken.tolist() == [0, 1, 2, 3]
    assert not taken.flags.writeable
    assert taken.__array_interface__["data"][0] == address(to_mlx(tensor))
    assert flambeau.from_dlpack(numpy.ones(2, numpy.float32)).device == flambeau.device("cpu")


def test_what_cannot_be_taken_is_refused() -> None:
    with pytest.raises(TypeError, match=r"from_mlx: expected an mlx\.core\.array, got list"):
        from_mlx([1.0])
    with pytest.raises(TypeError, match=r"from_mlx: tensors on 'mlx' are not of float64; use astype\(\)"):
        from_mlx(mx.array([1.0], mx.float64))
    with pytest.raises(TypeError, match=r"to_mlx: expected a flambeau\.Tensor, got ndarray"):
        to_mlx(numpy.ones(2))
    with pytest.raises(TypeError, match="the device type 'mlx' does not hold float64; float32 is the nearest"):
        flambeau.ones(2, dtype=flambeau.float64, device="mlx")
