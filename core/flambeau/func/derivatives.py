"""Derivatives of functions, by :func:`flambeau.autograd.grad`.

Every transform differentiates with respect to fresh tensors of its own, recorded on the tape as copies of what it was
given. So transforms nest, and what the caller's tensors were computed from stays in reach of an outer one. Inside of
:func:`~flambeau.func.vmap` the fresh tensors are of its level: each example has its own derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.engine import grad as gradients
from flambeau.autograd.grad_mode import enable_grad
from flambeau.autograd.node import Leaf
from flambeau.devices import levels
from flambeau.dtypes import FLOATING
from flambeau.func.batching import vmap
from flambeau.func.nested import leaves_of, mapped, rebuilt, tensors_of
from flambeau.levels import bottom, share
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]


def _fresh(tensor: Tensor) -> Tensor:
    """A tensor to differentiate with respect to: a leaf, or a step on from where ``tensor`` is on the tape."""
    if levels.stack:
        tensor = share(tensor, levels.stack[-1])
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


def _pull_back(outputs: list[Tensor], inputs: list[Tensor], cotangents: list[Any] | None, record: bool) -> list[Tensor]:
    """The gradients of the outputs, zeros for inputs that play no part."""
    reached = [i for i, output in enumerate(outputs) if output.requires_grad]
    if not reached or not inputs:
        return [TENSORS.full_like(tensor.detach(), 0) for tensor in inputs]
    chosen = None if cotangents is None else [cotangents[i] for i in reached]
    found: Any = gradients(
        [outputs[i] for i in reached], inputs, chosen, True, record, allow_unused=True, materialize_grads=True
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
        with enable_grad():
            given = _replaced("grad", args, places)
            value, aux = _with_aux("grad", func(*given, **kwargs), has_aux)
            if not isinstance(value, Tensor) or value.ndim:
                seen = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise RuntimeError(f"grad: Expected f(*args) to return a scalar tensor, got {seen}")
            wanted = [given[place] for place in places]
            outer = reaches_out([value], wanted, args, kwargs)
            found = _pull_back([value], leaves_of(wanted), None, outer)
        result = rebuilt(wanted, found)
        if not outer:
            value, aux = value.detach(), _detached(aux)
        result = result[0] if isinstance(argnums, int) else tuple(result)
        return result, ((value, aux) if has_aux else value)

    return call


def reaches_out(outputs: list[Tensor], given: Any, *arguments: Any) -> bool:
    """Whether somebody else differentiates too: arguments are recorded, or a tensor of a closure is."""
    return _recorded(list(arguments)) or any(_captures(output, given) for output in outputs)


def _captures(value: Tensor, given: Any) -> bool:
    """Whether a value depends on a recorded tensor that did not come as an argument (a closure)."""
    own = {id(leaf._node) for leaf in leaves_of(given) if isinstance(leaf, Tensor)}
    seen: set[int] = set()
    pending = [value._node]
    while pending:
        node: Any = pending.pop()
        if id(node) in own:
            continue
        node = getattr(node, "node", node)
        if node is None or id(node) in seen or id(node) in own:
            continue
        seen.add(id(node))
        if type(node) is not Leaf:
            pending += node.parents
        elif node.variable is not None:  # else of a transform that has ended
            return True
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
    outer = reaches_out(outputs, given, primals)

    def pull_back(*cotangents: Any) -> Any:
        flat = leaves_of(list(cotangents))
        if len(flat) != len(outputs):
            raise RuntimeError(f"vjp: expected cotangents for {len(outputs)} outputs, got {len(flat)}")
        with enable_grad():
            found = rebuilt(given, _pull_back(outputs, leaves_of(given), flat, outer or _recorded(flat)))
        return found[0] if len(primals) == 1 else tuple(found)

    seen = output if outer else _detached(output)
    return (seen, pull_back, aux if outer else _detached(aux)) if has_aux else (seen, pull_back)


# -- forward ---------------------------------------------------------------------------------------------------------


class _Linear:
    """A function around a point, as a linear map of tangents.

    Forward mode as the gradient of a gradient: the VJP is linear in its cotangent, and the VJP of that with respect to
    the cotangent is the JVP. The function runs once, however many tangents there are.
    """

    def __init__(self, name: str, func: Function, primals: Any, has_aux: bool) -> None:
        self.name = name
        with enable_grad():
            self.given = [_fresh_all(f"{name}: primal {i}", primal) for i, primal in enumerate(primals)]
            self.output, self.aux = _with_aux(name, func(*self.given), has_aux)
            outputs = tensors_of(f"{name}: the output of the function", self.output)
            self.outer = reaches_out(outputs, self.given, primals)
            self.inputs = leaves_of(self.given)
            self.cotangents = [
                TENSORS.full_like(out.detach(), 0).requires_grad_() if out.dtype.category >= FLOATING else None
                for out in outputs
            ]
            moving = [i for i, cotangent in enumerate(self.cotangents) if cotangent is not None]
            self.moving: list[Any] = [self.cotangents[i] for i in moving]
            self.pulled = _pull_back([outputs[i] for i in moving], self.inputs, self.moving, True)

    def __call__(self, tangents: Any) -> Any:
        directions = leaves_of(list(tangents))
        if len(directions) != len(self.inputs):
            raise RuntimeError(
                f"{self.name}: Expected as many tangents as primals, got {len(directions)} for {len(self.inputs)}"
            )
        for tensor, direction in zip(self.inputs, directions, strict=True):
            if not isinstance(direction, Tensor) or tensor.shape != direction.shape:
                seen = list(direction.shape) if isinstance(direction, Tensor) else type(direction).__name__
                raise RuntimeError(f"{self.name}: a tangent has the shape {seen} and its primal {list(tensor.shape)}")
        with enable_grad():
            found = iter(_pull_back(self.pulled, self.moving, directions, self.outer or _recorded(directions)))
        flat = [
            TENSORS.full_like(out.detach(), 0) if cotangent is None else next(found)
            for out, cotangent in zip(leaves_of(self.output), self.cotangents, strict=True)
        ]
        return rebuilt(self.output, flat)

    @property
    def value(self) -> Any:
        return self.output if self.outer else _detached(self.output)


def jvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, strict: bool = False,
        has_aux: bool = False) -> Any:  # fmt: skip
    """Return ``func(*primals)`` and its directional derivative along ``tangents``; as the gradient of a gradient.

    Args:
        strict: taken for compatibility; an output that does not depend on the primals has the tangent 0.

    Returns:
        ``(output, tangent)``, with ``has_aux`` ``(output, tangent, aux)``.
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple) or len(primals) != len(tangents):
        raise RuntimeError("jvp: primals and tangents have to be tuples of the same length")
    if not primals:
        raise RuntimeError("jvp: Expected at least one Tensor in primals, got none")
    linear = _Linear("jvp", func, primals, has_aux)
    tangent = linear(tangents)
    value = linear.value if not _recorded(list(tangents)) else linear.output
    aux = linear.aux if linear.outer else _detached(linear.aux)
    return (value, tangent, aux) if has_aux else (value, tangent)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """Return ``func(*primals)`` and the function that takes tangents of the primals to that of the output.

    ``func`` runs once; the function returned costs two backward passes each time (``torch.func.linearize``).
    """
    linear = _Linear("linearize", func, primals, False)
    return linear.value, lambda *tangents: linear(tangents)


# -- Jacobians -------------------------------------------------------------------------------------------------------


def _units(like: Tensor) -> Tensor:
    """Stacked along a new first dimension, the tensors like another with a 1 at one place and 0 elsewhere."""
    from flambeau.creation import eye

    count = like.numel()
    return eye(count, dtype=like.dtype, device=bottom(like.device)).reshape((count, *like.shape))


def jacrev(func: Function, argnums: Argnums = 0, *, has_aux: bool = False, chunk_size: int | None = None) -> Function:
    """Return a function that gives the Jacobian of ``func``, all rows in one backward pass over a batch of cotangents.

    Args:
        chunk_size: so many rows at a time, which takes less memory.

    Returns:
        A function that gives, for outputs of the shape (\\*m) and an argument of the shape (\\*n), tensors of the
        shape (\\*m, \\*n), nested as the output, and within as the argument(s).
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen("jacrev", argnums, args)
        with enable_grad():
            given = _replaced("jacrev", args, places)
            output, aux = _with_aux("jacrev", func(*given, **kwargs), has_aux)
            wanted = given[places[0]] if isinstance(argnums, int) else tuple([given[place] for place in places])
            inputs = leaves_of(wanted)
            outputs = tensors_of("jacrev: the output of the function", output)
            outer = reaches_out(outputs, wanted, args, kwargs)

            def rows(out: Tensor) -> Any:
                if not out.numel():
                    return rebuilt(wanted, [out.new_zeros((*out.shape, *tensor.shape)) for tensor in inputs])

                def pull(cotangent: Tensor) -> list[Tensor]:
                    return _pull_back([out], inputs, [cotangent], outer)

                stacked = vmap(pull, chunk_size=chunk_size)(_units(out))
                blocks = [s.reshape((*out.shape, *t.shape)) for s, t in zip(stacked, inputs, strict=True)]
                return rebuilt(wanted, blocks)

            result = mapped(rows, output)
        if not outer:
            aux = _detached(aux)
        return (result, aux) if has_aux else result

    return call


def jacfwd(
    func: Function,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Function:
    """Return a function that gives the Jacobian of ``func``, all columns by one :func:`linearize`; see :func:`jacrev`.

    Args:
        chunk_size: so many columns at a time, which takes less memory.
        randomness: taken for compatibility; ``func`` runs once, so that all columns see the same random numbers.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        places = _chosen("jacfwd", argnums, args)
        wanted = args[places[0]] if isinstance(argnums, int) else tuple([args[place] for place in places])
        inputs = tensors_of("jacfwd: the argument", wanted)

        def of_leaves(*leaves: Tensor) -> Any:
            nested = rebuilt(wanted, leaves)
            full = list(args)
            for place, value in zip(places, (nested,) if isinstance(argnums, int) else nested, strict=True):
                full[place] = value
            return func(*full, **kwargs)

        linear = _Linear("jacfwd", of_leaves, tuple(inputs), has_aux)
        outputs = leaves_of(linear.output)
        columns: list[list[Tensor]] = []  # an input leaf, an output leaf
        for k, tensor in enumerate(inputs):
            if not tensor.numel():
                columns.append([out.detach().new_zeros((*out.shape, *tensor.shape)) for out in outputs])
                continue

            def along(direction: Tensor, k: int = k) -> list[Tensor]:
                still = [TENSORS.full_like(t.detach(), 0) for t in linear.inputs]
                return leaves_of(linear([*still[:k], direction, *still[k + 1 :]]))

            stacked = vmap(along, out_dims=-1, chunk_size=chunk_size)(_units(tensor))
            columns.append([s.reshape((*s.shape[:-1], *tensor.shape)) for s in stacked])
        per_output = iter([rebuilt(wanted, list(blocks)) for blocks in zip(*columns, strict=True)])
        result = mapped(lambda _: next(per_output), linear.output)
        aux = linear.aux if linear.outer else _detached(linear.aux)
        return (result, aux) if has_aux else result

    return call


def hessian(func: Function, argnums: Argnums = 0) -> Function:
    """Return a function that gives the matrix of second derivatives of ``func``: forward over reverse."""
    return jacfwd(jacrev(func, argnums), argnums)
