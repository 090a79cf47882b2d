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


def test_of_two_equals_the_later_wins_and_it_is_said_once() -> None:
    plugins.register(Kernels(10, exp=constant(1), neg=constant(1)), name="one")
    with pytest.warns(RuntimeWarning) as caught:
        plugins.register(Kernels(10, exp=constant(2), neg=constant(2)), name="two")
        dispatch.refreeze()
    assert [str(warning.message) for warning in caught] == [
        "the plugins 'one' and 'two' both give kernels for exp, neg on 'cpu' with priority 10; those of 'two', "
        "registered last, run: give one another priority, or set FLAMBEAU_DISABLE_PLUGINS=two"
    ]
    assert flambeau.exp(flambeau.zeros(1)).item() == 2


def test_kernels_over_others_of_the_same_priority_are_no_conflict() -> None:
    plugins.register(Kernels(10, exp=constant(1)), name="one")
    plugins.register(Kernels(10, exp=dispatch.over(lambda fallback, input: fallback(input) + 1)), name="two")
    assert flambeau.exp(flambeau.zeros(1)).item() == 2


def test_a_plugin_that_gives_a_kernel_twice_is_told() -> None:
    class Twice:
        @hookimpl
        def flambeau_kernels(self, device_type: str) -> Any:
            return [(10, {"exp": constant(1)}), (10, {"exp": constant(2)})] if device_type == "cpu" else []

    flambeau.ones(1)
    message = "the plugin 'twice' gives two kernels for exp on 'cpu' with priority 10; the last one runs: take one out"
    with pytest.warns(RuntimeWarning, match=message):
        plugins.register(Twice(), name="twice")
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
    assert devices.device("boxed:0").backend is None


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


MALFORMED = [
    ("flambeau_kernels", {"exp": constant(1)}, "TypeError: flambeau_kernels has to return (priority, {op name: kernel"),
    ("flambeau_kernels", [("high", {})], "TypeError: flambeau_kernels: a priority is an int, not 'high'"),
    ("flambeau_kernels", [(1, {"exp": 3})], "TypeError: flambeau_kernels: the kernel for 'exp' is 3, which cannot"),
    ("flambeau_kernels", 3, "TypeError: 'int' object is not iterable"),
    ("flambeau_backends", [Boxed], "TypeError: flambeau_backends has to return instances of flambeau.dispatch.Backend"),
    ("flambeau_backends", [Backend()], "TypeError: the backend Backend has no name, a str"),
    ("flambeau_models", ["resnet"], "TypeError: flambeau_models has to return a mapping, not list"),
]


@pytest.mark.parametrize(("hook", "returned", "message"), MALFORMED, ids=[message for *_, message in MALFORMED])
def test_hook_that_returns_something_else_takes_its_plugin_out(hook: str, returned: Any, message: str) -> None:
    class Malformed:
        pass

    setattr(Malformed, hook, hookimpl(specname=hook)(lambda self: returned))
    flambeau.ones(1)
    with pytest.warns(RuntimeWarning) as caught:
        plugins.register(Malformed(), name="malformed")
        plugins.collect("flambeau_models")
    assert str(caught[0].message).startswith(f"Flambeau leaves out the plugin 'malformed': {message}")
    assert len(caught) == 1
    assert state_of("malformed").state == "broken"
    assert flambeau.ones(2).exp().shape == (2,)


def test_hook_that_does_not_exist_is_reported() -> None:
    class Typo:
        @hookimpl
        def flambeau_modles(self) -> Any:
            return {}

    message = "the plugin 'typo' has a hook flambeau_modles that Flambeau does not know.*did you mean flambeau_models?"
    with pytest.warns(RuntimeWarning, match=message):
        plugins.register(Typo(), name="typo")


def test_second_backend_of_a_device_type_is_reported() -> None:
    plugins.register(Backends(Boxed()), name="boxed")
    with pytest.warns(RuntimeWarning, match="the plugins 'boxed' and 'other' both bring the device type 'boxed'"):
        plugins.register(Backends(Boxed()), name="other")
        dispatch.available()
    assert dispatch.backends()["boxed"][1] == "boxed"


def test_backend_whose_driver_fails_is_not_available() -> None:
    class Failing(Boxed):
        name = "failing"

        def is_available(self) -> bool:
            raise OSError("no driver")

    plugins.register(Backends(Failing()), name="failing")
    assert "failing" not in dispatch.available()


# -- the version of the contract ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, r"it was written for version 2 of the hook contract \(its FLAMBEAU_PLUGIN_API\), and Flambeau "
            r"[\d.]+ serves version 1: upgrade Flambeau, or install a release of the plugin for version 1"),
        (0, r"it was written for version 0 .*: upgrade the plugin, or install"),
        ("1", r"its FLAMBEAU_PLUGIN_API is '1' and has to be an int, here 1"),
    ],
)  # fmt: skip
def test_plugin_for_another_version_is_not_registered(version: Any, message: str) -> None:
    plugin = Kernels(10)
    plugin.FLAMBEAU_PLUGIN_API = version  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=f"register: the plugin 'foreign' is not taken in: {message}"):
        plugins.register(plugin, name="foreign")
    assert "foreign" not in {info.name for info in plugins.infos()}


def test_entry_point_for_another_version_is_left_out(tmp_path: Path) -> None:
    good = textwrap.dedent(GOOD)
    install(tmp_path, "pocket_models", "FLAMBEAU_PLUGIN_API = 1" + good)
    install(tmp_path, "ahead", "FLAMBEAU_PLUGIN_API = 99" + good)
    lines = report(tmp_path)
    assert "pocket_models|pocket_models|1.5|active|" in lines
    (line,) = [line for line in lines if line.startswith("ahead|")]
    assert line.startswith("ahead|ahead|1.5|broken|ImportError: it was written for version 99 of the hook contract")
    (warning,) = [line for line in lines if line.startswith("warning|")]
    assert "Flambeau leaves out the plugin 'ahead' (ahead 1.5): ImportError: it was written for version 99" in warning


def test_deprecated_hook_works_and_warns_its_author(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        @hookimpl
        def flambeau_models(self) -> Any:
            return {"old": None}

    options = plugins.manager().hook.flambeau_models.spec
    monkeypatch.setattr(options, "warn_on_impl", DeprecationWarning("flambeau_models goes in 2.0; use the other hook"))
    with pytest.warns(DeprecationWarning, match="flambeau_models goes in 2.0; use the other hook") as caught:
        plugins.register(Old(), name="old")
    assert caught[0].filename == __file__  # the plugin's own file: pluggy says where the hook is
    assert "old" in plugins.collect("flambeau_models")


# -- FLAMBEAU_CHECK_KERNELS --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kernel", "call", "message"),
    [
        ("exp", lambda input: input.astype(float), lambda x: x.exp(),
         "exp: the kernel of the plugin 'wrong' for 'cpu' gave float64[2, 3] for (float32[2, 3]), expected "
         "float32[2, 3]"),
        ("sum", lambda input, dim, keepdim=False, dtype=None: input.sum(tuple(dim)), lambda x: x.sum(1, keepdim=True),
         "sum: the kernel of the plugin 'wrong' for 'cpu' gave float32[2] for (float32[2, 3], [1], True, None), "
         "expected float32[2, 1]"),
        ("softmax", lambda *arguments: "nothing", lambda x: x.softmax(1),
         "softmax: the kernel of the plugin 'wrong' for 'cpu' gave a str for (float32[2, 3], 1"),
    ],
)  # fmt: skip
def test_kernels_are_checked_on_request(
    name: str, kernel: Any, call: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = flambeau.ones(2, 3)
    monkeypatch.setenv("FLAMBEAU_CHECK_KERNELS", "1")
    plugins.register(Kernels(1000, **{name: kernel}), name="wrong")
    with pytest.raises(RuntimeError) as raised:
        call(x)
    assert str(raised.value).startswith(message)
    plugins.unregister("wrong")
    assert call(x) is not None  # our own kernels pass
    monkeypatch.setenv("FLAMBEAU_CHECK_KERNELS", "0")
    dispatch.refreeze()
    plugins.register(Kernels(1000, **{name: kernel}), name="wrong")
    if name == "exp":
        assert call(x).numpy().dtype == numpy.float64  # nobody looks


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
    assert (
        f"warning|Flambeau leaves out the plugin 'sick' (sick 1.5): {error}. Mend, upgrade or uninstall it, or silence "
        "this with FLAMBEAU_DISABLE_PLUGINS=sick"
    ) in lines
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
