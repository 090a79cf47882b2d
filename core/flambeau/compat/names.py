"""Which module of ours answers to which of PyTorch's names."""

from __future__ import annotations

from importlib.util import find_spec

#: The version of PyTorch whose names, signatures and semantics are followed; of its siblings, those that go with it.
VERSIONS = {"torch": "2.13.0", "torchvision": "0.28.0"}

#: PyTorch's packages and our packages that stand in for them.
STAND_INS = {
    "torch": "flambeau",
    "torchvision": "flambeau_vision",
    "torchaudio": "flambeau_audio",
    "torchtext": "flambeau_text",
}

# Modules that are elsewhere here; all others have the same name after the first dot.
_MOVED = {
    "torch._tensor": "flambeau.tensor",
    "torch.autograd.gradcheck": "flambeau.autograd.finite_differences",
    "torch.autograd.variable": "flambeau.autograd.function",
    "torch.functional": "flambeau.functions",
    "torch.futures": "concurrent.futures",
    "torch.nn.modules.adaptive": "flambeau.nn.modules",
    "torch.nn.modules.channelshuffle": "flambeau.nn.modules",
    "torch.nn.modules.fold": "flambeau.nn.modules",
    "torch.nn.modules.instancenorm": "flambeau.nn.modules",
    "torch.nn.modules.pixelshuffle": "flambeau.nn.modules",
    "torch.optim.adamw": "flambeau.optim.adam",
    "torch.torch_version": "flambeau.compat.version",
    "torch.utils._pytree": "flambeau.utils.pytree",
    "torch.utils.data._utils": "flambeau.utils.data",
    "torch.utils.data._utils.collate": "flambeau.utils.data.collate",
    "torch.utils.data.sampler": "flambeau.utils.data",
}


def module_for(name: str) -> str | None:
    """The module of ours that stands in for a module of PyTorch's, None where there is none.

    Raises:
        ModuleNotFoundError: when the package that would stand in is not installed.
    """
    package = name.partition(".")[0]
    own = STAND_INS[package]
    if find_spec(own) is None:
        raise ModuleNotFoundError(f"{own}, which stands in for {package}, is not installed", name=name)
    target = own_name(name)
    try:
        return target if find_spec(target) is not None else None
    except ModuleNotFoundError:  # its parent is a module, not a package
        return None


def own_name(name: str) -> str:
    """Our name for a module of PyTorch's, whether there is such a module or not."""
    package, dot, rest = name.partition(".")
    return _MOVED.get(name) or STAND_INS[package] + dot + rest


def pytorch_name(module: str) -> str:
    """PyTorch's name of a module of ours: ``torch.nn`` for ``flambeau.nn``."""
    for theirs, own in STAND_INS.items():
        if module == own or module.startswith(f"{own}."):
            return theirs + module[len(own) :]
    return module


def missing(name: str) -> str:
    """What to say of a name that is not there."""
    return f"Flambeau has no {name}; docs/pytorch.md lists the names that it has"
