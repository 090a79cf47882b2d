"""Finding and opening oneDNN's shared library."""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

#: Distributions on PyPI that carry the library, the one to install first. The others need Intel's runtime as well.
DISTRIBUTIONS = ("onednn-cpu-gomp", "onednn-cpu-iomp", "onednn")

#: The major version of oneDNN's C API that these kernels are written for.
MAJOR = 3

MAX_DIMS = 12
Dims = c_int64 * MAX_DIMS


class ExecArg(ctypes.Structure):
    """``dnnl_exec_arg_t``: an argument of a primitive, by its number."""

    _fields_ = (("arg", c_int), ("memory", c_void_p))


class Version(ctypes.Structure):
    """``dnnl_version_t``."""

    _fields_ = (
        ("major", c_int),
        ("minor", c_int),
        ("patch", c_int),
        ("hash", c_char_p),
        ("cpu_runtime", c_uint),
        ("gpu_runtime", c_uint),
    )


_Out = POINTER(c_void_p)
_DimsIn = POINTER(c_int64)
_GEOMETRY = (_DimsIn,) * 4  # strides, dilations, padding before and after

#: Argument types of the functions that are called. Each returns a status, 0 when all went well.
_SIGNATURES = {
    "dnnl_engine_create": (_Out, c_int, c_size_t),
    "dnnl_stream_create": (_Out, c_void_p, c_uint),
    "dnnl_stream_wait": (c_void_p,),
    "dnnl_memory_desc_create_with_strides": (_Out, c_int, _DimsIn, c_int, _DimsIn),
    "dnnl_memory_desc_create_with_tag": (_Out, c_int, _DimsIn, c_int, c_int),
    "dnnl_memory_desc_create_submemory": (_Out, c_void_p, _DimsIn, _DimsIn),
    "dnnl_memory_desc_destroy": (c_void_p,),
    "dnnl_memory_create": (_Out, c_void_p, c_void_p, c_void_p),
    "dnnl_memory_set_data_handle": (c_void_p, c_void_p),
    "dnnl_memory_destroy": (c_void_p,),
    "dnnl_primitive_desc_destroy": (c_void_p,),
    "dnnl_primitive_create": (_Out, c_void_p),
    "dnnl_primitive_destroy": (c_void_p,),
    "dnnl_primitive_execute": (c_void_p, c_void_p, c_int, POINTER(ExecArg)),
    "dnnl_reorder_primitive_desc_create": (_Out, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
    "dnnl_convolution_forward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, *_GEOMETRY, c_void_p,
    ),
    "dnnl_convolution_backward_data_primitive_desc_create": (
        _Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, *_GEOMETRY, c_void_p, c_void_p,
    ),
    "dnnl_convolution_backward_weights_primitive_desc_create": (
        _Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p, *_GEOMETRY, c_void_p, c_void_p,
    ),
    "dnnl_post_ops_create": (_Out,),
    "dnnl_post_ops_append_eltwise": (c_void_p, c_int, c_float, c_float),
    "dnnl_post_ops_append_binary": (c_void_p, c_int, c_void_p),
    "dnnl_post_ops_destroy": (c_void_p,),
    "dnnl_primitive_attr_create": (_Out,),
    "dnnl_primitive_attr_set_post_ops": (c_void_p, c_void_p),
    "dnnl_primitive_attr_destroy": (c_void_p,),
    "dnnl_binary_primitive_desc_create": (_Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p),
    "dnnl_reduction_primitive_desc_create": (_Out, c_void_p, c_int, c_void_p, c_void_p, c_float, c_float, c_void_p),
    "dnnl_matmul_primitive_desc_create": (_Out, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
    "dnnl_pooling_forward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_int, c_void_p, c_void_p, _DimsIn, *_GEOMETRY, c_void_p,
    ),
    "dnnl_eltwise_forward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_int, c_void_p, c_void_p, c_float, c_float, c_void_p,
    ),
    "dnnl_eltwise_backward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_float, c_float, c_void_p, c_void_p,
    ),
    "dnnl_softmax_forward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_int, c_void_p, c_void_p, c_int, c_void_p,
    ),
    "dnnl_softmax_backward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p, c_void_p,
    ),
    "dnnl_layer_normalization_forward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_float, c_uint, c_void_p,
    ),
    "dnnl_layer_normalization_backward_primitive_desc_create": (
        _Out, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_float, c_uint, c_void_p, c_void_p,
    ),
}  # fmt: skip


def _candidates() -> list[Path]:
    """The places where a wheel has put the library."""
    suffixes = {"linux": ".so.3", "darwin": ".3.dylib", "win32": "dnnl.dll"}
    suffix = suffixes.get(sys.platform, ".so.3")
    found = []
    for distribution in DISTRIBUTIONS:
        try:
            listed = files(distribution) or []
        except PackageNotFoundError:
            continue
        found += [Path(str(file.locate())) for file in listed if file.name.endswith(suffix)]
    return found


def is_installed() -> bool:
    """Whether a wheel with the library is there. Opens nothing."""
    return bool(_candidates())


@cache
def load() -> ctypes.CDLL:
    """Open the library and give its functions their types.

    Raises:
        ImportError: when no wheel carries it, when it cannot be opened, or when its major version is another.
    """
    errors = []
    for path in _candidates():
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            errors.append(f"{path}: {error}")
            continue
        library.dnnl_version.restype = POINTER(Version)
        version = library.dnnl_version().contents
        if version.major != MAJOR:
            errors.append(f"{path}: version {version.major}.{version.minor}, but {MAJOR}.x is needed")
            continue
        for name, types in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes = types
            function.restype = c_int
        library.dnnl_primitive_desc_query_md.argtypes = (c_void_p, c_int, c_int)
        library.dnnl_primitive_desc_query_md.restype = c_void_p
        library.dnnl_memory_desc_get_size.argtypes = (c_void_p,)
        library.dnnl_memory_desc_get_size.restype = c_size_t
        library.dnnl_memory_desc_equal.argtypes = (c_void_p, c_void_p)
        library.dnnl_memory_desc_equal.restype = c_int
        return library
    reasons = "; ".join(errors) or "it is not installed"
    raise ImportError(f"flambeau_accel: oneDNN cannot be used: {reasons}. pip install 'flambeau[accel]' brings it")


def set_threads(number: int) -> None:
    """Have oneDNN compute on so many threads when the calling thread calls it.

    Nothing happens where its threads are another runtime's than OpenMP's.
    """
    setter = getattr(load(), "omp_set_num_threads", None)  # of the library that oneDNN is linked with
    if setter is not None:
        setter(number)
