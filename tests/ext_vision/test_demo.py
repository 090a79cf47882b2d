"""``flambeau demo``, from its command line to its files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import catalogue, cli
from flambeau_vision.datasets import Digits, write_idx
from flambeau_vision.demo import training
from flambeau_vision.demo.training import Collate


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """A folder of MNIST-format files with 96 training and 24 test images of the bundled digits, 8 x 8."""
    folder = tmp_path / "data"
    folder.mkdir()
    for part, digits, count in (("train", Digits(), 96), ("t10k", Digits(train=False), 24)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", digits.data[:count].numpy())
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", digits.targets[:count].numpy().astype(np.uint8))
    return folder


def test_one_epoch_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    out = tmp_path / "results" / "deep"
    assert cli.main(["demo", "--epochs", "1", "--out", str(out), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "lenet (61,706 parameters) on cpu" in printed
    assert "1,442 images for training and 355 for testing, from the bundled digits" in printed
    line = r"epoch 1/1  loss \d\.\d{4}  accuracy +[\d.]+ %  test loss \d\.\d{4}  test accuracy +[\d.]+ %  [\d.]+ s\n"
    assert re.search(line, printed)
    assert re.search(r"test accuracy [\d.]+ % \(\d+ of 355\)", printed)
    assert sorted(path.name for path in out.iterdir()) == ["lenet.pt", "loss.png", "predictions.png"]
    for name in ("lenet.pt", "loss.png", "predictions.png"):
        assert str(out / name) in printed
    for name in ("loss.png", "predictions.png"):
        with image_module.open(out / name) as picture:
            assert picture.format == "PNG" and len(picture.convert("RGB").getcolors(1 << 24)) > 10


def test_it_reaches_97_percent_and_its_checkpoint_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = training.run(training.Settings(out=str(tmp_path)))
    assert history.test_accuracy[-1] >= 0.97
    assert history.train_loss[-1] < 0.2 < history.train_loss[0]
    percent, right = re.search(r"test accuracy ([\d.]+) % \((\d+) of 355\)", capsys.readouterr().out).groups()  # type: ignore[union-attr]
    assert float(percent) == pytest.approx(100 * history.test_accuracy[-1], abs=0.01)

    checkpoint = flambeau.load(tmp_path / "lenet.pt")
    model = catalogue.get_model(checkpoint["model"], num_classes=checkpoint["classes"])
    model.load_state_dict(checkpoint["state_dict"])
    train_set, test_set = training.open_data(None)
    _, loader = training.make_loaders(train_set, test_set, training.Settings())
    predicted = training.predict(model, loader, flambeau.device("cpu")).argmax(1)
    assert int((predicted == test_set.targets).sum()) == int(right)


def run_twice(folder: Path, data: Path, **settings: Any) -> list[dict[str, np.ndarray[Any, Any]]]:
    """The parameters after two runs with the same settings."""
    states = []
    for run in ("first", "second"):
        out = folder / run
        training.run(training.Settings(data=str(data), out=str(out), epochs=2, batch_size=32, **settings))
        checkpoint = flambeau.load(out / "lenet.pt")
        states.append({name: value.numpy() for name, value in checkpoint["state_dict"].items()})
    return states


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_repeats_a_run(tmp_path: Path, small_mnist: Path, workers: int) -> None:
    first, second = run_twice(tmp_path, small_mnist, seed=4, workers=workers)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    other = run_twice(tmp_path, small_mnist, seed=5, workers=workers)[0]
    assert not np.array_equal(first["fc3.weight"], other["fc3.weight"])


def test_resnet18_on_files_in_mnist_format(
    tmp_path: Path, small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", "resnet18", "--data", str(small_mnist), "--epochs", "1", "--batch-size", "19"]
    assert cli.main(["demo", *arguments, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert f"96 images for training and 24 for testing, from {small_mnist}" in printed
    assert (tmp_path / "out" / "resnet18.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--epochs", "0"], 2, "argument --epochs: must be a whole number of at least 1, not '0'"),
        (["--epochs", "many"], 2, "argument --epochs: must be a whole number of at least 1, not 'many'"),
        (["--batch-size", "1"], 2, "argument --batch-size: must be a whole number of at least 2, not '1'"),
        (["--workers", "-1"], 2, "argument --workers: must be a whole number of at least 0, not '-1'"),
        (["--model", "lenett"], 2, "argument --model: invalid choice: 'lenett'"),
        (["--data", "/no/such/folder"], 1, "flambeau demo: error: --data: '/no/such/folder' is not a folder"),
        (["--device", "abacus"], 1, "flambeau demo: error: .*abacus"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", *arguments, "--out", str(tmp_path / "out")]
    if status == 2:
        with pytest.raises(SystemExit) as caught:
            cli.main(command)
        assert caught.value.code == 2
    else:
        assert cli.main(command) == status
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_data_that_will_not_do(small_mnist: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["demo", "--data", str(small_mnist), "--out", str(tmp_path / "out")]
    write_idx(small_mnist / "t10k-images-idx3-ubyte.gz", np.zeros((0, 8, 8), np.uint8))
    write_idx(small_mnist / "t10k-labels-idx1-ubyte.gz", np.zeros(0, np.uint8))
    assert cli.main(command) == 1
    assert "--data: the test files in" in capsys.readouterr().err
    whole = (small_mnist / "train-images-idx3-ubyte.gz").read_bytes()
    (small_mnist / "train-images-idx3-ubyte.gz").write_bytes(whole[: len(whole) // 2])
    assert cli.main(command) == 1
    assert "is a damaged gzip file" in capsys.readouterr().err
    (small_mnist / "train-images-idx3-ubyte.gz").unlink()
    assert cli.main(command) == 1
    assert "MNIST: train-images-idx3-ubyte (plain or .gz) is not in" in capsys.readouterr().err


def test_without_pillow_only_the_pictures_are_left_out(
    tmp_path: Path, small_mnist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert cli.main(["demo", "--data", str(small_mnist), "--epochs", "1", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert (
        "pictures      left out: demo needs Pillow, which is not installed: pip install 'flambeau[vision]'" in printed
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lenet.pt"]


def test_a_checkpoint_that_predicts_otherwise_is_an_error(tmp_path: Path, small_mnist: Path) -> None:
    train_set, test_set = training.open_data(str(small_mnist))
    _, loader = training.make_loaders(train_set, test_set, training.Settings())
    model = training.build_model("lenet", 10)
    cpu = flambeau.device("cpu")
    logits = training.predict(model, loader, cpu)
    path = str(tmp_path / "lenet.pt")
    flambeau.save({"model": "lenet", "classes": 10, "state_dict": model.state_dict()}, path)
    training.check_checkpoint(path, logits, loader, cpu)
    with pytest.raises(RuntimeError, match=r"the model loaded from .* predicts \d+ of 24 test images otherwise"):
        training.check_checkpoint(path, -logits, loader, cpu)


def test_batches_are_augmented_when_training_and_normalised_always() -> None:
    train_set, _ = training.open_data(None)
    samples = [train_set[number] for number in range(16)]
    plain, targets = Collate(0.25, 0.5, augment=False)(samples)
    stacked = np.stack([image.numpy() for image, _ in samples])
    np.testing.assert_allclose(plain.numpy(), (stacked - 0.25) / 0.5, rtol=1e-5, atol=1e-6)
    assert targets.tolist() == [target for _, target in samples]
    augmented, _ = Collate(0.25, 0.5, augment=True)(samples)
    assert augmented.shape == plain.shape
    assert all(not np.array_equal(a, b) for a, b in zip(augmented.numpy(), plain.numpy(), strict=True))
    assert float(augmented.min()) >= -0.5 - 1e-6  # what comes into view at the edges is paper


def test_the_progress_bar_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    batches = training.DataLoader(range(10), batch_size=5)
    assert len(list(training._with_progress(batches, "epoch 1/2"))) == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert len(list(training._with_progress(batches, "epoch 1/2"))) == 2
    assert "epoch 1/2" in capsys.readouterr().err


def test_without_tqdm_the_batches_come_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    batches = training.DataLoader(range(10), batch_size=5)
    assert training._with_progress(batches, "epoch 1/2") is batches
