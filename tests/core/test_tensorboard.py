"""``SummaryWriter``, its files read back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import flambeau

pytest.importorskip("tensorboardX")


def read(folder: Path) -> dict[str, list[tuple[int, object]]]:
    """The values in a folder's event files by tag, with their steps."""
    import struct

    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, object]]] = {}
    for path in sorted(folder.rglob("events.out*")):
        content = path.read_bytes()
        at = 0
        while at < len(content):  # a record: length, its checksum, data, their checksum
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value))
    return found


def test_values_are_read_back(tmp_path: Path) -> None:
    from flambeau.utils.tensorboard import SummaryWriter

    picture = flambeau.rand(3, 5, 4)
    with SummaryWriter(str(tmp_path)) as writer:
        assert writer.get_logdir() == writer.log_dir == str(tmp_path)
        for step in range(3):
            writer.add_scalar("loss", flambeau.tensor(1.5 * step, requires_grad=True), step)
        writer.add_scalar("plain", 2, 7)
        writer.add_scalar("half", flambeau.tensor(0.5, dtype=flambeau.bfloat16), 7)
        writer.add_histogram("weights", flambeau.arange(10.0, requires_grad=True), 1)
        writer.add_image("picture", picture, 1)
        writer.add_images("pictures", flambeau.rand(2, 3, 4, 4), 1)
        writer.add_text("note", "words", 1)
        writer.add_pr_curve("curve", flambeau.tensor([0, 1]), flambeau.tensor([0.1, 0.9]), 1)
        writer.add_graph(flambeau.nn.Linear(2, 3), flambeau.ones(1, 2))
        writer.flush()
    found = read(tmp_path)
    assert [(step, value.simple_value) for step, value in found["loss"]] == [(0, 0.0), (1, 1.5), (2, 3.0)]  # type: ignore[attr-defined]
    assert found["plain"][0][1].simple_value == 2 and found["half"][0][1].simple_value == 0.5  # type: ignore[attr-defined]
    histogram = found["weights"][0][1].histo  # type: ignore[attr-defined]
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (10, 45, 0, 9)
    image = found["picture"][0][1].image  # type: ignore[attr-defined]
    assert (image.height, image.width, image.colorspace) == (5, 4, 3)
    import io

    from PIL import Image

    pixels = numpy.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    expected = (picture.permute(1, 2, 0).numpy() * 255).clip(0, 255).astype(numpy.uint8)
    assert numpy.abs(pixels.astype(int) - expected).max() <= 1
    assert b"Linear" in found["model/text_summary"][0][1].tensor.string_val[0]  # type: ignore[attr-defined]
    assert found["note/text_summary"][0][1].tensor.string_val == [b"words"]  # type: ignore[attr-defined]
    assert "curve" in found and "pictures" in found


def test_runs_are_compared(tmp_path: Path) -> None:
    from flambeau.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        writer.add_scalars("both", {"a": flambeau.tensor(1.0), "b": 2}, 3)
        writer.add_hparams({"lr": 0.1, "name": "x"}, {"accuracy": flambeau.tensor(0.75)})
        writer.add_embedding(flambeau.arange(8.0).reshape(4, 2), metadata=list("abcd"), global_step=1)
    found = read(tmp_path)
    assert sorted(value.simple_value for _, value in found["both"]) == [1.0, 2.0]  # type: ignore[attr-defined]
    assert found["accuracy"][0][1].simple_value == 0.75  # type: ignore[attr-defined]
    (table,) = tmp_path.rglob("tensors.tsv")
    assert numpy.loadtxt(table).tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_without_the_library_it_says_what_to_install() -> None:
    source = "import sys; sys.modules['tensorboardX'] = None\nimport flambeau.utils.tensorboard"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: flambeau.utils.tensorboard needs tensorboardX: pip install 'flambeau[tensorboard]'"
