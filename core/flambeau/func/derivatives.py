"""Derivatives of functions, by :func:`flambeau.autograd.grad`.

Every transform differentiates with respect to fresh tensors of its own, recorded on the tape as copies of what it was
given. So transforms nest, and what the caller's tensors were computed from stays in reach of an outer one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.engine import grad as gradients
from flambeau.autograd.grad_mode import enable_grad
from flambeau.func.nested import leaves_of, mapped, rebuilt, tensors_of
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


def _fresh(tensor: Tensor) -> Tensor:
    """A tensor to differentiate with respect to: a leaf, or a step on from where ``tensor`` is on the tape."""
    if tensor.requires_grad:
        return TENSORS.view(tensor, tuple(tensor.shape))
    return tensor.detach().requires_grad_()


def _fresh_all(where: str, nested: Any) -> Any:
    tensors_of(where, nested)
    return mapped(_fresh, nested)


def _recorded(nested: Any) -> bool:
    """Whether an outer transform, or the caller, differentiates through these arguments."""
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves_of(nested))


def _detached(nested: Any) -> Any:
    return mapped(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, nested)


def _with_aux(name: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(f"{name}: with has_aux=True the function has to return a tuple (output, aux)")
    return result


def _pull_back(outputs: list[Tensor], inputs: list[Tensor], cotangents: list[Any] | None) -> list[Tensor]:
    """The gradients of the outputs, zeros for inputs that play no part; recorded."""
    reached = [i for i, output in enumerate(outputs) if output.requires_grad]
    if not reached or not inputs:
        return [TENSORS.full_like(tensor.detach(), 0) for tensor in inputs]
    chosen = None if cotangents is None else [cotangents[i] for i in reached]
    found: Any = gradients(
        [outputs[i] for i in reached], inputs, chosen, True, True, allow_unused=True, materialize_grads=True
    )
    return list(found)


def _chosen(name: str, argnums: Argnums, args: tuple[Any, ...]) -> tuple[int, ...]:
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for place in places:
        if not -len(args) <= place < len(args):
            raise RuntimeError(f"{name}: got argnums={argnums}, but only {len(args)} positional inputs")
    return tuple([place % len(args) for place in places])


def _replaced(name: str, args: tuple[Any, ...], places: tuple[int, ...]) -> list[Any]:
    return [_fresh_all(f"{name}: argument {i}", a) if i in places else a for i, a in enumerate(args)]


def grad_and_value(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Return a function that gives the gradient of ``func`` and its value (``torch.func.grad_and_value``).

    Args:
        func: gives a tensor with one element; with ``has_aux`` a pair of that and anything, which is passed through.
        argnums: with respect to which positional argument(s), each a tensor or a container of tensors.

    Returns:
        A function that gives ``(gradient, value)``, with ``has_aux`` ``(gradient, (value, aux))``.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen("grad", argnums, args)
        outer = _recorded(list(args)) or _recorded(kwargs)
        with enable_grad():
            given = _replaced("grad", args, places)
            value, aux = _with_aux("grad", func(*given, **kwargs), has_aux)
            if not isinstance(value, Tensor) or value.ndim:
                seen = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f"grad: Expected f(*args) to return a scalar tensor, got {seen}")
            wanted = [given[place] for place in places]
            found = _pull_back([value], leaves_of(wanted), None)
        result = rebuilt(wanted, found)
        if not (outer or _captures(value, wanted)):
            result, value, aux = _detached(result), value.detach(), _detached(aux)
        result = result[0] if isinstance(argnums, int) else tuple(result)
        return result, ((value, aux) if has_aux else value)

    return call


def _captures(value: Tensor, wanted: list[Any]) -> bool:
    """Whether the value depends on a tensor to differentiate that did not come as an argument (a closure)."""
    own = {id(leaf._node) for leaf in leaves_of(wanted)}
    seen: set[int] = set()
    pending = [value._node]
    while pending:
        node = pending.pop()
        node = getattr(node, "node", node)
        if node is None or id(node) in seen or id(node) in own:
            continue
        seen.add(id(node))
        parents = getattr(node, "parents", None)
        if parents is None:
            return True
        pending += parents
    return False


def value_and_grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Return a function that gives ``(value, gradient)``: :func:`grad_and_value` the other way round."""
    both = grad_and_value(func, argnums, has_aux)

    def call(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return value, gradient

    return call


def grad(func: Function, argnums: Argnums = 0, has_aux: bool = False) -> Function:
    """Return a function that gives the gradient of ``func`` (``torch.func.grad``); see :func:`grad_and_value`."""
    both = grad_and_value(func, argnums, has_aux)

    def call(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return call


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Return ``func(*primals)`` and the function that takes cotangents of it to those of the primals.

    Returns:
        ``(output, vjp_fn)``, with ``has_aux`` ``(output, vjp_fn, aux)``. ``vjp_fn(cotangents)`` gives a tuple with one
        entry a primal, for a single primal its entry alone.
    """
    with enable_grad():
        given = [_fresh_all(f"vjp: primal {i}", primal) for i, primal in enumerate(primals)]
        output, aux = _with_aux("vjp", func(*given), has_aux)
        outputs = tensors_of("vjp: the output of the function", output)

    def pull_back(*cotangents: Any) -> Any:
        flat = leaves_of(list(cotangents))
        if len(flat) != len(outputs):
            raise RuntimeError(f"vjp: expected cotangents for {len(outputs)} outputs, got {len(flat)}")
        with enable_grad():
            found = rebuilt(given, _pull_back(outputs, leaves_of(given), flat))
        if not (_recorded(list(primals)) or _recorded(list(cotangents))):
            found = _detached(found)
        return found[0] if len(primals) == 1 else tuple(found)

    seen = output if _recorded(list(primals)) else _detached(output)
    return (seen, pull_back, aux) if has_aux else (seen, pull_back)


def jvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, has_aux: bool = False) -> Any:
    """Return ``func(*primals)`` and its directional derivative along ``tangents``.

    Forward mode as the gradient of a gradient: the VJP is linear in its cotangent, and the VJP of that with respect
    to the cotangent is the JVP.

    Returns:
        ``(output, tangent)``, with ``has_aux`` ``(output, tangent, aux)``.
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple) or len(primals) != len(tangents):
        raise RuntimeError("jvp: primals and tangents have to be tuples of the same length")
    with enable_grad():
        given = [_fresh_all(f"jvp: primal {i}", primal) for i, primal in enumerate(primals)]
        output, aux = _with_aux("jvp", func(*given), has_aux)
        outputs = tensors_of("jvp: the output of the function", output)
        inputs, directions = leaves_of(given), leaves_of(list(tangents))
        for tensor, direction in zip(inputs, directions, strict=True):
            if tensor.shape != direction.shape:
                raise RuntimeError(
                    f"jvp: a tangent has the shape {list(direction.shape)} and its primal {list(tensor.shape)}"
                )
        cotangents = [TENSORS.full_like(out.detach(), 0).requires_grad_() for out in outputs]
        pulled = _pull_back(outputs, inputs, cotangents)
        found = _pull_back(pulled, cotangents, directions)
    tangent = rebuilt(output, found)
    if not (_recorded(list(primals)) or _recorded(list(tangents))):
        output, tangent = _detached(output), _detached(tangent)
    return (output, tangent, aux) if has_aux else (output, tangent)


# -- Jacobians -------------------------------------------------------------------------------------------------------


def _unit(like: Tensor, place: int) -> Tensor:
    """A tensor like another with a 1 at one place (of the flattened tensor) and 0 elsewhere."""
    flat = TENSORS.full_like(like.detach(), 0).reshape(-1)
    flat[place] = 1
    return flat.reshape(like.shape)


def jacrev(func: Function, argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None) -> Function:
    """Return a function that gives the Jacobian of ``func``, one backward pass an output element.

    Args:
        chunk_size: taken for compatibility; the rows are computed one by one, which needs the least memory.

    Returns:
        A function that gives, for outputs of the shape (\\*m) and an argument of the shape (\\*n), tensors of the
        shape (\\*m, \\*n), nested as the output, and within as the argument(s).
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen("jacrev", argnums, args)
        outer = _recorded(list(args)) or _recorded(kwargs)
        with enable_grad():
            given = _replaced("jacrev", args, places)
            output, aux = _with_aux("jacrev", func(*given, **kwargs), has_aux)
            wanted = given[places[0]] if isinstance(argnums, int) else tuple([given[place] for place in places])
            inputs = leaves_of(wanted)

            def rows(out: Tensor) -> Any:
                found = [_pull_back([out], inputs, [_unit(out, i)]) for i in range(out.numel())]
                columns = [
                    TENSORS.stack(list(column), 0).reshape((*out.shape, *tensor.shape))
                    for column, tensor in zip(zip(*found, strict=True), inputs, strict=True)
                ] if found else [out.new_zeros((*out.shape, *tensor.shape)) for tensor in inputs]  # fmt: skip
                return rebuilt(wanted, columns)

            tensors_of("jacrev: the output of the function", output)
            result = mapped(rows, output)
        if not outer:
            result, aux = _detached(result), _detached(aux)
        return (result, aux) if has_aux else result

    return call


def jacfwd(func: Function, argnums: Argnums = 0, has_aux: bool = False, *, randomness: str = "error") -> Function:
    """Return a function that gives the Jacobian of ``func``, one :func:`jvp` an input element; see :func:`jacrev`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen("jacfwd", argnums, args)
        wanted = args[places[0]] if isinstance(argnums, int) else tuple([args[place] for place in places])
        inputs = tensors_of("jacfwd: the argument", wanted)
        kept: list[Any] = []

        def of_leaves(*leaves: Tensor) -> Any:
            nested = rebuilt(wanted, leaves)
            full = list(args)
            for place, value in zip(places, (nested,) if isinstance(argnums, int) else nested, strict=True):
                full[place] = value
            output, aux = _with_aux("jacfwd", func(*full, **kwargs), has_aux)
            kept[:] = [output, aux]
            return tuple(tensors_of("jacfwd: the output of the function", output))

        blocks: list[list[Tensor]] = []  # an input leaf, an output leaf
        for k, tensor in enumerate(inputs):
            columns = []
            for i in range(tensor.numel()):
                directions = [_unit(t, i) if j == k else TENSORS.full_like(t.detach(), 0) for j, t in enumerate(inputs)]
                columns.append(jvp(of_leaves, tuple(inputs), tuple(directions))[1])
            blocks.append(
                [TENSORS.stack(list(c), -1).reshape((*c[0].shape, *tensor.shape)) for c in zip(*columns, strict=True)]
            )
        if not all(blocks):
            raise RuntimeError("jacfwd: an argument has no elements; use jacrev")
        output, aux = kept
        per_output = [rebuilt(wanted, list(column)) for column in zip(*blocks, strict=True)]
        remaining = iter(per_output)
        result = mapped(lambda _: next(remaining), output)
        return (result, _detached(aux)) if has_aux else result

    return call


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """Return a function that gives the matrix of second derivatives of ``func``.

    Reverse over reverse: forward mode is two reverse passes here.
    """
    return jacrev(jacrev(func, argnums), argnums)
