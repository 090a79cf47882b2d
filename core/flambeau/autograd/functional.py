"""Derivatives of functions at a point (``torch.autograd.functional``).

``inputs`` is a tensor or a tuple of tensors, ``func`` takes them and gives a tensor or a tuple of tensors; results are
nested accordingly. Without ``create_graph`` they are off the tape. ``strict`` raises where an output does not depend
on an input, in place of giving zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.engine import grad
from flambeau.autograd.grad_mode import enable_grad
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]
Function = Callable[..., Any]


def _tuple(op: str, what: str, value: Any) -> tuple[Tensor, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for i, tensor in enumerate(values):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}: the {what} must be a Tensor or a tuple of Tensors; value {i} is of the type "
                            f"{type(tensor).__name__}")  # fmt: skip
    return values


def _fresh(tensor: Tensor, create_graph: bool) -> Tensor:
    if create_graph and tensor.requires_grad:
        return TENSORS.view(tensor, tuple(tensor.shape))
    return tensor.detach().requires_grad_()


def _applied(op: str, func: Function, inputs: Any, create_graph: bool) -> tuple[tuple[Tensor, ...], Any]:
    given = tuple([_fresh(tensor, create_graph) for tensor in _tuple(op, "inputs given to the function", inputs)])
    return given, func(*given)


def _pulled(
    op: str, outputs: tuple[Tensor, ...], inputs: tuple[Tensor, ...], cotangents: Any, strict: bool
) -> tuple[Tensor, ...]:
    """The gradients, recorded; zeros where nothing depends on an input."""
    reached = [i for i, output in enumerate(outputs) if output.requires_grad]
    if strict and len(reached) < len(outputs):
        raise RuntimeError(f"{op}: an output of the function is independent of all inputs; not allowed in strict mode")
    found: tuple[Tensor | None, ...] = (None,) * len(inputs)
    if reached:
        chosen = [None if cotangents is None else cotangents[i] for i in reached]
        found = grad([outputs[i] for i in reached], inputs, chosen, True, True, allow_unused=True)
    if strict and any(gradient is None for gradient in found):
        raise RuntimeError(f"{op}: the function is independent of an input; this is not allowed in strict mode")
    return tuple([
        TENSORS.full_like(tensor.detach(), 0) if gradient is None else gradient
        for gradient, tensor in zip(found, inputs, strict=True)
    ])  # fmt: skip


def _vectors(op: str, v: Any, like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The vectors to multiply with, 1 by default where there is one element."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(f"{op}: the vector v can only be None where it has a single element; pass one")
        return (TENSORS.full_like(like[0].detach(), 1),)
    vectors = _tuple(op, "vector v", v)
    if [tuple(t.shape) for t in vectors] != [tuple(t.shape) for t in like]:
        raise RuntimeError(
            f"{op}: v has the shapes {[list(t.shape) for t in vectors]}, but {[list(t.shape) for t in like]} are needed"
        )
    return vectors


def _result(values: tuple[Tensor, ...], like: Any, create_graph: bool) -> Any:
    values = values if create_graph else tuple([value.detach() for value in values])
    return values if isinstance(like, (tuple, list)) else values[0]


def _scalar(op: str, output: Any) -> Tensor:
    if not isinstance(output, Tensor) or output.numel() != 1:
        raise RuntimeError(f"{op}: the function has to return a Tensor with a single element")
    return output


def vjp(
    func: Function, inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return ``func(*inputs)`` and the product of ``v``, of the outputs' shapes, with the Jacobian."""
    with enable_grad():
        given, output = _applied("vjp", func, inputs, create_graph)
        outputs = _tuple("vjp", "outputs of the function", output)
        found = _pulled("vjp", outputs, given, _vectors("vjp", v, outputs), strict)
    return _result(outputs, output, create_graph), _result(found, inputs, create_graph)


def jvp(
    func: Function, inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return ``func(*inputs)`` and the product of the Jacobian with ``v``, of the inputs' shapes: a double VJP."""
    with enable_grad():
        given, output = _applied("jvp", func, inputs, create_graph)
        outputs = _tuple("jvp", "outputs of the function", output)
        vectors = _vectors("jvp", v, given)
        cotangents = tuple([TENSORS.full_like(out.detach(), 0).requires_grad_() for out in outputs])
        pulled = _pulled("jvp", outputs, given, cotangents, strict)
        found = _pulled("jvp", pulled, cotangents, vectors, strict)
    return _result(outputs, output, create_graph), _result(found, output, create_graph)


def jacobian(
    func: Function, inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """Return the Jacobian: for an output (\\*m) and an input (\\*n) a tensor (\\*m, \\*n).

    For several outputs a tuple over outputs, for several inputs (within) a tuple over inputs.

    Args:
        vectorize: one backward pass for all output elements (by :func:`flambeau.func.vmap`), not one for each.
        strategy: ``"reverse-mode"`` or ``"forward-mode"``, with the same result; it is reverse mode in either case.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise RuntimeError(f"jacobian: strategy has to be 'reverse-mode' or 'forward-mode', got {strategy!r}")
    if strict and vectorize:
        raise RuntimeError("jacobian: strict=True and vectorize=True are not supported together")
    with enable_grad():
        given, output = _applied("jacobian", func, inputs, create_graph)
        outputs = _tuple("jacobian", "outputs of the function", output)
        blocks = []
        for out in outputs:
            if vectorize and out.numel():
                blocks.append(_result(_block(out, given), inputs, create_graph))
                continue
            flat = out.reshape(-1)
            rows = [_pulled("jacobian", (flat[i],), given, None, strict) for i in range(out.numel())]
            columns = zip(*rows, strict=True) if rows else [()] * len(given)
            block = tuple([
                TENSORS.stack(list(column), 0).reshape((*out.shape, *tensor.shape))
                if column else out.new_zeros((*out.shape, *tensor.shape))
                for column, tensor in zip(columns, given, strict=True)
            ])  # fmt: skip
            blocks.append(_result(block, inputs, create_graph))
    return tuple(blocks) if isinstance(output, (tuple, list)) else blocks[0]


def _block(out: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The derivatives of all elements of an output, in one pass over a batch of cotangents."""
    from flambeau.func.batching import vmap

    units = TENSORS.eye(out.numel(), out.numel(), out.dtype, out.device).reshape((out.numel(), *out.shape))
    stacked = vmap(lambda unit: _pulled("jacobian", (out,), given, (unit,), False))(units)
    return tuple([rows.reshape((*out.shape, *tensor.shape)) for rows, tensor in zip(stacked, given, strict=True)])


def hessian(
    func: Function, inputs: Tensors, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """Return the second derivatives of a single-element function; for several inputs a tuple of tuples."""
    single = isinstance(inputs, Tensor)

    def gradient(*given: Tensor) -> Any:
        output = _scalar("hessian", func(*given))
        found = _pulled("hessian", (output,), given, (TENSORS.full_like(output.detach(), 1),), strict)
        return found[0] if single else found

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def _first(op: str, func: Function, inputs: Any, create_graph: bool, strict: bool) -> Any:
    given, output = _applied(op, func, inputs, create_graph)
    output = _scalar(op, output)
    return given, output, _pulled(op, (output,), given, (TENSORS.full_like(output.detach(), 1),), strict)


def vhp(
    func: Function, inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return ``func(*inputs)`` and the product of ``v``, of the inputs' shapes, with the Hessian."""
    with enable_grad():
        given, output, gradients = _first("vhp", func, inputs, create_graph, strict)
        found = _pulled("vhp", gradients, given, _vectors("vhp", v, given), strict)
    return _result((output,), output, create_graph), _result(found, inputs, create_graph)


def hvp(
    func: Function, inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """Return ``func(*inputs)`` and the product of the Hessian with ``v``: as :func:`vhp`, by symmetry."""
    return vhp(func, inputs, v, create_graph, strict)
