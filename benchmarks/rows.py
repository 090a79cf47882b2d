"""Ops along the rows of a matrix, for `benchmarks/run.py --workloads rows`: their values, and their gradients.

The matrices are those of BERT-base at eight sequences of 512.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]
WORKLOADS: dict[str, Callable[[Any], Step]] = {}


def along_rows(name: str, function: Callable[[Any, Any, Any], Any]) -> None:
    """Register two workloads of ``function(functional, x, weight)``: its values, and its gradients by themselves."""

    def values(torch: Any) -> Step:
        x, weight = torch.randn(4096, 768), torch.ones(768)

        def step() -> Any:
            with torch.no_grad():
                return function(torch.nn.functional, x, weight)

        return step

    def gradients(torch: Any) -> Step:
        x, weight = torch.randn(4096, 768, requires_grad=True), torch.ones(768, requires_grad=True)
        y, cotangent = function(torch.nn.functional, x, weight), torch.randn(4096, 768)

        def step() -> None:
            x.grad = weight.grad = None
            y.backward(cotangent, retain_graph=True)

        return step

    WORKLOADS[f"{name} of 4096 x 768, values"] = values
    WORKLOADS[f"{name} of 4096 x 768, gradients"] = gradients


along_rows("softmax", lambda functional, x, weight: functional.softmax(x, -1))
along_rows("log_softmax", lambda functional, x, weight: functional.log_softmax(x, -1))
along_rows("layer_norm", lambda functional, x, weight: functional.layer_norm(x, (768,), weight))
along_rows("rms_norm", lambda functional, x, weight: functional.rms_norm(x, (768,), weight))
along_rows("gelu", lambda functional, x, weight: functional.gelu(x))
