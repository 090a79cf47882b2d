"""Gradients against finite differences (``torch.autograd.gradcheck``, ``gradgradcheck``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau.autograd.engine import grad
from flambeau.autograd.grad_mode import enable_grad, no_grad
from flambeau.dtypes import FLOATING, complex128, float64
from flambeau.tensor import Tensor, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """A gradient differs from the finite differences (``torch.autograd.gradcheck.GradcheckError``)."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Check the gradients of ``func`` at ``inputs`` against central finite differences (``torch.autograd.gradcheck``).

    All of the Jacobian is compared: of every output that is floating-point or complex, with respect to every input
    that requires a gradient. Complex numbers count as pairs of real ones. The defaults are for float64.

    Args:
        func: takes ``inputs`` and returns a tensor or several.
        inputs: tensors and other arguments.
        eps: how far an input is moved.
        atol, rtol: the tolerance, ``|analytical - numerical| <= atol + rtol * |numerical|``.
        raise_exception: raise when the check fails, instead of returning False.
        nondet_tol: by how much two runs of the backward pass may differ.
        check_undefined_grad: accepted; outputs are differentiated one by one, so cotangents that are not there are
            always tried.
        check_grad_dtypes: require gradients of the dtype of their inputs.
        check_batched_grad: check ``is_grads_batched`` too.
        check_forward_ad, check_backward_ad: forward mode is not available.
        fast_mode: compare one random combination of the Jacobian's entries for each output and input.

    Returns:
        True, or False when the check fails and ``raise_exception`` is off.

    Raises:
        GradcheckError: saying which output and input, and how far off.
        ValueError: when no input requires a gradient.
    """
    if check_forward_ad or not check_backward_ad:
        raise NotImplementedError(
            "gradcheck: forward-mode differentiation is not available; use check_backward_ad=True"
        )
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    check = _Check(func, arguments, eps, atol, rtol, nondet_tol, check_grad_dtypes, check_batched_grad)
    try:
        check.run(fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    fast_mode: bool = False,
) -> bool:
    """Check the gradients of the gradients of ``func`` (``torch.autograd.gradgradcheck``).

    Args:
        grad_outputs: the cotangents at which to check, random ones unless given.
        gen_non_contig_grad_outputs: make the random cotangents non-contiguous.
        others: as for :func:`gradcheck`.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    outputs = _differentiable(func(*arguments))
    if grad_outputs is None:
        random = numpy.random.default_rng(0)
        cotangents = [_random_like(output, random, gen_non_contig_grad_outputs) for output in outputs]
    else:
        cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    count = len(arguments)

    def first_gradients(*values: Any) -> tuple[Tensor, ...]:
        inputs_, cotangents_ = values[:count], values[count:]
        wanted = [value for value in inputs_ if isinstance(value, Tensor) and value.requires_grad]
        with enable_grad():
            results = _differentiable(func(*inputs_))
            found = grad(results, wanted, list(cotangents_), create_graph=True, allow_unused=True)
        return tuple(gradient for gradient in found if gradient is not None and gradient.requires_grad)

    return gradcheck(
        first_gradients,
        [*arguments, *cotangents],
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        fast_mode=fast_mode,
    )


# -- between tensors and real vectors ------------------------------------------------------------------------------


def _host(tensor: Tensor) -> Any:
    """A copy of the values, as float64 or complex128."""
    kind = numpy.complex128 if tensor.dtype.is_complex else numpy.float64
    return numpy.array(tensor.detach().numpy(force=True), kind, order="C")


def _like(values: Any, tensor: Tensor) -> Tensor:
    """A tensor of ``tensor``'s dtype and device with these values, a leaf that requires a gradient as it does."""
    host = numpy.array(values).astype(tensor.dtype.numpy)
    made = wrap(tensor._backend.from_numpy(host, tensor.device), tensor.dtype, tensor.device)
    return made.requires_grad_(tensor.requires_grad)


def _random_like(output: Tensor, random: Any, non_contiguous: bool) -> Tensor:
    shape = tuple(output.shape)
    values = random.standard_normal(shape)
    if output.dtype.is_complex:
        values = values + 1j * random.standard_normal(shape)
    cotangent = _like(values, output.detach())
    if non_contiguous and cotangent.ndim:
        # Every second entry along the last dimension of twice as many.
        spread = numpy.repeat(values, 2, axis=-1)
        cotangent = _like(spread, output.detach())[..., ::2]
    return cotangent.detach().requires_grad_()


def _as_real(values: Any) -> Any:
    """A flat array of reals; complex numbers become their real parts followed by their imaginary parts."""
    flat = values.reshape(-1)
    return numpy.concatenate([flat.real, flat.imag]) if numpy.iscomplexobj(flat) else flat.astype(numpy.float64)


def _differentiable(results: Any) -> list[Tensor]:
    outputs = [results] if isinstance(results, Tensor) else list(results)
    return [output for output in outputs if isinstance(output, Tensor) and output.requires_grad]


def _floating(results: Any) -> list[Tensor]:
    outputs = [results] if isinstance(results, Tensor) else list(results)
    return [output for output in outputs if isinstance(output, Tensor) and output.dtype.category >= FLOATING]


# -- the check -----------------------------------------------------------------------------------------------------


class _Check:
    """One call of :func:`gradcheck`."""

    def __init__(
        self,
        func: Callable[..., Any],
        arguments: list[Any],
        eps: float,
        atol: float,
        rtol: float,
        nondet_tol: float,
        check_dtypes: bool,
        check_batched: bool,
    ) -> None:
        self.func = func
        self.arguments = arguments
        self.eps, self.atol, self.rtol, self.nondet_tol = eps, atol, rtol, nondet_tol
        self.check_dtypes = check_dtypes
        self.check_batched = check_batched
        self.places = [i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad]
        if not self.places:
            raise ValueError(
                "gradcheck expects at least one input tensor to require gradient, but none of them have "
                "requires_grad=True"
            )
        for i in self.places:
            if arguments[i].dtype not in (float64, complex128):
                warnings.warn(
                    f"gradcheck: input {i} requires gradient and is of {arguments[i].dtype}, not double precision; "
                    "the check will likely fail with the default tolerances",
                    stacklevel=4,
                )

    def run(self, fast: bool) -> None:
        with enable_grad():
            self.outputs = _floating(self.func(*self.arguments))
        for number, output in enumerate(self.outputs):
            if not output.requires_grad:
                self._expect_constant(number)
            elif fast:
                self._compare_projections(number, output)
            else:
                self._compare_jacobians(number, output)
                if self.check_batched and output.numel():
                    self._compare_batched(output)

    # -- whole Jacobians

    def _compare_jacobians(self, number: int, output: Tensor) -> None:
        analytical = self._analytical(output)
        again = self._analytical(output)
        for slot, place in enumerate(self.places):
            if analytical[slot].size and numpy.abs(analytical[slot] - again[slot]).max() > self.nondet_tol:
                raise GradcheckError(
                    f"Backward is not reentrant: the gradient of output {number} with respect to input {place} differs "
                    f"by {numpy.abs(analytical[slot] - again[slot]).max():g} between two runs with the same input; "
                    f"the tolerance nondet_tol is {self.nondet_tol:g}"
                )
            self._compare(number, place, analytical[slot], self._numerical(number, place))

    def _compare(self, number: int, place: int, analytical: Any, numerical: Any) -> None:
        if numpy.allclose(analytical, numerical, rtol=self.rtol, atol=self.atol, equal_nan=True):
            return
        difference = numpy.abs(analytical - numerical)
        row, column = numpy.unravel_index(int(numpy.nanargmax(difference)), difference.shape)
        raise GradcheckError(
            f"Jacobian mismatch for output {number} with respect to input {place}: the largest difference, "
            f"{difference[row, column]:g}, is at output element {row} and input element {column} (flat; for complex "
            f"tensors the imaginary parts follow the real parts): analytical {analytical[row, column]:g}, numerical "
            f"{numerical[row, column]:g}\nnumerical (outputs x inputs):\n{numerical}\nanalytical:\n{analytical}"
        )

    def _expect_constant(self, number: int) -> None:
        for place in self.places:
            numerical = self._numerical(number, place)
            if numerical.size and numpy.abs(numerical).max() > self.atol:
                raise GradcheckError(
                    f"Output {number} does not require gradient, but numerically it depends on input {place}: the "
                    "largest "
                    f"derivative is {numpy.abs(numerical).max():g}"
                )

    def _numerical(self, number: int, place: int) -> Any:
        """The Jacobian by central differences, a row an output element and a column an input element."""
        values = _host(self.arguments[place])
        parts = (1.0, 1j) if numpy.iscomplexobj(values) else (1.0,)
        columns = [
            self._difference(number, place, self._step(values, element, part))
            for part in parts
            for element in range(values.size)
        ]
        rows = _as_real(_host(self.outputs[number])).size
        return numpy.stack(columns, 1) if columns else numpy.zeros((rows, 0))

    def _step(self, values: Any, element: int, part: complex) -> Any:
        step = numpy.zeros_like(values)
        step.reshape(-1)[element] = part
        return step

    def _difference(self, number: int, place: int, direction: Any) -> Any:
        """The derivative of an output, as a real vector, along a direction in an input."""
        values = _host(self.arguments[place])
        ends = [self._evaluate(number, place, values + sign * self.eps * direction) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * self.eps)

    def _evaluate(self, number: int, place: int, values: Any) -> Any:
        # The other inputs are fresh copies too: the function may work in place.
        moved = [_like(_host(a), a) if isinstance(a, Tensor) and i in self.places else a
                 for i, a in enumerate(self.arguments)]  # fmt: skip
        moved[place] = _like(values, self.arguments[place])
        with enable_grad():
            return _as_real(_host(_floating(self.func(*moved))[number]))

    def _gradients(self, output: Tensor, cotangent: Tensor) -> list[Any]:
        wanted = [self.arguments[i] for i in self.places]
        found = grad(output, wanted, cotangent, retain_graph=True, allow_unused=True)
        rows = []
        for place, gradient in zip(self.places, found, strict=True):
            argument = self.arguments[place]
            if gradient is None:
                rows.append(numpy.zeros_like(_as_real(_host(argument))))
                continue
            if gradient.shape != argument.shape:
                raise GradcheckError(
                    f"the gradient of input {place} has the shape {list(gradient.shape)}, the input "
                    f"{list(argument.shape)}"
                )
            if self.check_dtypes and _kind_of(gradient) is not argument.dtype:
                raise GradcheckError(
                    f"the gradient of input {place} is of {_kind_of(gradient)}, the input of {argument.dtype}"
                )
            rows.append(_as_real(_host(gradient).astype(_host(argument).dtype)))
        return rows

    def _analytical(self, output: Tensor) -> list[Any]:
        """For each input the Jacobian from one backward pass for each element of an output."""
        shape = tuple(output.shape)
        parts = (1.0, 1j) if output.dtype.is_complex else (1.0,)
        template = _host(output)
        rows = [
            self._gradients(output, _like(self._step(template, element, part), output.detach()))
            for part in parts
            for element in range(int(numpy.prod(shape)))
        ]
        return [
            numpy.stack([row[slot] for row in rows])
            if rows
            else numpy.zeros((0, _as_real(_host(self.arguments[place])).size))
            for slot, place in enumerate(self.places)
        ]

    # -- one combination

    def _compare_projections(self, number: int, output: Tensor) -> None:
        random = numpy.random.default_rng(0)
        cotangent = _random_like(output, random, False).detach()
        weights = _as_real(_host(cotangent))
        analytical = self._gradients(output, cotangent)
        for slot, place in enumerate(self.places):
            direction = _host(_random_like(self.arguments[place], random, False))
            numerical = float(weights @ self._difference(number, place, direction))
            found = float(analytical[slot] @ _as_real(direction))
            if not numpy.isclose(found, numerical, rtol=self.rtol, atol=self.atol, equal_nan=True):
                raise GradcheckError(
                    f"Gradient mismatch for output {number} with respect to input {place}: along a random "
                    "direction the "
                    f"derivative is {found:g}, numerically {numerical:g}; fast_mode=False shows the whole Jacobian"
                )

    def _compare_batched(self, output: Tensor) -> None:
        random = numpy.random.default_rng(0)
        cotangents = [_random_like(output, random, False).detach() for _ in range(2)]
        wanted = [self.arguments[i] for i in self.places]
        with no_grad():
            together = numpy.stack([_host(cotangent) for cotangent in cotangents])
            batch = wrap(
                output._backend.from_numpy(together.astype(output.dtype.numpy), output.device),
                output.dtype,
                output.device,
            )
        batched = grad(output, wanted, batch, retain_graph=True, allow_unused=True, is_grads_batched=True)
        for i, cotangent in enumerate(cotangents):
            single = grad(output, wanted, cotangent, retain_graph=True, allow_unused=True)
            for place, one, many in zip(self.places, single, batched, strict=True):
                if one is None or many is None:
                    continue
                if not numpy.allclose(_host(one), _host(many)[i], rtol=self.rtol, atol=self.atol):
                    raise GradcheckError(f"the batched gradient of input {place} differs from the one by one gradient")


def _kind_of(tensor: Tensor) -> Any:
    """The dtype of the array itself, which a tensor should agree with."""
    return tensor._backend.dtype_of(tensor._array)
