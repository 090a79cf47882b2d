"""Full backward hooks of modules.

Two identities are put on the tape, one around the inputs of a call and one around its outputs. The gradients pass
through them: first those of the outputs, then those of the inputs.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.autograd import Function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Gate(Function):
    """The identity; gradients pass through ``handler``."""

    @staticmethod
    def forward(ctx: Any, handler: Callable[..., Any], *tensors: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        ctx.handler = handler
        return tuple([tensor.view_as(tensor) for tensor in tensors])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        return (None, *ctx.handler(grads))


class BackwardHooks:
    """The backward hooks of one call of a module."""

    def __init__(self, module: Any, hooks: list[Callable[..., Any]], pre_hooks: list[Callable[..., Any]]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.input_count = 0
        self.input_places: list[int] | None = None
        self.output_count = 0
        self.output_places: list[int] = []
        self.grad_outputs: Any = None

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.input_count = len(args)
        watched, self.input_places = _through_gate(args, self._inputs_done)
        return watched

    def watch_outputs(self, result: Any) -> Any:
        if not isinstance(result, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(result)}",
                stacklevel=5,
            )
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        self.output_count = len(outputs)
        watched, places = _through_gate(outputs, self._outputs_done)
        self.output_places = places or []
        return watched if isinstance(result, tuple) else watched[0]

    def _outputs_done(self, grads: Sequence[Any]) -> Sequence[Any]:
        grad_outputs: Any = _spread(self.output_places, grads, self.output_count)
        for hook in self.pre_hooks:
            replaced = hook(self.module, grad_outputs)
            if replaced is None:
                continue
            if isinstance(replaced, Tensor):
                replaced = (replaced,)
            if len(replaced) != self.output_count:
                raise RuntimeError(
                    f"Backward pre hook returned an invalid number of grad_output, got {len(replaced)}, but expected "
                    f"{self.output_count}"
                )
            grad_outputs = replaced
        if self.input_places is None:
            self._no_gradient_for_inputs(grad_outputs)
        else:
            self.grad_outputs = grad_outputs
        return [grad_outputs[place] for place in self.output_places]

    def _no_gradient_for_inputs(self, grad_outputs: Any) -> None:
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no "
                "inputs require gradients.",
                stacklevel=2,
            )
        for hook in self.hooks:
            replaced = hook(self.module, (None,) * self.input_count, grad_outputs)
            if replaced is not None and not (isinstance(replaced, tuple) and all(g is None for g in replaced)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )

    def _inputs_done(self, grads: Sequence[Any]) -> Sequence[Any]:
        places = self.input_places or []
        if self.grad_outputs is None:  # nothing was computed from the outputs
            return grads
        grad_inputs: Any = _spread(places, grads, self.input_count)
        for hook in self.hooks:
            replaced = hook(self.module, grad_inputs, self.grad_outputs)
            if replaced is None:
                continue
            if isinstance(replaced, Tensor):
                replaced = (replaced,)
            if len(replaced) != self.input_count:
                raise RuntimeError(
                    f"Backward hook returned an invalid number of grad_input, got {len(replaced)}, but expected "
                    f"{self.input_count}"
                )
            grad_inputs = replaced
        self.grad_outputs = None
        return [grad_inputs[place] for place in places]


def _through_gate(values: tuple[Any, ...], handler: Callable[..., Any]) -> tuple[tuple[Any, ...], list[int] | None]:
    """``values`` with its differentiable tensors led through a gate, and their places; None when no gradient flows."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex())]
    if not flambeau.is_grad_enabled() or not any(values[i].requires_grad for i in places):
        return values, None
    led = list(values)
    for place, tensor in zip(places, _Gate.apply(handler, *[values[i] for i in places]), strict=True):
        led[place] = tensor
    if hasattr(values, "_fields"):  # a named tuple
        return type(values)(*led), places
    return tuple(led), places


def _spread(places: Sequence[int], values: Sequence[Any], count: int) -> tuple[Any, ...]:
    spread: list[Any] = [None] * count
    for place, value in zip(places, values, strict=True):
        spread[place] = value
    return tuple(spread)
