"""Anomaly mode: every recorded operation keeps its traceback, every gradient is looked at for NaN."""

from __future__ import annotations

from flambeau.autograd.node import anomaly


class set_detect_anomaly:
    """Switch anomaly mode on or off, at once or for a block (``torch.autograd.set_detect_anomaly``).

    When a backward pass fails or a gradient turns out NaN, the error tells which forward call recorded the operation.
    Everything becomes slower.

    Args:
        mode: on or off.
        check_nan: whether a NaN in a gradient is an error.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = anomaly.enabled, anomaly.check_nan
        anomaly.enabled, anomaly.check_nan = mode, check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        anomaly.enabled, anomaly.check_nan = self._before


class detect_anomaly(set_detect_anomaly):
    """Anomaly mode for a block (``torch.autograd.detect_anomaly``)."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)
        self._given = anomaly.enabled, anomaly.check_nan
        anomaly.enabled, anomaly.check_nan = self._before

    def __enter__(self) -> None:
        anomaly.enabled, anomaly.check_nan = self._given


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return anomaly.enabled
