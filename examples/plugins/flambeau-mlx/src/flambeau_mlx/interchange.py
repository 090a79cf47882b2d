"""Between tensors and MLX's own arrays, without a copy where the elements lie in order.

Neither side sees what is written to the other: MLX's arrays do not change, and a tensor that is written to refers to
another one from then on.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from flambeau import Tensor
from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.tensor import wrap

from flambeau_mlx.array import FROM_MLX, fresh, own_object
from flambeau_mlx.evaluation import evaluate, on_stream


def from_mlx(array: Any) -> Tensor:
    """A tensor on ``mlx`` with the elements of an MLX array, which is computed first.

    Raises:
        TypeError: when it is no MLX array, or of a dtype that the device type does not hold.
    """
    if not isinstance(array, mx.array):
        raise TypeError(f"from_mlx: expected an mlx.core.array, got {type(array).__name__}")
    kind = FROM_MLX.get(array.dtype)
    if kind is None:
        raise TypeError(f"from_mlx: tensors on 'mlx' are not of {str(array.dtype).rpartition('.')[2]}; use astype()")
    evaluate(array)  # here, for its stream may be one of this thread's
    return wrap(_taken(array), kind, load(device("mlx")))


_taken = on_stream(lambda array: fresh(own_object(array)))
_given = on_stream(lambda array: own_object(array.value))


def to_mlx(tensor: Tensor) -> Any:
    """The elements of a tensor as an MLX array, computed; from another device by way of the host.

    Raises:
        TypeError: when it is no tensor, or of a dtype that MLX does not hold.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"to_mlx: expected a flambeau.Tensor, got {type(tensor).__name__}")
    array = _given(tensor.detach().to("mlx")._array)
    evaluate(array)
    return array
