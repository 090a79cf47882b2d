"""``GradScaler``: scale the loss so that small gradients do not vanish in float16."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.dispatch import backends
from flambeau.dtypes import float16, float32
from flambeau.ops.call import wrap_result

if TYPE_CHECKING:
    from flambeau.optim import Optimizer

_FIX = "This may indicate your script did not use scaler.scale(loss or outputs) earlier in the iteration."


class OptState(Enum):
    """What was done with an optimizer since the last :meth:`GradScaler.update`."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Scale losses up and gradients down again, and leave out steps whose gradients overflowed (``torch.amp``).

    After an overflow the scale shrinks; after ``growth_interval`` steps without one it grows.

    Args:
        device: the type of the device that trains.
        init_scale: the first scale.
        growth_factor: what the scale is multiplied by to grow, above 1.
        backoff_factor: what it is multiplied by after an overflow, below 1.
        growth_interval: see above.
        enabled: False for a scaler that does nothing: ``step`` is the optimizer's.

    Raises:
        AssertionError: for factors out of range.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled and _available(device)
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        # A tensor from the first call of `scale` on, where the outputs are.
        self._scale: Tensor | None = None
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh)

    def scale(self, outputs: Any) -> Any:
        """Return a tensor, or the tensors of an iterable, times the scale.

        Raises:
            ValueError: for what is neither.
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._scale = flambeau.full((), self._init_scale, dtype=float32, device=outputs.device)
            return outputs * self._scale.to(outputs.device)
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(output) for output in outputs])
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale; :meth:`step` does it unless you did.

        Call it to clip gradients, for example, once all of them have been accumulated.

        Raises:
            AssertionError: when nothing was scaled before.
            RuntimeError: when it was done already since the last :meth:`update`, or after :meth:`step`.
            ValueError: for gradients in float16: the parameters have to be float32.
        """
        if not self._enabled:
            return
        scale = self._checked_scale("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        state["found_inf_per_device"] = self._unscale_grads(optimizer, 1.0 / scale.item())
        state["stage"] = OptState.UNSCALED

    def _unscale_grads(self, optimizer: Optimizer, inverse_scale: float) -> dict[Any, Tensor]:
        """By device whether a gradient was infinite or NaN, as a 0-dim float32 tensor: one op a device."""
        grads: dict[Any, list[Any]] = {}
        for group in optimizer.param_groups:
            for param in group["params"]:
                grad = param._grad
                if grad is None:
                    continue
                if grad.dtype is float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                grads.setdefault(grad._device, []).append(grad._array)
                grad._bump_version()
        return {
            device: wrap_result(device.xp.unscale_gradients(arrays, inverse_scale), device).to(float32)
            for device, arrays in grads.items()
        }

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Unscale the gradients if that was not done yet, and call ``optimizer.step`` unless one is infinite or NaN.

        Returns:
            what ``optimizer.step(*args, **kwargs)`` returned, None where it was not called.

        Raises:
            RuntimeError: for a closure, and when :meth:`update` was not called since the last time.
            AssertionError: when nothing was scaled before, or no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._checked_scale("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not state["found_inf_per_device"]:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if not any(found.item() for found in state["found_inf_per_device"].values()):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Let the scale grow or shrink, at the end of an iteration.

        Args:
            new_scale: the scale from now on.

        Raises:
            AssertionError: when no gradients were unscaled before.
        """
        if not self._enabled:
            return
        scale = self._checked_scale("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and (new_scale.numel() != 1 or new_scale.requires_grad):
                raise AssertionError("new_scale should be a float or a 1-element tensor with requires_grad=False.")
            scale.fill_(new_scale.item() if isinstance(new_scale, Tensor) else new_scale)
        else:
            found = [
                found.item()
                for state in self._per_optimizer_states.values()
                for found in state["found_inf_per_device"].values()
            ]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            self._adapt(scale, overflowed=any(found))
        self._per_optimizer_states = defaultdict(_fresh)

    def _adapt(self, scale: Tensor, overflowed: bool) -> None:
        if overflowed:
            scale.mul_(self._backoff_factor)
            self._growth_tracker = 0
            return
        self._growth_tracker += 1
        if self._growth_tracker == self._growth_interval:
            grown = scale * self._growth_factor
            if math.isfinite(grown.item()):
                scale.copy_(grown)
            self._growth_tracker = 0

    def _checked_scale(self, function: str) -> Tensor:
        if self._scale is None:
            raise AssertionError(f"Attempted {function} but _scale is None.  {_FIX}")
        return self._scale

    # -- settings ----------------------------------------------------------------------------------------------------

    def get_scale(self) -> float:
        """The scale; 1 when not enabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by to grow."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by to grow."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is multiplied by after an overflow."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps without an overflow the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many steps without an overflow the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    # -- saving ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the settings, empty when not enabled; call it after :meth:`update`."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned, of this class or of PyTorch's.

        Raises:
            RuntimeError: when it is empty.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                    "scaler.update()."
                )
            state["_init_scale"] = self.get_scale()
            state["_scale"] = None
        return state


def _available(device: str) -> bool:
    found = backends().get(device)
    if found is None or not found[0].is_available():
        warnings.warn(
            f"GradScaler is enabled for '{device}', but {device.upper()} is not available.  Disabling.", stacklevel=3
        )
        return False
    return True
