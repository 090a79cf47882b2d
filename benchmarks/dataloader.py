"""How many batches a second a loader makes of images that are augmented at random, beside PyTorch's.

A sample is an image of noise that is cropped, flipped, brightened and normalised with NumPy; the batch is collated and
read once. Both libraries run the same dataset in turn, one thread of arithmetic each; the median of the passes is
printed, and ratios last. The workers start before the clock does. Only the ratios carry over to another machine, and
on a busy one, or one with fewer free cores than workers, more workers do not help.

    python benchmarks/dataloader.py [--passes 7] [--samples 512] [--size 96] [--json FILE]

PyTorch is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy  # noqa: E402

import flambeau  # noqa: E402
import flambeau.utils.data  # noqa: E402

BATCH = 32


class Images:
    """Images of ``size`` times ``size`` that no disk has to be read for."""

    def __init__(self, count: int, size: int) -> None:
        self.images = numpy.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=numpy.uint8)
        self.crop = size * 7 // 8

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image = self.images[index]
        top, left = numpy.random.randint(0, len(image) - self.crop, 2)
        view = image[top : top + self.crop, left : left + self.crop]
        if numpy.random.rand() < 0.5:
            view = view[:, ::-1]
        values = view.astype(numpy.float32) * numpy.float32(numpy.random.uniform(0.8, 1.2) / 255)
        values = (values - numpy.float32(0.5)) / numpy.float32(0.25)
        return numpy.ascontiguousarray(values.transpose(2, 0, 1)), index % 10


def one_pass(loader: Any) -> float:
    """Seconds a batch, from the second one on."""
    batches = iter(loader)
    next(batches)
    start, count = time.perf_counter(), 0
    for images, _ in batches:
        float(images[0, 0, 0, 0])
        count += 1
    return (time.perf_counter() - start) / count


def cases(dataset: Images, torch: Any) -> dict[str, dict[str, Callable[[], Any]]]:
    """Loaders by case and library."""
    ways: dict[str, dict[str, Any]] = {
        "0 workers": {},
        "1 process": {"num_workers": 1, "persistent_workers": True},
        "2 processes": {"num_workers": 2, "persistent_workers": True},
        "1 thread": {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "thread"},
        "2 threads": {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": "thread"},
    }
    found: dict[str, dict[str, Callable[[], Any]]] = {}
    for name, options in ways.items():
        libraries = [("flambeau", flambeau)]
        if torch is not None and "thread" not in name:
            libraries.append(("torch", torch))
        found[name] = {}
        for label, library in libraries:
            loader: Any = library.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True, **options)
            found[name][label] = lambda loader=loader: one_pass(loader)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--size", type=int, default=96, help="of an image's side")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file")
    options = parser.parse_args()
    torch = None
    versions = {"python": platform.python_version(), "numpy": numpy.__version__, "flambeau": flambeau.__version__}
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        torch.set_num_threads(1)
        versions["torch"] = torch.__version__
    warnings.simplefilter("ignore")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{usable} cores" if load is None else f"{usable} cores, load {load:.1f}")
    print(f"{'ms a batch of ' + str(BATCH):20}{'flambeau':>10}{'torch':>10}{'torch /':>10}")
    results: dict[str, dict[str, float]] = {}
    for name, libraries in cases(Images(options.samples, options.size), torch).items():
        measured: dict[str, list[float]] = {label: [] for label in libraries}
        for _ in range(options.passes):  # in turn: what disturbs the machine disturbs both
            for label, run in libraries.items():
                measured[label].append(run() * 1e3)
        row = {label: statistics.median(values) for label, values in measured.items()}
        results[name] = row
        theirs = f"{row['torch']:10.2f}{row['torch'] / row['flambeau']:10.2f}" if "torch" in row else ""
        print(f"{name:20}{row['flambeau']:10.2f}{theirs}", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"versions": versions, "cores": usable, "load": load, "milliseconds": results}, file, indent=1)


if __name__ == "__main__":
    main()
