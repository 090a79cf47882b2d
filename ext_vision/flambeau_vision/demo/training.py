"""What ``flambeau demo`` does: data, model, training, evaluation, checkpoint."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import flambeau
from flambeau import Tensor, catalogue, nn, optim
from flambeau.nn import functional as F
from flambeau.utils.data import DataLoader, default_collate
from flambeau_vision import datasets, transforms

IMAGE_SIZE = 28
#: How many images a model sees in all when the number of epochs is not given.
_BUDGET = {"lenet": 17_500, "resnet18": 6_000}
_LEARNING_RATE = {"lenet": 5e-3, "resnet18": 1e-3}
_TEST_BATCH = 256


@dataclass(frozen=True)
class Settings:
    """The arguments of the command line; see :mod:`flambeau_vision.demo.command`."""

    device: str | None = None
    model: str = "lenet"
    epochs: int | None = None
    data: str | None = None
    out: str = "flambeau-demo"
    batch_size: int = 64
    seed: int = 0
    workers: int = 0


@dataclass
class History:
    """What is measured during training: the loss of each step, and four numbers of each epoch."""

    step_losses: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


class Collate:
    """Makes a batch of samples, augments it when training, and normalises it."""

    def __init__(self, mean: float, std: float, augment: bool) -> None:
        self.augment = (
            transforms.RandomAffine(
                degrees=10,
                translate=(0.1, 0.1),
                scale=(0.9, 1.1),
                shear=5,
                interpolation=transforms.InterpolationMode.BILINEAR,
                per_image=True,
            )
            if augment
            else None
        )
        self.normalize = transforms.Normalize([mean], [std])

    def __call__(self, samples: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        images, targets = default_collate(list(samples))
        if self.augment is not None:
            images = self.augment(images)
        return self.normalize(images), targets


def run(settings: Settings) -> History:
    """Train, test, save, load and draw; print what happens.

    Raises:
        NotADirectoryError, FileNotFoundError, ValueError: for a ``data`` without the files, or with damaged ones.
        RuntimeError: for a device that is not there, or a checkpoint that predicts otherwise than what was saved.
    """
    started = time.perf_counter()
    device = flambeau.get_default_device() if settings.device is None else flambeau.device(settings.device)
    flambeau.zeros(1, device=device)  # a device that cannot compute is found out before anything else is done
    train_set, test_set = open_data(settings.data)
    os.makedirs(settings.out, exist_ok=True)

    flambeau.manual_seed(settings.seed)
    classes = len(train_set.classes)
    model = build_model(settings.model, classes).to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    source = "the bundled digits" if settings.data is None else settings.data
    print(f"{settings.model} ({parameters:,} parameters) on {device}")
    print(f"{len(train_set):,} images for training and {len(test_set):,} for testing, from {source}")
    train_loader, test_loader = make_loaders(train_set, test_set, settings)
    epochs = settings.epochs or max(1, round(_BUDGET[settings.model] / len(train_set)))
    history = fit(model, train_loader, test_loader, epochs, _LEARNING_RATE[settings.model], device)

    logits = predict(model, test_loader, device)
    checkpoint = os.path.join(settings.out, f"{settings.model}.pt")
    flambeau.save({"model": settings.model, "classes": classes, "state_dict": model.state_dict()}, checkpoint)
    check_checkpoint(checkpoint, logits, test_loader, device)

    predicted = logits.argmax(dim=1)
    right = int((predicted == test_set.targets).sum())
    print(f"test accuracy {100 * right / len(test_set):.2f} % ({right} of {len(test_set)})")
    print(f"checkpoint    {checkpoint} (loaded into a fresh model: the same predictions)")
    _draw(settings.out, history, test_set, predicted)
    print(f"{time.perf_counter() - started:.1f} s in all")
    return history


def open_data(folder: str | None) -> tuple[Any, Any]:
    """The training and the test set: the bundled digits, or MNIST-format files in ``folder``."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Resize((IMAGE_SIZE, IMAGE_SIZE))])
    if folder is None:
        return datasets.Digits(train=True, transform=transform), datasets.Digits(train=False, transform=transform)
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"--data: {folder!r} is not a folder")
    train_set = datasets.MNIST(folder, train=True, transform=transform)
    test_set = datasets.MNIST(folder, train=False, transform=transform)
    for part, name in ((train_set, "training"), (test_set, "test")):
        if len(part) == 0:
            raise ValueError(f"--data: the {name} files in {folder!r} hold no images")
    return train_set, test_set


def build_model(name: str, classes: int) -> nn.Module:
    """A new model for grey images of 28 x 28 pixels."""
    size: dict[str, Any] = {"image_size": IMAGE_SIZE} if name == "lenet" else {}
    model: nn.Module = catalogue.get_model(name, num_classes=classes, in_channels=1, **size)
    return model


def make_loaders(train_set: Any, test_set: Any, settings: Settings) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Loaders of shuffled, augmented training batches and of plain test batches."""
    grey = train_set.data.to(flambeau.float32) / 255
    # Of a constant image, too, one gets finite numbers.
    mean, std = grey.mean().item(), max(grey.std().item(), 1e-3)
    train_loader: DataLoader[Any] = DataLoader(
        train_set,
        batch_size=settings.batch_size,
        shuffle=True,
        num_workers=settings.workers,
        collate_fn=Collate(mean, std, augment=True),
        # A batch of one image would have no variance to normalise with.
        drop_last=len(train_set) % settings.batch_size == 1 and len(train_set) > 1,
        persistent_workers=settings.workers > 0,
    )
    collate = Collate(mean, std, augment=False)
    test_loader: DataLoader[Any] = DataLoader(test_set, batch_size=_TEST_BATCH, collate_fn=collate)
    return train_loader, test_loader


def fit(
    model: nn.Module,
    train_loader: DataLoader[Any],
    test_loader: DataLoader[Any],
    epochs: int,
    learning_rate: float,
    device: Any,
) -> History:
    """Train for some epochs with AdamW, the learning rate rising and falling once, and test after each of them."""
    optimizer = optim.AdamW(model.parameters(), lr=learning_rate)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=epochs * len(train_loader))
    history = History()
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        model.train()
        seen, right, total = 0, 0, 0.0
        batches = _with_progress(train_loader, f"epoch {epoch}/{epochs}")
        for images, targets in batches:
            images, targets = images.to(device), targets.to(device)
            logits = model(images)
            loss = F.cross_entropy(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            value = loss.item()
            history.step_losses.append(value)
            seen += len(images)
            total += value * len(images)
            right += int((logits.argmax(dim=1) == targets).sum())
            if batches is not train_loader:
                batches.set_postfix_str(f"loss {total / seen:.4f}", refresh=False)
        history.train_loss.append(total / seen)
        history.train_accuracy.append(right / seen)
        test_loss, test_accuracy = evaluate(model, test_loader, device)
        history.test_loss.append(test_loss)
        history.test_accuracy.append(test_accuracy)
        print(
            f"epoch {epoch:{len(str(epochs))}}/{epochs}  "
            f"loss {total / seen:.4f}  accuracy {100 * right / seen:5.2f} %  "
            f"test loss {test_loss:.4f}  test accuracy {100 * test_accuracy:5.2f} %  "
            f"{time.perf_counter() - started:.1f} s",
            flush=True,
        )
    return history


def predict(model: nn.Module, loader: DataLoader[Any], device: Any) -> Tensor:
    """The outputs for all images of a loader, on the CPU."""
    model.eval()
    with flambeau.no_grad():
        return flambeau.cat([model(images.to(device)).cpu() for images, _ in loader])


def evaluate(model: nn.Module, loader: DataLoader[Any], device: Any) -> tuple[float, float]:
    """Mean loss and accuracy over a loader."""
    logits = predict(model, loader, device)
    targets = loader.dataset.targets  # type: ignore[attr-defined]
    with flambeau.no_grad():
        loss = F.cross_entropy(logits, targets).item()
    return loss, (logits.argmax(dim=1) == targets).to(flambeau.float32).mean().item()


def check_checkpoint(path: str, logits: Tensor, loader: DataLoader[Any], device: Any) -> None:
    """Load a checkpoint into a fresh model and compare its outputs.

    Raises:
        RuntimeError: when they are not those that the model gave before.
    """
    checkpoint = flambeau.load(path)
    fresh = build_model(checkpoint["model"], checkpoint["classes"])
    fresh.load_state_dict(checkpoint["state_dict"])
    again = predict(fresh.to(device), loader, device)
    if not flambeau.equal(again.argmax(dim=1), logits.argmax(dim=1)):
        changed = int((again.argmax(dim=1) != logits.argmax(dim=1)).sum())
        raise RuntimeError(f"the model loaded from {path!r} predicts {changed} of {len(logits)} test images otherwise")


def _draw(out: str, history: History, test_set: Any, predicted: Tensor) -> None:
    try:
        from flambeau_vision.demo import pictures

        curve, digits = os.path.join(out, "loss.png"), os.path.join(out, "predictions.png")
        pictures.draw_history(history, curve)
        pictures.draw_predictions(test_set.data.numpy(), test_set.targets.tolist(), predicted.tolist(), digits)
    except ImportError as error:
        print(f"pictures      left out: {error}")
        return
    print(f"loss curve    {curve}")
    print(f"predictions   {digits}")


def _with_progress(batches: DataLoader[Any], title: str) -> Any:
    """The batches under a progress bar, which is wiped out at the end.

    Plain where tqdm is not installed (it comes with the extra ``vision``) and where stderr is no terminal.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return batches
    return tqdm(batches, desc=title, leave=False, disable=not sys.stderr.isatty(), unit="batch")
