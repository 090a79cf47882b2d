"""Maximum pooling with windows at random places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.conv import ntuple
from flambeau.nn.modules.module import Module


class _FractionalMaxPool(Module):
    """The largest value in each of a number of windows at pseudo-random places (Graham, 2014).

    Args:
        kernel_size: size of the window, a number or one a dimension.
        output_size: the output's size, a number or one a dimension; or
        output_ratio: as a share of the input's size, between 0 and 1.
        return_indices: also return where the largest values are, as flat indices into the spatial dimensions.

    Shape: ``(N, C, *)`` or ``(C, *)``.

    Raises:
        ValueError: unless one of ``output_size`` and ``output_ratio`` is given, or for a ratio outside (0, 1).
    """

    _dims: int
    _function: Callable[..., Any]
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError(f"{name}: only one of output_size and output_ratio may be specified")
        self.kernel_size = ntuple(kernel_size, self._dims)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else ntuple(output_size, self._dims)
        self.output_ratio = None if output_ratio is None else ntuple(output_ratio, self._dims)
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"{name}: output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        return self._function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    _dims = 2
    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPool):
    __doc__ = _FractionalMaxPool.__doc__
    _dims = 3
    _function = staticmethod(F.fractional_max_pool3d)
