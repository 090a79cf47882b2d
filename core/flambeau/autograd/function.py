"""Operations with a gradient of one's own (``torch.autograd.Function``)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.autograd.grad_mode import no_grad, state
from flambeau.autograd.node import ATTRIBUTE, Node, Slot, next_seq, taker, version_cell
from flambeau.tensor import Tensor, refresh, wrap


class FunctionCtx:
    """What a :class:`Function` hands from ``forward`` to ``backward``; free for attributes of one's own.

    Attributes:
        needs_input_grad: one bool an argument of ``forward``.
        saved_tensors: what :meth:`save_for_backward` was given.
    """

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: list[Any] = []
        self._pending: tuple[Any, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._non_differentiable: tuple[Tensor, ...] = ()
        self._materialize = True
        self._freed = False

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs and outputs for ``backward``; changes in place between are noticed."""
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(tensor).__name__}"
                )
        self._pending = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs ``forward`` changed in place; they have to be returned."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether ``backward`` sees zeros (True, as from the start) or None for outputs that nothing came from."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved, with its place in the history."""
        if self._freed:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Specify retain_graph=True if you need to backward through the graph a "
                "second time."
            )
        tensors: list[Tensor | None] = []
        for entry in self._saved:
            if entry is None:
                tensors.append(None)
                continue
            array, dtype, device, node, cell, version = entry
            if cell[0] != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace "
                    "operation: a "
                    f"tensor of shape {list(array.shape)} was saved at version {version} and is at version "
                    f"{cell[0]} now"
                )
            made = wrap(array, dtype, device)
            made._node = node
            made._version = cell
            tensors.append(made)
        return tuple(tensors)

    def _seal(self) -> None:
        """Turn the tensors that were given into arrays and nodes: the context must not keep its outputs alive."""
        for tensor in self._pending:
            if tensor is None:
                self._saved.append(None)
            else:
                cell = version_cell(tensor)
                self._saved.append((tensor._array, tensor._dtype, tensor._device, tensor._node, cell, cell[0]))
        self._pending = ()


class _FunctionOp:
    """Stands for the op in a custom node's plan."""

    has_sequence = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.parameters: tuple[Any, ...] = ()
        self.tensor_positions: tuple[int, ...] = ()


class _Argument:
    is_sequence = False


class _FunctionPlan:
    """The plan of a custom node: one joint formula that calls the user's ``backward``."""

    calls = ()
    is_plain = True

    def __init__(self, op: _FunctionOp, needs: tuple[bool, ...], joint: Callable[..., Any]) -> None:
        self.op = op
        op.tensor_positions = tuple(range(len(needs)))
        op.parameters = (_Argument,) * len(needs)
        self.needs = needs
        self.joint = joint
        self.take = taker((0,))
        self.kinds = (ATTRIBUTE,)


class FunctionNode(Node):
    """The node of a :class:`Function`; named after it."""

    __slots__ = ()

    def name(self) -> str:
        return f"{self.plan.op.name}Backward"


class Function:
    """An operation whose gradient the user gives (``torch.autograd.Function``).

    Subclasses have static methods ``forward(ctx, *args)`` and ``backward(ctx, *grad_outputs)``; or ``forward(*args)``
    with ``setup_context(ctx, inputs, output)``. Call it as ``Exp.apply(x)``.

    ::

        class Exp(Function):
            @staticmethod
            def forward(ctx, x):
                result = x.exp()
                ctx.save_for_backward(result)
                return result

            @staticmethod
            def backward(ctx, grad_output):
                (result,) = ctx.saved_tensors
                return grad_output * result
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradient for every argument of ``forward``, None where there is none."""
        raise NotImplementedError("You must implement the backward method for your custom autograd.Function.")

    setup_context: Any = None

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` and record it."""
        ctx = FunctionCtx()
        for argument in args:
            if isinstance(argument, Tensor) and argument._view is not None:
                refresh(argument)
        parents = tuple([a._node if isinstance(a, Tensor) else None for a in args])
        ctx.needs_input_grad = tuple([parent is not None for parent in parents])
        recorded = state.enabled and any(ctx.needs_input_grad)
        with no_grad():
            if cls.setup_context is not None:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        single = not isinstance(result, tuple)
        outputs = (result,) if single else result
        if not recorded:
            return result
        outputs = tuple([_output(output, args, ctx) for output in outputs])
        node = FunctionNode()
        node.seq = next_seq()
        node.extra = None
        node.shapes = None
        node.checks = None
        node.parents = parents
        node.device = next(a for a in args if isinstance(a, Tensor) and a._node is not None)._device
        node.outputs = len(outputs)
        node.plan = _FunctionPlan(_FunctionOp(cls.__name__), ctx.needs_input_grad, _joint(cls, args, outputs))
        node.saved = (ctx,)
        for index, output in enumerate(outputs):
            differentiable = isinstance(output, Tensor) and output._dtype.category >= 2
            if differentiable and not any(output is other for other in ctx._non_differentiable):
                output._node = Slot(node, index)
                output._view = None
        ctx._seal()
        return outputs[0] if single else outputs


def _output(output: Any, args: tuple[Any, ...], ctx: FunctionCtx) -> Any:
    """What ``forward`` returned, as a tensor that may be given a place of its own on the tape."""
    if not isinstance(output, Tensor):
        return output
    if any(output is dirty for dirty in ctx._dirty):
        output._bump_version()
        return output
    if any(output is argument for argument in args):
        return output.detach()
    return output


def _joint(cls: Any, args: tuple[Any, ...], outputs: tuple[Any, ...]) -> Callable[..., Any]:
    """The formula of a custom node: the user's ``backward`` over tensors, whatever the namespace of the pass."""
    shapes = [(o._array.shape, o._dtype, o._device) if isinstance(o, Tensor) else None for o in outputs]
    wanted = [(a._array.shape, a._dtype) if isinstance(a, Tensor) else None for a in args]

    def joint(xp: Any, g: list[Any], needs: tuple[bool, ...], ctx: FunctionCtx) -> list[Any]:
        recording = state.enabled
        cotangents: list[Any] = []
        for gradient, described in zip(g, shapes, strict=True):
            if gradient is not None and not isinstance(gradient, Tensor):
                gradient = wrap(gradient, described[1], described[2])  # type: ignore[index]
            elif gradient is None and described is not None and ctx._materialize:
                shape, dtype, device = described
                gradient = wrap(device.xp.full(shape, 0, dtype, device), dtype, device)
            cotangents.append(gradient)
        returned = cls.backward(ctx, *cotangents)
        gradients = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        while len(gradients) > len(needs) and gradients[-1] is None:
            gradients.pop()
        if len(gradients) != len(needs):
            raise RuntimeError(
                f"function {cls.__name__}Backward returned an incorrect number of gradients (expected "
                f"{len(needs)}, got "
                f"{len(gradients)})"
            )
        checked: list[Any] = []
        for i, (gradient, need) in enumerate(zip(gradients, needs, strict=True)):
            if gradient is None or not need:
                checked.append(None)
                continue
            shape, dtype = wanted[i]  # type: ignore[misc]
            if not isinstance(gradient, Tensor):
                raise TypeError(
                    f"function {cls.__name__}Backward returned a {type(gradient).__name__} as gradient {i}, expected a "
                    "Tensor or None"
                )
            if gradient._array.shape != shape:
                try:
                    gradient = gradient.sum_to_size(shape)
                except (RuntimeError, IndexError):
                    raise RuntimeError(
                        f"Function {cls.__name__}Backward returned an invalid gradient at index {i} - got "
                        f"{list(gradient._array.shape)} but expected shape compatible with {list(shape)}"
                    ) from None
            gradient = gradient.to(dtype)
            checked.append(gradient if recording else gradient._array)
        return checked

    return joint


def once_differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a ``backward`` whose result cannot be differentiated again (``torch.autograd.function``)."""

    @functools.wraps(function)
    def wrapped(ctx: Any, *grad_outputs: Any) -> Any:
        with no_grad():
            returned = function(ctx, *grad_outputs)
        if not state.enabled or not any(isinstance(g, Tensor) and g.requires_grad for g in grad_outputs):
            return returned
        results = returned if isinstance(returned, tuple) else (returned,)
        return tuple([
            _Once.apply(result, *[g for g in grad_outputs if g is not None]) if isinstance(result, Tensor) else result
            for result in results
        ])  # fmt: skip

    return wrapped


class _Once(Function):
    """Passes a gradient on and refuses to be differentiated."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, *origin: Tensor) -> Tensor:
        return result.detach()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


def Variable(data: Tensor, requires_grad: bool = False) -> Tensor:
    """The tensor itself (``torch.autograd.Variable``, which has been a tensor since PyTorch 0.4)."""
    return data.requires_grad_() if requires_grad else data
