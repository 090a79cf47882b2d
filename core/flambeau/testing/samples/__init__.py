"""The samples, a file a theme (see :mod:`flambeau.testing.database`)."""

from __future__ import annotations

THEMES = (
    "elementwise", "reduction", "shape", "indexing", "creation", "sorting", "linalg", "decomposition", "activation",
    "loss", "normalization", "convolution", "pooling", "embedding", "recurrent", "ctc", "spectral", "special",
    "optimizer", "bits", "differences", "errors",
)  # fmt: skip
