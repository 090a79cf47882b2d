"""A plugin for Flambeau: temporal convolutional networks for the catalogue. The hooks are in ``plugin.py``."""
