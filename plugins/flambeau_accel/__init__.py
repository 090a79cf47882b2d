"""Faster kernels for ``device="cpu"``: oneDNN's, reached through ctypes.

A plugin like any other: it offers kernels for a device type that exists, at a higher priority than the NumPy backend's
own. ``pip install 'flambeau[accel]'`` brings it to life; ``FLAMBEAU_DISABLE_PLUGINS=accel`` leaves it out.

oneDNN (https://github.com/uxlfoundation/oneDNN, Apache-2.0) is a library of kernels for deep learning with a C API.
Nothing here is compiled: :mod:`~flambeau_accel.library` opens the shared library that a wheel on PyPI carries,
:mod:`~flambeau_accel.primitive` gives its objects Python names, and each of the other modules holds the kernels of a
theme, under the names that they have in the NumPy backend.
"""
