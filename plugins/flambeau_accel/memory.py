"""Having the C library keep memory that was given back, instead of returning it to the system page by page.

Arrays of more than 32 MB are otherwise mapped anew each time they are made, and the system clears every page of them at
the first touch: half of the time of a pass over such an array. A training step makes and drops the same arrays again
and again, so it finds them where they were.

This is glibc's ``mallopt``, for the whole process. It is left alone where the environment has settings of its own
(``MALLOC_...``, ``GLIBC_TUNABLES``) or ``FLAMBEAU_KEEP_MEMORY=0``, and where another C library is in use.
"""

from __future__ import annotations

import ctypes
import os
import platform

#: Numbers of ``mallopt``'s parameters (malloc.h).
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3

#: Up to this size arrays come from the heap, and so much of it may lie idle at its end.
KEPT = 1 << 30


def keep() -> bool:
    """Have freed memory kept; False where nothing was changed."""
    own = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if own or os.environ.get("FLAMBEAU_KEEP_MEMORY", "1") in ("", "0") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_THRESHOLD, KEPT) and mallopt(TRIM_THRESHOLD, KEPT))
