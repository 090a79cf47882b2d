"""What `import flambeau` costs beside `import numpy`: seconds and resident memory.

Each sample is a fresh interpreter that imports one thing and nothing else; the libraries take turns, so that a busy
moment of the machine falls on all of them. Medians are printed, ratios last.

    python benchmarks/import_cost.py [--runs 21] [--torch] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

# Runs in the fresh interpreter. Linux keeps the resident size in /proc; elsewhere the peak is what there is.
_PROBE = """
import sys, time
start = time.perf_counter()
if sys.argv[1] != "nothing":
    __import__(sys.argv[1])
seconds = time.perf_counter() - start
try:
    with open("/proc/self/statm") as statm:
        import os
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
except OSError:
    import resource
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(seconds, resident, len(sys.modules))
"""


def sample(library: str) -> tuple[float, float, int]:
    """Import a library in a fresh interpreter: seconds, MB, number of modules."""
    # An installed package has its .pyc files; a checkout gets them on the first run, unless this forbids it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, library], check=True, capture_output=True, text=True, env=environment
    )
    seconds, resident, modules = done.stdout.split()
    return float(seconds), int(resident) / 2**20, int(modules)


def measure(libraries: list[str], runs: int) -> dict[str, dict[str, Any]]:
    """Medians of `runs` samples of each library, taken in turns."""
    for library in libraries:
        sample(library)  # fills the disk cache and writes the .pyc files
    samples: dict[str, list[tuple[float, float, int]]] = {library: [] for library in libraries}
    for _ in range(runs):
        for library in libraries:
            samples[library].append(sample(library))
    return {
        library: {
            "seconds": statistics.median(taken[0] for taken in found),
            "fastest_seconds": min(taken[0] for taken in found),
            "megabytes": statistics.median(taken[1] for taken in found),
            "modules": found[0][2],
        }
        for library, found in samples.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21, help="fresh interpreters a library (default: 21)")
    parser.add_argument("--torch", action="store_true", help="measure `import torch` as well")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file")
    arguments = parser.parse_args()

    libraries = ["nothing", "numpy", "flambeau"] + (["torch"] if arguments.torch else [])
    figures = measure(libraries, arguments.runs)
    print(f"Python {sys.version.split()[0]}, medians of {arguments.runs} fresh interpreters")
    print(f"{'import':<12}{'ms':>9}{'fastest':>9}{'MB':>8}{'modules':>9}")
    for library, figure in figures.items():
        print(
            f"{library:<12}{figure['seconds'] * 1e3:9.1f}{figure['fastest_seconds'] * 1e3:9.1f}"
            f"{figure['megabytes']:8.1f}{figure['modules']:9d}"
        )
    ratio = figures["flambeau"]["seconds"] / figures["numpy"]["seconds"]
    extra = figures["flambeau"]["megabytes"] - figures["numpy"]["megabytes"]
    print(f"flambeau / numpy: {ratio:.2f} times as long, {extra:+.1f} MB (wanted: at most 2.5 times, +25 MB)")
    if arguments.torch:
        print(f"torch / flambeau: {figures['torch']['seconds'] / figures['flambeau']['seconds']:.1f} times as long")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"python": sys.version.split()[0], "runs": arguments.runs, "imports": figures}, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
