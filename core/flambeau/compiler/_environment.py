"""The state of the framework that a recording depends on, and the conditions that it is the same."""

from __future__ import annotations

from flambeau import devices, dispatch, dtypes
from flambeau.amp import autocast_mode
from flambeau.autograd.forward_ad import in_dual_level
from flambeau.autograd.grad_mode import state
from flambeau.autograd.node import anomaly
from flambeau.compiler._source import Source
from flambeau.determinism import _checked as deterministic_checks


def unusual() -> bool:
    """Whether something is at work that looks at single operations: then functions run as they are."""
    watched = any(wrap is not deterministic_checks for wrap in dispatch.surroundings())
    return bool(devices.levels.stack or anomaly.enabled or watched or in_dual_level())


class Environment:
    """What it was when this was made."""

    def __init__(self) -> None:
        devices.get_default_device()
        self.enabled = state.enabled
        self.inference = state.inference
        self.dtype = dtypes.get_default_dtype()
        self.devices = devices._defaults.stack
        self.device = devices._process_default
        self.version = dispatch.version
        self.autocast = autocast_mode.modes()
        self.surroundings = list(dispatch.surroundings())

    def changed(self) -> str | None:
        """What is another now than it was, in words."""
        if self.enabled is not state.enabled or self.inference is not state.inference:
            return "the gradient mode"
        if self.dtype is not dtypes.get_default_dtype():
            return "the default dtype"
        if self.devices != devices._defaults.stack or self.device is not devices._process_default:
            return "the default device"
        return "the autocast mode" if self.autocast != autocast_mode.modes() else None

    def write(self, source: Source) -> None:
        """The conditions, on the way to a replay."""
        name = source.named
        where, own, kinds, kernels = name(devices), name(state), name(dtypes), name(dispatch)
        source.unless(f"{where}.levels.stack or {name(anomaly)}.enabled or {name(in_dual_level)}()")
        source.unless(f"{name(dispatch.surroundings())} != {name(self.surroundings)}")
        source.unless(f"{own}.enabled is not {self.enabled}")
        source.unless(f"{own}.inference is not {self.inference}")
        source.unless(f"{kinds}._default_dtype is not {name(self.dtype)}")
        source.unless(f"{where}._defaults.stack != {source.argument(self.devices)}")
        source.unless(f"{where}._process_default is not {name(self.device)}")
        source.unless(f"{kernels}.version != {self.version}")
        source.unless(f"{name(autocast_mode.modes)}() != {name(self.autocast)}" if self.autocast else
                      f"{name(autocast_mode.modes)}()")  # fmt: skip
