"""Everything that needs a GPU, in one go: correctness, memory checks, and steps of real models beside PyTorch.

    benchmarks/gpu.sh [--minutes 9] [--only steps,kit] [--vs torch] [--json FILE]
    python benchmarks/gpu.py --device cpu --tiny          # a test of this program, on any machine

Parts, in this order, each in processes of its own and none longer than what is left of the time:

    tests      what `tests/backends` says of this device: streams, memory, graphs; ten steps with the losses of the CPU
    demo       `flambeau demo`
    steps      the workloads of `gpu_workloads.py`, where cuDNN is there with and without it: time of a step, peak
               memory, how often a step waits for the device, and the share of what a matrix product reaches here
    kit        the conformance kit
    sanitizer  compute-sanitizer over small samples of the kit

What is found is written after every part, so that a run that is broken off leaves what it had.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PARTS = ("tests", "demo", "steps", "kit", "sanitizer")
#: Steps once more with cuDNN switched off, where a workload has convolutions or attention.
WITHOUT = "flambeau without cuDNN"
HAS_CUDNN = ("ResNet", "BERT", "GPT")
MEASURED_SECONDS = 3.0
LEFT_OUT = "left out: "
#: What the libraries of another machine warn of is no error of ours.
QUIET = ("-q", "-p", "no:cacheprovider", "-W", "default")


# -- the process of one library --------------------------------------------------------------------------------------


def serve(library: str, name: str, device: str, tiny: bool) -> dict[str, Any]:
    """Measure a workload in this process."""
    from gpu_workloads import make_step

    torch = importlib.import_module(library.partition(" ")[0])
    if library == WITHOUT:
        torch.backends.cudnn.enabled = False
    on_cuda = device.startswith("cuda")

    def finish() -> None:
        if on_cuda:
            torch.cuda.synchronize()

    start = time.perf_counter()
    step = make_step(torch, name, device, tiny)
    step()
    finish()
    found: dict[str, Any] = {"until the first step's end, s": time.perf_counter() - start}
    for _ in range(1 if tiny else 3):
        step()
    finish()
    if on_cuda:
        found["waits in a step"] = _waits(torch, step)
        torch.cuda.reset_peak_memory_stats()
    found |= _times(step, finish, 0.0 if tiny else MEASURED_SECONDS)
    if on_cuda:
        found["peak MB"] = torch.cuda.max_memory_allocated() / 2**20
        found["reserved MB"] = torch.cuda.max_memory_reserved() / 2**20
    if library == "flambeau":
        from flambeau.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            step()
        found["operations"] = counter.get_total_flops()
    return found


def _times(step: Callable[[], Any], finish: Callable[[], None], seconds: float) -> dict[str, float]:
    """The milliseconds of a step, and those until Python has handed it over: where these are equal, Python is slow."""
    whole: list[float] = []
    issued: list[float] = []
    end = time.perf_counter() + seconds
    while len(whole) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        issued.append(time.perf_counter() - start)
        finish()
        whole.append(time.perf_counter() - start)
    return {"milliseconds": statistics.median(whole) * 1e3, "of these in Python": statistics.median(issued) * 1e3}


def _waits(torch: Any, step: Callable[[], Any]) -> int:
    """How often a step waits for the device."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        step()
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in told)


# -- the parts -------------------------------------------------------------------------------------------------------


class Run:
    """One run of this program.

    Attributes:
        found: what is written: the machine, then what each part found.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device: str = arguments.device
        self.tiny: bool = arguments.tiny
        self.match: str = arguments.match.lower()
        self.vs: str | None = None if arguments.vs == "none" else arguments.vs
        self.end = time.monotonic() + 60 * arguments.minutes
        self.file = Path(arguments.json or HERE / "results" / f"gpu-{time.strftime('%Y-%m-%d')}.json")
        self.found: dict[str, Any] = {"date": time.strftime("%Y-%m-%d %H:%M"), "machine": self._machine()}

    def _machine(self) -> dict[str, Any]:
        import flambeau

        where = flambeau.dispatch.load(flambeau.device(self.device))
        found: dict[str, Any] = {
            "device": where.backend.device_name(where.index or 0),  # type: ignore[union-attr]
            "python": platform.python_version(),
            "flambeau": flambeau.__version__,
        }
        for name in ("numpy", "cupy", "torch"):
            if importlib.util.find_spec(name) is not None:
                found[name] = getattr(importlib.import_module(name), "__version__", "?")
        if self.device.startswith("cuda"):
            found["cuDNN"] = flambeau.backends.cudnn.version() or _missing_cudnn()
        if shutil.which("nvidia-smi"):
            query = "--query-gpu=driver_version,clocks.max.sm,power.limit"
            command = ["nvidia-smi", query, "--format=csv,noheader"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            found["driver, clock, power"] = done.stdout.strip()
        return found

    def part(self, name: str) -> None:
        """Run a part, note what it found and how long it took."""
        start = time.monotonic()
        print(f"-- {name}", flush=True)
        self.found[name] = getattr(self, f"run_{name}")()
        self.found[name]["seconds"] = round(time.monotonic() - start, 1)
        self.write()

    def write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        whole = self.file.with_suffix(".part")
        whole.write_text(json.dumps(self.found, indent=1) + "\n")
        whole.replace(self.file)

    def call(self, *command: str, share: float = 1.0) -> dict[str, Any]:
        """Run a command for at most a share of the time that is left; its exit status and its last lines."""
        limit = max((self.end - time.monotonic()) * share, 1.0)
        with tempfile.TemporaryFile("w+") as output:
            try:
                status: Any = subprocess.run(
                    command, check=False, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=limit
                ).returncode
            except subprocess.TimeoutExpired:
                status = f"stopped after {limit:.0f} s"
            output.seek(0)
            last = output.read().splitlines()[-15:]
        print("\n".join(last[-3:]), flush=True)
        return {"status": status, "last lines": last[-1:] if status == 0 else last}

    def run_tests(self) -> dict[str, Any]:
        names = ["tests/backends/test_training.py"]
        if self.device.startswith("cuda"):
            names.append("tests/backends/on_cuda")
        only = ["-k", "lenet"] if self.tiny else []
        return self.call(sys.executable, "-m", "pytest", *QUIET, *names, *only, share=0.3)

    def run_demo(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            epochs = ["--epochs", "1"] if self.tiny else []
            command = [sys.executable, "-m", "flambeau", "demo", "--device", self.device, "--out", folder, *epochs]
            return self.call(*command, share=0.2)

    def run_steps(self) -> dict[str, Any]:
        from gpu_workloads import WORKLOADS

        rows: dict[str, Any] = {}
        for name in WORKLOADS:
            if self.match not in name.lower():
                continue
            libraries = ["flambeau", self.vs]
            if isinstance(self.found["machine"].get("cuDNN"), int) and name.startswith(HAS_CUDNN):
                libraries.append(WITHOUT)
            rows[name] = {library: self._measured(library, name) for library in libraries if library}
            _compare(rows, name)
            print(_shown(name, rows[name]), flush=True)
            self.found["steps"] = {"rows": rows}
            self.write()
        return {"rows": rows}

    def _measured(self, library: str, name: str) -> dict[str, Any]:
        command = [sys.executable, __file__, "--serve", library, "--workload", name, "--device", self.device]
        limit = max(min(90.0, self.end - time.monotonic()), 1.0)
        try:
            done = subprocess.run(
                command + ["--tiny"] * self.tiny, check=False, cwd=HERE, capture_output=True, text=True, timeout=limit
            )
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {limit:.0f} s"}
        if done.returncode:
            return {"error": done.stderr.strip().splitlines()[-1:]}
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def run_kit(self) -> dict[str, Any]:
        return self.call(*self._kit(), *(["--op", "add,matmul,softmax", "-k", "test_values"] if self.tiny else []),
                         *_spread(self.tiny), share=0.7)  # fmt: skip

    def run_sanitizer(self) -> dict[str, Any]:
        tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
        if tool is None or not self.device.startswith("cuda"):
            return {"status": LEFT_OUT + ("there is no compute-sanitizer" if tool is None else "it is for CUDA only")}
        own = ["softmax", "layer_norm", "cross_entropy", "embedding", "gelu", "dropout", "conv2d", "max_pool2d",
               "adam_step", "attention", "index_put", "scatter_add"]  # fmt: skip
        # A pool would hide what is outside of an array.
        command = ["env", "FLAMBEAU_NO_CUDA_MEMORY_CACHING=1", tool, "--error-exitcode", "9"]
        found = self.call(*command, *self._kit("--op", ",".join(own)), "-k", "test_values", "-x")
        if any("not supported" in line for line in found["last lines"]):
            found["status"] = LEFT_OUT + "it does not work on this machine"
        return found

    def _kit(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", *QUIET, "--pyargs", "flambeau.testing"]
        return [*command, "--device", self.device, "--quick", *options]


def _missing_cudnn() -> str:
    """What is missing for cuDNN, and where libcudnn is nevertheless, as beside PyTorch."""
    from flambeau_cupy.cudnn import library

    spec = importlib.util.find_spec("nvidia.cudnn") if importlib.util.find_spec("nvidia") else None
    where = list(spec.submodule_search_locations or ()) if spec else []
    return library.missing() + (f" (libcudnn itself is in {where[0]})" if where else "")


def _spread(tiny: bool) -> list[str]:
    """Several processes: kernels are compiled on the host."""
    if tiny or importlib.util.find_spec("xdist") is None:
        return []
    return ["-n", str(min(os.cpu_count() or 1, 8))]


def _compare(rows: dict[str, Any], name: str) -> None:
    """Set the libraries side by side, and beside what a matrix product of the same precision reaches."""
    row = rows[name]
    times = {library: found["milliseconds"] for library, found in row.items() if "milliseconds" in found}
    if {"flambeau", "torch"} <= times.keys():
        row["times as fast"] = times["torch"] / times["flambeau"]
    operations = row["flambeau"].get("operations")
    if not operations:
        return
    peaks = rows.get(f"matrix product of 8192, {name.rpartition(', ')[2]}", {}).get("operations a second", {})
    row["operations a second"] = {library: operations / (time / 1e3) for library, time in times.items()}
    best = max(peaks.values(), default=0.0)
    if best:
        row["share of a product's speed"] = {
            library: speed / best for library, speed in row["operations a second"].items()
        }


def _shown(name: str, row: dict[str, Any]) -> str:
    cells = [f"{name:<52}"]
    for library in ("flambeau", WITHOUT, "torch"):
        found = row.get(library)
        if found is not None:
            cells.append(f"{library} {found['milliseconds']:.2f} ms" if "error" not in found else f"{library}: {found}")
            if "peak MB" in found:
                cells.append(f"{found['peak MB']:.0f} MB")
    if "times as fast" in row:
        cells.append(f"{row['times as fast']:.2f} times as fast")
    for library, share in row.get("share of a product's speed", {}).items():
        cells.append(f"{library} {share:.0%} of a product's speed")
    return "  ".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes: a test of this program")
    parser.add_argument("--minutes", type=float, default=9.0, help="the time for all of it")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--match", default="", help="workloads whose name contains this")
    parser.add_argument("--vs", choices=["torch", "none"], help="the other library; PyTorch where it is installed")
    parser.add_argument("--json", help="where to write the figures")
    parser.add_argument("--serve", choices=["flambeau", WITHOUT, "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--workload", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        print(json.dumps(serve(arguments.serve, arguments.workload, arguments.device, arguments.tiny)))
        return 0
    parts = arguments.only.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--only: expected some of {','.join(PARTS)}, got {arguments.only}")
    if arguments.vs is None:
        arguments.vs = "torch" if importlib.util.find_spec("torch") is not None else "none"
    run = Run(arguments)
    print(json.dumps(run.found["machine"]), flush=True)
    for name in PARTS:
        if name in parts:
            run.part(name)
    print(f"written to {run.file}")
    failed = [name for name in parts if not _as_it_should_be(run.found[name].get("status", 0))]
    wrong = [name for name, row in run.found.get("steps", {}).get("rows", {}).items() if "error" in row["flambeau"]]
    for name in (*failed, *wrong):
        print(f"not as it should be: {name}")
    return 1 if failed or wrong else 0


def _as_it_should_be(status: Any) -> bool:
    return status == 0 or str(status).startswith(LEFT_OUT)


if __name__ == "__main__":
    raise SystemExit(main())
