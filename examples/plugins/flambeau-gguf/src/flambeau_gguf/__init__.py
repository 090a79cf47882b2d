"""A plugin for Flambeau: the file format GGUF. The hooks are in ``plugin.py``, ``format.py`` reads and writes."""
