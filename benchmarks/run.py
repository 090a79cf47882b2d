"""Steps of whole programs beside PyTorch: time and peak memory.

Each workload runs in a process a library, both alive at once and taking turns sample by sample, with as many threads
each as there are cores (or ``--threads``). Shown are the medians and their ratio. Only the ratios carry over to another
machine.

    python benchmarks/run.py --vs torch [--only WORDS] [--samples 15] [--threads N] [--json FILE]
    python benchmarks/run.py --vs plain             # Flambeau without its accelerator
    python benchmarks/run.py --device opencl --vs torch,cpu,plain
    python benchmarks/run.py --compile --vs torch   # the steps compiled, in both
    python benchmarks/run.py --workloads convolutions --vs torch    # single convolutions of well-known networks
    python benchmarks/run.py --workloads rows --vs torch    # softmax, norms and GELU along rows
    python benchmarks/run.py --compile --vs eager   # compiled beside not compiled, in Flambeau

A sample is as many steps as take a twentieth of a second.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SAMPLE_SECONDS = 0.05
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
LIBRARIES = {
    "flambeau": ("flambeau", {}),
    "torch": ("torch", {}),
    "cpu": ("flambeau", {}),
    "plain": ("flambeau", {"FLAMBEAU_DISABLE_PLUGINS": "accel"}),
    "eager": ("flambeau", {}),
}
# Calls before the clock starts: what is compiled is recorded in the first ones.
WARM_UP = 6


# -- the process of one library --------------------------------------------------------------------------------------


def serve(library: str, module: str, name: str, threads: int, clock: Callable[[], float], compiled: bool) -> None:
    """Prepare a workload of a module, then time one sample for each line on standard input."""
    torch = importlib.import_module(library)
    if library == "torch":
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    ready = torch.ones(2).sum()
    ready.item()

    def run(count: int) -> None:
        for _ in range(count):
            step()
        if ready.device.type not in ("cpu", "meta"):
            torch.accelerator.synchronize()  # kernels run while Python goes on

    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = importlib.import_module(module).WORKLOADS[name](torch)
    if compiled:
        step = torch.compile(step)
    run(WARM_UP)
    start = clock()
    run(1)
    count = max(1, round(SAMPLE_SECONDS / (clock() - start)))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = clock()
        run(count)
        elapsed = (clock() - start) / count
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
        print(json.dumps([elapsed, peak]), flush=True)


class Peer:
    """A library's process."""

    def __init__(
        self, label: str, module: str, name: str, threads: int, clock: str, device: str, compiled: bool
    ) -> None:
        library, extra = LIBRARIES[label]
        environment = {**os.environ, **extra}
        if label in ("flambeau", "eager"):
            environment["FLAMBEAU_DEVICE"] = device
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POCL_MAX_PTHREAD_COUNT"):
            environment[variable] = str(threads)
        # Kernels that an old OpenBLAS needed on this machine slow a current one down.
        environment.pop("OPENBLAS_CORETYPE", None)
        environment.pop("OPENBLAS_L2_SIZE", None)
        command = [sys.executable, __file__, "--serve", library, "--workloads", module, "--only", name]
        command += ["--threads", str(threads)]
        command += ["--clock", clock, *(["--compile"] if compiled and label != "eager" else [])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.times: list[float] = []
        self.memory = 0.0
        if self._answer() != "ready":
            raise SystemExit(f"{library} does not run {name!r}")

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def sample(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        elapsed, self.memory = json.loads(self._answer())
        self.times.append(elapsed)

    def close(self) -> None:
        self.process.communicate()


# -- the comparison --------------------------------------------------------------------------------------------------


def compare(
    module: str, name: str, labels: list[str], samples: int, threads: int, clock: str, device: str, compiled: bool
) -> dict[str, Any]:
    peers = [Peer(label, module, name, threads, clock, device, compiled) for label in labels]
    for _ in range(samples):
        for peer in peers:
            peer.sample()
    for peer in peers:
        peer.close()
    row: dict[str, Any] = {"workload": name}
    for label, peer in zip(labels, peers, strict=True):
        row[label] = {"milliseconds": statistics.median(peer.times) * 1e3, "peak MB": peer.memory}
    # Pair by pair, so that a machine whose speed drifts does not matter.
    ratios = [statistics.median(b / a for a, b in zip(peers[0].times, peer.times, strict=True)) for peer in peers[1:]]
    if ratios:
        row["times as fast"] = dict(zip(labels[1:], ratios, strict=True))
    return row


def shown(row: dict[str, Any], labels: list[str]) -> str:
    cells = [f"{row['workload']:<56}"]
    cells += [f"{row[label]['milliseconds']:>11.3f} {row[label]['peak MB']:>7.0f}" for label in labels]
    cells += [f"{ratio:>7.2f}" for ratio in row.get("times as fast", {}).values()]
    return " ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = [name for name in LIBRARIES if name != "flambeau"]
    parser.add_argument("--vs", default="", help=f"one or more of {','.join(peers)}")
    parser.add_argument("--device", default="cpu", help="Flambeau's, where it is not told to be 'plain'")
    parser.add_argument("--workloads", default="workloads", help="their module: workloads, convolutions or rows")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: of all threads, for a busy machine")
    parser.add_argument("--compile", action="store_true", help="compile the steps, with each library's own compile()")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--serve", choices=["flambeau", "torch"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        clock = CLOCKS[arguments.clock]
        serve(arguments.serve, arguments.workloads, arguments.only, arguments.threads, clock, arguments.compile)
        return 0
    others = [label for label in arguments.vs.split(",") if label]
    for label in others:
        if label not in peers:
            parser.error(f"--vs: {label!r} is none of {', '.join(peers)}")
    labels = ["flambeau", *others]
    print(" " * 56, *(f"{label + ' ms':>11} {'MB':>7}" for label in labels), "  times as fast" if others else "")
    rows = []
    for name in importlib.import_module(arguments.workloads).WORKLOADS:
        if arguments.only.lower() in name.lower():
            row = compare(
                arguments.workloads, name, labels, arguments.samples, arguments.threads, arguments.clock,
                arguments.device, arguments.compile,
            )  # fmt: skip
            rows.append(row)
            print(shown(rows[-1], labels), flush=True)
    for label in others if rows else ():
        mean = math.exp(statistics.fmean(math.log(row["times as fast"][label]) for row in rows))
        print(f"geometric mean: {mean:.2f} times as fast as {label}")
    if arguments.json:
        machine = {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": arguments.threads,
            "clock": arguments.clock,
            "device": arguments.device,
            "compiled": arguments.compile,
        }
        with open(arguments.json, "w") as file:
            json.dump({"date": time.strftime("%Y-%m-%d"), "machine": machine, "rows": rows}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
