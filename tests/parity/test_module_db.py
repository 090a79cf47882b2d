"""Every module on the inputs that PyTorch tests its own modules with.

The entries of `torch.testing._internal.common_modules.module_db` say how to construct a module and what to call it
with. Both libraries build it with the same arguments, ours takes PyTorch's state dict, and everything that a program
can see is compared: names, shapes and dtypes of the state, the text, results and gradients in training and evaluation,
copies, and what is refused.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's module database imports it")

import opinfo  # noqa: E402
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def known() -> dict[str, str]:
    """What is known to differ, by test: `module-differences.txt`, lines of ``TEST MODULE: why``."""
    lines = (Path(__file__).parent / "module-differences.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line.strip() and not line.startswith("#"))


KNOWN = known()


def over(test: str, select: Any = lambda info: True) -> Any:
    """Run a test for the modules of the database, those that are known to differ as strictly expected failures."""
    parameters = []
    for info in filter(select, module_db):
        name = info.name.removeprefix("nn.")
        why = KNOWN.get(f"{test} {name}")
        marks = [pytest.mark.xfail(reason=why, strict=True)] if why else []
        parameters.append(pytest.param(info, id=name, marks=marks))
    return pytest.mark.parametrize("info", parameters)


# -- building both ---------------------------------------------------------------------------------------------------


def inputs_of(info: Any, kind: torch.dtype, training: bool, requires_grad: bool = True) -> list[Any]:
    torch.manual_seed(0)
    numpy.random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(info.module_inputs_func(info, "cpu", kind, requires_grad, training))


class Converted:
    """Arguments with Flambeau's tensors; the same one where PyTorch's are the same."""

    def __init__(self, given: Any) -> None:
        made = {id(a): argument(a) for a in (*given.args, *given.kwargs.values())}
        self.args = tuple(made[id(a)] for a in given.args)
        self.kwargs = {name: made[id(a)] for name, a in given.kwargs.items()}


def argument(value: Any) -> Any:
    """An argument of a module as Flambeau has it: layers inside of others, and functions, too."""
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        attention = value.self_attn
        return flambeau.nn.TransformerEncoderLayer(
            attention.embed_dim, attention.num_heads, value.linear1.out_features, value.dropout.p,
            argument(value.activation), value.norm1.eps, attention.batch_first, value.norm_first,
            value.linear1.bias is not None,
        )  # fmt: skip
    if callable(value) and not isinstance(value, torch.nn.Module) and hasattr(flambeau.nn.functional, value.__name__):
        return getattr(flambeau.nn.functional, value.__name__)
    return opinfo.convert(value)


def built(info: Any, given: Any, kind: torch.dtype) -> tuple[Any, Any]:
    """PyTorch's module and ours, constructed alike."""
    return info.module_cls(*given.args, **given.kwargs).to(kind), built_of_ours(info, given).to(opinfo.DTYPES[kind])


def built_of_ours(info: Any, given: Any) -> Any:
    converted = Converted(given)
    return getattr(flambeau.nn, info.name.removeprefix("nn."))(*converted.args, **converted.kwargs)


def load(theirs: Any, own: Any) -> None:
    """Give our module the state of PyTorch's."""
    own.load_state_dict({name: opinfo.convert(value.detach()) for name, value in theirs.state_dict().items()})


def without_dropout(module: Any) -> Any:
    """A module that drops nothing, so that training can be compared."""
    for part in module.modules():
        if "Dropout" in type(part).__name__:
            part.p = 0.0
        elif isinstance(getattr(part, "dropout", None), float):
            part.dropout = 0.0
    return module


def differentiable(*arguments: Any) -> list[Any]:
    return [leaf for leaf in opinfo.leaves(*arguments) if leaf.requires_grad]


def forward_and_gradients(library: Any, module: Any, given: Any) -> tuple[Any, list[Any]]:
    """The result, and the gradients of inputs and parameters."""
    result = module(*given.args, **given.kwargs)
    outputs = differentiable(result)
    wanted = [*differentiable(given.args, given.kwargs), *(p for p in module.parameters() if p.requires_grad)]
    if not outputs or not wanted:
        return result, []
    random = numpy.random.default_rng(0)
    cotangents = [library.tensor(random.normal(size=tuple(o.shape))).to(o.dtype) for o in outputs]
    found = library.autograd.grad(outputs, wanted, cotangents, allow_unused=True)
    return result, [library.zeros_like(w) if g is None else g for g, w in zip(found, wanted, strict=True)]


def state_of(module: Any) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, tuple(t.shape), opinfo.kind_of(t)) for name, t in module.state_dict().items()]


def compare(info: Any, given: Any, kind: torch.dtype, training: bool, change: Any = lambda tensor: tensor) -> str:
    """How one call of one module differs."""
    theirs, own = built(info, given.constructor_input, kind)
    forward = given.forward_input
    if info.is_lazy:  # the first call makes the parameters
        theirs(*forward.args, **forward.kwargs)
        own(*Converted(forward).args, **Converted(forward).kwargs)
    if state_of(own) != state_of(theirs):
        return f"state {state_of(own)} where PyTorch has {state_of(theirs)}"
    load(theirs, own)
    for module in (theirs, own):
        without_dropout(module).train(training)
    forward.args = tuple(change(a) for a in forward.args)
    converted = Converted(forward)
    expected, their_gradients = forward_and_gradients(torch, theirs, forward)
    found, gradients = forward_and_gradients(flambeau, own, converted)
    text = opinfo.difference(found, expected, 10.0)
    text = text or opinfo.difference(gradients, their_gradients, 100.0)
    if text:
        return text
    after, theirs_after = own.state_dict(), theirs.state_dict()
    return opinfo.difference([after[name] for name in theirs_after], list(theirs_after.values()), 10.0)


#: Samples a module: all that are not of the same kind; some modules have several hundred.
MOST = 60


def check(info: Any, kind: torch.dtype, training: bool, change: Any = lambda tensor: tensor) -> None:
    found = []
    given = inputs_of(info, kind, training)
    given = given[:: -(-len(given) // MOST)]
    for number, one in enumerate(given):
        if one.forward_input is None:
            continue
        try:
            text = compare(info, one, kind, training, change)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        if text:
            found.append(f"{number} {one.desc} {described(one.constructor_input)}: {text}")
    if found:
        pytest.fail(f"{len(found)} of {len(given)} differ\n" + "\n".join(found[:8]), pytrace=False)


def described(given: Any) -> str:
    def short(value: Any) -> str:
        return f"tensor{list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)

    return ", ".join([*map(short, given.args), *(f"{name}={short(value)}" for name, value in given.kwargs.items())])


# -- the tests -------------------------------------------------------------------------------------------------------


@over("training")
def test_training(info: Any) -> None:
    check(info, torch.float64, True)


@over("evaluation")
def test_evaluation(info: Any) -> None:
    check(info, torch.float64, False)


@over("float32")
def test_float32(info: Any) -> None:
    check(info, torch.float32, True)


def strided(value: Any) -> Any:
    """The same values in memory that is not contiguous."""
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return value
    room = torch.zeros(*value.shape, 2, dtype=value.dtype)
    room[..., 0] = value.detach()
    return room[..., 0].detach().requires_grad_(value.requires_grad)


@over("strided")
def test_strided(info: Any) -> None:
    check(info, torch.float64, True, strided)


@over("text")
def test_text(info: Any) -> None:
    """`repr`, of ours and of a copy and of what a pickle gives back; the copies have the state of the original."""
    found = []
    for one in inputs_of(info, torch.float32, True):
        theirs, own = built(info, one.constructor_input, torch.float32)
        if info.is_lazy and one.forward_input is not None:
            theirs(*one.forward_input.args, **one.forward_input.kwargs)
            own(*Converted(one.forward_input).args, **Converted(one.forward_input).kwargs)
        texts = [repr(own), repr(copy.deepcopy(own)), repr(pickle.loads(pickle.dumps(own)))]
        found += [f"{text!r} where PyTorch has {repr(theirs)!r}" for text in texts if text != repr(theirs)]
        for twin in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
            state, again = own.state_dict(), twin.state_dict()
            assert list(state) == list(again)
            assert all(flambeau.equal(state[name], again[name]) for name in state)
    if found:
        pytest.fail(f"{len(found)} differ\n" + "\n".join(found[:6]), pytrace=False)


@over("errors", lambda info: info.module_error_inputs_func is not None)
def test_errors(info: Any) -> None:
    """What PyTorch refuses is refused, with an exception that the same ``except`` catches."""
    found = []
    for refused in info.module_error_inputs_func(info, "cpu", torch.float32, False, True):
        given, expected = refused.module_error_input, refused.error_type
        text = f"nothing raised where PyTorch raises {expected.__name__}: {refused.error_regex}"
        try:
            own = built_of_ours(info, given.constructor_input)
            if refused.error_on is ModuleErrorEnum.FORWARD_ERROR:
                converted = Converted(given.forward_input)
                own(*converted.args, **converted.kwargs)
        except Exception as error:
            fits = isinstance(error, expected) or issubclass(expected, type(error))
            text = "" if fits else f"{type(error).__name__}: {error} where PyTorch raises {expected.__name__}"
        if text:
            found.append(f"{described(given.constructor_input)}: {text}")
    if found:
        pytest.fail("\n".join(found), pytrace=False)
