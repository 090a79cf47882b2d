"""Write `core/flambeau/testing/op_uses.tsv` (how often programs use each op) from a census of PyTorch names.

python tools/make_op_uses.py CENSUS.tsv

The census has the columns name (`torch.nn.Linear`, `Tensor.view`), kind, uses and programs.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "core"))

import flambeau  # noqa: E402, F401 - declares the ops
from flambeau.ops.declare import OPS  # noqa: E402

TABLE = ROOT / "core" / "flambeau" / "testing" / "op_uses.tsv"
# Modules and optimizers whose op is named otherwise.
RENAMED = {"batch_norm2d": "batch_norm", "multihead_attention": "scaled_dot_product_attention"}


def op_of(name: str) -> str | None:
    """The op that a name of PyTorch's stands for."""
    group, _, last = name.rpartition(".")
    if group in ("Tensor", "torch.Tensor", "torch", "torch.nn.functional"):
        candidates = [last, last.rstrip("_")]
    elif group in ("torch.linalg", "torch.fft"):
        candidates = [f"{group.rpartition('.')[2]}_{last}"]
    elif group in ("torch.nn", "torch.optim"):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", last).lower()
        bare = re.sub(r"_?\dd$", "", words)
        candidates = [words, words.replace("_", ""), bare, bare.replace("_", ""), f"{words}_step"]
        candidates += [candidate.removesuffix("_loss") for candidate in candidates]
    else:
        return None
    aliases = {alias: op.name for op in OPS.values() for alias in op.aliases}
    for candidate in candidates:
        candidate = RENAMED.get(candidate, candidate)
        if candidate in OPS or candidate in aliases:
            return aliases.get(candidate, candidate)
    return None


def main() -> None:
    """Write the table."""
    uses: dict[str, int] = {}
    with open(sys.argv[1], newline="") as census:
        for row in csv.DictReader(census, delimiter="\t"):
            op = op_of(row["name"])
            if op is not None:
                uses[op] = uses.get(op, 0) + int(row["uses"])
    ordered = sorted(uses.items(), key=lambda item: (-item[1], item[0]))
    TABLE.write_text("op\tuses\n" + "".join(f"{op}\t{count}\n" for op, count in ordered))


if __name__ == "__main__":
    main()
