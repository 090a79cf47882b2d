"""Finding, registering and listing plugins.

Pluggy keeps the plugins and calls their hooks; nothing here is on the path of an op (see `flambeau.dispatch`).
"""

from __future__ import annotations

import os
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pluggy

from flambeau import hookspec

__all__ = ["PluginInfo", "infos", "register", "unregister"]

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
            _manager = pluggy.PluginManager(hookspec.PROJECT)  # set first: `leave_out` asks for it
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
        _infos[entry.name] = PluginInfo(entry.name, **info)
        try:
            plugin = entry.load()
            _check_version(plugin)
            plugin_manager.register(plugin, name=entry.name)
        except (Exception, SystemExit) as error:
            leave_out(entry.name, error)
        else:
            _warn_of_unknown_hooks(plugin_manager, plugin, entry.name)


def _check_version(plugin: Any) -> None:
    """Raise ImportError for a plugin written for a version of the hook contract that is not served here."""
    own = getattr(plugin, "FLAMBEAU_PLUGIN_API", 1)
    if own in hookspec.SERVED and type(own) is int:
        return
    import flambeau

    served = " and ".join(map(str, hookspec.SERVED))
    if type(own) is not int:
        raise ImportError(f"its FLAMBEAU_PLUGIN_API is {own!r} and has to be an int, here {served}")
    cure = "upgrade Flambeau" if own > max(hookspec.SERVED) else "upgrade the plugin"
    raise ImportError(
        f"it was written for version {own} of the hook contract (its FLAMBEAU_PLUGIN_API), and Flambeau "
        f"{flambeau.__version__} serves version {served}: {cure}, or install a release of the plugin for version "
        f"{served}"
    )


def _warn_of_unknown_hooks(plugin_manager: pluggy.PluginManager, plugin: Any, name: str) -> None:
    for caller in plugin_manager.get_hookcallers(plugin) or ():
        optional = all(own.optionalhook for own in caller.get_hookimpls() if own.plugin is plugin)
        if not caller.has_spec() and not optional:
            import difflib

            hooks = [hook for hook in vars(hookspec) if hook.startswith("flambeau_")]
            close = difflib.get_close_matches(caller.name, hooks, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(hooks)}"
            warnings.warn(
                f"the plugin {name!r} has a hook {caller.name} that Flambeau does not know, and never calls; {hint}",
                RuntimeWarning,
                stacklevel=3,
            )


def leave_out(name: str, error: BaseException) -> None:
    """Take out a plugin that does not work, keep the reason for ``flambeau info``, and warn."""
    if manager().get_plugin(name) is not None:
        manager().unregister(name=name)
    info = _infos.get(name, PluginInfo(name))
    message = " ".join(traceback.format_exception_only(error)[-1].split())
    _infos[name] = PluginInfo(name, info.distribution, info.version, "broken", message)
    package = f" ({info.distribution} {info.version})" if info.distribution else ""
    warnings.warn(
        f"Flambeau leaves out the plugin {name!r}{package}: {message}. Mend, upgrade or uninstall it, or silence this "
        f"with FLAMBEAU_DISABLE_PLUGINS={name}",
        RuntimeWarning,
        stacklevel=3,
    )


def register(plugin: Any, name: str | None = None) -> str:
    """Register a plugin without an entry point; tables already frozen are frozen anew.

    Args:
        plugin: a module or object with hooks marked by :data:`flambeau.hookspec.hookimpl`.
        name: how ``flambeau info`` shows it; by default the module's or class's name.

    Returns:
        The name.

    Raises:
        ValueError: when the name or the object is already registered, a hook's arguments do not fit its
            specification, or the plugin was written for a version of the hook contract that is not served.
    """
    if name is None:
        name = getattr(plugin, "__name__", None) or type(plugin).__name__
    try:
        _check_version(plugin)
    except ImportError as error:
        raise ValueError(f"register: the plugin {name!r} is not taken in: {error}") from None
    with _lock:
        try:
            manager().register(plugin, name=name)
        except pluggy.PluginValidationError as error:
            manager().unregister(name=name)
            raise ValueError(f"register: the plugin {name!r} does not fit the hook specifications: {error}") from None
        _warn_of_unknown_hooks(manager(), plugin, name)
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
            leave_out(name, error)
    return results


def call_all(hook: str, check: Callable[[Any], None], **arguments: Any) -> list[tuple[str, Any]]:
    """The items of the lists that plugins return from a hook, as ``(plugin name, item)`` pairs.

    A plugin that returns something else, or an item that ``check`` raises for, is left out as one that raises is.
    """
    results: list[tuple[str, Any]] = []
    for name, offered in call(hook, **arguments):
        try:
            items = list(offered or ())
            for item in items:
                check(item)
        except Exception as error:
            leave_out(name, error)
        else:
            results += [(name, item) for item in items]
    return results


def collect(hook: str) -> dict[str, Any]:
    """Merge the mappings that plugins return from a hook (later plugins win)."""
    merged: dict[str, Any] = {}
    for name, mapping in call(hook):
        if isinstance(mapping, Mapping):
            merged.update(mapping)
        elif mapping is not None:
            leave_out(name, TypeError(f"{hook} has to return a mapping, not {type(mapping).__name__}"))
    return merged
