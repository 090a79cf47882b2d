"""Options and parameters of the conformance kit: ``pytest --pyargs flambeau.testing --device NAME``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from flambeau.backends import cudnn
from flambeau.devices import device as device_class
from flambeau.dispatch import decompose, kernel_origins, load
from flambeau.dtypes import DTYPES
from flambeau.ops.declare import OPS
from flambeau.testing.checks import held_dtypes
from flambeau.testing.database import load_samples


def _option(config: Any, name: str) -> str:
    # Without the plugin (`flambeau_pytest`) the defaults hold.
    found: str = config.getoption(name, default="") or ""
    return found or ("cpu" if name == "--device" else "")


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "over(select, dtypes): run over the cases of the sample database")
    config.addinivalue_line("markers", "long: left out with --quick")
    # What floating-point arithmetic does with special values is tested; that array libraries remark on it is not.
    config.addinivalue_line("filterwarnings", "ignore:.* encountered in .*:RuntimeWarning")
    config.addinivalue_line("filterwarnings", "ignore:invalid value encountered:RuntimeWarning")
    config.addinivalue_line("filterwarnings", "ignore:gradcheck. input:UserWarning")  # its precision; tolerances fit
    # Convolutions are in TF32 unless one says otherwise, as in PyTorch; the tolerances are those of float32.
    cudnn.allow_tf32 = False
    device = _option(config, "--device")
    try:
        load(device_class(device))
        for module in filter(None, _option(config, "--samples").split(",")):
            import_module(module)
    except (RuntimeError, ImportError) as error:
        raise pytest.UsageError(str(error)) from error
    if config.getoption("--decompose", default=False):
        decompose(device.partition(":")[0])


@pytest.fixture(scope="session")
def device(request: Any) -> str:
    """The name of the device under test."""
    return _option(request.config, "--device")


def pytest_generate_tests(metafunc: Any) -> None:
    marker = metafunc.definition.get_closest_marker("over")
    if marker is None:
        return
    held = held_dtypes(_option(metafunc.config, "--device"))
    only_dtypes = {name for name in _option(metafunc.config, "--dtype").split(",") if name}
    asked = held & only_dtypes if only_dtypes else held
    only_ops = {name for name in _option(metafunc.config, "--op").split(",") if name}
    if metafunc.config.getoption("--native", default=False):
        origins = kernel_origins(_option(metafunc.config, "--device").partition(":")[0])
        native = {name for name, origin in origins.items() if origin != "decomposition"}
        only_ops = only_ops & native if only_ops else native
    parameters = []
    for name, case in sorted(load_samples().items()):
        if name not in OPS:
            continue  # test_completeness.py says so
        if (only_ops and name not in only_ops) or not marker.kwargs["select"](case):
            continue
        kinds = [k for k in marker.kwargs["dtypes"](case, asked) if k in asked]
        if "float64" not in held:
            kinds = [k for k in kinds if k not in case.in_double]
        if metafunc.config.getoption("--quick", default=False):
            kinds = ["float32"] if "float32" in kinds else kinds[:1]
        parameters += [pytest.param(case, DTYPES[kind], id=f"{name}-{kind}") for kind in kinds]
    metafunc.parametrize(("case", "kind"), parameters)


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """With ``--quick``, without what takes long for what it finds."""
    if config.getoption("--quick", default=False):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
