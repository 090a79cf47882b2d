#!/usr/bin/env bash
# Everything that needs a GPU, in one go, within ten minutes: see gpu.py, which gets the arguments.
#
# It needs an NVIDIA driver and a python3 (or $PYTHON) with numpy, pluggy, cupy (cupy-cuda12x or cupy-cuda13x, 14 or later),
# pytest and setuptools; ml_dtypes for bfloat16, nvidia-cudnn-frontend for cuDNN, pytest-xdist for speed, torch for the
# comparison. Where these are there, nothing is fetched. Elsewhere: pip install -e '.[cuda,test]' first.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
missing=$("$python" -c '
from importlib.util import find_spec
print(*[name for name in ("numpy", "pluggy", "cupy", "pytest", "setuptools") if find_spec(name) is None])')
if [ -n "$missing" ]; then
    echo "gpu.sh: $python lacks: $missing; run: $python -m pip install -e '.[cuda,test]'" >&2
    exit 2
fi
# Beside what is installed, so that plugins are found by their entry points and nothing of the machine changes.
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$python" -m pip install --quiet --no-index --no-deps --no-build-isolation --target "$site" .
PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}" "$python" benchmarks/gpu.py "$@"
