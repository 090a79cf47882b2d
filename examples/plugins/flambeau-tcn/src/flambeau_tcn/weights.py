"""The models as the catalogue builds them: with the weights of a checkpoint, if one is named."""

from __future__ import annotations

import os
from typing import Any

import flambeau

from flambeau_tcn.models import TCNClassifier, TCNForecaster


def tcn_forecaster(weights: str | os.PathLike[str] | None = None, **settings: Any) -> TCNForecaster:
    """A :class:`~flambeau_tcn.models.TCNForecaster` with these settings.

    Args:
        weights: the path of a state dict, in any format that ``flambeau.load`` reads.

    Raises:
        RuntimeError: when the weights are those of other settings.
    """
    return _loaded(TCNForecaster(**settings), weights)


def tcn_classifier(weights: str | os.PathLike[str] | None = None, **settings: Any) -> TCNClassifier:
    """A :class:`~flambeau_tcn.models.TCNClassifier`, as :func:`tcn_forecaster`."""
    return _loaded(TCNClassifier(**settings), weights)


def _loaded(model: Any, weights: str | os.PathLike[str] | None) -> Any:
    if weights is not None:
        model.load_state_dict(flambeau.load(weights))
    return model
