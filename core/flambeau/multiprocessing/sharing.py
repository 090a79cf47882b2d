"""Memory that processes share: how tensors get there, and how they are handed to another process."""

from __future__ import annotations

import os
from multiprocessing import reduction
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import DTYPES
from flambeau.nn.parameter import Buffer, Parameter
from flambeau.ops.spec import Spec
from flambeau.shared_segment import Segment, segment_of, shared_copy
from flambeau.tensor import Tensor, wrap

#: Data of fewer bytes go through the pipe: handing over a file descriptor takes longer than that.
SMALL = 1 << 14
_POSIX = os.name == "posix"


# -- between processes -----------------------------------------------------------------------------------------------


def register() -> None:
    """Teach queues, pipes and the arguments of processes about tensors."""
    for kind in (Tensor, Parameter, Buffer):
        reduction.ForkingPickler.register(kind, _reduced)


def _reduced(tensor: Tensor) -> tuple[Any, ...]:
    if not tensor.is_leaf:
        raise RuntimeError(
            "multiprocessing: a tensor that has a history cannot be sent to another process, because gradients do not "
            "cross processes; call detach()"
        )
    attributes = None if type(tensor) is Tensor else dict(tensor.__dict__)
    if tensor.is_meta:
        return _received_meta, (type(tensor), tuple(tensor.shape), tensor.dtype.name, tensor.requires_grad), attributes
    host: Any = tensor.device.backend.to_numpy(tensor._array)  # type: ignore[union-attr]
    if not _POSIX or (segment_of(host) is None and host.nbytes < SMALL):
        return tensor.__reduce_ex__(2)
    if segment_of(host) is None:
        host = shared_copy(host)
    segment: Any = segment_of(host)
    start = host.__array_interface__["data"][0] - _address(segment)
    place = (host.shape, host.strides, start)
    handle = reduction.DupFd(segment.descriptor)
    return _received, (type(tensor), handle, place, tensor.dtype.name, tensor.device, tensor.requires_grad), attributes


def _address(segment: Segment) -> int:
    address: int = numpy.frombuffer(segment, numpy.uint8).__array_interface__["data"][0]
    return address


def _received(
    kind: type[Tensor], handle: Any, place: tuple[Any, ...], dtype_name: str, where: device, requires_grad: bool
) -> Tensor:
    shape, strides, start = place
    segment = Segment.over(handle.detach())
    host: Any = numpy.ndarray(shape, DTYPES[dtype_name].numpy, buffer=segment, offset=start, strides=strides)
    backend: Any = load(where).backend
    return _as_sent(kind, wrap(backend.from_numpy(host, where), DTYPES[dtype_name], where), requires_grad)


def _received_meta(kind: type[Tensor], shape: tuple[int, ...], dtype_name: str, requires_grad: bool) -> Tensor:
    where = load(device("meta"))
    return _as_sent(kind, wrap(Spec(shape, DTYPES[dtype_name]), DTYPES[dtype_name], where), requires_grad)


def _as_sent(kind: type[Tensor], tensor: Tensor, requires_grad: bool) -> Tensor:
    if kind is Tensor:
        return tensor.requires_grad_() if requires_grad else tensor
    return Tensor._make_subclass(kind, tensor, requires_grad)
