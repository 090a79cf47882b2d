"""The batch divided among the devices of one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau import cuda
from flambeau.nn.modules.module import Module
from flambeau.nn.parallel.parallel_apply import parallel_apply
from flambeau.nn.parallel.replicate import replicate
from flambeau.nn.parallel.scatter_gather import _device, gather, scatter_kwargs


class DataParallel(Module):
    """Run a module on pieces of the batch, one a device, and put the results together (``torch.nn.DataParallel``).

    Without CUDA devices, and without ``device_ids``, it calls the module.

    Args:
        module: its parameters live on the first of the devices.
        device_ids: the devices, by index or in full; all CUDA devices when left out.
        output_device: where the result goes, the first of the devices when left out.
        dim: the dimension along which arguments are divided.
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module
        self.dim = dim
        chosen = list(range(cuda.device_count())) if device_ids is None else list(device_ids)
        self.device_ids = [_device(device) for device in chosen]
        self.output_device = None
        if self.device_ids:
            self.output_device = self.device_ids[0] if output_device is None else _device(output_device)
            module.to(self.device_ids[0])

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        return _run(self.module, inputs, kwargs, self.device_ids, self.output_device, self.dim)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """Run ``module(*inputs, **module_kwargs)`` as :class:`DataParallel` does."""
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    chosen = list(range(cuda.device_count())) if device_ids is None else list(device_ids)
    devices = [_device(device) for device in chosen]
    if not devices:
        return module(*args, **module_kwargs or {})
    where = devices[0] if output_device is None else _device(output_device)
    return _run(module, args, module_kwargs or {}, devices, where, dim)


def _run(module: Module, inputs: Any, kwargs: Any, devices: list[Any], output_device: Any, dim: int) -> Any:
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device != devices[0]:
            raise RuntimeError(
                f"module must have its parameters and buffers on device {devices[0]} (device_ids[0]) but found one of "
                f"them on device: {tensor.device}"
            )
    args, named = scatter_kwargs(inputs, kwargs, devices, dim)
    if not args:  # a module without arguments runs once
        args, named = ((),), ({},)
    used = devices[: len(args)]
    if len(used) == 1:
        return module(*args[0], **named[0])
    return gather(parallel_apply(replicate(module, used), args, named, used), output_device, dim)
