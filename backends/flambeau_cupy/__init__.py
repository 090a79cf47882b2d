"""The CUDA backend of Flambeau: NVIDIA's GPUs, through CuPy.

One module a theme, as in the NumPy backend; each lists its kernels in ``KERNELS``. What CuPy does as NumPy does comes
from :mod:`flambeau_array`; the rest are kernels of our own, in CUDA C++ that is put together here, compiled by NVRTC
at first use and cached by CuPy, in memory and on disk. Underneath:

* ``elements.py``: how each dtype is stored and computed with in CUDA C++;
* ``programs.py``: compiling and launching, and what kernels find wrong on the device;
* ``layout.py``: the C++ that finds an element's place from its number;
* ``maps.py``: kernels that visit every element of some arrays, from a few lines of C++;
* ``rows.py``: kernels in which a warp or a block works on a row;
* ``lists.py``: kernels over lists of arrays, for the steps of optimizers;
* ``reduction.py``: sums and other reductions of an expression.
"""
