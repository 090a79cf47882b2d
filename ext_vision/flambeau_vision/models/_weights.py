"""Loading of the ``weights=`` that model functions take."""

from __future__ import annotations

import os
from typing import TypeVar

import flambeau
from flambeau import nn

M = TypeVar("M", bound=nn.Module)


def load_weights(model: M, weights: str | os.PathLike[str] | None, name: str) -> M:
    """Load a state dict from the file ``weights`` into ``model`` (None: leave it as initialised); return ``model``.

    Raises:
        FileNotFoundError: when there is no such file; names of published weights (``"IMAGENET1K_V1"``) are not
            downloaded.
    """
    if weights is None:
        return model
    if not os.path.isfile(weights):
        raise FileNotFoundError(
            f"{name}: weights={os.fspath(weights)!r} is not a file. Nothing is downloaded: pass the path of a "
            f"checkpoint (from flambeau.save or torch.save of a state_dict), or weights=None for a new model"
        )
    model.load_state_dict(flambeau.load(weights, map_location="cpu"))
    return model
