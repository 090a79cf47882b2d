"""The OpenCL backend of Flambeau: any GPU, CPU or accelerator with an OpenCL 1.2 driver, through PyOpenCL.

One module a theme, as in the NumPy backend; each lists its kernels in ``KERNELS``. Underneath:

* ``runtime.py``: a device's context, queue, memory pool and compiled programs;
* ``array.py``: the strided array;
* ``elements.py``: how each dtype is stored, computed with and cast in OpenCL C; ``complex_math.py``: complex functions;
* ``maps.py``: kernels that visit every element of some arrays, from a few lines of C; most others are made of them.
"""
