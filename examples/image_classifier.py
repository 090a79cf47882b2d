"""An image classifier: a small residual network.

It learns the handwritten digits that come with Flambeau, or any folder with a folder of images for each class:

    python examples/image_classifier.py
    python examples/image_classifier.py --data flowers --size 64 --flip

Augmented images, a learning rate that rises and falls, accuracy on held-out images, the class by class confusions, and
a picture of the mistakes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

import flambeau
from flambeau.nn import functional as F
from flambeau.utils.data import DataLoader, Subset
from flambeau_vision import transforms
from flambeau_vision.datasets import Digits, ImageFolder
from flambeau_vision.models.resnet import BasicBlock, ResNet
from flambeau_vision.utils import save_image


def open_digits(augmentation: list):
    """The training part, augmented, and the test part of the digits that come with Flambeau."""
    plain = [transforms.ToTensor(), transforms.Normalize([0.3], [0.38])]
    return (
        Digits(train=True, transform=transforms.Compose([plain[0], *augmentation, plain[1]])),
        Digits(train=False, transform=transforms.Compose(plain)),
    )


def open_folder(root: Path, size: int, augmentation: list):
    """Four fifths of the images in ``root/CLASS/``, augmented, and every fifth to test with."""
    plain = [
        transforms.Resize((size, size)),
        transforms.ToTensor(),
        transforms.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]),
    ]
    train_set = ImageFolder(root, transforms.Compose([*plain[:2], *augmentation, plain[2]]))
    test_set = ImageFolder(root, transforms.Compose(plain))
    numbers = range(len(train_set))
    return Subset(train_set, [n for n in numbers if n % 5]), Subset(test_set, [n for n in numbers if n % 5 == 0])


def train(model, batches, optimizer, schedule=None, device="cpu") -> float:
    """One epoch; returns the mean loss."""
    model.train()
    losses = []
    for images, targets in batches:
        images, targets = images.to(device), targets.to(device)
        loss = F.cross_entropy(model(images), targets, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


@flambeau.no_grad()
def predict(model, batches, device="cpu"):
    """The predicted and the true class of each image (N,), on the CPU."""
    model.eval()
    predicted, true = [], []
    for images, targets in batches:
        predicted.append(model(images.to(device)).argmax(dim=1).cpu())
        true.append(targets)
    return flambeau.cat(predicted), flambeau.cat(true)


def confusions(predicted, true, classes: list[str]) -> str:
    """A table: the true class down, the predicted one across."""
    counts = flambeau.bincount(true * len(classes) + predicted, minlength=len(classes) ** 2).view(len(classes), -1)
    width = max(map(len, classes)) + 1
    lines = [" " * width + "".join(f"{name:>{max(width, 5)}}" for name in classes)]
    for name, row in zip(classes, counts.tolist()):
        lines.append(f"{name:>{width}}" + "".join(f"{count or '.':>{max(width, 5)}}" for count in row))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="images as FOLDER/CLASS/NAME.png (default: digits)")
    parser.add_argument("--size", type=int, default=32, help="width and height that images of a folder are brought to")
    parser.add_argument("--flip", action="store_true", help="augment by mirror images too")
    parser.add_argument("--blocks", type=int, nargs=4, default=(1, 1, 1, 1), help="of each stage; 2 2 2 2: ResNet-18")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=0, help="processes that load images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/image_classifier"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    augmentation = [transforms.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1))]
    if args.flip:
        augmentation.append(transforms.RandomHorizontalFlip())
    if args.data:
        train_set, test_set = open_folder(args.data, args.size, augmentation)
        classes, channels = train_set.dataset.classes, 3
    else:
        train_set, test_set = open_digits(augmentation)
        classes, channels = train_set.classes, 1
    batches = DataLoader(train_set, args.batch_size, shuffle=True, num_workers=args.workers)
    test_batches = DataLoader(test_set, 200, num_workers=args.workers)

    model = ResNet(BasicBlock, args.blocks, len(classes), in_channels=channels, small_images=True).to(args.device)
    optimizer = flambeau.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.05)
    schedule = flambeau.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(batches))
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        schedule.load_state_dict(checkpoint["schedule"])
        first = checkpoint["epoch"] + 1
    print(f"{len(train_set):,} images of {len(classes)} classes to learn from, {len(test_set):,} to test with")
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters on {args.device}")

    for epoch in range(first, args.epochs + 1):
        started = time.perf_counter()
        shown = tqdm(batches, f"epoch {epoch}", leave=False, disable=None)
        loss = train(model, shown, optimizer, schedule, args.device)
        predicted, true = predict(model, test_batches, args.device)
        right = (predicted == true).float().mean().item()
        seconds = time.perf_counter() - started
        print(f"epoch {epoch:2}/{args.epochs}  loss {loss:.4f}  right {100 * right:.2f} %  {seconds:.1f} s", flush=True)
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        state = {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch}
        flambeau.save(state, args.out / "checkpoint.pt")

    predicted, true = predict(model, test_batches, args.device)
    print("\ntrue class down, predicted class across\n" + confusions(predicted, true, classes))
    wrong = (predicted != true).nonzero().flatten().tolist()
    if wrong:
        images = F.interpolate(flambeau.stack([test_set[n][0] for n in wrong[:40]]), scale_factor=4, mode="nearest")
        save_image(images, args.out / "mistakes.png", nrow=10, normalize=True)
        captions = [f"{classes[true[n].item()]} taken for {classes[predicted[n].item()]}" for n in wrong[:40]]
        print(f"\n{args.out}/mistakes.png: {', '.join(captions)}")
    print(f"{args.out}/checkpoint.pt")


if __name__ == "__main__":
    main()
