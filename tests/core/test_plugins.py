"""Plugins are found, registered, ranked and, when they break, reported and left out."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import devices, dispatch, plugins
from flambeau.dispatch import Backend
from flambeau.dtypes import from_numpy_dtype
from flambeau.hookspec import hookimpl


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """Take out again what a test registers."""
    before = {info.name for info in plugins.infos()}
    yield
    for info in plugins.infos():
        if info.name not in before:
            if plugins.manager().get_plugin(info.name) is not None:
                plugins.unregister(info.name)
            plugins._infos.pop(info.name, None)
    dispatch.refreeze()


class Kernels:
    """A plugin with kernels for the CPU."""

    def __init__(self, priority: int, **kernels: Any) -> None:
        self.offer = priority, kernels

    @hookimpl
    def flambeau_kernels(self, device_type: str) -> Any:
        return [self.offer] if device_type == "cpu" else []


class Boxed(Backend):
    """A device type with two devices over NumPy arrays, and next to no kernels."""

    name = "boxed"
    array_type = numpy.ndarray

    def device_count(self) -> int:
        return 2

    def kernels(self) -> Any:
        return {"neg": lambda input: -input, "clone": lambda input: input.copy()}

    def dtype_of(self, array: Any) -> Any:
        return from_numpy_dtype(array.dtype)

    def as_array(self, value: Any) -> Any:
        return numpy.asarray(value)

    def from_numpy(self, array: Any, device: Any) -> Any:
        return array

    def to_numpy(self, array: Any) -> Any:
        return array


class Backends:
    """A plugin with one backend."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @hookimpl
    def flambeau_backends(self) -> Any:
        return [self.backend]


def state_of(name: str) -> plugins.PluginInfo:
    return next(info for info in plugins.infos() if info.name == name)


# -- registering -------------------------------------------------------------------------------------------------------


def test_register_and_unregister() -> None:
    assert plugins.register(Kernels(1), name="mine") == "mine"
    assert state_of("mine") == plugins.PluginInfo("mine")
    plugins.unregister("mine")
    assert "mine" not in {info.name for info in plugins.infos()}


def test_name_is_by_default_that_of_the_class_or_module() -> None:
    assert plugins.register(Kernels(1)) == "Kernels"


def test_a_name_is_taken_once() -> None:
    plugins.register(Kernels(1), name="mine")
    with pytest.raises(ValueError, match="mine"):
        plugins.register(Kernels(1), name="mine")
    assert state_of("mine").state == "active"


def test_unregister_names_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"unregister: no plugin is named 'absent'; there are: .*numpy"):
        plugins.unregister("absent")


def test_hook_with_wrong_arguments_is_refused_at_once() -> None:
    class Wrong:
        @hookimpl
        def flambeau_kernels(self, device: str) -> Any:
            return []

    message = r"(?s)register: the plugin 'wrong' does not fit the hook specifications: .*'device'"
    with pytest.raises(ValueError, match=message):
        plugins.register(Wrong(), name="wrong")
    assert "wrong" not in {info.name for info in plugins.infos()}
    plugins.register(Kernels(1), name="wrong")  # the name is free


# -- kernels -----------------------------------------------------------------------------------------------------------


def constant(value: float) -> Any:
    return lambda input: numpy.full_like(input, value)


def test_kernel_of_higher_priority_runs() -> None:
    x = flambeau.ones(2)
    plugins.register(Kernels(10, exp=constant(7)), name="ten")
    plugins.register(Kernels(5, exp=constant(3)), name="five")
    assert flambeau.exp(x).tolist() == [7, 7]
    assert dispatch.kernel_origins("cpu")["exp"] == "ten"
    plugins.unregister("ten")
    assert flambeau.exp(x).tolist() == [3, 3]
    plugins.unregister("five")
    assert flambeau.exp(x).tolist() == pytest.approx([numpy.e, numpy.e])
    assert dispatch.kernel_origins("cpu")["exp"] == "numpy"


def test_of_two_equals_the_later_wins() -> None:
    plugins.register(Kernels(10, exp=constant(1)), name="one")
    plugins.register(Kernels(10, exp=constant(2)), name="two")
    assert flambeau.exp(flambeau.zeros(1)).item() == 2


def test_negative_priority_is_a_fallback() -> None:
    plugins.register(Kernels(-1, exp=constant(7)), name="fallback")
    assert dispatch.kernel_origins("cpu")["exp"] == "numpy"


def test_decompositions_and_gradients_use_the_kernel() -> None:
    calls = []

    def mul(input: Any, other: Any) -> Any:
        calls.append("mul")
        return numpy.multiply(input, other)

    x = flambeau.tensor([3.0], requires_grad=True)
    y = x.exp()  # its gradient is g * result
    plugins.register(Kernels(10, mul=mul), name="counting")
    y.backward()
    assert calls == ["mul"]
    numpy.testing.assert_allclose(x.grad.numpy(), numpy.exp([3.0]), rtol=1e-6)


def test_kernel_replaces_a_decomposition() -> None:
    name = next(op for op, origin in sorted(dispatch.kernel_origins("cpu").items()) if origin == "decomposition")
    plugins.register(Kernels(0, **{name: lambda *arguments: None}), name="fused")
    assert dispatch.kernel_origins("cpu")[name] == "fused"


def test_unknown_op_is_reported() -> None:
    with pytest.warns(RuntimeWarning, match="the plugin 'typo' gives kernels for ops that do not exist: expp"):
        plugins.register(Kernels(10, expp=constant(1)), name="typo")


def test_other_device_types_are_left_alone() -> None:
    flambeau.ones(1, device="meta")
    plugins.register(Kernels(10, exp=constant(7)), name="ten")
    assert dispatch.kernel_origins("meta")["exp"] == "core"


# -- backends ----------------------------------------------------------------------------------------------------------


def test_backend_brings_a_device_type() -> None:
    plugins.register(Backends(Boxed()), name="boxed")
    x = flambeau.tensor([1.0, 2.0], device="boxed:1")
    assert str(x.device) == "boxed:1"
    assert (-x).tolist() == [-1, -2]
    assert "boxed" in dispatch.available()


def test_device_goes_with_its_plugin() -> None:
    plugins.register(Backends(Boxed()), name="boxed")
    flambeau.tensor([1.0], device="boxed")
    plugins.unregister("boxed")
    with pytest.raises(RuntimeError, match="no plugin provides the device type 'boxed'"):
        flambeau.tensor([1.0], device="boxed")
    assert devices.device("boxed").backend is None


def test_missing_primitive_says_what_to_run() -> None:
    plugins.register(Backends(Boxed()), name="boxed")
    x = flambeau.tensor([1.0], device="boxed")
    with pytest.raises(NotImplementedError) as raised:
        x.exp()
    assert str(raised.value) == (
        "exp: the backend for 'boxed' has no kernel for this primitive; "
        "`pytest --pyargs flambeau.testing --device boxed` lists what it lacks"
    )


def test_unknown_device_says_what_there_is() -> None:
    with pytest.raises(RuntimeError) as raised:
        flambeau.ones(1, device="abacus")
    message = str(raised.value)
    assert message.startswith("device 'abacus:0': no plugin provides the device type 'abacus'; there are: ")
    assert "cpu" in message


def test_index_out_of_range() -> None:
    plugins.register(Backends(Boxed()), name="boxed")
    with pytest.raises(RuntimeError, match=r"device 'boxed:2': there are only 2 devices of the type 'boxed'"):
        flambeau.tensor([1.0], device="boxed:2")


def test_unavailable_device_says_how_to_get_it() -> None:
    class Absent(Boxed):
        name = "absent"
        install = "Plug it in."

        def is_available(self) -> bool:
            return False

    plugins.register(Backends(Absent()), name="absent")
    message = r"device 'absent:0' is not available here; available are: .*cpu.*\. Plug it in\.$"
    with pytest.raises(RuntimeError, match=message):
        flambeau.tensor([1.0], device="absent")
    assert "absent" not in dispatch.available()


# -- plugins that break ------------------------------------------------------------------------------------------------


def test_hook_that_raises_takes_its_plugin_out() -> None:
    class Breaks:
        @hookimpl
        def flambeau_kernels(self, device_type: str) -> Any:
            raise OSError("the driver is missing")

    with pytest.warns(RuntimeWarning, match="Flambeau leaves out the plugin 'breaks': OSError: the driver is missing"):
        plugins.register(Breaks(), name="breaks")
        flambeau.ones(1)
    assert state_of("breaks").state == "broken"
    assert state_of("breaks").error == "OSError: the driver is missing"
    assert flambeau.ones(2).exp().shape == (2,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dispatch.refreeze()  # it is not asked again


def test_collect_merges_and_later_plugins_win() -> None:
    class Models:
        def __init__(self, **models: Any) -> None:
            self.models = models

        @hookimpl
        def flambeau_models(self) -> Any:
            return self.models

    plugins.register(Models(a=1, b=1), name="first")
    plugins.register(Models(b=2), name="second")
    found = plugins.collect("flambeau_models")
    assert found["a"] == 1
    assert found["b"] == 2


# -- entry points ------------------------------------------------------------------------------------------------------


def install(folder: Path, package: str, source: str) -> None:
    """Put a package with an entry point of its own name into a folder, as pip would."""
    (folder / f"{package}.py").write_text(textwrap.dedent(source))
    metadata = folder / f"{package}-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (metadata / "entry_points.txt").write_text(f"[flambeau]\n{package} = {package}\n")


REPORT = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import flambeau
    flambeau.ones(1)
    from flambeau import catalogue, plugins
    models = catalogue.list_models()
for info in plugins.infos():
    print(info.name, info.distribution, info.version, info.state, " ".join(info.error.split()), sep="|")
for warning in caught:
    print("warning", warning.message, sep="|")
print("models", *models)
"""


def report(folder: Path, **environment: str) -> list[str]:
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


GOOD = """
    from flambeau.hookspec import hookimpl

    @hookimpl
    def flambeau_models():
        return {"tiny": lambda: None}
"""


def test_entry_point_is_found(tmp_path: Path) -> None:
    install(tmp_path, "pocket_models", GOOD)
    lines = report(tmp_path)
    assert "pocket_models|pocket_models|1.5|active|" in lines
    assert "tiny" in lines[-1].split()


def test_entry_point_that_cannot_be_imported_is_left_out(tmp_path: Path) -> None:
    install(tmp_path, "pocket_models", GOOD)
    install(tmp_path, "sick", "import a_library_that_nobody_has")
    lines = report(tmp_path)
    error = "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"
    assert f"sick|sick|1.5|broken|{error}" in lines
    assert f"warning|Flambeau leaves out the plugin 'sick' (sick 1.5): {error}" in lines
    assert "pocket_models|pocket_models|1.5|active|" in lines


def test_entry_point_with_wrong_hooks_is_left_out(tmp_path: Path) -> None:
    install(
        tmp_path,
        "crooked",
        """
        from flambeau.hookspec import hookimpl

        @hookimpl
        def flambeau_models(surprise):
            return {}
        """,
    )
    (line,) = [line for line in report(tmp_path) if line.startswith("crooked|")]
    assert line.startswith("crooked|crooked|1.5|broken|")
    assert "surprise" in line


@pytest.mark.parametrize("value", ["pocket_models", "other, pocket_models"])
def test_plugins_can_be_disabled_by_name(tmp_path: Path, value: str) -> None:
    install(tmp_path, "pocket_models", GOOD)
    lines = report(tmp_path, FLAMBEAU_DISABLE_PLUGINS=value)
    assert "pocket_models|pocket_models|1.5|disabled|" in lines
    assert "tiny" not in lines[-1].split()


def test_all_entry_points_can_be_disabled(tmp_path: Path) -> None:
    install(tmp_path, "pocket_models", "raise RuntimeError('imported all the same')")
    code = "from flambeau import plugins, dispatch; print({i.state for i in plugins.infos()}, dispatch.available())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FLAMBEAU_DISABLE_PLUGINS": "all"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "{'disabled'} ['meta']"


def test_importing_flambeau_imports_no_plugin(tmp_path: Path) -> None:
    install(tmp_path, "pocket_models", "raise RuntimeError('imported')")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    code = "import sys, flambeau; print('pocket_models' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False"


def test_plugin_declares_an_op(tmp_path: Path) -> None:
    """It is a function of `flambeau.ops`, runs on every device and is differentiated through its decomposition."""
    install(
        tmp_path,
        "pocket_ops",
        """
        from flambeau.hookspec import hookimpl

        @hookimpl
        def flambeau_ops():
            import pocket_declarations
        """,
    )
    (tmp_path / "pocket_declarations.py").write_text(
        textwrap.dedent("""
        from __future__ import annotations
        from typing import Any
        from flambeau.ops.declare import composite

        Tensor = Any

        @composite(public=())
        def pocket_cube(xp: Any, input: Tensor) -> Tensor:
            '''Return the third power of each element.'''
            return xp.mul(input, xp.mul(input, input))
        """)
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    code = """
import flambeau
x = flambeau.tensor([2.0, 3.0], requires_grad=True)
y = flambeau.ops.pocket_cube(x)
y.sum().backward()
print(y.tolist(), x.grad.tolist(), flambeau.ops.pocket_cube(flambeau.ones(3, 4, device="meta")).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[8.0, 27.0] [12.0, 27.0] flambeau.Size([3, 4])", done.stderr
