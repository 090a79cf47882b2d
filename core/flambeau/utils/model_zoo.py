"""Weights from the web under the name that it had first (``torch.utils.model_zoo``); see :mod:`flambeau.hub`."""

from flambeau.hub import load_state_dict_from_url

load_url = load_state_dict_from_url

__all__ = ["load_state_dict_from_url", "load_url"]
