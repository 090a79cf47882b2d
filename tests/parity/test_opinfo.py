"""Every operator on the samples that PyTorch tests its own with: values, dtypes, gradients, variants, errors."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's sample database imports it")

import opinfo  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

MOST = {torch.float32: 150, torch.float64: 150, torch.complex128: 60}
MOST_OF_OTHERS = 20
MOST_GRADIENTS = 40

#: Results that are random, or arbitrary memory: shape and dtype are compared.
RANDOM = {
    "bernoulli", "cauchy", "empty", "empty_like", "empty_permuted", "empty_strided", "exponential", "geometric",
    "log_normal", "multinomial", "new_empty", "new_empty_strided", "nn.functional.alpha_dropout",
    "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout", "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d", "nn.functional.rrelu", "normal", "rand_like", "randint", "randint_like",
    "randn", "randn_like", "uniform", "pca_lowrank", "svd_lowrank", "bfloat16",
}  # fmt: skip


def known() -> dict[str, str]:
    """What is known to differ, by test: `opinfo-differences.txt`, lines of ``TEST OPERATOR: why``."""
    lines = (Path(__file__).parent / "opinfo-differences.txt").read_text().splitlines()
    pairs = (line.split(": ", 1) for line in lines if line.strip() and not line.startswith("#"))
    return dict(pairs)


KNOWN = known()


def over(test: str, select: Any = lambda info: True) -> Any:
    """Run a test for the entries of the database, those that are known to differ as strictly expected failures."""
    parameters = []
    for info in opinfo.in_scope():
        if select(info):
            why = KNOWN.get(f"{test} {info.formatted_name}")
            marks = [pytest.mark.xfail(reason=why, strict="[on some processors]" not in why)] if why else []
            parameters.append(pytest.param(info, id=info.formatted_name, marks=marks))
    return pytest.mark.parametrize("info", parameters)


class Differences:
    """Collects what differs, so that a failure shows all of it."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.compared = 0

    def add(self, sample: Any, what: str, text: str) -> None:
        self.compared += 1
        if text:
            self.found.append(f"{what} {described(sample)}: {text}")

    def report(self) -> None:
        if self.found:
            pytest.fail(f"{len(self.found)} of {self.compared} differ\n" + "\n".join(self.found[:12]), pytrace=False)


def described(sample: Any) -> str:
    def short(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{opinfo.kind_of(value)}{list(value.shape)}"
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(short, value))}]"
        return repr(value)

    args = [short(value) for value in (sample.input, *sample.args)]
    return f"({', '.join(args + [f'{name}={short(value)}' for name, value in sample.kwargs.items()])})"


def called(function: Any, sample: Any) -> Any:
    return function(sample.input, *sample.args, **sample.kwargs)


def theirs_of(function: Any, sample: Any) -> Any:
    """PyTorch's result, or None where it refuses its own sample."""
    try:
        return called(function, sample)
    except Exception:
        return None


class Converted:
    """A sample with Flambeau's tensors."""

    def __init__(self, sample: Any) -> None:
        memory: dict[Any, Any] = {}
        self.input = opinfo.convert(sample.input, memory)
        self.args = opinfo.convert(sample.args, memory)
        self.kwargs = opinfo.convert(sample.kwargs, memory)
        self.output_process_fn_grad = sample.output_process_fn_grad


def is_random(info: Any, sample: Any) -> bool:
    """Whether the result of a sample is random, for the operator or because it drops elements."""
    named = sample.kwargs
    if info.name == "nn.functional.multi_head_attention_forward":
        return bool(sample.args[9]) and bool(named.get("training", True))
    return info.name in RANDOM or bool(named.get("dropout_p"))


def compare_values(info: Any, sample: Any, theirs: Any, own: Any) -> str:
    if is_random(info, sample):
        theirs_seen = [(opinfo.kind_of(t), tuple(t.shape)) for t in opinfo.leaves(theirs)]
        own_seen = [(opinfo.kind_of(t), tuple(t.shape)) for t in opinfo.leaves(own)]
        return "" if own_seen == theirs_seen else f"{own_seen} where PyTorch has {theirs_seen}"
    return opinfo.difference(own, theirs)


def processed(sample: Any, result: Any, own: bool, info: Any = None) -> Any:
    """What of a result is well defined: not the signs of eigenvectors, for instance."""
    process = sample.output_process_fn_grad
    result = (opinfo.rebound(process) if own else process)(result)
    return opinfo.with_elements(info.name, sample, result) if info is not None else result


@over("values")
def test_values(info: Any) -> None:
    function = opinfo.counterpart(info)
    differences = Differences()
    for kind in sorted(info.dtypes & set(opinfo.DTYPES), key=str):
        for sample in opinfo.samples(info, kind, False, MOST.get(kind, MOST_OF_OTHERS)):
            converted = Converted(sample)
            theirs = theirs_of(info.op, sample)
            if theirs is None:
                continue
            try:
                own = processed(converted, called(function, converted), True, info)
                text = compare_values(info, sample, processed(sample, theirs, False, info), own)
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
            differences.add(sample, "", text)
    differences.report()


def gradients(library: Any, outputs: list[Any], inputs: list[Any], create_graph: bool) -> list[Any]:
    random = numpy.random.default_rng(0)
    cotangents = []
    for output in outputs:
        drawn = random.normal(size=tuple(output.shape))
        drawn = drawn + 1j * random.normal(size=tuple(output.shape)) if output.is_complex() else drawn
        cotangents.append(library.tensor(numpy.asarray(drawn)).to(output.dtype))
    found = library.autograd.grad(outputs, inputs, cotangents, create_graph=create_graph, allow_unused=True)
    return [library.zeros_like(i) if g is None else g for g, i in zip(found, inputs, strict=True)]


def differentiated(library: Any, result: Any, sample: Any, twice: bool) -> tuple[Any, Any]:
    """The gradients of a result, and the gradients of those."""
    inputs = [t for t in opinfo.leaves(sample.input, sample.args, sample.kwargs) if t.requires_grad]
    outputs = [t for t in opinfo.leaves(result) if t.requires_grad]
    first = gradients(library, outputs, inputs, twice)
    again = [g for g in first if g.requires_grad]
    second = gradients(library, again, inputs, False) if twice and again else []
    return [g.detach() for g in first], second or [library.zeros_like(i) for i in inputs]


@over("gradients", lambda info: info.supports_autograd and info.name not in RANDOM)
def test_gradients(info: Any) -> None:
    function = opinfo.counterpart(info)
    differences = Differences()
    for kind in (torch.float64, torch.complex128):
        if not info.supports_dtype(kind, "cpu") or kind not in info.supported_backward_dtypes("cpu"):
            continue
        for sample in opinfo.samples(info, kind, True, MOST_GRADIENTS):
            converted = Converted(sample)
            theirs = theirs_of(info.op, sample)
            if theirs is None:
                continue
            theirs = processed(sample, theirs, False)
            if is_random(info, sample) or not any(t.requires_grad for t in opinfo.leaves(theirs)):
                continue
            twice = bool(info.supports_gradgrad)
            try:
                expected = differentiated(torch, theirs, sample, twice)
            except RuntimeError:
                twice = False
                try:
                    theirs = processed(sample, called(info.op, sample), False)
                    expected = differentiated(torch, theirs, sample, twice)
                except RuntimeError:
                    continue
            try:
                own = processed(sample, called(function, converted), True)
                found = differentiated(flambeau, own, converted, twice)
                text = opinfo.difference(found[0], expected[0], 100.0)
                if twice and not text:
                    text = opinfo.difference(found[1], expected[1], 1000.0)
                    text = f"second gradient: {text}" if text else ""
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
            differences.add(sample, str(kind), text)
    differences.report()


def in_place_name(info: Any) -> str | None:
    variant = info.inplace_variant
    name = getattr(variant, "__name__", "")
    return name if name.endswith("_") and hasattr(torch.Tensor, name) else None


@over("variants", lambda info: info.name not in RANDOM)
def test_variants(info: Any) -> None:
    """The method, the in-place method and ``out=``."""
    differences = Differences()
    kind = next((k for k in (torch.float32, torch.int64, torch.complex64, torch.bool) if k in info.dtypes), None)
    if kind is None:
        pytest.skip("no dtype in common")
    method = getattr(info.method_variant, "__name__", "")
    for sample in opinfo.samples(info, kind, False, 12):
        theirs = theirs_of(info.op, sample)
        if theirs is None:
            continue
        if method and hasattr(torch.Tensor, method) and isinstance(sample.input, torch.Tensor):
            compare_method(differences, sample, method)
        name = in_place_name(info)
        if name is not None and not sample.broadcasts_input:
            compare_method(differences, sample, name)
        if info.supports_out and isinstance(theirs, torch.Tensor):
            compare_out(differences, info, sample, theirs)
    if not differences.compared:
        pytest.skip("PyTorch has neither a method nor an in-place form nor out=")
    differences.report()


def compare_method(differences: Differences, sample: Any, name: str) -> None:
    def call(given: Any) -> Any:
        return getattr(given.input, name)(*given.args, **given.kwargs)

    converted = Converted(sample)
    try:
        theirs = call(copy.deepcopy(sample))
    except Exception:
        return
    try:
        text = opinfo.difference(processed(sample, call(converted), True), processed(sample, theirs, False))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    differences.add(sample, name, text)


def compare_out(differences: Differences, info: Any, sample: Any, theirs: Any) -> None:
    converted = Converted(sample)
    out = flambeau.empty(tuple(theirs.shape), dtype=opinfo.DTYPES[theirs.dtype])
    try:
        opinfo.counterpart(info)(converted.input, *converted.args, **converted.kwargs, out=out)
        text = opinfo.difference(processed(sample, out, True), processed(sample, theirs, False))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    differences.add(sample, "out=", text)


@over("errors", lambda info: info.error_inputs_func is not None)
def test_errors(info: Any) -> None:
    """What PyTorch refuses is refused, with an exception that the same ``except`` catches."""
    function = opinfo.counterpart(info)
    differences = Differences()
    for refused in info.error_inputs("cpu"):
        sample = refused.sample_input
        try:
            converted = Converted(sample)
        except Exception:
            continue  # an argument that Flambeau has nothing for
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                called(info.op, sample)
            continue
        except Exception as error:
            theirs = error
        text = f"nothing raised where PyTorch raises {type(theirs).__name__}: {theirs}"
        try:
            called(function, converted)
        except Exception as error:
            fits = isinstance(error, type(theirs)) or isinstance(theirs, type(error))
            text = "" if fits else f"{type(error).__name__}: {error} where PyTorch raises {type(theirs).__name__}"
        differences.add(sample, "", text)
    differences.report()
