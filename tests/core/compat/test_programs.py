"""Training programs in the manner of well-known public ones, written for PyTorch, run as they are."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

PROGRAMS = Path(__file__).with_name("programs")


def losses_of(name: str, folder: Path, *arguments: str) -> list[float]:
    """Run a program and return the losses that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "flambeau.compat.torch", str(PROGRAMS / name), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [float(loss) for loss in re.findall(r"loss: *([\d.e+-]+)", done.stdout)]


@pytest.mark.parametrize(
    ("name", "share"),
    [  # the last loss, as a share of the first, that shows that it has learned
        ("fast_neural_style.py", 0.7),
        ("gpt.py", 0.6),
        ("hogwild.py", 0.1),
        ("siamese.py", 0.5),
        ("super_resolution.py", 0.2),
        ("time_sequence_prediction.py", 0.9),
        ("vae.py", 0.8),
        ("word_language_model.py", 0.8),
    ],
)
def test_program_learns(tmp_path: Path, name: str, share: float) -> None:
    losses = losses_of(name, tmp_path)
    assert losses[-1] < share * losses[0], losses


def test_adversaries_learn_and_leave_pictures(tmp_path: Path) -> None:
    losses = losses_of("dcgan.py", tmp_path)
    # The discriminator begins at 2 ln 2, where it cannot tell.
    assert numpy.mean(losses[-4:]) < 0.9 * losses[0], losses
    assert {path.name for path in tmp_path.iterdir()} >= {"fake_001.png", "netG_1.pth"}


def test_policy_learns(tmp_path: Path) -> None:
    losses = losses_of("reinforce.py", tmp_path)
    assert losses[-1] < 0.95 * losses[0], losses


def test_digits(tmp_path: Path) -> None:
    """With MNIST's own file format, from the digits that are shipped."""
    from flambeau_vision.datasets import Digits

    digits = Digits(train=True)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    enlarged = numpy.ones((3, 3), numpy.uint8)
    for name, members in (("train", range(600)), ("t10k", range(600, 700))):
        pictures = numpy.stack([numpy.pad(numpy.kron(digits[i][0], enlarged), 2) for i in members])
        labels = bytes(int(digits[i][1]) for i in members)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 0x803, len(members), 28, 28) + pictures.tobytes()
        )
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, len(members)) + labels)
    losses = losses_of("mnist.py", tmp_path, "--data", str(tmp_path), "--epochs", "2", "--save-model", "net.pt")
    assert losses[-1] < 0.5 * losses[0], losses
    assert (tmp_path / "net.pt").stat().st_size > 10_000
