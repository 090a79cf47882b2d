"""Steps of optimizers, in place, with a scratch array that is kept from step to step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy

from flambeau_numpy.elementwise import is_half
from flambeau_numpy.threads import PARALLEL, over_parts

Array = Any

#: Large parameters are updated this many elements at a time, so that the dozen passes find them in the cache. With
#: fewer (16384) passes are so short that two threads spend twice the time, most of it at the interpreter's lock.
BLOCK = 1 << 17


class _Scratch(threading.local):
    """Memory for intermediate results, and numbers as 0-dim arrays, by dtype.

    A ufunc takes a 0-dim array 0.5 µs faster than a Python float; with six small parameters that is half of the step.
    """

    def __init__(self) -> None:
        self.buffers: dict[Any, tuple[Array, list[Array]]] = {}

    def of(self, dtype: Any, numbers: Sequence[float]) -> tuple[Array, list[Array]]:
        """A buffer of :data:`BLOCK` elements, and ``numbers`` as arrays, all valid until the next call."""
        found = self.buffers.get(dtype)
        if found is None:
            found = self.buffers[dtype] = numpy.empty(BLOCK, dtype), [numpy.empty((), dtype) for _ in range(8)]
        for holder, number in zip(found[1], numbers, strict=False):
            holder[()] = number
        return found


_scratch = _Scratch()


def _in_blocks(arrays: Sequence[Array]) -> Iterator[Sequence[Array]]:
    """The arrays themselves where they are small, else pieces of them of at most :data:`BLOCK` elements, as views."""
    first = arrays[0]
    if first.size <= BLOCK:
        yield arrays
    elif all(array.flags.c_contiguous for array in arrays):
        flats = [array.reshape(-1) for array in arrays]
        for start in range(0, first.size, BLOCK):
            yield [flat[start : start + BLOCK] for flat in flats]
    else:
        rows = max(1, BLOCK * len(first) // first.size)
        for start in range(0, len(first), rows):
            yield from _in_blocks([array[start : start + rows] if rows > 1 else array[start] for array in arrays])


def _in_float32(step: Callable[..., None], arrays: Sequence[Array], written: int, *arguments: Any) -> None:
    """Run ``step`` on float32 copies of 16-bit arrays, then write the first ``written`` of them back."""
    wide = [array.astype(numpy.float32) for array in arrays]
    step(wide, *arguments)
    for array, result in zip(arrays[:written], wide, strict=False):
        array[...] = result


def update(step: Callable[..., None], arrays: Sequence[Array], *arguments: Any) -> None:
    """Run ``step`` on a parameter and its state, the gradient last: 16-bit ones in float32, large ones in threads."""
    first = arrays[0]
    if is_half(first):
        _in_float32(step, arrays, len(arrays) - 1, *arguments)
    elif first.size >= PARALLEL and all(array.flags.c_contiguous for array in arrays):
        flats = [array.reshape(-1) for array in arrays]
        over_parts(lambda part: step([flat[part] for flat in flats], *arguments), first.size, BLOCK)
    else:
        step(arrays, *arguments)


#: Parameters of at most so many elements are put one after the other into one array, which is updated as a whole: a
#: dozen passes take 3 µs for each array, however small it is, copying it back and forth 1 µs and a half.
_SMALL = 2048
_TOGETHER = 4 * BLOCK


def update_all(step: Callable[..., None], lists: Sequence[Sequence[Array]], *arguments: Any) -> None:
    """:func:`update` for each of several parameters: lists of the parameters, of their states, and of the gradients."""
    small: dict[Any, list[Sequence[Array]]] = {}
    total = 0
    for arrays in zip(*lists, strict=True):
        first = arrays[0]
        if first.size > _SMALL or first.dtype.char not in "fd":
            update(step, arrays, *arguments)
            continue
        small.setdefault(first.dtype, []).append(arrays)
        total += first.size
        if total > _TOGETHER:
            _update_together(step, small, *arguments)
            small, total = {}, 0
    _update_together(step, small, *arguments)


def _update_together(step: Callable[..., None], small: dict[Any, list[Sequence[Array]]], *arguments: Any) -> None:
    for parameters in small.values():
        if len(parameters) == 1:
            step(parameters[0], *arguments)
            continue
        lists = list(zip(*parameters, strict=True))
        flats = [numpy.concatenate(arrays, None) for arrays in lists]
        step(flats, *arguments)
        for flat, targets in zip(flats[:-1], lists, strict=False):
            start = 0
            for target in targets:
                end = start + target.size
                target[...] = flat[start:end].reshape(target.shape)
                start = end


def sgd_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    momentum_buffers: Sequence[Array],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of stochastic gradient descent; see :func:`flambeau.ops.optimizer.sgd_step`."""
    numbers = (lr, momentum, 1 - dampening, weight_decay)
    lists = (params, momentum_buffers, grads) if momentum else (params, grads)
    update_all(_sgd, lists, numbers, nesterov, maximize, first)


def _sgd(arrays: Sequence[Array], numbers: Sequence[float], nesterov: bool, maximize: bool, first: bool) -> None:
    buffer, (lr, momentum, kept, decay, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, *others in _in_blocks(arrays):
        grad = others[-1]
        scratch = buffer[: param.size].reshape(param.shape)
        if maximize:
            grad = numpy.negative(grad, scratch)
        if numbers[3]:
            grad = numpy.add(grad, numpy.multiply(param, decay))
        if numbers[1]:
            velocity = others[0]
            if first:
                velocity[...] = grad
            else:
                numpy.multiply(velocity, momentum, velocity)
                if numbers[2] == 1:
                    numpy.add(velocity, grad, velocity)
                else:
                    numpy.add(velocity, numpy.multiply(grad, kept), velocity)
            if nesterov:
                grad = numpy.add(numpy.multiply(velocity, momentum), grad)
            else:
                grad = velocity
        numpy.multiply(grad, lr, scratch)
        numpy.subtract(param, scratch, param)


def adam_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    exp_avgs: Sequence[Array],
    exp_avg_sqs: Sequence[Array],
    max_exp_avg_sqs: Sequence[Array],
    steps: Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> None:
    """One step of Adam or AdamW; see :func:`flambeau.ops.optimizer.adam_step`.

    The corrections of the bias are gathered in two numbers, which saves a pass::

        param -= lr * sqrt(c2) / c1 * m / (sqrt(v) + eps * sqrt(c2)),   c1 = 1 - beta1^t,   c2 = 1 - beta2^t
    """
    lists = [params, exp_avgs, exp_avg_sqs, *([max_exp_avg_sqs] if amsgrad else []), grads]
    start = 0
    for step, alike in groupby(steps):
        end = start + len(list(alike))
        root = (1 - beta2**step) ** 0.5
        rate = lr * root / (1 - beta1**step)
        numbers = (1 - beta1, 1 - beta2, eps * root, rate, weight_decay, 1 - lr * weight_decay)
        update_all(_adam, [arrays[start:end] for arrays in lists], numbers, maximize, decoupled)
        start = end


def _adam(arrays: Sequence[Array], numbers: Sequence[float], maximize: bool, decoupled: bool) -> None:
    subtract, multiply, add = numpy.subtract, numpy.multiply, numpy.add
    buffer, (new1, new2, eps, rate, decay, shrink, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, average, square, *others in _in_blocks(arrays):
        grad = others[-1]
        scratch = buffer[: param.size].reshape(param.shape)
        if maximize:
            grad = numpy.negative(grad)
        if numbers[4]:
            if decoupled:
                multiply(param, shrink, param)
            else:
                grad = add(grad, multiply(param, decay, scratch))
        subtract(grad, average, scratch)
        multiply(scratch, new1, scratch)
        add(average, scratch, average)
        multiply(grad, grad, scratch)
        subtract(scratch, square, scratch)
        multiply(scratch, new2, scratch)
        add(square, scratch, square)
        if len(others) == 2:
            square = numpy.maximum(others[0], square, out=others[0])
        numpy.sqrt(square, scratch)
        add(scratch, eps, scratch)
        numpy.divide(average, scratch, scratch)
        multiply(scratch, rate, scratch)
        subtract(param, scratch, param)


KERNELS: dict[str, Callable[..., Any]] = {"sgd_step": sgd_step, "adam_step": adam_step}
