"""PyTorch programs as they are: the names ``torch``, ``torchvision`` ... bound to Flambeau's modules.

    python -m flambeau.compat.torch script.py args...      runs a script
    python -m flambeau.compat.torch -m module args...      runs a module

    import flambeau.compat
    flambeau.compat.install()                              in a program: `import torch` is Flambeau from here on
    with flambeau.compat.installed(): ...                  for a while

``torch.nn`` then is ``flambeau.nn``, the very module, so that classes are the same by whichever name they came.
Worker processes, forked or spawned, are bound like the one that starts them.
"""

from flambeau.compat.binding import install, installed, is_installed, uninstall

__all__ = ["install", "installed", "is_installed", "uninstall"]
