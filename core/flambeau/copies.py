"""The functions ``NAME_copy``: what the view ``NAME`` shows, in memory of its own."""

from __future__ import annotations

from typing import Any

from flambeau import memory
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.tensor import Tensor

__all__ = [
    "alias_copy", "as_strided_copy", "detach_copy", "diagonal_copy", "expand_copy", "narrow_copy", "permute_copy",
    "select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy", "transpose_copy",
    "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_as_complex_copy", "view_as_real_copy", "view_copy",
]  # fmt: skip


def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """``input[start:end:step]`` along ``dim``."""
    dim = dim + input.ndim if dim < 0 else dim
    found: Tensor = input[(*[slice(None)] * dim, slice(start, end, step))]
    return found


def _copying(name: str) -> Any:
    of_name = name.removesuffix("_copy")
    view: Any = {
        "alias": lambda input: input, "detach": Tensor.detach, "slice": _slice, "as_strided": memory.as_strided,
        "view": memory.view,
    }.get(of_name) or getattr(TENSORS, of_name)  # fmt: skip

    def copy(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        seen = view(*args, **kwargs)
        if out is not None:
            write_out(OPS["clone"], seen, tuple(out) if isinstance(seen, tuple) else out)
            return None if isinstance(seen, tuple) else out
        return tuple([part.clone() for part in seen]) if isinstance(seen, tuple) else seen.clone()

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = f"What the view ``{of_name}`` shows, in memory of its own (``torch.{name}``)."
    copy.__module__ = "flambeau"
    return copy


alias_copy = _copying("alias_copy")
as_strided_copy = _copying("as_strided_copy")
detach_copy = _copying("detach_copy")
diagonal_copy = _copying("diagonal_copy")
expand_copy = _copying("expand_copy")
narrow_copy = _copying("narrow_copy")
permute_copy = _copying("permute_copy")
select_copy = _copying("select_copy")
slice_copy = _copying("slice_copy")
split_copy = _copying("split_copy")
split_with_sizes_copy = _copying("split_with_sizes_copy")
squeeze_copy = _copying("squeeze_copy")
t_copy = _copying("t_copy")
transpose_copy = _copying("transpose_copy")
unbind_copy = _copying("unbind_copy")
unfold_copy = _copying("unfold_copy")
unsqueeze_copy = _copying("unsqueeze_copy")
view_as_complex_copy = _copying("view_as_complex_copy")
view_as_real_copy = _copying("view_as_real_copy")
view_copy = _copying("view_copy")
