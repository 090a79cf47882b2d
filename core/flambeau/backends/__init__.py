"""Switches of PyTorch's own libraries (``torch.backends``), so that programs that set them run.

What is set is kept, and changes nothing but for ``cuda.matmul.allow_tf32``; questions are answered truthfully. The
backends of Flambeau are devices, see :mod:`flambeau.dispatch` and ``flambeau info``.
"""

from flambeau.backends import cuda, cudnn, mkl, mkldnn, mps, openmp, opt_einsum

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]
