"""Finding, registering and listing plugins.

Pluggy keeps the plugins and calls their hooks; nothing here is on the path of an op (see `flambeau.dispatch`).
"""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pluggy

from flambeau import hookspec

GROUP = "flambeau"


@dataclass(frozen=True)
class PluginInfo:
    """One plugin, for ``flambeau info``.

    Attributes:
        name: the entry point's name, or the one given to :func:`register`.
        distribution: the package that brought it, ``""`` when registered by hand.
        version: that package's version.
        state: ``"active"``, ``"disabled"`` or ``"broken"``.
        error: what went wrong, for a broken one.
    """

    name: str
    distribution: str = ""
    version: str = ""
    state: str = "active"
    error: str = ""


_lock = threading.RLock()
_manager: pluggy.PluginManager | None = None
_infos: dict[str, PluginInfo] = {}


def disabled() -> frozenset[str]:
    """The names in ``FLAMBEAU_DISABLE_PLUGINS`` (separated by commas; ``all`` stands for every entry point)."""
    names = os.environ.get("FLAMBEAU_DISABLE_PLUGINS", "")
    return frozenset(name.strip() for name in names.split(",") if name.strip())


def manager() -> pluggy.PluginManager:
    """The plugin manager, with every plugin that could be loaded."""
    global _manager
    with _lock:
        if _manager is None:
            _manager = pluggy.PluginManager(hookspec.PROJECT)
            _manager.add_hookspecs(hookspec)
            _load_entry_points(_manager)
        return _manager


def _load_entry_points(plugin_manager: pluggy.PluginManager) -> None:
    import importlib.metadata

    off = disabled()
    for entry in importlib.metadata.entry_points(group=GROUP):
        distribution = entry.dist
        info = {
            "distribution": distribution.name if distribution else "",
            "version": distribution.version if distribution else "",
        }
        if entry.name in off or "all" in off:
            _infos[entry.name] = PluginInfo(entry.name, state="disabled", **info)
            continue
        if entry.name in _infos:  # the same package seen twice on sys.path
            continue
        try:
            plugin_manager.register(entry.load(), name=entry.name)
            _infos[entry.name] = PluginInfo(entry.name, **info)
        except (Exception, SystemExit) as error:
            _report_broken(entry.name, error, **info)


def _report_broken(name: str, error: BaseException, distribution: str = "", version: str = "") -> None:
    message = " ".join(traceback.format_exception_only(error)[-1].split())
    _infos[name] = PluginInfo(name, distribution, version, "broken", message)
    package = f" ({distribution} {version})" if distribution else ""
    warnings.warn(f"Flambeau leaves out the plugin {name!r}{package}: {message}", RuntimeWarning, stacklevel=2)


def register(plugin: Any, name: str | None = None) -> str:
    """Register a plugin without an entry point; tables already frozen are frozen anew.

    Args:
        plugin: a module or object with hooks marked by :data:`flambeau.hookspec.hookimpl`.
        name: how ``flambeau info`` shows it; by default the module's or class's name.

    Returns:
        The name.

    Raises:
        ValueError: when the name or the object is already registered, or a hook's arguments do not fit its
            specification.
    """
    if name is None:
        name = getattr(plugin, "__name__", None) or type(plugin).__name__
    with _lock:
        try:
            manager().register(plugin, name=name)
        except pluggy.PluginValidationError as error:
            manager().unregister(name=name)
            raise ValueError(f"register: the plugin {name!r} does not fit the hook specifications: {error}") from None
        _infos[name] = PluginInfo(name)
        _refreeze()
    return name


def unregister(name: str) -> None:
    """Take a plugin out again.

    Raises:
        ValueError: when no plugin of that name is registered.
    """
    with _lock:
        if manager().get_plugin(name) is None:
            raise ValueError(f"unregister: no plugin is named {name!r}; there are: {', '.join(sorted(_infos))}")
        manager().unregister(name=name)
        _infos.pop(name, None)
        _refreeze()


def _refreeze() -> None:
    from flambeau import dispatch

    dispatch.refreeze()


def infos() -> list[PluginInfo]:
    """Every plugin seen, the broken and the disabled ones included."""
    manager()
    return sorted(_infos.values(), key=lambda info: info.name)


def call(hook: str, **arguments: Any) -> list[tuple[str, Any]]:
    """Call a hook on each plugin by itself, the first registered first.

    A plugin whose hook raises is reported and taken out; the others go on.

    Returns:
        ``(plugin name, result)`` pairs, without the plugins that do not implement the hook.
    """
    plugin_manager = manager()
    results = []
    for implementation in list(getattr(plugin_manager.hook, hook).get_hookimpls()):
        name = implementation.plugin_name
        try:
            chosen = {key: arguments[key] for key in implementation.argnames}
            results.append((name, implementation.function(**chosen)))
        except (Exception, SystemExit) as error:
            info = _infos.get(name, PluginInfo(name))
            plugin_manager.unregister(name=name)
            _report_broken(name, error, info.distribution, info.version)
    return results


def collect(hook: str) -> dict[str, Any]:
    """Merge the mappings that plugins return from a hook (later plugins win)."""
    merged: dict[str, Any] = {}
    for _, mapping in call(hook):
        if isinstance(mapping, Mapping):
            merged.update(mapping)
    return merged
