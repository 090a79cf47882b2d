"""The programs in ``examples/`` run with PyTorch as they are but for the import, and learn the same."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest

import flambeau

torch: Any = pytest.importorskip("torch")
pytest.importorskip("PIL")
pytest.importorskip("tqdm")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def in_pytorch(source: str) -> str:
    """The source with PyTorch's name for Flambeau's, but where a file is written: that is no matter of tensors."""
    return re.sub(r"\bflambeau\b(?!\.serialization)", "torch", source).replace("flambeau_vision", "vision_in_torch")


@pytest.fixture(scope="module")
def torch_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples and the vision extension, all written for PyTorch."""
    folder = tmp_path_factory.mktemp("in_pytorch")
    (folder / "data").symlink_to(EXAMPLES / "data")
    for path in EXAMPLES.glob("*.py"):
        (folder / path.name).write_text(in_pytorch(path.read_text(encoding="utf-8")), encoding="utf-8")
    extension = ROOT / "ext_vision" / "flambeau_vision"
    for path in extension.rglob("*.py"):
        copy = folder / "vision_in_torch" / path.relative_to(extension)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(in_pytorch(path.read_text(encoding="utf-8")), encoding="utf-8")
    (folder / "vision_in_torch" / "data").symlink_to(extension / "data")
    return folder


@pytest.fixture
def programs(torch_programs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[ModuleType, ModuleType]]:
    """A program as a module, with Flambeau and with PyTorch."""
    monkeypatch.syspath_prepend(str(torch_programs))

    def load(name: str) -> tuple[ModuleType, ModuleType]:
        return tuple(loaded(folder / f"{name}.py") for folder in (EXAMPLES, torch_programs))  # type: ignore[return-value]

    return load


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.stem}_in_{path.parent.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the first steps ---------------------------------------------------------------------------------------------------

Draw = Callable[..., Any]


class Steps:
    """A program with one of the libraries: its modules with given weights, given batches, and the losses of each."""

    def __init__(self, library: Any, program: Any, seed: int = 0) -> None:
        self.library, self.program = library, program
        self.random = numpy.random.default_rng(seed)

    def tensor(self, array: Any) -> Any:
        return self.library.tensor(array)

    def normal(self, *shape: int) -> Any:
        return self.tensor(self.random.standard_normal(shape).astype(numpy.float32))

    def integers(self, below: int, *shape: int) -> Any:
        return self.tensor(self.random.integers(0, below, shape))

    def ready(self, model: Any) -> Any:
        """The model with weights that both libraries get, and without dropout."""
        state = {}
        for name, value in model.state_dict().items():
            scale = 1.0 if "norm" in name or "bn" in name or value.ndim < 2 else value.shape[1] ** -0.5
            array = scale * self.random.standard_normal(tuple(value.shape))
            constant = ("running_mean", "running_var", "num_batches_tracked")
            state[name] = value if name.endswith(constant) else self.tensor(array.astype(numpy.float32))
        model.load_state_dict(state)
        for module in model.modules():
            if type(module).__name__ == "Dropout":
                module.p = 0.0
        return model

    def adam(self, model: Any, **options: Any) -> Any:
        return self.library.optim.Adam(model.parameters(), lr=1e-3, **options)

    def of(self, batches: list[Any], train: Draw) -> list[Any]:
        return [train([batch]) for batch in batches]


def image_classifier(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.ResNet(program.BasicBlock, (1, 1, 1, 1), 10, in_channels=1, small_images=True))
    batches = [(steps.normal(6, 1, 8, 8), steps.integers(10, 6)) for _ in range(3)]
    optimizer = steps.adam(model)
    return steps.of(batches, lambda batch: program.train(model, batch, optimizer))


def vae(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.VAE(32, 4))
    batches = [(steps.normal(6, 1, 8, 8).sigmoid(), None) for _ in range(4)]
    optimizer = steps.adam(model)
    return steps.of(batches, lambda batch: program.train(model, batch, optimizer))


def dcgan(steps: Steps) -> list[Any]:
    program = steps.program
    draw, judge = steps.ready(program.generator(8)), steps.ready(program.discriminator(8))
    batches = [(steps.normal(6, 1, 16, 16), None) for _ in range(4)]
    optimizers = steps.adam(draw, betas=(0.5, 0.999)), steps.adam(judge, betas=(0.5, 0.999))
    return steps.of(batches, lambda batch: program.train(draw, judge, batch, *optimizers))


def char_lstm(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.CharLSTM(20, 24))
    batches = list(program.windows(steps.integers(20, 200), 4, 10))
    optimizer = steps.adam(model)
    return [program.train(model, batches, optimizer), program.evaluate(model, batches)]


def transformer_lm(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.Transformer(30, width=32, layers=2, heads=4))
    batches = [(steps.integers(30, 4, 12),) for _ in range(4)]
    optimizer = steps.library.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    losses = steps.of(batches, lambda batch: program.train(model, batch, optimizer))
    return [*losses, *program.write(model, steps.integers(30, 3), 8, top_k=1)]


def translation(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.Translator(len(program.SOURCE.words), len(program.TARGET.words), 24))
    batches = [program.collate([7, 45, 321_045, 1000]), program.collate([90, 12_000, 77_777])] * 2
    optimizer = steps.adam(model)
    losses = steps.of(batches, lambda batch: program.train(model, batch, optimizer))
    return [*losses, *program.test(model, [5, 123, 456_789])]


def forecasting(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.Forecaster(16))
    batches = [(steps.normal(5, program.HISTORY, 3), steps.normal(5, program.AHEAD)) for _ in range(4)]
    optimizer = steps.library.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    return steps.of(batches, lambda batch: program.train(model, batch, optimizer))


def ppo_cartpole(steps: Steps) -> list[Any]:
    program = steps.program
    model = steps.ready(program.ActorCritic(16))
    carts = program.CartPoles(4, "cpu")
    carts.states = 0.05 * steps.normal(4, 4)
    for _ in range(6):
        carts.step(model(carts.states)[0].argmax(dim=1))
    batches = []
    for _ in range(4):
        chances = steps.normal(8, 1).sigmoid().log()
        batches.append((steps.normal(8, 4), steps.integers(2, 8, 1), chances, steps.normal(8), steps.normal(8)))
    optimizer = steps.adam(model)
    return [*carts.states.flatten().tolist(), *steps.of(batches, lambda batch: program.train(model, batch, optimizer))]


STEPS = (image_classifier, vae, dcgan, char_lstm, transformer_lm, translation, forecasting, ppo_cartpole)


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: steps.__name__)
def test_first_steps_are_the_same(
    steps: Callable[[Steps], list[Any]], programs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same weights and batches; where a program draws random numbers, both get the same."""
    seen = []
    for library, program in zip((flambeau, torch), programs(steps.__name__)):
        noise = numpy.random.default_rng(1)

        def normal(shape: Any, library: Any = library, noise: Any = noise) -> Any:
            return library.tensor(noise.standard_normal(tuple(shape)).astype(numpy.float32))

        monkeypatch.setattr(library, "randn", lambda *shape, device=None, normal=normal: normal(shape))
        monkeypatch.setattr(library, "randn_like", lambda other, normal=normal: normal(other.shape))
        seen.append(steps(Steps(library, program)))
    own, theirs = seen
    assert len(own) == len(theirs) > 1
    for ours, expected in zip(own, theirs):
        if isinstance(expected, list):
            assert ours == expected
        else:
            assert ours == pytest.approx(expected, rel=2e-4, abs=2e-5)


def test_steps_of_every_program_are_compared() -> None:
    assert sorted(steps.__name__ for steps in STEPS) == PROGRAMS


# -- whole runs --------------------------------------------------------------------------------------------------------

#: Settings, the number that says how good the result is (the last in the output that fits), and how far two runs with
#: different random numbers may be apart.
RUNS = {
    "char_lstm": (("--hidden", "32", "--batch-size", "128", "--epochs", "1"), r"validation ([\d.]+)", 0.15),
    "dcgan": (("--width", "8", "--epochs", "3"), r"discriminator ([\d.]+)", 0.3),
    "forecasting": (("--epochs", "5"), r"the network.* ([\d.]+)\n", 0.05),
    "image_classifier": (("--epochs", "1"), r"loss ([\d.]+)", 0.25),
    "ppo_cartpole": (("--epochs", "50"), r"stay up for ([\d.]+)", 50),  # of 500 steps
    "transformer_lm": (
        ("--width", "32", "--layers", "1", "--batch-size", "64", "--epochs", "1"),
        r"validation ([\d.]+)",
        0.2,
    ),
    "translation": (("--pairs", "1500", "--hidden", "48", "--epochs", "3"), r"loss ([\d.]+)", 0.3),
    "vae": (("--epochs", "5"), r"test ([\d.]+)", 0.6),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_whole_run_ends_alike(name: str, torch_programs: Path, tmp_path: Path) -> None:
    arguments, pattern, apart = RUNS[name]
    results, files = [], []
    for folder in (EXAMPLES, torch_programs):
        out = tmp_path / folder.name
        done = subprocess.run(
            [sys.executable, str(folder / f"{name}.py"), "--out", str(out), *arguments], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        results.append(float(re.findall(pattern, done.stdout)[-1]))
        files.append(sorted(path.name for path in out.iterdir()))
    assert files[0] == files[1]
    assert results[0] == pytest.approx(results[1], abs=apart)
