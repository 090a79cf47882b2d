"""``cupy.linalg``."""

from __future__ import annotations

import numpy

from ._functions import failing

solve = failing(numpy.linalg.solve, lambda a, b: numpy.full_like(b, numpy.nan))
inv = failing(numpy.linalg.inv, lambda a: numpy.full_like(a, numpy.nan))
cholesky = failing(numpy.linalg.cholesky, lambda a: numpy.full_like(a, numpy.nan))
det = failing(numpy.linalg.det, None)
qr = failing(lambda a: tuple(numpy.linalg.qr(a)), None)
svd = failing(lambda a, full_matrices=True: tuple(numpy.linalg.svd(a, full_matrices)), None)
eigh = failing(lambda a, UPLO="L": tuple(numpy.linalg.eigh(a, UPLO)), None)
eig = failing(lambda a: tuple(numpy.linalg.eig(a)), None)
