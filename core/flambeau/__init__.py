"""Flambeau: tensors, automatic differentiation and modules; everything that computes is a plugin.

The names, signatures and semantics are PyTorch's: ``import flambeau as torch``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau import devices, dtypes
from flambeau.devices import OutOfMemoryError, device, get_default_device, set_default_device
from flambeau.dtypes import (
    DTYPES,
    can_cast,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    set_default_dtype,
)

__version__ = "0.1.0"

for _name, _dtype in DTYPES.items():
    globals()[_name] = _dtype
float, double, half = dtypes.float32, dtypes.float64, dtypes.float16
int, long, short = dtypes.int32, dtypes.int64, dtypes.int16
cfloat, cdouble = dtypes.complex64, dtypes.complex128

from flambeau.forms import Size
from flambeau.tensor import Tensor
from flambeau.ops import install as _install

globals().update(_install())

from flambeau import copies, creation, functions, layouts, memory, overloads, random, settings, storage

for _module in (creation, random, functions, overloads, memory, layouts, storage, copies, settings):
    for _name in _module.__all__:
        globals()[_name] = getattr(_module, _name)
functions.attach()

from flambeau.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.conversion import (
    as_tensor,
    asarray,
    from_dlpack,
    from_file,
    from_numpy,
    frombuffer,
    scalar_tensor,
    tensor,
)

from math import e, inf, nan, pi

newaxis = None

# Loaded when first used: the base import stays light.
_LAZY = {
    "save": "serialization", "load": "serialization",
    "set_printoptions": "printing", "get_printoptions": "printing", "printoptions": "printing",
    "list_models": "catalogue", "get_model": "catalogue", "list_datasets": "catalogue", "get_dataset": "catalogue",
    "vmap": "func",
    "stft": "spectrogram", "istft": "spectrogram", "hann_window": "spectrogram", "hamming_window": "spectrogram",
    "blackman_window": "spectrogram", "bartlett_window": "spectrogram", "kaiser_window": "spectrogram",
    "binomial": "sampling", "poisson": "sampling", "_sample_dirichlet": "sampling", "_standard_gamma": "sampling",
    "polygamma": "special", "lobpcg": "lowrank", "pca_lowrank": "lowrank", "svd_lowrank": "lowrank",
    "Event": "streams", "Stream": "streams",
    "autocast": "amp", "clear_autocast_cache": "amp", "get_autocast_dtype": "amp", "is_autocast_cache_enabled": "amp",
    "is_autocast_enabled": "amp", "set_autocast_cache_enabled": "amp", "set_autocast_dtype": "amp",
    "set_autocast_enabled": "amp",
    "_assert": "functions", "compile": "compiler", "summary": "model_summary",
    "use_deterministic_algorithms": "determinism",
    "are_deterministic_algorithms_enabled": "determinism", "get_deterministic_debug_mode": "determinism",
    "is_deterministic_algorithms_warn_only_enabled": "determinism", "set_deterministic_debug_mode": "determinism",
} | dict.fromkeys(
    ("adaptive_max_pool1d", "affine_grid_generator", "convolution", "ctc_loss", "grid_sampler", "grid_sampler_2d",
     "grid_sampler_3d", "native_batch_norm", "native_group_norm", "native_layer_norm"),
    "nn.functional._native",
) | dict.fromkeys(
    ("gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"),
    "nn.functional._recurrent",
) | dict.fromkeys(
    ("alpha_dropout_", "dropout_", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "native_dropout"),
    "nn.functional._dropout",
)  # fmt: skip
# Functions of `nn.functional` that are no ops and that PyTorch has at the top level too.
_FUNCTIONAL = {
    "alpha_dropout", "batch_norm", "binary_cross_entropy_with_logits", "celu_", "cosine_embedding_loss", "dropout",
    "embedding", "embedding_bag", "embedding_renorm_", "feature_alpha_dropout", "hinge_embedding_loss",
    "instance_norm", "kl_div", "margin_ranking_loss", "max_pool1d_with_indices", "native_channel_shuffle",
    "poisson_nll_loss", "relu_", "rrelu", "rrelu_", "selu_", "threshold_", "triplet_margin_loss",
}  # fmt: skip
_MODULES = {
    "accelerator", "amp", "autograd", "backends", "catalogue", "compat", "compiler", "cpu", "cuda", "determinism",
    "distributions", "fft", "func", "fx", "hub", "jit", "linalg", "multiprocessing", "nn", "optim", "plugins",
    "printing", "profiler", "serialization", "signal", "special", "testing", "utils", "version",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        found = getattr(import_module(f"flambeau.{_LAZY[name]}"), name)
    elif name in _FUNCTIONAL:
        found = getattr(import_module("flambeau.nn.functional"), name)
    elif name in _MODULES:
        found = import_module(f"flambeau.{name}")
    else:
        raise AttributeError(f"module 'flambeau' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_FUNCTIONAL, *_MODULES})
