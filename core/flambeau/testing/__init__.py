"""Testing: comparing tensors, and the conformance kit.

``pytest --pyargs flambeau.testing --device NAME`` runs the kit on a device type: every op against NumPy, gradients
against finite differences, kernels against decompositions, views, in-place forms, ``vmap`` against a loop, refusals,
the meta device. A backend conforms when it passes; the failures name the ops. Options:

* ``--dtype`` and ``--op`` narrow the run down, ``--quick`` takes under a minute;
* ``--decompose`` has the composites computed from primitives alone, values as well as first and second gradients: a
  kernel cannot hide a wrong decomposition;
* ``--report FILE.html`` (or ``.json``) writes down what holds, what is missing, what is slow and what to do next;
* ``--samples MODULE`` adds the samples of a plugin's own ops.

The files:

* ``database.py``: what an op's samples and reference are; ``samples/``: the samples, a file a theme.
* ``comparison.py``: :func:`assert_close`, :func:`make_tensor`.
* ``conftest.py``: the options; ``test_*.py``: the checks.
* ``report.py``, ``report_html.py``, ``timing.py``: the report; ``op_uses.tsv``: how often programs use each op.
"""

from __future__ import annotations

from flambeau.testing.comparison import assert_close, make_tensor

__all__ = ["assert_close", "make_tensor"]
