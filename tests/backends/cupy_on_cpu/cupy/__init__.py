"""A stand-in for CuPy on a machine without a GPU, for tests of the CUDA backend.

Arrays are in host memory, NumPy computes, and kernels given as CUDA C++ are compiled by g++ (``_raw.py``). It has what
our backend uses of CuPy 14 and nothing else: a function that it lacks is a function that was not checked to be there
(``tests/backends/test_cupy_names.py`` compares names, signatures and ufuncs' loops with the real one). It refuses what
CuPy refuses: NumPy arrays as operands, silent copies to the host, arrays of another device.
"""

from __future__ import annotations

from numpy import (
    complex64 as complex64,
)
from numpy import (
    complex128 as complex128,
)
from numpy import (
    float32 as float32,
)
from numpy import (
    float64 as float64,
)
from numpy import (
    int64 as int64,
)

from . import cuda as cuda
from . import fft as fft
from . import linalg as linalg
from ._array import ndarray as ndarray
from ._functions import (
    arange as arange,
)
from ._functions import (
    asarray as asarray,
)
from ._functions import (
    ascontiguousarray as ascontiguousarray,
)
from ._functions import (
    asnumpy as asnumpy,
)
from ._functions import (
    broadcast_to as broadcast_to,
)
from ._functions import (
    concatenate as concatenate,
)
from ._functions import (
    cumprod as cumprod,
)
from ._functions import (
    cumsum as cumsum,
)
from ._functions import (
    empty as empty,
)
from ._functions import (
    empty_like as empty_like,
)
from ._functions import (
    eye as eye,
)
from ._functions import (
    from_dlpack as from_dlpack,
)
from ._functions import (
    full as full,
)
from ._functions import (
    get_default_memory_pool as get_default_memory_pool,
)
from ._functions import (
    get_default_pinned_memory_pool as get_default_pinned_memory_pool,
)
from ._functions import (
    matmul as matmul,
)
from ._functions import (
    round as round,
)
from ._functions import (
    take_along_axis as take_along_axis,
)
from ._functions import (
    where as where,
)
from ._functions import (
    zeros as zeros,
)
from ._raw import RawKernel as RawKernel
from ._raw import RawModule as RawModule
from ._ufunc import load as _load
from ._ufunc import ufunc as ufunc

globals().update(_load())
