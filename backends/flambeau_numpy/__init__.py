"""The CPU backend of Flambeau: plain NumPy, the reference that other backends are compared with.

One module a theme; each lists the kernels it offers in ``KERNELS``, and :mod:`flambeau_numpy.backend` puts the lists
together.
"""
