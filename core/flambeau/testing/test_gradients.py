"""First and second gradients against finite differences."""

from __future__ import annotations

import pytest

from flambeau.autograd.finite_differences import GradcheckError, gradcheck, gradgradcheck
from flambeau.dtypes import dtype, float32
from flambeau.testing.checks import Differentiated, for_gradients, over
from flambeau.testing.database import Case

_LARGEST = 20  # inputs with more elements are checked along a random direction instead of one by one


def _options(kind: dtype) -> dict[str, float]:
    # In single precision a step of 1e-2 balances rounding against curvature.
    return {"eps": 1e-2, "atol": 2e-2, "rtol": 2e-2} if kind is float32 else {"eps": 1e-6, "atol": 1e-5, "rtol": 1e-3}


def _functions(case: Case, kind: dtype, device: str) -> list[Differentiated]:
    functions = [Differentiated(case, given) for given in case.samples(device, kind) if given.smooth]
    found = [function for function in functions if function.size]
    if not found:
        pytest.skip("no sample has anything to differentiate")
    return found


@over(lambda case: case.gradients and case.op.differentiable, for_gradients)
def test_gradient(case: Case, kind: dtype, device: str) -> None:
    for function in _functions(case, kind, device):
        try:
            gradcheck(
                function,
                function.leaves(),
                fast_mode=function.size > _LARGEST or kind is float32,
                nondet_tol=1e-5,
                check_grad_dtypes=True,
                **_options(kind),  # type: ignore[arg-type]
            )
        except (GradcheckError, RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
            pytest.fail(f"the gradient of {case.name}{function.given}: {type(error).__name__}: {error}")


@pytest.mark.long
@over(lambda case: case.gradients and case.op.differentiable, for_gradients)
def test_second_gradient(case: Case, kind: dtype, device: str) -> None:
    if kind is float32:
        pytest.skip("single precision is too coarse for differences of differences")
    for function in _functions(case, kind, device):
        leaves = function.leaves()
        if not any(output.requires_grad for output in function(*leaves)):
            continue
        try:
            gradgradcheck(function, leaves, fast_mode=True, nondet_tol=1e-5, **_options(kind))  # type: ignore[arg-type]
        except ValueError as error:
            if "at least one input tensor to require gradient" not in str(error):
                raise
        except (GradcheckError, RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
            pytest.fail(f"the second gradient of {case.name}{function.given}: {type(error).__name__}: {error}")
