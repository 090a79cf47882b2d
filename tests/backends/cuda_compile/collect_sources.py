"""Write the source of every kernel that the samples of the conformance kit make, with the stand-in for CuPy.

    CUPY_ON_CPU_SOURCES=FOLDER PYTHONPATH=tests/backends/cupy_on_cpu python collect_sources.py

The stand-in then runs no kernel, so that results mean nothing, and what is made of them may fail.
"""

from __future__ import annotations

import contextlib

import flambeau
from flambeau.dtypes import DTYPES
from flambeau.ops.call import TENSORS
from flambeau.testing.database import load_samples

KINDS = ("float32", "bfloat16", "float64", "complex64", "int64", "bool")


def chain(x: flambeau.Tensor) -> flambeau.Tensor:
    """Every function that a chain may have."""
    functions = (
        "exp exp2 expm1 log log1p log2 log10 sqrt sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh floor "
        "ceil trunc erf relu sigmoid neg square reciprocal abs"
    )
    total = x * 2
    for name in functions.split():
        total = total + getattr(x, name)()
    return flambeau.where(total > 1, flambeau.nn.functional.gelu(total), flambeau.nn.functional.silu(x) / total)


def main() -> None:
    """Call every op with its samples in some dtypes, and the gradients of those in float32."""
    flambeau.ones(1, device="cuda")
    for kind in (flambeau.float32, flambeau.float16, flambeau.float64):
        compiled = flambeau.compile(chain, fullgraph=True)
        for _ in range(2):  # records, then fuses
            compiled(flambeau.ones(3, device="cuda", dtype=kind))
    for name, case in load_samples().items():
        for kind in KINDS:
            if kind not in case.dtypes:
                continue
            for sample in case.samples("cuda", DTYPES[kind]):
                with contextlib.suppress(Exception):
                    made = getattr(TENSORS, name)(*sample.args, **sample.kwargs)
                    if kind == "float32" and isinstance(made, flambeau.Tensor):
                        leaf = sample.args[0].detach().clone().requires_grad_()
                        getattr(TENSORS, name)(leaf, *sample.args[1:], **sample.kwargs).sum().backward()


if __name__ == "__main__":
    main()
