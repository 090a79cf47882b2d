"""Counting floating-point operations (``torch.utils.flop_counter``): of matrix products, convolutions and attention.

As is usual, a multiplication and an addition are two operations, and what is linear in the size of the data
(activations, normalization, sums) is not counted.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dispatch import Backend, Kernel, stand_around, step_aside

Shape = tuple[int, ...]


def _matmul(left: Shape, right: Shape, result: Shape) -> int:
    return 2 * math.prod(result) * (left[-1] if left else 1)


def _convolution(args: Sequence[Any], result: Any) -> int:
    """Each output meets a filter's worth of inputs; of a transposed convolution each input a filter of outputs."""
    weight = args[1].shape
    positions = args[0].shape if _argument("convolution", args, "transposed") else result.shape
    return 2 * positions[0] * math.prod(positions[2:]) * math.prod(weight)


def _convolution_backward(args: Sequence[Any], result: Any) -> int:
    g, source, weight = args[0].shape, args[1].shape, args[2].shape
    positions = source if _argument("convolution_backward", args, "transposed") else g
    products = sum(part is not None for part in result[:2])
    return products * 2 * positions[0] * math.prod(positions[2:]) * math.prod(weight)


def _argument(op: str, args: Sequence[Any], name: str) -> Any:
    from flambeau.ops.declare import OPS

    position = OPS[op].positions[name]
    return args[position] if position < len(args) else OPS[op].defaults[position]


def _linear(args: Sequence[Any], result: Any) -> int:
    return 2 * math.prod(result.shape) * args[1].shape[-1]


def _attention_weights(args: Sequence[Any], result: Any) -> int:
    return 2 * math.prod(result.shape) * args[0].shape[-1]


def _attention(args: Sequence[Any], result: Any) -> int:
    query, key, value = args[0].shape, args[1].shape, args[2].shape
    return 2 * math.prod(result.shape[:-1]) * key[-2] * (query[-1] + value[-1])


#: The number of operations by op, of a kernel's arguments and result. Others are the sum of what they are made of.
FLOPS: dict[str, Callable[[Sequence[Any], Any], int]] = {
    "matmul": lambda args, result: _matmul(args[0].shape, args[1].shape, result.shape),
    "attention": _attention,
    "attention_weights": _attention_weights,
    "linear": _linear,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}


def flops_of(op: str, args: Sequence[Any], result: Any) -> int | None:
    """The operations of one call of a kernel, None for an op that is not counted by itself."""
    formula = FLOPS.get(op)
    return None if formula is None else int(formula(args, result))


class _Thread(threading.local):
    counted = False  # whether what encloses the current call has been counted already


class FlopCounterMode:
    """Count the operations of what runs inside, forward and backward, on any device; ``meta`` computes nothing.

        with FlopCounterMode(display=False) as counter:
            model(input).sum().backward()
        counter.get_total_flops()

    Args:
        mods, depth: accepted for PyTorch's sake; :func:`flambeau.summary` counts by layer.
        display: print the table at the end.
    """

    def __init__(self, mods: Any = None, depth: int = 2, display: bool = True) -> None:
        self.display = display
        self.counts: Counter[str] = Counter()
        self._thread = _Thread()

    def __enter__(self) -> FlopCounterMode:
        self.counts.clear()
        stand_around(self._wrap)
        return self

    def __exit__(self, *error: Any) -> None:
        step_aside(self._wrap)
        if self.display:
            print(self.get_table())

    def _wrap(self, backend: Backend, name: str, kernel: Kernel) -> Kernel:
        if name not in FLOPS:
            return kernel
        thread = self._thread

        def counting(*args: Any, **kwargs: Any) -> Any:
            if thread.counted:
                return kernel(*args, **kwargs)
            thread.counted = True
            try:
                result = kernel(*args, **kwargs)
            finally:
                thread.counted = False
            self.counts[name] += flops_of(name, args, result) or 0
            return result

        return counting

    def get_total_flops(self) -> int:
        """All operations counted."""
        return sum(self.counts.values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """The operations by op, under ``"Global"`` as in PyTorch."""
        return {"Global": dict(self.counts)}

    def get_table(self, depth: int | None = None) -> str:
        """The operations by op, as text."""
        total = self.get_total_flops()
        rows = [(name, count) for name, count in self.counts.most_common()] + [("total", total)]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {count:>20,}  {100 * count / max(total, 1):6.2f}%" for name, count in rows)
