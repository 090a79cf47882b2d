"""Views share memory with their base, both ways, and are differentiated through in-place writes."""

from __future__ import annotations

import pytest

from flambeau.autograd.finite_differences import GradcheckError, gradcheck
from flambeau.dtypes import dtype, float32
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor
from flambeau.testing.checks import call, for_gradients, outputs_of, over, strided
from flambeau.testing.comparison import host, make_tensor
from flambeau.testing.database import Case, Sample


def _one_to_one(given: Sample, views: list[Tensor]) -> bool:
    """Whether each element of the base is seen at most once."""
    return all(view.numel() <= given.args[0].numel() for view in views) and len(views) <= max(given.args[0].numel(), 1)


@over(
    lambda case: case.op.view or case.aliases,
    lambda case, held: tuple(n for n in ("float32", "complex64") if n in case.dtypes),
)
def test_view_and_base_see_each_others_writes(case: Case, kind: dtype, device: str) -> None:
    for given in case.samples(device, kind):
        base = given.args[0]
        views = outputs_of(call(case, given.args, given.kwargs))
        base.fill_(3)
        again = outputs_of(call(case, given.args, given.kwargs))
        for view, fresh in zip(views, again, strict=True):
            assert (host(view) == host(fresh)).all(), (
                f"{case.name}{given}: what is written to the base is not seen in the view"
            )
        if not _one_to_one(given, views):
            continue
        for view in views:
            view.fill_(7)
        for fresh in outputs_of(call(case, given.args, given.kwargs)):
            assert (host(fresh) == 7).all(), f"{case.name}{given}: what is written to the view is not seen in the base"


@over(lambda case: case.op.view or case.aliases, for_gradients)
def test_write_into_a_view_is_differentiated(case: Case, kind: dtype, device: str) -> None:
    for given in case.samples(device, kind):
        base = given.args[0]
        if not base.numel() or not _one_to_one(given, outputs_of(call(case, given.args, given.kwargs))):
            continue

        def write(x: Tensor, given: Sample = given) -> Tensor:
            y = x * 1.5
            for view in outputs_of(call(case, (y, *given.args[1:]), given.kwargs)):
                view.mul_(view.detach() * 0.0 + 3.0)
            return y * y

        try:
            gradcheck(write, base.detach().clone().requires_grad_(), fast_mode=True, **_coarse(kind))  # type: ignore[arg-type]
        except (GradcheckError, RuntimeError) as error:
            pytest.fail(f"writing into the view {case.name}{given}: {error}")


def test_a_clone_is_contiguous_and_has_memory_of_its_own(device: str) -> None:
    # reshape relies on it: what cannot be viewed is cloned and then viewed.
    tensor = strided(make_tensor(3, 4, dtype=float32, device=device))
    values = host(tensor).copy()
    clone = tensor.clone()
    assert (host(TENSORS.view(clone, (12,))) == values.reshape(-1)).all()
    clone.fill_(1)
    assert (host(tensor) == values).all()


def _coarse(kind: dtype) -> dict[str, float]:
    return {"eps": 1e-2, "atol": 2e-2, "rtol": 2e-2} if kind.to_real().itemsize == 4 else {}
