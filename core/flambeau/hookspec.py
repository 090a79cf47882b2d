"""The public contract between Flambeau and its plugins.

A plugin is a module or object that defines some of the hooks below, each marked with :data:`hookimpl`. It is found
through an entry point in the group ``flambeau``, or handed to :func:`flambeau.plugins.register`. All hooks are
optional; each is called when what it contributes is first asked for, never at ``import flambeau``.

The contract has a version, :data:`FLAMBEAU_PLUGIN_API`, that a plugin repeats to say what it was written for:

    FLAMBEAU_PLUGIN_API = 1

A plugin that says nothing is taken to be of version 1. One of a version that is not in :data:`SERVED` is left out with
a message. A hook that is to go is first marked with ``@hookspec(warn_on_impl=DeprecationWarning("..."))``: plugins that
have it work on, and their authors are warned.
"""

from __future__ import annotations

from argparse import _SubParsersAction
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from flambeau.dispatch import Backend

#: The version of this contract: raised when a plugin written for the one before would no longer work.
FLAMBEAU_PLUGIN_API = 1
#: The versions whose plugins work with this Flambeau.
SERVED = (1,)

PROJECT = "flambeau"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def flambeau_backends() -> Iterable[Backend]:  # type: ignore[empty-body]
    """Return new device types: one :class:`flambeau.dispatch.Backend` instance each.

    Called once, when a device is first used. Import nothing heavy to build the instance; do that in its methods.

        @hookimpl
        def flambeau_backends():
            return [MyBackend()]
    """


@hookspec
def flambeau_kernels(device_type: str) -> Iterable[tuple[int, Mapping[str, Callable[..., Any]]]]:  # type: ignore[empty-body]
    """Return kernels for an existing device type, as ``(priority, {op name: kernel})`` pairs.

    Called when the tables of ``device_type`` are frozen. The backend's own kernels have priority 0; the highest
    priority wins, and of two equals the plugin registered last, with a warning. A kernel made with
    :func:`flambeau.dispatch.over` gets the one that it takes the place of.

        @hookimpl
        def flambeau_kernels(device_type):
            return [(10, {"softmax": fast_softmax})] if device_type == "cpu" else []
    """


@hookspec
def flambeau_ops() -> None:
    """Declare new ops with :func:`flambeau.ops.declare.composite` (import the module that declares them).

    Called once, before the first table is frozen. A declared op appears as ``flambeau.ops.NAME`` and in every
    namespace.

        @hookimpl
        def flambeau_ops():
            import my_plugin.ops
    """


@hookspec
def flambeau_models() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return models for the catalogue: ``{name: function that builds the module}``.

    Called by :mod:`flambeau.catalogue`, when a model is asked for or listed.

        @hookimpl
        def flambeau_models():
            return {"resnet18": resnet18}
    """


@hookspec
def flambeau_datasets() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return datasets for the catalogue: ``{name: class or function that builds the dataset}``.

    Called by :mod:`flambeau.catalogue`, when a dataset is asked for or listed.

        @hookimpl
        def flambeau_datasets():
            return {"digits": Digits}
    """


@hookspec
def flambeau_file_formats() -> Mapping[str, tuple[Callable[..., None], Callable[..., Any]]]:  # type: ignore[empty-body]
    """Return file formats for ``flambeau.save``/``load``: ``{".extension": (save(obj, path), load(path))}``.

    Called by ``save`` and ``load`` when a path has an extension that the core does not know. The path that ``save``
    is given is a temporary one, with the same extension, that takes the place of the user's when it returns: files are
    whole without more ado.

        @hookimpl
        def flambeau_file_formats():
            return {".npz": (save_npz, load_npz)}
    """


@hookspec
def flambeau_communication_backends() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return communication backends: ``{name: class}``.

    Called by ``flambeau.distributed``, once it is there.

        @hookimpl
        def flambeau_communication_backends():
            return {"mpi": MPIBackend}
    """


@hookspec
def flambeau_cli_commands(subparsers: _SubParsersAction[Any]) -> None:
    """Add subcommands to the ``flambeau`` command line.

    Called by ``flambeau`` before it parses its arguments. Set ``run``, a function from the parsed arguments to an
    exit status, as the parser's default.

        @hookimpl
        def flambeau_cli_commands(subparsers):
            parser = subparsers.add_parser("hello", help="say hello")
            parser.set_defaults(run=lambda arguments: print("hello") or 0)
    """
