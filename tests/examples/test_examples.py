"""The programs in ``examples/``, each run small, as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flambeau

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("tqdm")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))
PROSE = "the light is bent by the glass, and the glass is warm by the light. " * 40


def load(name: str) -> ModuleType:
    """The program as a module; nothing runs."""
    module = ModuleType(name)
    module.__file__ = str(EXAMPLES / f"{name}.py")
    exec(compile((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"), module.__file__, "exec"), module.__dict__)
    return module


class Run:
    """What a program prints and leaves behind."""

    def __init__(self, name: str, out: Path, *arguments: str) -> None:
        command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), "--out", str(out), *arguments]
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", cwd=out.parent, env=environment
        )
        assert done.returncode == 0, done.stderr
        self.out = out
        self.printed = done.stdout
        self.files = sorted(path.name for path in out.iterdir())
        self.checkpoint: dict[str, Any] = flambeau.load(out / "checkpoint.pt")

    def numbers(self, label: str) -> list[float]:
        """The numbers behind a label, in the order in which they were printed."""
        return [float(number) for number in re.findall(rf"\b{label} +(-?[\d.]+)", self.printed)]

    def picture(self, name: str) -> Any:
        with Image.open(self.out / name) as picture:
            picture.load()
            return picture


def colors(picture: Any) -> int:
    return len(picture.convert("RGB").getcolors(1 << 24))


# -- each program ------------------------------------------------------------------------------------------------------


def test_image_classifier(tmp_path: Path) -> None:
    run = Run("image_classifier", tmp_path / "out", "--epochs", "1")
    assert run.numbers("loss")[0] < 2.3 and run.numbers("right")[0] > 50  # by chance: log 10, and 10 %
    table = [line.split() for line in run.printed.partition("across\n")[2].splitlines()[1:11]]
    right = sum(int(row[1 + digit].replace(".", "0")) for digit, row in enumerate(table))
    assert right / 355 == pytest.approx(run.numbers("right")[-1] / 100, abs=1e-4)
    assert run.files == ["checkpoint.pt", "mistakes.png"]
    assert colors(run.picture("mistakes.png")) > 10


def test_image_classifier_of_a_folder(tmp_path: Path) -> None:
    """Red and green pictures in two folders are told apart."""
    for name, color in (("red", (200, 30, 30)), ("green", (30, 200, 30))):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            shade = tuple(value + number for value in color)
            Image.new("RGB", (20, 16), shade).save(tmp_path / "data" / name / f"{number}.png")
    arguments = ("--data", str(tmp_path / "data"), "--size", "12", "--flip", "--epochs", "4", "--batch-size", "8")
    run = Run("image_classifier", tmp_path / "out", *arguments)
    assert "32 images of 2 classes to learn from, 8 to test with" in run.printed
    assert run.numbers("right")[-1] == 100


def test_vae(tmp_path: Path) -> None:
    run = Run("vae", tmp_path / "out", "--epochs", "10")
    assert run.numbers("test")[1] < run.numbers("test")[0] < 28
    assert run.files == ["checkpoint.pt", "reconstructions.png", "samples.png", "ways.png"]
    assert run.picture("samples.png").size == (10 * (32 + 2) + 2, 10 * (32 + 2) + 2)
    assert colors(run.picture("samples.png")) > 100


def test_dcgan(tmp_path: Path) -> None:
    run = Run("dcgan", tmp_path / "out", "--epochs", "3", "--width", "8")
    assert run.files == ["checkpoint.pt", "epoch001.png", "epoch003.png"]
    assert run.numbers("discriminator")[-1] < run.numbers("discriminator")[0]
    assert run.picture("epoch003.png").tobytes() != run.picture("epoch001.png").tobytes()
    assert colors(run.picture("epoch003.png")) > 100


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    path = tmp_path / "prose.txt"
    path.write_text(PROSE)
    return path


def test_char_lstm(tmp_path: Path, prose: Path) -> None:
    arguments = ("--text", str(prose), "--hidden", "48", "--batch-size", "8", "--window", "16", "--lr", "0.02")
    run = Run("char_lstm", tmp_path / "out", *arguments, "--prompt", "the light", "--length", "60", "--epochs", "6")
    assert run.numbers("loss")[-1] < run.numbers("loss")[0]
    assert run.numbers("perplexity")[-1] < 3  # of 17 characters
    sample = (tmp_path / "out" / "sample.txt").read_text()
    assert sample.startswith("the light") and len(sample) == len("the light") + 60 + 1 and sample in run.printed


def test_transformer_lm(tmp_path: Path, prose: Path) -> None:
    size = ("--vocabulary", "290", "--width", "32", "--layers", "2", "--heads", "2", "--context", "16")
    arguments = ("--text", str(prose), "--batch-size", "8", "--lr", "0.01", "--epochs", "8", "--length", "12")
    run = Run("transformer_lm", tmp_path / "out", *size, *arguments, "--prompt", "the light", "--top-k", "5")
    assert run.numbers("loss")[-1] < run.numbers("loss")[0]
    assert run.numbers("perplexity")[-1] < 10  # of 290 pieces
    sample = (tmp_path / "out" / "sample.txt").read_text()
    assert sample.startswith("the light") and len(sample) > 20 and sample in run.printed


def test_translation(tmp_path: Path) -> None:
    run = Run("translation", tmp_path / "out", "--pairs", "1500", "--hidden", "64", "--epochs", "3", "--lr", "0.01")
    assert run.numbers("loss")[-1] < run.numbers("loss")[0] / 2
    assert run.numbers("right")[-1] > 10
    translations = (tmp_path / "out" / "translations.txt").read_text(encoding="utf-8")
    right = 1 - translations.count("(it is ") / 2000
    assert right == pytest.approx(run.numbers("right")[-1] / 100, abs=1e-3)


def test_forecasting(tmp_path: Path) -> None:
    run = Run("forecasting", tmp_path / "out", "--epochs", "10")
    assert run.numbers("loss")[-1] < run.numbers("loss")[0]
    rows = re.findall(r"^(the month's usual|usual, and today's|the network).* ([\d.]+)$", run.printed, re.MULTILINE)
    errors = {name: float(error) for name, error in rows}
    assert errors["the network"] < 0.93 * min(errors["the month's usual"], errors["usual, and today's"])
    assert run.files == ["checkpoint.pt", "forecast.png"]
    assert colors(run.picture("forecast.png")) >= 5


def test_ppo_cartpole(tmp_path: Path) -> None:
    run = Run("ppo_cartpole", tmp_path / "out", "--epochs", "15")
    lengths = [float(length) for length in re.findall(r"([\d.]+) steps  ", run.printed)]
    assert lengths[-1] > 2 * lengths[0]
    assert float(re.search(r"stay up for ([\d.]+) steps", run.printed).group(1)) > 100  # type: ignore[union-attr]
    with Image.open(run.out / "cartpole.gif") as film:
        assert film.format == "GIF" and film.n_frames > 10


# -- what they have in common ------------------------------------------------------------------------------------------

SMALL = {
    "char_lstm": ("--hidden", "16", "--batch-size", "256"),
    "dcgan": ("--width", "4"),
    "forecasting": ("--hidden", "8"),
    "image_classifier": ("--batch-size", "128"),
    "ppo_cartpole": ("--steps", "16"),
    "transformer_lm": ("--width", "16", "--layers", "1", "--heads", "2", "--batch-size", "64", "--length", "5"),
    "translation": ("--pairs", "200", "--hidden", "16"),
    "vae": ("--hidden", "16"),
}


def test_every_program_is_tested() -> None:
    assert sorted(SMALL) == PROGRAMS
    assert {f"test_{name}" for name in PROGRAMS} <= set(globals())


@pytest.mark.parametrize("name", PROGRAMS)
def test_readme_names_it(name: str) -> None:
    assert f"[`{name}.py`]({name}.py)" in (EXAMPLES / "README.md").read_text()


@pytest.mark.parametrize("name", ["forecasting", "ppo_cartpole", "translation", "vae"])
def test_goes_on_where_it_stopped(name: str, tmp_path: Path) -> None:
    """After the epochs of the checkpoint, with its parameters; a run that had all its epochs shows its results only."""
    Run(name, tmp_path / "first", *SMALL[name], "--epochs", "1")
    resumed = ("--resume", str(tmp_path / "first" / "checkpoint.pt"))
    run = Run(name, tmp_path / "second", *SMALL[name], *resumed, "--epochs", "2")
    assert re.findall(r"epoch +(\d+)/2", run.printed) == ["2"]
    assert run.checkpoint["epoch"] == 2


@pytest.mark.parametrize("name", ["ppo_cartpole", "vae"])
def test_on_opencl(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pyopencl")
    from flambeau_opencl.backend import OpenCLBackend

    if not OpenCLBackend().is_available():
        pytest.skip("there is no OpenCL device here")
    run = Run(name, tmp_path / "out", *SMALL[name], "--epochs", "2", "--device", "opencl")
    assert run.checkpoint["epoch"] == 2
    assert next(iter(run.checkpoint["model"].values())).device.type == "opencl"


# -- their parts -------------------------------------------------------------------------------------------------------


def test_pieces_of_text_come_back() -> None:
    tokenizer = load("transformer_lm").BytePairs(PROSE, 300)
    assert tokenizer.decode(tokenizer.encode(PROSE)) == PROSE
    assert tokenizer.decode(tokenizer.encode("a new wörd,\n\n  and more")) == "a new wörd,\n\n  and more"
    assert PROSE.count(tokenizer.pieces[256].decode()) == max(PROSE.count(PROSE[i : i + 2]) for i in range(70))
    assert len(tokenizer.encode(PROSE)) < len(PROSE) / 3


def test_keys_and_values_that_are_kept_change_nothing() -> None:
    """Read at once, or piece by piece with what was kept, the logits are the same."""
    program = load("transformer_lm")
    model = program.Transformer(50, width=32, layers=2, heads=4).eval()
    pieces = flambeau.randint(50, (2, 9))
    with flambeau.no_grad():
        whole = model(pieces)
        caches: list[dict[str, Any]] = [{} for _ in model.blocks]
        parts = [model(pieces[:, :4], caches)]
        parts += [model(pieces[:, place : place + 1], caches, place) for place in range(4, 9)]
    flambeau.testing.assert_close(flambeau.cat(parts, dim=1), whole)


def test_top_1_is_the_likeliest() -> None:
    program = load("transformer_lm")
    model = program.Transformer(50, width=32, layers=1, heads=2)
    flambeau.nn.init.normal_(model.embedding.weight)
    prompt = flambeau.randint(50, (5,))
    drawn = program.write(model, prompt, 6, temperature=3.0, top_k=1)
    text = prompt.tolist()
    for piece in drawn:
        assert piece == model(flambeau.tensor([text]))[0, -1].argmax().item()
        text.append(piece)


def test_nothing_looks_further_back_than_the_context() -> None:
    """With one block, a piece depends on the last ``context`` pieces alone."""
    program = load("transformer_lm")
    model = program.Transformer(50, width=32, layers=1, heads=2)
    flambeau.nn.init.normal_(model.embedding.weight)
    prompt = flambeau.randint(50, (3,))
    text = prompt.tolist()
    for piece in program.write(model, prompt, 12, top_k=1, context=4):
        assert piece == model(flambeau.tensor([text[-4:]]))[0, -1].argmax().item()
        text.append(piece)


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (16, "sixteen", "sechzehn"),
        (21, "twenty one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (101, "one hundred one", "einhunderteins"),
        (1000, "one thousand", "eintausend"),
        (77017, "seventy seven thousand seventeen", "siebenundsiebzigtausendsiebzehn"),
        (201001, "two hundred one thousand one", "zweihunderteintausendeins"),
    ],
)
def test_numbers_in_words(number: int, english: str, german: str) -> None:
    program = load("translation")
    assert " ".join(program.english(number)) == english
    assert "".join(program.german(number)) == german


def test_a_pole_falls_when_it_is_pushed_one_way() -> None:
    carts = load("ppo_cartpole").CartPoles(3, "cpu")
    ages = flambeau.zeros(3)
    for _ in range(12):
        ended, age = carts.step(flambeau.ones(3, dtype=flambeau.long))
        ages = flambeau.maximum(ages, age)
        if not ended.any():
            assert (carts.states[:, 1] > 0).all() and (carts.states[:, 3] < 0).all()
    assert (ages >= 8).all() and (ages <= 12).all()
