"""A plugin for Flambeau: new ops. The hooks are in ``plugin.py``."""
