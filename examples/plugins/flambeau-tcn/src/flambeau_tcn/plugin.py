"""The hooks. Flambeau calls them when a model is asked for or listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flambeau.hookspec import hookimpl

FLAMBEAU_PLUGIN_API = 1


@hookimpl
def flambeau_models() -> Mapping[str, Callable[..., Any]]:
    """The models by name, as functions that build them."""
    from flambeau_tcn.weights import tcn_classifier, tcn_forecaster

    return {"tcn_forecaster": tcn_forecaster, "tcn_classifier": tcn_classifier}
