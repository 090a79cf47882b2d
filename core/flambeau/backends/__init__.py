"""Switches of PyTorch's own libraries (``torch.backends``), so that programs that set them run.

The backend for CUDA devices reads ``cuda.matmul.allow_tf32`` and :mod:`~flambeau.backends.cudnn`; what else is set is
kept, and changes nothing. Questions are answered truthfully. The backends of Flambeau are devices, see
:mod:`flambeau.dispatch` and ``flambeau info``.
"""

from flambeau.backends import cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]
