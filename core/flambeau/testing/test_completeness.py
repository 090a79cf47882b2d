"""Whether the device has what is needed, and the kit what there is to test."""

from __future__ import annotations

from flambeau.dispatch import kernel_origins
from flambeau.ops.declare import OPS
from flambeau.testing.database import EXEMPT, load_samples


def test_every_primitive_has_a_kernel(device: str) -> None:
    missing = [name for name, origin in kernel_origins(device.partition(":")[0]).items() if origin == "missing"]
    assert not missing, f"the backend for {device!r} lacks kernels for these primitives: {', '.join(missing)}"


def test_every_op_has_samples() -> None:
    own = {op.name for op in OPS.values() if op.body.__module__.startswith("flambeau.")}
    without = sorted(own - set(load_samples()) - set(EXEMPT))
    assert not without, f"these ops have no samples in flambeau/testing/samples: {', '.join(without)}"


def test_every_sample_is_of_an_op() -> None:
    unknown = sorted((set(load_samples()) | set(EXEMPT)) - set(OPS))
    assert not unknown, f"flambeau/testing/samples has samples of what is no op: {', '.join(unknown)}"
    both = sorted(set(load_samples()) & set(EXEMPT))
    assert not both, f"these ops have samples and are exempt: {', '.join(both)}"


def test_cases_name_parameters_that_there_are() -> None:
    for name, case in load_samples().items():
        if name in OPS:
            unknown = set(case.constant + case.mutates) - set(case.op.names)
            assert not unknown, f"the samples of {name!r} speak of {sorted(unknown)}, which are no parameters of the op"
