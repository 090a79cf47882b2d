"""A plugin for Flambeau: the device type ``mlx``, over Apple's MLX. The hooks are in ``plugin.py``."""
