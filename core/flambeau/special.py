"""Special functions (``torch.special``). Integers become the default float, and ``out=`` takes the result.

All are precise to about double precision in float64. Those of PyTorch without a gradient have one here where it is
another function of this module: the Bessel functions, the incomplete gamma functions in their first argument.
"""

from __future__ import annotations

from typing import Any

from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import entry
from flambeau.tensor import Tensor

#: Functions that are at the top level of Flambeau too, where some have another name.
_ELSEWHERE = {
    "digamma": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expit": "sigmoid",
    "expm1": "expm1", "gammainc": "igamma", "gammaincc": "igammac", "gammaln": "lgamma", "i0": "i0", "log1p": "log1p",
    "log_softmax": "log_softmax", "logit": "logit", "logsumexp": "logsumexp", "modified_bessel_i0": "i0",
    "multigammaln": "mvlgamma", "psi": "digamma", "round": "round", "sinc": "sinc", "softmax": "softmax",
    "xlogy": "xlogy",
}  # fmt: skip
_PREFIX = "special_"

for _name, _op in _ELSEWHERE.items():
    globals()[_name] = getattr(TENSORS, _op)
for _name in [name for name in OPS if name.startswith(_PREFIX)]:
    globals()[_name.removeprefix(_PREFIX)] = entry(OPS[_name])
modified_bessel_i1 = entry(OPS["special_i1"])


def polygamma(n: int, input: Tensor, *, out: Tensor | None = None) -> Any:
    """Return the derivative of order ``n`` of :func:`digamma`.

    Raises:
        RuntimeError: for a negative ``n``.
    """
    return TENSORS.polygamma(input, n) if out is None else TENSORS.polygamma(input, n, out=out)


__all__ = sorted(  # noqa: PLE0605
    {*_ELSEWHERE, "modified_bessel_i1", "polygamma"}
    | {name.removeprefix(_PREFIX) for name in OPS if name.startswith(_PREFIX)}
)
