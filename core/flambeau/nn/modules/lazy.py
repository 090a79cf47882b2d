"""Modules that learn the sizes of their parameters from the first input."""

from __future__ import annotations

from typing import Any, cast

import flambeau
from flambeau import Tensor
from flambeau.nn.modules.batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from flambeau.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Buffer, Parameter

# -- tensors without a size --------------------------------------------------------------------------------------------


class _Uninitialized:
    """What parameters and buffers without a size have in common."""

    cls_to_become: type[Tensor]

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become an ordinary parameter or buffer of this shape, without particular values."""
        own = cast("Tensor", self)
        own.data = flambeau.empty(
            tuple(shape),
            device=own.device if device is None else device,
            dtype=own.dtype if dtype is None else dtype,
        )
        self.__class__ = self.cls_to_become  # type: ignore[assignment]

    def __repr__(self, **options: Any) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):  # type: ignore[misc]  # its repr takes any options
    """A parameter whose shape is not known yet.

    Args:
        requires_grad: whether gradients are collected for it.
        device, dtype: what it will have.
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        data = flambeau.empty(0, device=device, dtype=dtype)
        return cast("UninitializedParameter", Tensor._make_subclass(cls, data, requires_grad))

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        pass  # all is done in __new__

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return cast("UninitializedParameter", memo[id(self)])

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.requires_grad, self.device, self.dtype)


class UninitializedBuffer(_Uninitialized, Buffer):  # type: ignore[misc]  # as above
    """A buffer whose shape is not known yet.

    Args:
        requires_grad: whether gradients are collected for it.
        device, dtype: what it will have.
        persistent: whether it is part of the module's ``state_dict``.
    """

    cls_to_become = Buffer

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        data = flambeau.empty(0, device=device, dtype=dtype)
        buffer = cast("UninitializedBuffer", Tensor._make_subclass(cls, data, requires_grad))
        buffer.persistent = persistent
        return buffer

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> None:
        pass  # all is done in __new__

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedBuffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype, self.persistent)
        return cast("UninitializedBuffer", memo[id(self)])

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.requires_grad, self.device, self.dtype, self.persistent)


def is_lazy(tensor: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(tensor, _Uninitialized)


# -- the mixin ---------------------------------------------------------------------------------------------------------


class LazyModuleMixin(Module):
    """What makes a module lazy.

    A subclass derives from this and from an ordinary module, uses :class:`UninitializedParameter` and
    :class:`UninitializedBuffer`, and has :meth:`initialize_parameters`, which gives them their shapes. After the first
    call the module is one of the class ``cls_to_become``.
    """

    cls_to_become: type[Module] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        # What has no shape cannot be detached; it is saved as it is.
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars or is_lazy(tensor) else tensor.detach()

    def _lazy_load_hook(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Give what has no shape yet the shape that it has in the state dict."""
        for name, tensor in self._own_state():
            value = state_dict.get(prefix + name)
            if is_lazy(tensor) and isinstance(value, Tensor) and not is_lazy(value):
                cast("Any", tensor).materialize(value.shape)

    def _load_tensor(self, name: str, key: str, own: Tensor, value: Any, assign: bool) -> str | None:
        if is_lazy(own) and is_lazy(value):
            return None
        return super()._load_tensor(name, key, own, value, assign)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give parameters and buffers the shapes that the arguments of ``forward`` call for."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of the module has no shape yet."""
        return any(map(is_lazy, [*self._parameters.values(), *self._buffers.values()]))

    def _infer_parameters(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        """Initialize the parameters before the first forward pass, and be a lazy module no longer."""
        self.initialize_parameters(*args, **(kwargs or {}))
        if self.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        self._initialize_hook.remove()
        self._load_hook.remove()
        del self._initialize_hook
        del self._load_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become  # type: ignore[assignment]


# -- modules -----------------------------------------------------------------------------------------------------------


class LazyLinear(LazyModuleMixin, Linear):
    """A :class:`Linear` that takes ``in_features`` from the first input.

    Args:
        out_features: size of the last dimension of the output.
        bias: whether there is a bias.
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False, device, dtype)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            with flambeau.no_grad():
                self.in_features = input.shape[-1]
                cast("Any", self.weight).materialize((self.out_features, self.in_features))
                if self.bias is not None:
                    cast("Any", self.bias).materialize((self.out_features,))
                self.reset_parameters()
        if self.in_features == 0:
            self.in_features = self.weight.shape[-1]  # loaded from a state dict


class _LazyConvBase(LazyModuleMixin):
    """A convolution that takes ``in_channels`` from the first input."""

    weight: Parameter
    bias: Parameter | None

    def _set_lazy(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once their shapes are known."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        if self.has_uninitialized_params():
            self.in_channels = self._channels(input)
            if self.in_channels % self.groups:
                raise ValueError("in_channels must be divisible by groups")
            channels = (self.out_channels, self.in_channels)
            if self.transposed:
                channels = channels[::-1]
            cast("Any", self.weight).materialize((channels[0], channels[1] // self.groups, *self.kernel_size))
            if self.bias is not None:
                cast("Any", self.bias).materialize((self.out_channels,))
            self.reset_parameters()
        if self.in_channels == 0:  # loaded from a state dict
            self.in_channels = self.weight.shape[0] if self.transposed else self.weight.shape[1] * self.groups

    def _channels(self, input: Tensor) -> int:
        dims = len(self.kernel_size)
        if input.dim() not in (dims + 1, dims + 2):
            raise RuntimeError(
                f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {type(self).__name__}, but got "
                f"input of size: {input.shape}"
            )
        return int(input.shape[-dims - 1])


class _LazyConv(_LazyConvBase):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        # Without a bias: it would be of size 0.
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self._set_lazy(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvBase):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        size = (0, 0, kernel_size, stride, padding, output_padding)
        super().__init__(*size, groups, False, dilation, padding_mode, device, dtype)
        self._set_lazy(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A :class:`Conv1d` that takes ``in_channels`` from the first input; its other arguments in their order."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A :class:`Conv2d` that takes ``in_channels`` from the first input; its other arguments in their order."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A :class:`Conv3d` that takes ``in_channels`` from the first input; its other arguments in their order."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A :class:`ConvTranspose1d` that takes ``in_channels`` from the first input; its other arguments in order."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A :class:`ConvTranspose2d` that takes ``in_channels`` from the first input; its other arguments in order."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A :class:`ConvTranspose3d` that takes ``in_channels`` from the first input; its other arguments in order."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(LazyModuleMixin):
    """A normalization that takes ``num_features`` from the first input."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        # Neither affine nor tracking: these would make tensors of size 0.
        super().__init__(0, eps, momentum, False, False, device, dtype)
        self.affine = affine
        self.track_running_stats = track_running_stats
        factory = {"device": device, "dtype": dtype}
        if affine:
            self.weight = UninitializedParameter(**factory)
            if bias:
                self.bias = UninitializedParameter(**factory)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**factory)
            self.running_var = UninitializedBuffer(**factory)
            self.num_batches_tracked = flambeau.zeros((), dtype=flambeau.int64, device=device)

    def reset_parameters(self) -> None:
        """Reset statistics, weight and bias, once their shapes are known."""
        if not self.has_uninitialized_params() and self.num_features:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.num_features = self._channels(input)
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
                if is_lazy(tensor):
                    cast("Any", tensor).materialize((self.num_features,))
            self.reset_parameters()
        if self.num_features == 0:  # loaded from a state dict, or there is nothing to have a size
            self.num_features = self._channels(input)

    def _channels(self, input: Tensor) -> int:
        self._check_input_dim(input)
        return int(input.shape[1])


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A :class:`BatchNorm1d` that takes ``num_features`` from the first input; its other arguments in their order."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A :class:`BatchNorm2d` that takes ``num_features`` from the first input; its other arguments in their order."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """A :class:`BatchNorm3d` that takes ``num_features`` from the first input; its other arguments in their order."""

    cls_to_become = BatchNorm3d


class _LazyInstanceNorm(_LazyNorm):
    def _channels(self, input: Tensor) -> int:
        self._check_input_dim(input)
        return int(input.shape[0 if input.dim() == self._ranks[0] else 1])


class LazyInstanceNorm1d(_LazyInstanceNorm, InstanceNorm1d):
    """An :class:`InstanceNorm1d` that takes ``num_features`` from the first input; its other arguments in order."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyInstanceNorm, InstanceNorm2d):
    """An :class:`InstanceNorm2d` that takes ``num_features`` from the first input; its other arguments in order."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyInstanceNorm, InstanceNorm3d):
    """An :class:`InstanceNorm3d` that takes ``num_features`` from the first input; its other arguments in order."""

    cls_to_become = InstanceNorm3d
