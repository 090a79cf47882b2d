"""The package is installed, and Flambeau takes the plugin in."""

from __future__ import annotations

import json
import subprocess
import sys


def test_flambeau_lists_the_plugin() -> None:
    done = subprocess.run([sys.executable, "-m", "flambeau", "info", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {plugin["name"]: plugin for plugin in json.loads(done.stdout)["plugins"]}
    assert "gguf" in found, "not installed: pip install -e '.[test]'"
    assert found["gguf"]["state"] == "active", found["gguf"]["error"]
    assert found["gguf"]["distribution"] == "flambeau-gguf"
