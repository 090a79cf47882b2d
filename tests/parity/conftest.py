"""One call made twice, with Flambeau and with PyTorch, and everything that can be seen of it compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy
import pytest

import flambeau

TOLERANCES = {
    "float16": 4e-3,
    "bfloat16": 4e-2,
    "float32": 2e-5,
    "complex64": 5e-5,
    "float64": 1e-9,
    "complex128": 1e-9,
}


class Outcome:
    """What can be seen of a call: results, which of them share memory with an input, gradients, inputs afterwards."""

    def __init__(self, library: ModuleType, call: Callable[..., Any], arrays: Sequence[Any], kinds: Any, order: int):
        self.library = library
        self.error: Exception | None = None
        inputs = [self._made(array, kind, order > 0) for array, kind in zip(arrays, kinds, strict=True)]
        tensors = [t for t in inputs if isinstance(t, library.Tensor)]
        try:
            results = list(_flat(call(library, *inputs)))
        except Exception as error:
            self.error = error
            return
        outputs = [r for r in results if isinstance(r, library.Tensor)]
        self.seen = {
            "results": [self._described(r) for r in results],
            "shares memory": [self._shares(r, t) for r in outputs for t in tensors if r.numel()],
            "inputs afterwards": [self._described(t) for t in tensors],
        }
        if order:
            self._differentiate([r for r in outputs if r.requires_grad], [t for t in tensors if t.requires_grad], order)

    def _made(self, array: Any, kind: str | None, requires_grad: bool) -> Any:
        if not isinstance(array, numpy.ndarray):
            return array
        made = self.library.tensor(array.copy())
        made = made if kind is None else made.to(getattr(self.library, kind))
        return made.requires_grad_() if requires_grad and array.dtype.kind in "fc" else made

    def _described(self, result: Any) -> Any:
        if not isinstance(result, self.library.Tensor):
            return type(result).__name__, str(result).rpartition(".")[2] if "." in str(result) else result
        kind = str(result.dtype).rpartition(".")[2]
        plain = result.detach().clone()
        if hasattr(plain, "resolve_conj"):
            plain = plain.resolve_conj().resolve_neg() + 0
        return kind, tuple(result.shape), (plain.to(self.library.float32) if kind == "bfloat16" else plain).numpy()

    def _shares(self, result: Any, tensor: Any) -> bool:
        if self.library is flambeau:
            return numpy.may_share_memory(result.detach().numpy(), tensor.detach().numpy())
        return result.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()

    def _differentiate(self, outputs: list[Any], leaves: list[Any], order: int) -> None:
        self.seen["requires gradients"] = [("bool", bool(outputs))]
        if not outputs or not leaves:
            return
        first = self._gradients(outputs, leaves, order > 1)
        self.seen["gradients"] = [("none", None) if g is None else self._described(g) for g in first]
        recorded = [g for g in first if g is not None and g.requires_grad]
        if order > 1 and recorded:
            second = self._gradients(recorded, leaves, False)
            self.seen["second gradients"] = [
                self._described(self.library.zeros_like(leaf) if g is None else g)
                for g, leaf in zip(second, leaves, strict=True)
            ]
        elif order > 1:
            self.seen["second gradients"] = [self._described(self.library.zeros_like(leaf)) for leaf in leaves]

    def _gradients(self, outputs: list[Any], leaves: list[Any], create_graph: bool) -> Any:
        random = numpy.random.default_rng(0)
        cotangents = []
        for output in outputs:
            values = random.normal(size=tuple(output.shape))
            if output.is_complex():
                values = values + 1j * random.normal(size=tuple(output.shape))
            cotangents.append(self.library.tensor(numpy.asarray(values)).to(output.dtype))
        return self.library.autograd.grad(outputs, leaves, cotangents, create_graph=create_graph, allow_unused=True)


def _flat(result: Any) -> Iterator[Any]:
    if isinstance(result, (tuple, list)):
        for item in result:
            yield from _flat(item)
    else:
        yield result


def _difference(own: Any, theirs: Any) -> str:
    if own[:-1] != theirs[:-1]:
        return f"{own[:-1]} where PyTorch has {theirs[:-1]}"
    values, expected = own[-1], theirs[-1]
    if not isinstance(values, numpy.ndarray):
        same = values == expected or (values != values and expected != expected)
        return "" if same else f"{values!r} where PyTorch has {expected!r}"
    tolerance = TOLERANCES.get(own[0], 0.0)
    with numpy.errstate(all="ignore"):
        if tolerance:
            same = numpy.isclose(values, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
        else:
            same = values == expected
    if same.all():
        return ""
    wrong = ~numpy.atleast_1d(same)
    places = numpy.argwhere(wrong)[:4].tolist()
    return (
        f"at {places} {numpy.atleast_1d(values)[wrong][:4]} where PyTorch has {numpy.atleast_1d(expected)[wrong][:4]}"
    )


class Beside:
    """Compares calls, and counts what it has compared."""

    def __init__(self, torch: ModuleType) -> None:
        self.torch = torch
        self.compared = 0

    def __call__(
        self,
        call: Callable[..., Any],
        *arrays: Any,
        kinds: Sequence[str | None] | None = None,
        order: int = 0,
        aliasing: bool = True,
        if_supported: bool = False,
    ) -> None:
        """Make ``call(library, *tensors)`` with both libraries.

        Args:
            arrays: NumPy arrays become tensors; anything else is passed on.
            kinds: the tensors' dtypes by name, where they are not the arrays'.
            order: compare gradients too (1), and gradients of gradients (2).
            aliasing: compare which results share memory with an input.
            if_supported: nothing is compared where PyTorch refuses; otherwise it is the test that is wrong.
        """
        kinds = [None] * len(arrays) if kinds is None else kinds
        theirs = Outcome(self.torch, call, arrays, kinds, order)
        if theirs.error is not None:
            if if_supported:
                return
            raise AssertionError(f"PyTorch refuses this call: {theirs.error}") from theirs.error
        own = Outcome(flambeau, call, arrays, kinds, order)
        where = f"of {[a if getattr(a, 'size', 1) < 9 else a.shape for a in arrays]} {list(kinds)}"
        if own.error is not None:
            raise AssertionError(f"{where}: PyTorch computes what Flambeau refuses") from own.error
        for what, expected in theirs.seen.items():
            if what == "shares memory" and not aliasing:
                continue
            got = own.seen[what]
            if what == "shares memory":
                got, expected = [("bool", shares) for shares in got], [("bool", shares) for shares in expected]
            assert len(got) == len(expected), f"{where}: {what}: {len(got)} and not {len(expected)}"
            for number, (a, b) in enumerate(zip(got, expected, strict=True)):
                difference = _difference(a, b)
                assert not difference, f"{where}: {what} [{number}]: {difference}"
                self.compared += 1

    def refused(self, call: Callable[..., Any], *arrays: Any, kinds: Sequence[str | None] | None = None) -> None:
        """Both libraries raise, Flambeau the same type or one that the same ``except`` catches."""
        kinds = [None] * len(arrays) if kinds is None else kinds
        theirs, own = Outcome(self.torch, call, arrays, kinds, 0).error, Outcome(flambeau, call, arrays, kinds, 0).error
        assert theirs is not None, "PyTorch does not refuse this call"
        assert own is not None, f"PyTorch raises {type(theirs).__name__}: {theirs}"
        fits = isinstance(own, type(theirs)) or isinstance(theirs, type(own))
        assert fits, f"{type(own).__name__} ({own}) where PyTorch raises {type(theirs).__name__} ({theirs})"
        self.compared += 1


@pytest.fixture
def beside() -> Iterator[Beside]:
    compare = Beside(pytest.importorskip("torch"))
    yield compare
    assert compare.compared, "nothing was compared"
