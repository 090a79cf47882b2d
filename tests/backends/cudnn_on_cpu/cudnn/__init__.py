"""A stand-in for ``nvidia-cudnn-frontend`` beside that for CuPy: NumPy computes, in float64, what a graph says.

It is strict where cuDNN is: tensors have numbers, sizes and strides that fit, every tensor of a graph is given memory
and nothing else is, plans are built before they are run and refused where cuDNN has no kernel. ``test_plans.py`` shows
cuDNN itself the graphs that are built here.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any

import ml_dtypes
import numpy

from . import _compute

__version__ = "1.28.0"

data_type = enum.Enum("data_type", "FLOAT DOUBLE HALF BFLOAT16 INT64 NOT_SET")
heur_mode = enum.Enum("heur_mode", "A B FALLBACK")
numerical_note = enum.Enum("numerical_note", "TENSOR_CORE DOWN_CONVERT_INPUTS NONDETERMINISTIC WINOGRAD FFT")
diagonal_alignment = enum.Enum("diagonal_alignment", "TOP_LEFT BOTTOM_RIGHT")
_NUMPY = {
    data_type.FLOAT: numpy.dtype(numpy.float32), data_type.HALF: numpy.dtype(numpy.float16),
    data_type.BFLOAT16: numpy.dtype(ml_dtypes.bfloat16),
}  # fmt: skip

#: The streams of the handles, and what has been done: ``(plan, index or None)`` each time a graph was run.
handles: dict[int, int] = {}
executed: list[tuple[str, int | None]] = []
built = 0


class cudnnGraphNotSupportedError(Exception):
    """What cuDNN raises where it has no kernel for a graph."""


def backend_version() -> int:
    return 90800


def create_handle() -> int:
    handles[len(handles) + 1] = 0
    return len(handles)


def destroy_handle(handle: int) -> None:
    del handles[handle]


def set_stream(handle: int, stream: int) -> None:
    assert handle in handles and isinstance(stream, int)
    handles[handle] = stream


class tensor:
    """A tensor of a graph."""

    def __init__(self, dim: Any = None, stride: Any = None, data_type: Any = None, by_value: bool = False) -> None:
        self.dim, self.stride, self.data_type, self.by_value = dim, stride, data_type, by_value
        self.uid: int | None = None
        self.is_output = False

    def set_uid(self, value: int) -> tensor:
        self.uid = value
        return self

    def set_output(self, value: bool) -> tensor:
        self.is_output = value
        return self

    def set_dim(self, value: list[int]) -> tensor:
        assert isinstance(value, list)
        self.dim = value
        return self

    def set_stride(self, value: list[int]) -> tensor:
        assert isinstance(value, list) and self.dim is not None and len(value) == len(self.dim)
        self.stride = value
        return self

    def set_data_type(self, value: Any) -> tensor:
        assert value in data_type
        self.data_type = value
        return self

    def memory(self, address: int) -> Any:
        """The elements at an address."""
        kind = _NUMPY[self.data_type]
        last = sum((n - 1) * s for n, s in zip(self.dim, self.stride, strict=True)) + 1
        block = (ctypes.c_char * (last * kind.itemsize)).from_address(address)
        return numpy.ndarray(self.dim, kind, block, 0, [s * kind.itemsize for s in self.stride])


class pygraph:
    """See ``cudnn.pygraph``."""

    def __init__(
        self, name: str = "test_graph", io_data_type: Any = None, intermediate_data_type: Any = None,
        compute_data_type: Any = None, handle: Any = None, sm_count: Any = None, sm_version: Any = None,
        kernel_cache: Any = None, device_property: Any = None,
    ) -> None:  # fmt: skip
        assert handle in handles and compute_data_type is data_type.FLOAT
        self.name = name
        self._inputs: list[tensor] = []
        self._outputs: list[tensor] = []
        self._node: Any = None
        self._steps = 0
        self._plans: set[int] = set()
        self._counted = 5

    # -- making it ---------------------------------------------------------------------------------------------------

    def tensor(
        self, dim: list[int], stride: list[int] | None = None, data_type: Any = None, is_virtual: bool = False,
        is_pass_by_value: bool = False, ragged_offset: Any = None, reordering_type: Any = None, name: str = "",
    ) -> tensor:  # fmt: skip
        assert isinstance(dim, list) and isinstance(stride, list) and len(dim) == len(stride) and min(dim) > 0
        assert all(s > 0 for s in stride), "overlapping or broadcast tensors"
        made = tensor(dim, stride, data_type, is_pass_by_value)
        self._inputs.append(made)
        return made

    def _op(self, count: int, compute: Any, *inputs: tensor, **settings: Any) -> list[tensor]:
        assert self._node is None and set(map(id, inputs)) == set(map(id, self._inputs))
        self._node = compute, inputs, settings
        self._outputs = [tensor() for _ in range(count)]
        return self._outputs

    def conv_fprop(
        self, image: tensor, weight: tensor, pre_padding: list[int], post_padding: list[int], stride: list[int],
        dilation: list[int],
    ) -> tensor:  # fmt: skip
        geometry = _geometry(image, pre_padding, post_padding, stride, dilation)
        return self._op(1, _compute.fprop, image, weight, **geometry)[0]

    def conv_dgrad(
        self, loss: tensor, filter: tensor, pre_padding: list[int], post_padding: list[int], stride: list[int],
        dilation: list[int],
    ) -> tensor:  # fmt: skip
        geometry = _geometry(loss, pre_padding, post_padding, stride, dilation)
        return self._op(1, _compute.dgrad, loss, filter, **geometry)[0]

    def conv_wgrad(
        self, image: tensor, loss: tensor, pre_padding: list[int], post_padding: list[int], stride: list[int],
        dilation: list[int],
    ) -> tensor:  # fmt: skip
        geometry = _geometry(image, pre_padding, post_padding, stride, dilation)
        return self._op(1, _compute.wgrad, image, loss, **geometry)[0]

    def sdpa(
        self, q: tensor, k: tensor, v: tensor, attn_scale: float, generate_stats: bool, diagonal_alignment: Any = None,
        diagonal_band_right_bound: int | None = None, name: str = "",
    ) -> list[tensor]:  # fmt: skip
        _check_heads(256, q, k, v)
        causal = _is_causal(diagonal_alignment, diagonal_band_right_bound)
        made = self._op(1 + generate_stats, _compute.sdpa, q, k, v, scale=attn_scale, causal=causal)
        return [*made, None][:2]  # type: ignore[list-item]

    def sdpa_backward(
        self, q: tensor, k: tensor, v: tensor, o: tensor, dO: tensor, stats: tensor, attn_scale: float,
        diagonal_alignment: Any = None, diagonal_band_right_bound: int | None = None,
        use_deterministic_algorithm: bool = False, name: str = "",
    ) -> list[tensor]:  # fmt: skip
        _check_heads(128, q, k, v)
        causal = _is_causal(diagonal_alignment, diagonal_band_right_bound)
        return self._op(3, _compute.sdpa_backward, q, k, v, o, dO, stats, scale=attn_scale, causal=causal)

    def batchnorm(
        self, input: tensor, scale: tensor, bias: tensor, in_running_mean: tensor, in_running_var: tensor,
        epsilon: tensor, momentum: tensor, name: str = "",
    ) -> list[tensor]:  # fmt: skip
        _check_channels(input)
        assert epsilon.by_value and momentum.by_value
        operands = input, scale, bias, in_running_mean, in_running_var, epsilon, momentum
        return self._op(5, _compute.batchnorm, *operands)

    def batchnorm_backward(
        self, grad: tensor, input: tensor, scale: tensor, mean: tensor, inv_variance: tensor, name: str = ""
    ) -> list[tensor]:
        _check_channels(input)
        return self._op(3, _compute.batchnorm_backward, grad, input, scale, mean, inv_variance)

    # -- building it -------------------------------------------------------------------------------------------------

    def _step(self, number: int) -> None:
        assert self._steps == number, f"step {number} after {self._steps}"
        self._steps += 1

    def validate(self) -> None:
        self._step(0)
        numbers = [t.uid for t in (*self._inputs, *self._outputs)]
        assert all(isinstance(n, int) for n in numbers) and len(set(numbers)) == len(numbers)
        assert all(t.is_output and t.dim and t.stride and t.data_type for t in self._outputs)

    def build_operation_graph(self) -> None:
        self._step(1)

    def create_execution_plans(self, modes: list[Any]) -> None:
        self._step(2)
        assert all(mode in heur_mode for mode in modes)

    def deselect_numeric_notes(self, notes: list[Any]) -> None:
        assert self._steps == 3 and all(note in numerical_note for note in notes)
        self._counted -= 1

    def deselect_workspace_greater_than(self, size: int) -> None:
        assert self._steps == 3 and size > 0

    def check_support(self) -> None:
        self._step(3)
        if any(t.data_type not in _NUMPY for t in self._inputs):
            raise cudnnGraphNotSupportedError("no valid engine configs")

    def build_plans(self) -> None:
        global built
        self._step(4)
        built += 1

    def get_execution_plan_count(self) -> int:
        return self._counted

    def build_plan_at_index(self, index: int) -> None:
        assert self._steps == 4 and 0 <= index < self._counted
        if index < 2:
            raise cudnnGraphNotSupportedError("Deselecting execution plan")
        self._plans.add(index)

    def get_workspace_size(self) -> int:
        assert self._steps == 5
        return 48

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        assert index in self._plans
        return 16 * index

    # -- running it --------------------------------------------------------------------------------------------------

    def execute(self, tensor_to_device_buffer: dict[int, int], workspace: int, handle: Any = None) -> None:
        assert self._steps == 5
        self._run(tensor_to_device_buffer, workspace, handle, None)

    def execute_plan_at_index(
        self, tensor_to_device_buffer: dict[int, int], workspace: int, index: int, handle: Any = None
    ) -> None:
        assert index in self._plans
        self._run(tensor_to_device_buffer, workspace, handle, index)

    def _run(self, places: dict[int, int], workspace: int, handle: Any, index: int | None) -> None:
        import cupy

        assert handles[handle] == cupy.cuda.get_current_stream().ptr, "the handle has another stream"
        assert type(workspace) is int and workspace
        assert places.keys() == {t.uid for t in (*self._inputs, *self._outputs)}
        for t in (*self._inputs, *self._outputs):
            assert type(places[t.uid]) is int and (t.by_value or places[t.uid] % 16 == 0)
        compute, inputs, settings = self._node
        values = [t.memory(places[t.uid]).astype(numpy.float64) for t in inputs]
        shapes = [t.dim for t in self._outputs]
        for t, value in zip(self._outputs, compute(shapes, *values, **settings), strict=True):
            t.memory(places[t.uid])[...] = value
        executed.append((self.name, index))


def _geometry(image: tensor, before: list[int], after: list[int], stride: list[int], dilation: list[int]) -> Any:
    assert before == after and len(before) == len(stride) == len(dilation) == len(image.dim) - 2 >= 2
    return {"padding": before, "stride": stride, "dilation": dilation}


def _is_causal(alignment: Any, bound: int | None) -> bool:
    assert (alignment is None) == (bound is None) and bound in (None, 0)
    assert alignment in (None, diagonal_alignment.TOP_LEFT)
    return bound == 0


def _check_heads(largest: int, *tensors: tensor) -> None:
    for t in tensors:
        assert len(t.dim) == 4 and t.stride[3] == 1
        if t.dim[3] % 8 or t.dim[3] > largest or t.data_type is data_type.FLOAT:
            raise cudnnGraphNotSupportedError("hidden_dim should be a multiple of 8")


def _check_channels(input: tensor) -> None:
    assert input.stride[1] == 1
    if input.dim[1] % 8:
        raise cudnnGraphNotSupportedError("no valid engine configs")
