"""How long kernels take beside the decompositions that they replace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from flambeau.devices import device as device_class
from flambeau.dispatch import kernel_origins, load
from flambeau.dtypes import DTYPES
from flambeau.ops.declare import OPS
from flambeau.testing.checks import mapped, raw_arguments
from flambeau.testing.database import Case, Maker, load_samples

_GROWTH = 16  # each dimension of a sample's tensors is that many times as long, where the op takes it
_LARGEST = 1 << 20  # elements; what would be larger is left as it is
_ROUNDS = 5
_LONGEST = 0.2  # seconds for the rounds of one kernel


class LargeMaker(Maker):
    """Makes the tensors of the samples larger, so that it is not the cost of a call that is measured."""

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Any:
        """Random values of a shape some times as large."""
        grown = tuple(n * _GROWTH if n > 1 else n for n in shape)
        count = 1
        for n in grown:
            count *= n
        return super().__call__(*(grown if count <= _LARGEST else shape), low=low, high=high)

    def of(self, name: str) -> Maker:
        """A maker of another dtype, which makes large tensors too."""
        other = LargeMaker(DTYPES[name], self.device, 0)
        other.random = self.random
        return other


def time_kernels(device: str, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """For the composites among ``names`` that have a kernel: its seconds and its decomposition's (the best of a few).

    Both run on the same arguments, the sample of the kit with the most elements, enlarged where the op takes that.
    """
    origins = kernel_origins(device_class(device).type)
    cases = load_samples()
    found = {}
    for name in names:
        op = OPS[name]
        if op.primitive or op.inline or origins[name] == "decomposition" or name not in cases or cases[name].mutates:
            continue
        for maker in (LargeMaker, Maker):
            try:
                found[name] = _time(cases[name], device, maker)
                break
            except Exception:  # shapes given as numbers do not grow with the tensors: then as it is
                continue
    return found


def _time(case: Case, device: str, maker: type[Maker]) -> dict[str, float]:
    where = load(device_class(device))
    held = where.backend.dtypes  # type: ignore[union-attr]
    kind = DTYPES[next(name for name in ("float32", *case.dtypes) if name in case.dtypes and name in held)]
    samples = list(case.make(maker(kind, where, 0)))
    given = max(samples, key=lambda one: sum(value.numel() for value in one.args if hasattr(value, "numel")))
    raw = [mapped(lambda tensor: tensor._array, value) for value in raw_arguments(case, given.args, given.kwargs)]
    kernel, body, xp = where.table[case.op.index], case.op.body, where.xp
    return {
        "kernel": _best(lambda: kernel(*raw), where),
        "decomposition": _best(lambda: body(xp, *raw), where),
    }


def _best(function: Callable[[], Any], where: Any) -> float:
    function()
    best = float("inf")
    until = perf_counter() + _LONGEST
    for _ in range(_ROUNDS):
        start = perf_counter()
        function()
        where.backend.synchronize(where)
        now = perf_counter()
        best = min(best, now - start)
        if now > until:
            break
    return best
