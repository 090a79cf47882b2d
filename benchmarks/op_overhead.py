"""What a small op and a small training step cost, beside NumPy and PyTorch.

With 4 elements there is nothing to compute, so that what is measured is the framework. The libraries take turns in
one process and one thread, sample by sample; the median of each is printed, and ratios last. Only the ratios carry
over to another machine.

    python benchmarks/op_overhead.py [--samples 31] [--only NAME] [--json FILE]

PyTorch is measured where it is installed. NumPy's training step is the same arithmetic written out by hand: the least
that any framework over NumPy could take.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import statistics
import sys
import timeit
from collections.abc import Callable
from typing import Any

# Nothing here is large enough to share between threads, and idle ones that spin disturb the others.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy  # noqa: E402

import flambeau  # noqa: E402

Case = Callable[[], Any]
LAYERS = (4, 64, 64, 2)
BATCH = 8


def op_cases(torch: Any) -> dict[str, Case]:
    """Small ops in a library with PyTorch's names."""
    a = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    b = torch.tensor([5.0, 6.0, 7.0, 8.0])
    plain = b.clone()
    square = torch.ones(4, 4)

    def without_tape() -> Any:
        with torch.no_grad():
            return a + b

    def backward() -> None:
        a.grad = None
        (a * b).sum().backward()

    return {
        "a + b, tape on": lambda: a + b,
        "a + b, no tape wanted": lambda: plain + b,
        "a + b, in no_grad": without_tape,
        "a * 2, tape on": lambda: a * 2,
        "exp, tape on": a.exp,
        "relu, tape on": a.relu,
        "sum, tape on": a.sum,
        "view": lambda: plain.view(2, 2),
        "x[1]": lambda: plain[1],
        "matmul 4x4": lambda: square @ square,
        "(a * b).sum().backward()": backward,
        "training step": training_step(torch),
    }


def numpy_cases() -> dict[str, Case]:
    """The same in NumPy, where it has it: without a tape."""
    a = numpy.array([1.0, 2.0, 3.0, 4.0], dtype=numpy.float32)
    b = numpy.array([5.0, 6.0, 7.0, 8.0], dtype=numpy.float32)
    square = numpy.ones((4, 4), dtype=numpy.float32)
    return {
        "a + b, tape on": lambda: a + b,
        "a + b, no tape wanted": lambda: a + b,
        "a + b, in no_grad": lambda: a + b,
        "a * 2, tape on": lambda: a * 2,
        "exp, tape on": lambda: numpy.exp(a),
        "relu, tape on": lambda: numpy.maximum(a, 0),
        "sum, tape on": a.sum,
        "view": lambda: a.reshape(2, 2),
        "x[1]": lambda: a[1],
        "matmul 4x4": lambda: square @ square,
        "training step": numpy_training_step(),
    }


def training_step(torch: Any) -> Case:
    """Forward, backward and Adam on a 4-64-64-2 network with a batch of 8."""
    nn = torch.nn
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(LAYERS[0], LAYERS[1]),
        nn.ReLU(),
        nn.Linear(LAYERS[1], LAYERS[2]),
        nn.ReLU(),
        nn.Linear(LAYERS[2], LAYERS[3]),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs, target = torch.randn(BATCH, LAYERS[0]), torch.randn(BATCH, LAYERS[-1])
    loss_function = nn.MSELoss()

    def step() -> None:
        optimizer.zero_grad()
        loss = loss_function(model(inputs), target)
        loss.backward()
        optimizer.step()

    return step


def numpy_training_step() -> Case:
    """The arithmetic of :func:`training_step`, derived by hand."""
    generator = numpy.random.default_rng(0)
    weights = [
        (generator.standard_normal((n, m)) / n**0.5).astype(numpy.float32) for n, m in itertools.pairwise(LAYERS)
    ]
    biases = [numpy.zeros(m, dtype=numpy.float32) for m in LAYERS[1:]]
    parameters = weights + biases
    first = [numpy.zeros_like(p) for p in parameters]
    second = [numpy.zeros_like(p) for p in parameters]
    inputs = generator.standard_normal((BATCH, LAYERS[0])).astype(numpy.float32)
    target = generator.standard_normal((BATCH, LAYERS[-1])).astype(numpy.float32)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        hidden1 = numpy.maximum(inputs @ weights[0] + biases[0], 0)
        hidden2 = numpy.maximum(hidden1 @ weights[1] + biases[1], 0)
        difference = hidden2 @ weights[2] + biases[2] - target
        g3 = difference * (2 / difference.size)
        g2 = (g3 @ weights[2].T) * (hidden2 > 0)
        g1 = (g2 @ weights[1].T) * (hidden1 > 0)
        gradients = [inputs.T @ g1, hidden1.T @ g2, hidden2.T @ g3, g1.sum(0), g2.sum(0), g3.sum(0)]
        rate = 1e-3 / (1 - 0.9**count)
        correction = (1 - 0.999**count) ** 0.5
        for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
            m += (g - m) * 0.1
            v *= 0.999
            v += g * g * 0.001
            p -= rate * m / (numpy.sqrt(v) / correction + 1e-8)

    return step


def measure(cases: dict[str, Case], samples: int) -> dict[str, float]:
    """Seconds a call of each library's case (median), the libraries taking turns."""
    loops = {}
    for library, case in cases.items():
        case()
        once = min(timeit.repeat(case, number=3, repeat=3)) / 3
        # A sample of about 2 ms: long beside the clock's resolution, short beside a busy spell of the machine.
        loops[library] = max(1, int(2e-3 / once))
    taken: dict[str, list[float]] = {library: [] for library in cases}
    for _ in range(samples):
        for library, case in cases.items():
            taken[library].append(timeit.timeit(case, number=loops[library]) / loops[library])
    return {library: statistics.median(found) for library, found in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=31, help="samples a case and library (default: 31)")
    parser.add_argument("--only", metavar="NAME", default="", help="cases whose name contains this")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file")
    arguments = parser.parse_args()

    libraries = {"numpy": numpy_cases(), "flambeau": op_cases(flambeau)}
    versions = {"python": platform.python_version(), "numpy": numpy.__version__, "flambeau": flambeau.__version__}
    if importlib.util.find_spec("torch"):
        import torch

        libraries["torch"] = op_cases(torch)
        versions["torch"] = torch.__version__
    names = [name for name in libraries["flambeau"] if arguments.only in name]
    if not names:
        sys.exit(f"no case has {arguments.only!r} in its name; there are: {', '.join(libraries['flambeau'])}")

    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{'µs':<26}" + "".join(f"{library:>10}" for library in libraries) + f"{'/ numpy':>10}{'torch /':>10}")
    figures: dict[str, dict[str, float]] = {}
    for name in names:
        having = {library: cases[name] for library, cases in libraries.items() if name in cases}
        found = measure(having, arguments.samples)
        figures[name] = found
        cells = "".join(f"{found[library] * 1e6:10.2f}" if library in found else f"{'':>10}" for library in libraries)
        over_numpy = f"{found['flambeau'] / found['numpy']:10.2f}" if "numpy" in found else f"{'':>10}"
        over_torch = f"{found['torch'] / found['flambeau']:10.2f}" if "torch" in found else ""
        print(f"{name:<26}{cells}{over_numpy}{over_torch}")
    print("/ numpy: Flambeau's time over NumPy's; torch /: PyTorch's over Flambeau's, above 1 where Flambeau is faster")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"versions": versions, "samples": arguments.samples, "seconds": figures}, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
