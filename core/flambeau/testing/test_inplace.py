"""The in-place forms: same values, same tensor, seen through aliases, differentiated alike."""

from __future__ import annotations

import pytest

from flambeau.autograd.engine import grad
from flambeau.dtypes import FLOATING, dtype
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor
from flambeau.testing.checks import call, check_close, fits, for_gradients, over
from flambeau.testing.comparison import host, make_tensor
from flambeau.testing.database import Case


@over(lambda case: case.op.inplace)
def test_in_place_form_writes_the_result_where_aliases_see_it(case: Case, kind: dtype, device: str) -> None:
    done = 0
    for given in case.samples(device, kind):
        expected = call(case, given.args, given.kwargs)
        if not fits(case, given, expected):
            continue
        target = given.args[0].clone()
        alias = TENSORS.expand(target, tuple(target.shape))
        returned = getattr(TENSORS, case.name + "_")(target, *given.args[1:], **given.kwargs)
        assert returned is target, f"{case.name}_{given} returned another tensor"
        expected = TENSORS.to_dtype(expected, target.dtype)
        check_close(case, given, target, expected, kind, f"the result of {case.name}")
        check_close(case, given, alias, expected, kind, f"the result of {case.name}, seen through an alias,")
        assert target.dtype is given.args[0].dtype
        done += 1
    if not done:
        pytest.skip("no sample has a result that fits its first argument")


@over(lambda case: case.op.inplace and case.op.differentiable and case.gradients, for_gradients)
def test_in_place_form_has_the_same_gradient(case: Case, kind: dtype, device: str) -> None:
    for given in case.samples(device, kind):
        first = given.args[0]
        if not given.smooth or not isinstance(first, Tensor) or first.dtype.category < FLOATING:
            continue
        leaf = first.detach().clone().requires_grad_()
        functional = call(case, (leaf, *given.args[1:]), given.kwargs)
        if not fits(case, given, functional) or functional.dtype is not first.dtype or not functional.requires_grad:
            continue
        cotangent = functional.detach().clone().fill_(0.5)
        expected = grad(functional, leaf, cotangent, materialize_grads=True)
        target = leaf.clone()
        view = TENSORS.expand(target, tuple(target.shape))
        getattr(TENSORS, case.name + "_")(target, *given.args[1:], **given.kwargs)
        for seen, what in ((target, "the functional gradient"), (view, "the functional gradient, through a view,")):
            if not seen.requires_grad:
                pytest.fail(f"{case.name}_{given}: {what} is there, but the in-place form does not require gradients")
            own = grad(seen, leaf, cotangent, retain_graph=True, materialize_grads=True)
            check_close(case, given, own, expected, kind, what)


def test_assign_writes_broadcasts_and_casts(device: str) -> None:
    from flambeau.devices import device as device_class
    from flambeau.dispatch import load
    from flambeau.dtypes import float32

    xp = load(device_class(device)).xp
    target = make_tensor(2, 3, dtype=float32, device=device)
    row = make_tensor(3, dtype=float32, device=device)
    returned = xp.assign(target._array, row._array)
    assert returned is target._array
    assert (host(target) == host(row)).all()
    xp.assign(target._array, 2)
    assert (host(target) == 2).all()
    part = TENSORS.slice(target, 1, 0, 3, 2)
    xp.assign(part._array, 5)
    assert host(target).tolist() == [[5, 2, 5], [5, 2, 5]]
