"""``flambeau.jit``: Python runs as it is written."""

from __future__ import annotations

from typing import Any, Optional, Union

import pytest

import flambeau
from flambeau import jit, nn


def test_script_gives_back_what_it_is_given() -> None:
    model = nn.Linear(2, 2)
    assert jit.script(model) is model and jit.freeze(jit.optimize_for_inference(model.eval())) is model

    @jit.script
    def double(x: flambeau.Tensor) -> flambeau.Tensor:
        return x * 2 if not jit.is_scripting() and not jit.is_tracing() else x

    assert double(flambeau.ones(1)).item() == 2
    with pytest.raises(RuntimeError, match="call eval"):
        jit.freeze(nn.Linear(1, 1))


def test_marks_leave_methods_as_they_are() -> None:
    class Net(jit.ScriptModule):
        size: jit.Final[int] = 3

        @jit.script_method
        def forward(self, x: Any) -> Any:
            return self.a(x) + self.b(x) + self.c(x) + self.d(x)

        @jit.ignore
        def a(self, x: Any) -> Any:
            return x

        @jit.ignore(drop=True)
        def b(self, x: Any) -> Any:
            return x

        @jit.unused
        def c(self, x: Any) -> Any:
            return x

        @jit.export
        def d(self, x: Any) -> Any:
            return x

    assert Net()(flambeau.ones(1)).item() == 4
    assert not isinstance(nn.Linear(1, 1), jit.ScriptModule)
    assert jit.annotate(list[int], [1]) == [1] and jit.Attribute(3, int) == 3
    assert jit.wait(jit.fork(lambda a: a + 1, 2)) == 3


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        ([1, 2], list[int], True),
        ([1, "a"], list[int], False),
        ({"a": flambeau.ones(1)}, dict[str, flambeau.Tensor], True),
        ({"a": 1}, dict[str, flambeau.Tensor], False),
        ((1, "a"), tuple[int, str], True),
        ((1, 2, 3), tuple[int, ...], True),
        ((1,), tuple[int, str], False),
        (None, Optional[int], True),  # noqa: UP045
        ("a", int | None, False),
        ([None], list[Union[int, None]], True),  # noqa: UP007
        (1, Any, True),
        (1, (str, int), True),
        (None, None, True),
    ],
)
def test_isinstance_looks_into_containers(value: Any, kind: Any, result: bool) -> None:
    assert jit.isinstance(value, kind) is result


def test_trace_runs_the_example_and_returns_the_function() -> None:
    model = nn.Linear(2, 3)
    traced = jit.trace(model, flambeau.ones(1, 2))
    assert traced is model and traced(flambeau.ones(5, 2)).shape == (5, 3)
    assert jit.trace_module(model, {"forward": flambeau.ones(1, 2)}) is model
    assert jit.trace(lambda x: {"a": x}, (flambeau.ones(1),))(3) == {"a": 3}
    with pytest.raises(RuntimeError, match="linear"):
        jit.trace(model, flambeau.ones(1, 4))
    with pytest.raises(RuntimeError, match="only tensors, .* got int"):
        jit.trace(lambda x: (x, 1), flambeau.ones(1))
    with pytest.raises(RuntimeError, match="should be specified"):
        jit.trace(model)


def test_archives_of_torchscript_are_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"save model.state_dict\(\) with flambeau.save"):
        jit.save(nn.Linear(1, 1), "model.pt")
    with pytest.raises(NotImplementedError, match="does not run TorchScript archives"):
        jit.load("model.pt")
