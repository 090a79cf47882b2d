"""Two networks play against each other until one draws handwritten digits: a DCGAN.

The generator draws images from noise, the discriminator tells drawn images from real ones, and each learns from the
other's mistakes (Goodfellow et al., 2014; the convolutional networks after Radford, Metz and Chintala, 2016).

    python examples/dcgan.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tqdm import tqdm

import flambeau
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.utils.data import DataLoader
from flambeau_vision.datasets import Digits
from flambeau_vision.transforms import Compose, Normalize, Resize, ToTensor
from flambeau_vision.utils import save_image

NOISE = 32


def generator(width: int) -> nn.Module:
    """Noise (N, NOISE, 1, 1) -> images (N, 1, 16, 16) with values from -1 to 1."""
    return nn.Sequential(
        nn.ConvTranspose2d(NOISE, 2 * width, 4, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def discriminator(width: int) -> nn.Module:
    """Images (N, 1, 16, 16) -> the logit that an image is real (N, 1)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(2 * width * 4 * 4, 1),
    )


def initialise(module: nn.Module) -> None:
    """Small weights, as the paper has them."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def train(draw, judge, batches, draw_optimizer, judge_optimizer, device="cpu") -> tuple[float, float]:
    """One epoch; returns the mean losses of the generator and of the discriminator."""
    draw.train()
    judge.train()
    draw_losses, judge_losses = [], []
    for real, _ in batches:
        real = real.to(device)
        drawn = draw(flambeau.randn(len(real), NOISE, 1, 1, device=device))

        # -log sigmoid(x) is softplus(-x); a real image is called real with 0.9 only, so that nobody grows too sure.
        on_real, on_drawn = judge(real), judge(drawn.detach())
        judge_loss = (0.9 * F.softplus(-on_real) + 0.1 * F.softplus(on_real) + F.softplus(on_drawn)).mean()
        judge_optimizer.zero_grad()
        judge_loss.backward()
        judge_optimizer.step()

        draw_loss = F.softplus(-judge(drawn)).mean()
        draw_optimizer.zero_grad()
        draw_loss.backward()
        draw_optimizer.step()
        draw_losses.append(draw_loss.item())
        judge_losses.append(judge_loss.item())
    return sum(draw_losses) / len(draw_losses), sum(judge_losses) / len(judge_losses)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=32, help="channels of the widest images; twice that of the next")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/dcgan"))
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT")
    args = parser.parse_args(arguments)

    flambeau.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    digits = Digits(train=True, transform=Compose([ToTensor(), Resize((16, 16)), Normalize([0.5], [0.5])]))
    batches = DataLoader(digits, args.batch_size, shuffle=True, drop_last=True)
    draw = generator(args.width).apply(initialise).to(args.device)
    judge = discriminator(args.width).apply(initialise).to(args.device)
    draw_optimizer = flambeau.optim.Adam(draw.parameters(), lr=args.lr, betas=(0.5, 0.999))
    judge_optimizer = flambeau.optim.Adam(judge.parameters(), lr=args.lr, betas=(0.5, 0.999))
    parts = {"draw": draw, "judge": judge, "draw_optimizer": draw_optimizer, "judge_optimizer": judge_optimizer}
    first = 1
    if args.resume:
        checkpoint = flambeau.load(args.resume, map_location=args.device)
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
        first = checkpoint["epoch"] + 1
    noise = flambeau.randn(100, NOISE, 1, 1, device=args.device)  # the same for each picture, to see it improve

    started = time.perf_counter()
    for epoch in range(first, args.epochs + 1):
        shown = tqdm(batches, f"epoch {epoch}", leave=False, disable=None)
        draw_loss, judge_loss = train(draw, judge, shown, draw_optimizer, judge_optimizer, args.device)
        if epoch % 10 == 0 or epoch in (1, 3, args.epochs):
            seconds = time.perf_counter() - started
            print(
                f"epoch {epoch:2}/{args.epochs}  generator {draw_loss:.3f}  discriminator {judge_loss:.3f}  "
                f"{seconds:.1f} s",
                flush=True,
            )
            draw.eval()
            with flambeau.no_grad():
                images = F.interpolate(draw(noise).cpu(), scale_factor=2, mode="nearest")
            save_image(images, args.out / f"epoch{epoch:03}.png", nrow=10, normalize=True, value_range=(-1, 1))
            flambeau.save(
                {name: part.state_dict() for name, part in parts.items()} | {"epoch": epoch},
                args.out / "checkpoint.pt",
            )
    print(f"the pictures and the checkpoint are in {args.out}")


if __name__ == "__main__":
    main()
